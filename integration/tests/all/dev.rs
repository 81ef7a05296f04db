//! `switchyard dev`: a folder of one's own, served while it is worked on.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::Signal;
use switchyard_integration::bridge::cli::run_with;
use switchyard_integration::browser::Browser;
use switchyard_integration::client::{request, with_header};
use switchyard_integration::dev::Dev;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

/// A project that does not build.
const BROKEN: &str = "export default {\n  fetch() { return new Response(\"x\" };\n};\n";

/// A project that answers with the variable `NAME`.
const ENV: &str = "export default { fetch: () => new Response(Deno.env.get('NAME') ?? 'none') };";

/// A page of a project with this text.
fn page(text: &str) -> String {
    format!(
        "export default {{ fetch: () => new Response('<!doctype html><title>x</title><link rel=icon href=data:,><p>{text}</p>', \
         {{ headers: {{ 'content-type': 'text/html' }} }}) }};"
    )
}

fn files(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("a folder can be read").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn a_folder_of_projects_is_served_with_a_line_for_each_and_never_written_to() {
    let volume = Volume::with("good", hello("one"));
    volume.write("broken/main.ts", BROKEN);
    let dev = Dev::builder(volume.root()).start().await;
    let line = dev.printed(&["✓ good  ", " s "]).await;
    assert!(line.contains("http://good.localhost:"), "{line}");
    dev.printed(&["✗ broken  main.ts:2:", "SyntaxError"]).await;
    dev.printed(&["    > 2 |", "new Response"]).await;
    assert_eq!(dev.public.get("/good/").await.text(), "one");
    let by_host = with_header(request("/"), "host", &format!("good.localhost:{}", dev.public.address.port()));
    assert_eq!(dev.public.send(by_host).await.text(), "one");

    volume.replace("broken/main.ts", hello("mended"));
    dev.printed(&["✓ broken", " s"]).await;
    assert_eq!(dev.public.get("/broken/").await.text(), "mended");

    volume.write("new/main.ts", hello("new"));
    dev.printed(&["✓ new", "http://new.localhost"]).await;
    assert_eq!(dev.public.get("/new/").await.text(), "new");
    volume.write("not a name/main.ts", hello("x"));
    dev.printed(&["✗ not a name", "is no project"]).await;
    volume.remove("good");
    dev.printed(&["- good", "removed"]).await;
    assert_eq!(dev.public.get("/good/").await.status, 404);

    assert_eq!(files(volume.root()), ["broken", "new", "not a name"].map(str::to_owned).into());
    assert_eq!(files(&volume.path("new")), ["main.ts".to_owned()].into());
    let state = dev.state().join("switchyard");
    assert_eq!(files(&state).len(), 1);
    assert!(!dev.output.text().contains('\x1b'), "a pipe has no colours: {}", dev.output.text());
    dev.signal(Signal::INT);
    let (status, _) = dev.ended().await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_folder_with_a_program_is_one_project_and_gets_the_variables_of_its_env_file() {
    let volume = Volume::called("My App");
    volume.write("main.ts", ENV);
    volume.write(".env", "# a secret\nNAME=\"first one\"\nDENO_DIR=/nowhere\n");
    let dev = Dev::builder(volume.root()).start().await;
    dev.printed(&["✓ My-App"]).await;
    assert_eq!(dev.public.get("/My-App/").await.text(), "first one");
    volume.replace(".env", "NAME=second\n");
    eventually("the new variable is there", || async { dev.public.get("/My-App/").await.text() == "second" })
        .await;
    volume.remove(".env");
    eventually("it is gone", || async { dev.public.get("/My-App/").await.text() == "none" }).await;
    // A deploy never writes into the folder.
    dev.api
        .send(Upload::main(hello("deployed")).to("/deploy/My-App"))
        .await
        .assert_problem(409, "overridden");
    assert_eq!(files(volume.root()), ["main.ts".to_owned()].into());
    let other = dev.api.send(Upload::main(hello("other")).to("/deploy/other")).await;
    assert_eq!(other.status, 200, "{}", other.text());
    assert_eq!(dev.public.get("/other/").await.text(), "other");
}

#[tokio::test]
async fn keys_of_a_terminal_open_hide_reload_and_quit_and_the_terminal_is_as_before() {
    let volume = Volume::new();
    volume.write("a/main.ts", "console.log('loaded');\nexport default { fetch() { console.log('asked'); return new Response('a') } };");
    let (before, after, opened) = (volume.path("_before"), volume.path("_after"), volume.path("_opened"));
    let browser = volume.path("_browser");
    fs::write(&browser, format!("#!/bin/sh\necho \"$1\" > {}\n", opened.display())).unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let dev = Dev::builder(volume.root()).env("BROWSER", browser.to_str().unwrap());
    let saves = |file: &Path| format!("stty -g > {}", file.display());
    let mut dev = dev.start_on_terminal(&saves(&before), &saves(&after)).await;
    dev.printed(&["o open", "l logs", "r reload", "q quit"]).await;
    dev.printed(&["\x1b[32m✓\x1b[0m", "a"]).await;
    dev.printed(&["│", "loaded"]).await;
    dev.press("l");
    dev.printed(&["what projects print is hidden"]).await;
    dev.public.get("/a/").await;
    dev.press("r");
    dev.printed(&["read again: 1 project,", "1 unchanged"]).await;
    dev.press("o");
    eventually("a link is opened", || async { opened.exists() }).await;
    assert!(!dev.output.text().contains("asked"), "{}", dev.output.text());
    dev.press("L");
    dev.printed(&["is shown"]).await;
    dev.public.get("/a/").await;
    dev.printed(&["│", "asked"]).await;
    dev.press("q");
    let (status, _) = dev.ended().await;
    assert!(status.success(), "{status}");
    let read = |file: &Path| fs::read_to_string(file).unwrap();
    assert_eq!(read(&before), read(&after));
}

#[tokio::test]
async fn a_terminal_without_colours_gets_none_and_one_that_is_interrupted_is_as_before() {
    let volume = Volume::with("a", hello("one"));
    let (before, after) = (volume.path("_before"), volume.path("_after"));
    let saves = |file: &Path| format!("stty -g > {}", file.display());
    let dev = Dev::builder(volume.root()).env("NO_COLOR", "1");
    let mut dev = dev.start_on_terminal(&saves(&before), &format!("trap : INT; {}", saves(&after))).await;
    dev.printed(&["✓ a"]).await;
    assert!(!dev.output.text().contains("\x1b["), "{:?}", dev.output.text());
    // Ctrl-C
    dev.press("\x03");
    let (_, output) = dev.ended().await;
    assert!(output.text().contains("stopping"), "{}", output.text());
}

#[tokio::test]
async fn colours_are_as_the_flag_says() {
    let volume = Volume::with("a", hello("one"));
    let dev = Dev::builder(volume.root()).flag("--color=always").env("NO_COLOR", "1").start().await;
    dev.printed(&["\x1b[32m✓\x1b[0m a"]).await;
}

#[tokio::test]
async fn a_port_in_use_is_left_alone_unless_it_was_asked_for() {
    let volume = Volume::with("a", hello("one"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = volume.root().to_str().unwrap();
    let inside = volume.path("_state");
    let env = [("XDG_STATE_HOME", inside.to_str().unwrap())];
    let outcome = run_with(&["dev", folder, "--listen", &address], &env).await;
    assert_eq!(outcome.code, Some(64), "{outcome:#?}");
    assert!(outcome.stderr.contains("contains the state folder"), "{outcome:#?}");
    let state = Volume::new();
    let env = [("XDG_STATE_HOME", state.root().to_str().unwrap())];
    let outcome = run_with(&["dev", folder, "--listen", &address, "--api=:0", "--admin=:0"], &env).await;
    assert_eq!(outcome.code, Some(64), "{outcome:#?}");
    assert!(
        outcome.stderr.contains("--listen: ") && outcome.stderr.contains("is already in use"),
        "{outcome:#?}"
    );
}

#[tokio::test]
async fn a_page_shows_the_error_of_its_project_and_reloads_when_it_is_fixed() {
    let volume = Volume::with("a", page("one"));
    let dev = Dev::builder(volume.root()).start().await;
    dev.printed(&["✓ a"]).await;
    let browser = Browser::start().await;
    let mut tab = browser.open(&format!("http://{}/a/", dev.public.address)).await;
    let mut second = browser.open(&format!("http://{}/a/", dev.public.address)).await;
    volume.replace("a/main.ts", BROKEN);
    let overlay = "document.querySelector('switchyard-overlay')?.shadowRoot.textContent ?? ''";
    for tab in [&mut tab, &mut second] {
        tab.until(&format!("({overlay}).includes('does not build')")).await;
        let text = tab.evaluate(overlay).await;
        assert!(text.as_str().unwrap().contains("main.ts:2:"), "{text}");
        assert!(tab.text().await.contains("one"), "the last good version is below");
    }
    volume.replace("a/main.ts", page("two"));
    for tab in [&mut tab, &mut second] {
        tab.until("document.body?.innerText.includes('two')").await;
        assert_eq!(tab.evaluate(overlay).await, "");
        assert!(tab.errors().await.is_empty(), "{:?}", tab.errors().await);
    }
    // A project without a version has a page of the router's, which reloads too.
    volume.write("blog/main.ts", BROKEN);
    dev.printed(&["✗ blog"]).await;
    let mut tab = browser.open(&format!("http://{}/blog/", dev.public.address)).await;
    assert!(tab.text().await.contains("blog does not build"));
    volume.replace("blog/main.ts", page("fixed"));
    tab.until("document.body?.innerText.includes('fixed')").await;
    let mut list = browser.open(&format!("http://{}/blgo/", dev.public.address)).await;
    let text = list.text().await;
    assert!(
        text.contains("no project blgo") && text.contains("Did you mean blog?") && text.contains('a'),
        "{text}"
    );
}

#[tokio::test]
async fn answers_other_than_pages_are_left_alone_and_all_of_them_without_the_overlay() {
    let volume = Volume::with("a", page("one"));
    volume.write("site/index.html", "<!doctype html><p>site");
    let html = |path: &str| with_header(request(path), "accept", "text/html");
    let dev = Dev::builder(volume.root()).start().await;
    dev.printed(&["✓ a"]).await;
    dev.printed(&["✓ site"]).await;
    for path in ["/a/", "/site/"] {
        let with = dev.public.send(html(path)).await;
        assert!(with.text().contains("/.switchyard/dev.js"), "{}", with.text());
        assert_eq!((with.header("cache-control"), with.header("etag")), (Some("no-store"), None));
        let without = dev.public.get(path).await.text();
        assert!(!without.contains(".switchyard"), "{without}");
    }
    drop(dev);
    let dev = Dev::builder(volume.root()).flag("--no-overlay").start().await;
    dev.printed(&["✓ a"]).await;
    let text = dev.public.send(html("/a/")).await.text();
    assert!(text.contains("one") && !text.contains(".switchyard"), "{text}");
    assert_eq!(dev.public.get("/.switchyard/dev.js").await.status, 404);
}

#[tokio::test]
async fn a_restart_serves_the_same_projects_and_prints_them_again() {
    let volume = Volume::with("a", format!("console.log('loaded');\n{}", hello("one")));
    let state = Volume::new();
    let start = || Dev::builder(volume.root()).env("XDG_STATE_HOME", state.root().to_str().unwrap()).start();
    let dev = start().await;
    dev.printed(&["│ a", "loaded"]).await;
    let home = [("XDG_STATE_HOME", state.root().to_str().unwrap())];
    let second = run_with(&["dev", volume.root().to_str().unwrap()], &home).await;
    let text = format!("switchyard dev already serves this folder: http://{}/", dev.public.address);
    assert!(second.code == Some(1) && second.stderr.contains(&text), "{second:?}");
    dev.signal(Signal::TERM);
    dev.ended().await;
    volume.write("b/main.ts", hello("two"));
    let dev = start().await;
    dev.printed(&["✓ a", "http://a.localhost"]).await;
    dev.printed(&["✓ b"]).await;
    assert_eq!(dev.public.get("/b/").await.text(), "two");
    dev.printed(&["│ a", "loaded"]).await;
    let lines = dev.output.lines();
    assert_eq!(lines.iter().filter(|line| line.contains("loaded")).count(), 1, "of this session: {lines:#?}");
}

#[tokio::test]
async fn listeners_at_paths_and_flags_that_dev_sets_are_refused() {
    let volume = Volume::with("a", hello("one"));
    let (folder, state) = (volume.root().to_str().unwrap(), tempfile::tempdir().unwrap());
    let home = [("XDG_STATE_HOME", state.path().to_str().unwrap())];
    let own = run_with(&["dev", folder, "--", "--state", "x", "--projects=y"], &home).await;
    assert_eq!(own.code, Some(64), "{own:?}");
    for flag in ["--state: is a flag of dev itself", "--projects: is set by dev"] {
        assert!(own.stderr.contains(flag), "{flag}: {own:?}");
    }
    let arguments = ["dev", folder, "--listen", "unix:/run/a", "--admin", "unix:/run/b"];
    let refused = run_with(&arguments, &home).await;
    assert_eq!(refused.code, Some(64), "{refused:?}");
    for flag in ["--listen: unix:/run/a: dev prints links", "--admin: unix:/run/b: dev prints links"] {
        assert!(refused.stderr.contains(flag), "{flag}: {refused:?}");
    }
}
