//! The fetched dependencies of manifests, and their locations: development and optional ones,
//! members of workspaces, and packages that no manifest names.

use serde_json::json;
use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::registry::Registry;
use switchyard_integration::volume::Volume;

use crate::install::{GREETS, exports, fails, greeting, registry, serves};

fn was_asked_for(registry: &Registry, name: &str) -> bool {
    registry.take_requests().iter().any(|path| path.contains(name))
}

#[tokio::test]
async fn packages_for_development_are_not_fetched() {
    let (registry, volume) = (registry().await, greeting());
    registry.publish("tool", "1.0.0", json!({}), &[("index.js", "")]);
    let package = json!({"dependencies": {"greeting": "1"}, "devDependencies": {"tool": "1", "gone": "1"}});
    volume.write("a/package.json", package.to_string());
    let router = registry.router(&volume).start().await;
    serves(&router, "hello").await;
    let requests = registry.take_requests();
    assert!(!requests.iter().any(|path| path.contains("tool") || path.contains("gone")), "{requests:?}");
}

#[tokio::test]
async fn a_package_for_development_that_is_imported_is_fetched_with_a_warning() {
    for import in ["import greeting from 'greeting';", "const greeting = (await import('greeting')).default;"]
    {
        let (registry, volume) = (registry().await, greeting());
        volume.write(
            "a/main.ts",
            format!("{import}\nexport default {{ fetch: () => new Response(greeting) }};\n"),
        );
        volume
            .write("a/package.json", json!({"devDependencies": {"greeting": "1", "gone": "1"}}).to_string());
        let router = registry.router(&volume).start().await;
        serves(&router, "hello").await;
        let log = router.log.text();
        assert!(log.contains("is one of the devDependencies") && !log.contains("gone"), "{log}");
    }
}

#[tokio::test]
async fn unavailable_optional_packages_are_left_out() {
    let (registry, volume) = (registry().await, greeting());
    let optional = json!({"word": "1", "gone": "1", "also-gone": "^2"});
    let manifest = json!({"dependencies": optional, "optionalDependencies": optional});
    registry.publish("greeting", "1.1.0", manifest, &[("index.js", "module.exports = require('word');\n")]);
    volume.write(
        "a/package.json",
        json!({"dependencies": {"greeting": "1"}, "optionalDependencies": {"gone": "1"}}).to_string(),
    );
    let router = registry.router(&volume).start().await;
    serves(&router, "hello").await;
    let log = router.log.text();
    assert!(log.contains("an optional package is left out") && log.contains("also-gone"), "{log}");
    // A required one is not left out.
    registry.publish("greeting", "1.2.0", json!({"dependencies": {"gone": "1"}}), &[("index.js", "")]);
    volume.write("a/package.json", json!({"dependencies": {"greeting": "1.2.0"}}).to_string());
    router.admin.reload("a").await;
    assert!(fails(&router).await.message.contains("gone"));
}

#[tokio::test]
async fn optional_packages_for_other_platforms_are_not_downloaded() {
    let (registry, volume) = (registry().await, greeting());
    registry.publish("native", "1.0.0", json!({"os": ["win32"], "cpu": ["x64"]}), &[("index.js", "")]);
    let manifest = json!({"optionalDependencies": {"native": "1"}, "dependencies": {"word": "1"}});
    registry.publish("greeting", "1.1.0", manifest, &[("index.js", "module.exports = require('word');\n")]);
    let router = registry.router(&volume).start().await;
    serves(&router, "hello").await;
    assert!(!was_asked_for(&registry, "native/-/"));
}

#[tokio::test]
async fn own_optional_and_peer_dependencies_are_fetched() {
    for field in ["optionalDependencies", "peerDependencies"] {
        let (registry, volume) = (registry().await, greeting());
        volume.write("a/package.json", json!({field: {"greeting": "1"}}).to_string());
        let router = registry.router(&volume).start().await;
        serves(&router, "hello").await;
    }
}

/// A workspace of two members that need different versions of a package; one needs the other.
fn workspace(volume: &Volume, needs: &str) {
    let web =
        json!({"name": "@w/web", "version": "1.0.0", "dependencies": {"@w/say": needs, "word": "1.0.0"}});
    let say =
        json!({"name": "@w/say", "version": "1.0.0", "main": "say.js", "dependencies": {"word": "^1.1.0"}});
    volume
        .project("a")
        .file("packages/web/package.json", web.to_string())
        .file("packages/web/server.cjs", SERVER)
        .file("packages/say/package.json", say.to_string())
        .file("packages/say/say.js", "module.exports = () => `says ${require('word')}`;\n")
        .file("deno.json", r#"{"switchyard": {"entry": "packages/web/server.cjs"}}"#)
        .file("package.json", r#"{"name": "root", "workspaces": ["packages/*"]}"#)
        .write();
}

const SERVER: &str = "const http = require('http'), say = require('@w/say'), word = require('word');\n\
    http.createServer((request, response) => response.end(`${word} ${say()}`)).listen(3000);\n";

#[tokio::test]
async fn members_of_a_workspace_find_each_other_and_their_own_versions() {
    for needs in ["*", "workspace:*", "workspace:^"] {
        let (registry, volume) = (registry().await, Volume::new());
        registry.publish("word", "1.1.0", json!({}), &[("index.js", &exports("newer"))]);
        workspace(&volume, needs);
        if needs != "*" {
            volume.write("a/package.json", r#"{"name": "root"}"#);
            volume.write("a/pnpm-workspace.yaml", "packages:\n  - 'packages/*'\n");
        }
        let router = registry.router(&volume).start().await;
        serves(&router, "hello says newer").await;
        // A member is the version's own file.
        registry.take_requests();
        volume.write("a/packages/say/say.js", "module.exports = () => `said ${require('word')}`;\n");
        assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
        serves(&router, "hello said newer").await;
        assert_eq!(registry.take_requests(), [""; 0]);
    }
}

/// Members beside the project that it includes, with packages of their own.
#[tokio::test]
async fn members_that_a_project_includes_are_found_by_their_names() {
    let require = "const http = require('http'), say = require('@w/say'), word = require('word');\n\
        http.createServer((request, response) => response.end(`${word} ${say()}`)).listen(3000);\n";
    let import = "import http from 'node:http';\nimport say from '@w/say';\nimport word from 'word';\n\
        http.createServer((request, response) => response.end(`${word} ${say()}`)).listen(3000);\n";
    for (entry, server) in [("index.js", require), ("index.mjs", import)] {
        let (registry, volume) = (registry().await, Volume::new());
        registry.publish("word", "1.1.0", json!({}), &[("index.js", &exports("newer"))]);
        let own = json!({"name": "a", "dependencies": {"word": "1.0.0", "@w/say": "*"}});
        let say = json!({"name": "@w/say", "version": "1.0.0", "main": "say.js", "dependencies": {"word": "^1.1.0"}});
        volume.write("package.json", r#"{"private": true, "workspaces": ["a", "_say"]}"#);
        volume.write("_say/package.json", say.to_string());
        volume.write("_say/say.js", "module.exports = () => `says ${require('word')}`;\n");
        volume
            .project("a")
            .file("package.json", own.to_string())
            .file("deno.json", r#"{"switchyard": {"include": ["../package.json", "../_say"]}}"#)
            .file(entry, server)
            .write();
        let router = registry.router(&volume).start().await;
        serves(&router, "hello says newer").await;
        // Nothing is fetched again, and a change of the member is a change of the project.
        registry.take_requests();
        volume.write("_say/say.js", "module.exports = () => `said ${require('word')}`;\n");
        assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
        serves(&router, "hello said newer").await;
        assert_eq!(registry.take_requests(), [""; 0]);
    }
}

#[tokio::test]
async fn modules_import_members_by_their_names() {
    let (registry, volume) = (registry().await, Volume::new());
    registry.publish("word", "1.1.0", json!({}), &[("index.js", &exports("newer"))]);
    workspace(&volume, "*");
    volume.write("a/deno.json", r#"{"switchyard": {"entry": "main.mjs"}}"#);
    volume.write(
        "a/main.mjs",
        "import say from '@w/say';\nexport default { fetch: () => new Response(say()) };\n",
    );
    let router = registry.router(&volume).start().await;
    serves(&router, "says newer").await;
}

#[tokio::test]
async fn dependencies_that_are_folders_of_the_project_are_found() {
    let (registry, volume) = (registry().await, Volume::new());
    volume
        .project("a")
        .file("package.json", r#"{"dependencies": {"lib": "file:./lib", "greeting": "1"}}"#)
        .file("lib/package.json", r#"{"name": "lib", "main": "lib.js"}"#)
        .file("lib/lib.js", "module.exports = 'lib ' + require('greeting');\n")
        .file("server.js", "require('http').createServer((q, r) => r.end(require('lib'))).listen(3000);\n")
        .write();
    let router = registry.router(&volume).start().await;
    serves(&router, "lib hello").await;
}

#[tokio::test]
async fn names_that_manifests_give_to_packages_are_found() {
    let (registry, volume) = (registry().await, greeting());
    volume.write("a/main.ts", GREETS.replace("'greeting'", "'@my/name'"));
    volume.write("a/package.json", r#"{"dependencies": {"@my/name": "npm:greeting@1"}}"#);
    let router = registry.router(&volume).start().await;
    serves(&router, "hello").await;
}

#[tokio::test]
async fn packages_that_only_another_package_needs_are_found_with_a_warning() {
    let server =
        "const word = require('word');\nrequire('http').createServer((q, r) => r.end(word)).listen(3000);\n";
    let imports = [("main.ts", GREETS.replace("'greeting'", "'word'")), ("server.js", server.to_owned())];
    for (file, text) in imports {
        let (registry, volume) = (registry().await, Volume::new());
        let package = r#"{"dependencies": {"greeting": "1"}}"#;
        volume.project("a").file(file, text).file("package.json", package).write();
        let router = registry.router(&volume).start().await;
        serves(&router, "hello").await;
        let log = router.log.text();
        assert!(log.contains("Add it (npm install word)") && !log.contains("npm install greeting"), "{log}");
    }
}

#[tokio::test]
async fn packages_that_no_package_needs_are_not_found() {
    let (registry, volume) = (registry().await, greeting());
    volume.write("a/main.ts", GREETS.replace("'greeting'", "'other'"));
    let router = registry.router(&volume).start().await;
    let error = fails(&router).await;
    assert!(error.message.contains("The package \"other\" was not found"), "{}", error.message);
    assert_eq!((error.file.as_deref(), error.line), (Some("main.ts"), Some(1)));
}
