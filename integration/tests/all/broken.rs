//! A version that cannot be served, and the previous one, which keeps serving.

use switchyard_contract::admin::{ProjectState, ReloadOutcome};
use switchyard_contract::event::EventType;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::Probe;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

/// Breaks a live project, and fixes it again. `says` is part of the error's message, `place` the
/// position that it names.
async fn breaks(broken: &str, says: &str, location: Option<(&str, u32)>) {
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).flag("build-timeout", 3000).start().await;
    let mut events = router.events().await;
    let good = events.wait_live("a").await.data.version;
    let probe = Probe::start(&router.public, "/a/").await;

    volume.write("a/main.ts", broken);
    let failed = events.wait_failed("a").await.data;
    let error = failed.error.clone().expect("a failure has an error");
    assert!(error.message.contains(says), "{says:?} is not in {error:?}");
    if let Some((file, line)) = location {
        assert_eq!((error.file.as_deref(), error.line), (Some(file), Some(line)), "{error:?}");
        let frame = error.frame.as_deref().unwrap_or_default();
        assert!(
            frame.contains(broken.lines().nth(line as usize - 1).expect("the line is one of the file")),
            "{error:?}"
        );
    }
    assert!(!error.message.contains("/checkouts/"), "a path of the router's own: {error:?}");
    assert_eq!(failed.previous, good);
    let stale = router.public.get("/a/").await;
    assert_eq!((stale.text().as_str(), stale.version()), ("one", good.as_deref()));
    assert_eq!(stale.header("x-switchyard-stale"), failed.version.as_deref());
    let state = router.admin.project("a").await;
    assert_eq!((state.state, state.error), (ProjectState::Failed, Some(error)));

    volume.write("a/main.ts", hello("two"));
    events.wait_live("a").await;
    let mended = router.public.get("/a/").await;
    assert_eq!((mended.text().as_str(), mended.header("x-switchyard-stale")), ("two", None));
    assert_eq!(router.admin.project("a").await.error, None);
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two"]);
}

#[tokio::test]
async fn a_syntax_error_keeps_the_old_version_serving() {
    breaks("export default {\n  fetch() { return new Response('x' }\n};\n", "", Some(("main.ts", 2))).await;
    // It is found by another part, and reported alike.
    breaks("const text = 'no end", "Unterminated string constant", Some(("main.ts", 1))).await;
}

#[tokio::test]
async fn a_missing_import_keeps_the_old_version_serving() {
    breaks(
        "import { x } from './gone.ts';\nexport default { fetch: () => new Response(x) };\n",
        "gone.ts",
        Some(("main.ts", 1)),
    )
    .await;
}

#[tokio::test]
async fn a_missing_export_keeps_the_old_version_serving() {
    breaks(
        "import { nothing } from 'node:path';\nexport default { fetch: () => new Response(nothing) };\n",
        "nothing",
        Some(("main.ts", 1)),
    )
    .await;
}

#[tokio::test]
async fn an_error_names_its_file_as_it_is_called_on_the_volume() {
    for (file, import) in [("my file.ts", "./my%20file.ts"), ("größe#1.ts", "./gr%C3%B6%C3%9Fe%231.ts")] {
        let volume = Volume::with("a", format!("import {import:?};\n{}", hello("one")));
        volume.write(&format!("a/{file}"), "\nthrow new Error('on purpose');\n");
        let router = Router::builder(&volume).unwatched().start().await;
        let error = router.admin.project("a").await.error.expect("it fails");
        assert_eq!((error.file.as_deref(), error.line), (Some(file), Some(2)), "{error:?}");
    }
}

#[tokio::test]
async fn a_throw_at_top_level_keeps_the_old_version_serving() {
    breaks("const x: number = 1;\n\nthrow new Error('on purpose');\n", "on purpose", Some(("main.ts", 3)))
        .await;
}

#[tokio::test]
async fn an_unhandled_rejection_keeps_the_old_version_serving() {
    breaks("await Promise.reject(new TypeError('turned down'));\n", "turned down", Some(("main.ts", 1)))
        .await;
}

#[tokio::test]
async fn no_handler_keeps_the_old_version_serving() {
    breaks("export const nothing = 1;\n", "", None).await;
}

#[tokio::test]
async fn a_default_export_that_is_not_a_handler_keeps_the_old_version_serving() {
    breaks("export default { port: 3000 };\n", "", None).await;
}

#[tokio::test]
async fn a_top_level_await_that_never_settles_keeps_the_old_version_serving() {
    breaks("await new Promise(() => setInterval(() => {}, 1000));\n", "", None).await;
}

#[tokio::test]
async fn a_top_level_await_that_nothing_can_settle_keeps_the_old_version_serving() {
    breaks("await new Promise(() => {});\n", "", None).await;
}

#[tokio::test]
async fn an_endless_loop_at_top_level_keeps_the_old_version_serving() {
    breaks("for (;;);\n", "", None).await;
}

#[tokio::test]
async fn an_exit_during_load_keeps_the_old_version_serving() {
    breaks("Deno.exit(0);\n", "", None).await;
    breaks("import process from 'node:process';\nprocess.exit(3);\n", "", None).await;
}

#[tokio::test]
async fn an_abort_of_v8_during_load_keeps_the_old_version_serving() {
    breaks("'x'.repeat(2 ** 28).split('');\n", "", None).await;
}

#[tokio::test]
async fn an_entry_that_goes_missing_keeps_the_old_version_serving() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let probe = Probe::start(&router.public, "/a/").await;
    volume.rename("a/main.ts", "a/other.ts");
    events.wait_failed("a").await;
    volume.rename("a/other.ts", "a/main.ts");
    eventually("a is as it was", || async { router.admin.project("a").await.state == ProjectState::Live })
        .await;
    probe.finish().await.no_failures().versions_monotonic(&["one"]);
    assert_eq!(router.public.get("/a/").await.header("x-switchyard-stale"), None);
}

#[tokio::test]
async fn a_good_save_gets_through_while_a_bad_build_hangs() {
    for hangs in ["await new Promise(() => setInterval(() => {}, 1000));", "for (;;);"] {
        let volume = Volume::with("a", hello("one"));
        let router = Router::builder(&volume).flag("build-timeout", 600_000).start().await;
        let mut events = router.events().await;
        events.wait_live("a").await;
        let probe = Probe::start(&router.public, "/a/").await;
        volume.write("a/main.ts", hangs);
        eventually("a is being built", || async {
            router.admin.project("a").await.state == ProjectState::Building
        })
        .await;
        volume.write("a/main.ts", hello("two"));
        events.wait_live("a").await;
        probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two"]);
    }
}

#[tokio::test]
async fn a_project_that_was_broken_from_the_start_goes_live_once_it_is_fixed() {
    let volume = Volume::with("a", "export default {");
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_failed("a").await;
    router.public.get("/a/").await.assert_problem(503, "no-good-version");
    volume.write("a/main.ts", hello("one"));
    let live = events.wait_live("a").await;
    assert_eq!(live.data.previous, None);
    assert_eq!(router.public.get("/a/").await.text(), "one");
}

#[tokio::test]
async fn a_failure_is_reported_once_and_not_built_again_until_something_changes() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    volume.write("a/main.ts", "export default {");
    let failed = events.wait_failed("a").await;
    volume.write("a/main.ts", "export default {");
    let again = router.admin.reload("a").await;
    assert_ne!(again.outcome, ReloadOutcome::Live);
    assert!(again.error.is_some(), "{again:?}");
    assert_eq!(again.version, failed.data.version);
    volume.write("a/main.ts", hello("two"));
    events.wait_live("a").await;
    let reports = events.count(EventType::ReloadFailed, "a");
    // A requested reload may build again; writing the same bytes may not.
    assert!(reports <= 2, "reported {reports} times");
}

#[tokio::test]
async fn a_missing_import_map_is_named_with_the_fix() {
    let volume = Volume::new();
    volume
        .project("a")
        .file("deno.json", r#"{"imports": {"x": "x.ts"}}"#)
        .file("main.ts", "\nimport x from 'x';\nexport default { fetch: () => new Response(x) };\n")
        .write();
    let router = Router::start(&volume).await;
    let error = router.admin.project("a").await.error.expect("it fails");
    assert!(
        error.message.contains("\"x\" leads nowhere") && error.message.contains("deno.json"),
        "{error:?}"
    );
    assert_eq!((error.file.as_deref(), error.line), (Some("main.ts"), Some(2)));
}

#[tokio::test]
async fn a_build_that_failed_without_an_ignored_file_is_tried_again_once_it_exists() {
    let volume = Volume::new();
    let main = "const text = Deno.readTextFileSync(`${Deno.env.get('DATA_DIR')}/text`);\n\
                export default { fetch: () => new Response(text) };\n";
    volume.project("a").file("main.ts", main).write();
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_failed("a").await;
    std::fs::write(router.state.path().join("data/a/text"), "there").unwrap();
    events.wait_live("a").await;
    assert_eq!(router.public.get("/a/").await.text(), "there");
    assert_eq!(events.count(EventType::ReloadFailed, "a"), 1, "a retry that fails as before is not reported");
}
