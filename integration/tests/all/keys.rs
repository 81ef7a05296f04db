//! Misspelled keys in deno.json: errors with a suggestion; no misspelling leaves a permission open.

use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

#[tokio::test]
async fn a_misspelled_key_fails_the_reload_with_its_location_and_a_suggestion() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).unwatched().start().await;
    for (text, line, says) in [
        (
            "{\n  \"permisions\": {\"default\": {\"net\": false}}\n}",
            2,
            "\"permisions\" in deno.json is unknown; did you mean \"permissions\"?",
        ),
        (
            "{ \"permissions\": {\"defualt\": {\"net\": false}} }",
            1,
            "\"permissions.defualt\" in deno.json is unknown; did you mean \"default\"?",
        ),
        ("{ \"permissions\": {\"default\": {\n\"nett\": false}} }", 2, "did you mean \"net\"?"),
        (
            "{ \"permissions\": {\"net\": false} }",
            1,
            "\"permissions.net\" in deno.json is a permission, not a set",
        ),
        ("{ \"switchyard\": {\n\n\"healthcheckk\": \"/h\"} }", 3, "did you mean \"healthcheck\"?"),
        (
            "{ \"switchyard\": {\"colour\": 1} }",
            1,
            "\"switchyard.colour\" in deno.json is unknown: expected one of ",
        ),
        ("{ \"switchyard\": [] }", 1, "\"switchyard\" in deno.json must be an object"),
        ("{ \"swichyard\": {} }", 1, "did you mean \"switchyard\"?"),
        ("{ \"import\": {} }", 1, "did you mean \"imports\"?"),
        (
            "{ \"p\u{435}rmissi\u{43e}ns\": {\"default\": {\"net\": false}} }",
            1,
            "is unknown (it is p\\u{435}rmissi\\u{43e}ns); did you mean \"permissions\"?",
        ),
        (
            "{ \"permissions\": {\"default\": {\"net\": false,\n\"net\": true}} }",
            2,
            "\"permissions.default.net\" in deno.json occurs twice",
        ),
        ("{ \"switchyard\": {},\n\"switchyard\": {} }", 2, "\"switchyard\" in deno.json occurs twice"),
    ] {
        volume.write("a/deno.json", text);
        let report = router.admin.reload("a").await;
        let error = report.error.unwrap_or_else(|| panic!("{text} is taken"));
        assert_eq!(
            (report.outcome, error.file.as_deref()),
            (ReloadOutcome::Failed, Some("deno.json")),
            "{text}"
        );
        assert_eq!(error.line, Some(line), "{text}");
        assert!(error.message.contains(says), "{text}: {}", error.message);
        assert_eq!(router.public.get("/a/").await.text(), "one", "the last good version keeps serving");
    }
    volume.write(
        "a/deno.json",
        r#"{ "description": "Deno ignores this", "tasks": {"x": "y"}, "author": "me" }"#,
    );
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
}

#[tokio::test]
async fn switchyards_keys_in_package_json_are_not_passed_over() {
    let volume = Volume::with("a", hello("one"));
    volume.write("a/package.json", r#"{ "switchyard": {"entry": "main.ts"} }"#);
    let router = Router::builder(&volume).unwatched().start().await;
    let error = router.admin.project("a").await.error.expect("it fails");
    assert_eq!(error.file.as_deref(), Some("package.json"));
    assert!(error.message.contains("move it to deno.json"), "{}", error.message);
}
