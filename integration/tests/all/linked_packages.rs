//! The `node_modules` folders below a project's own one, and packages that are links: to stores, to
//! other folders of packages and back into the project.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::cli::run;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::Probe;
use switchyard_integration::router::{Router, State};
use switchyard_integration::volume::Volume;

/// Returns the source of a server that answers with the value of an expression.
fn common(imports: &str, value: &str) -> String {
    format!(
        "{imports};\nrequire('node:http').createServer((_, to) => to.end(String({value}))).listen(3000);\n"
    )
}

fn module(imports: &str, value: &str) -> String {
    format!("{imports};\nexport default {{ fetch: () => new Response(String({value})) }};\n")
}

fn entry(volume: &Volume, project: &str, entry: &str) {
    volume.write(&format!("{project}/deno.json"), format!(r#"{{"switchyard": {{"entry": "{entry}"}}}}"#));
}

async fn answers(router: &Router, project: &str, text: &str) {
    let path = format!("/{project}/");
    eventually(&format!("{project} answers {text}"), || async {
        router.public.get(&path).await.text() == text
    })
    .await;
}

/// The output of a build, with packages of its own.
fn output(volume: &Volume, word: &str) {
    volume.write("a/.output/server/node_modules/dep/package.json", r#"{"name": "dep", "main": "lib/i"}"#);
    volume.write("a/.output/server/node_modules/dep/lib/i.js", format!("module.exports = '{word}';\n"));
}

#[tokio::test]
async fn an_output_with_packages_of_its_own_is_served_and_follows_them() {
    let volume = Volume::new();
    entry(&volume, "a", ".output/server/index.mjs");
    let requires = "import dep from 'dep';\nimport { createRequire } from 'node:module';\n\
                    const same = createRequire(import.meta.url)('dep') === dep";
    volume.write("a/.output/server/index.mjs", module(requires, "`${dep} ${same}`"));
    output(&volume, "one");
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    answers(&router, "a", "one true").await;
    let probe = Probe::start(&router.public, "/a/").await;
    // Builds do the same: they write beside the old folder, then move the result into its place.
    volume.rename("a/.output/server/node_modules/dep", "a/.output/server/node_modules/.old");
    output(&volume, "two");
    answers(&router, "a", "two true").await;
    probe.finish().await.no_failures();

    volume.remove("a/.output/server/node_modules");
    events.wait_failed("a").await;
    let error = router.admin.project("a").await.error.expect("it fails");
    assert!(error.message.contains("dep"), "{error:?}");
    assert_eq!(router.public.get("/a/").await.text(), "two true", "the last good version stays");
}

#[tokio::test]
async fn a_version_with_nested_and_linked_packages_is_restored_after_a_restart() {
    let (volume, state) = (Volume::new(), State::new());
    entry(&volume, "a", "packages/app/main.cjs");
    volume.write(
        "a/packages/app/main.cjs",
        common("const a = require('@me/say'), b = require('dep')", "a + b"),
    );
    volume.write("a/packages/app/node_modules/dep/index.js", "module.exports = 'dep';\n");
    volume.write("a/packages/say/index.js", "module.exports = 'say';\n");
    volume.write("a/node_modules/other/index.js", "");
    volume.link("../../packages/say", "a/node_modules/@me/say");
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    assert_eq!(router.public.get("/a/").await.text(), "saydep");
    router.stop().await;
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    assert_eq!(router.public.get("/a/").await.text(), "saydep");
}

#[tokio::test]
async fn linked_packages_are_found_by_require_and_import_and_loaded_once() {
    let volume = Volume::new();
    let store = "node_modules/.pnpm";
    let in_common = common(
        "const member = require('member'), again = require('./members/one/i.js'), mine = require('mine/v'), plug = require('plug')",
        "[member.word, member === again, globalThis.loads, require('dep'), mine, plug, require('side')]",
    );
    let as_module = module(
        "import member from 'member';\nimport again from './members/one/i.js';\nimport dep from 'dep';\nimport mine from 'mine/v';\n\
         import plug from 'plug/m.mjs';\nimport { createRequire } from 'node:module';\nimport side from 'side'",
        "[member.word, member === again && createRequire(import.meta.url)('member') === again, globalThis.loads, dep, mine, plug, side]",
    );
    for (project, main, text) in [("c", "main.cjs", in_common), ("m", "main.mjs", as_module)] {
        let path = |path: &str| format!("{project}/{path}");
        entry(&volume, project, main);
        volume.write(&path(main), text);
        volume.write(&path("package.json"), r#"{"name": "mine", "exports": {"./v": "./v.cjs"}}"#);
        volume.write(&path("v.cjs"), "module.exports = 'own';\n");
        // A member of a workspace, or a `file:` dependency.
        volume.write(&path("members/one/package.json"), r#"{"name": "member", "exports": {".": "./i.js"}}"#);
        let counting =
            "globalThis.loads = (globalThis.loads ?? 0) + 1;\nmodule.exports = { word: 'member' };\n";
        volume.write(&path("members/one/i.js"), counting);
        volume.link("../members/one", &path("node_modules/member"));
        // An installed package that needs it.
        volume.write(
            &path("node_modules/plug/index.js"),
            "module.exports = `plug ${require('member').word}`;\n",
        );
        volume.write(
            &path("node_modules/plug/m.mjs"),
            "import member from 'member';\nexport default `plug ${member.word}`;\n",
        );
        // The layout of pnpm.
        volume.write(
            &path(&format!("{store}/dep@1/node_modules/dep/package.json")),
            r#"{"exports": "./d.js"}"#,
        );
        volume.write(
            &path(&format!("{store}/dep@1/node_modules/dep/d.js")),
            "module.exports = `dep ${require('sub')} ${require('member').word}`;\n",
        );
        volume.write(&path(&format!("{store}/sub@1/node_modules/sub/index.js")), "module.exports = 'sub';\n");
        volume.link("../../sub@1/node_modules/sub", &path(&format!("{store}/dep@1/node_modules/sub")));
        volume.link(".pnpm/dep@1/node_modules/dep", &path("node_modules/dep"));
        volume.link("../../../../members/one", &path(&format!("{store}/dep@1/node_modules/member")));
        // From one folder of packages to another.
        volume.write(&path("x/node_modules/side/index.js"), "module.exports = 'side';\n");
        volume.link("../x/node_modules/side", &path("node_modules/side"));
    }
    let router = Router::builder(&volume).unwatched().start().await;
    let expected = "member,true,1,dep sub member,own,plug member,side";
    for project in ["c", "m"] {
        let status = router.admin.project(project).await;
        let answer = router.public.get(&format!("/{project}/")).await.text();
        assert_eq!(answer, expected, "{project}: {:?}", status.error);
    }
}

#[tokio::test]
async fn a_members_code_is_that_of_the_version_and_its_changes_are_a_version() {
    let volume = Volume::new();
    volume.write("a/packages/say/package.json", r#"{"name": "say", "type": "module", "exports": "./i.ts"}"#);
    volume.write("a/packages/say/i.ts", "export const word: string = 'one';\n");
    volume.link("../packages/say", "a/node_modules/say");
    volume.write(
        "a/main.ts",
        "export default { fetch: async () => new Response((await import('say')).word) };\n",
    );
    let router = Router::builder(&volume).unwatched().start().await;
    volume.write("a/packages/say/i.ts", "export const word: string = 'two';\n");
    assert_eq!(router.public.get("/a/").await.text(), "one", "also when it is first imported later");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    assert_eq!(router.public.get("/a/").await.text(), "two");

    volume.write("a/packages/say2/package.json", r#"{"name": "say", "type": "module", "exports": "./i.ts"}"#);
    volume.write("a/packages/say2/i.ts", "export const word: string = 'three';\n");
    volume.remove("a/node_modules/say");
    volume.link("../packages/say2", "a/node_modules/say");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    assert_eq!(router.public.get("/a/").await.text(), "three");
}

#[tokio::test]
async fn errors_in_a_package_are_reported_with_its_file() {
    let volume = Volume::with("victim", hello("victim"));
    volume.write("victim/package.json", r#"{"name": "victim", "main": "main.ts"}"#);
    let leads_out = "the symbolic link node_modules/v leads out of the project, to ../../victim";
    let cases = [
        ("out", "\"v\"", leads_out),
        ("gone", "\"v\"", "the symbolic link node_modules/v leads to nothing, to ../gone"),
        ("denied", "node_modules/v/package.json", "permission denied"),
        ("broken", "node_modules/v/package.json", "Invalid package config"),
    ];
    for (name, ..) in cases {
        for (project, main, text) in [
            (format!("{name}-m"), "main.mjs", module("import v from 'v'", "v")),
            (format!("{name}-c"), "main.cjs", common("const v = require('v')", "v")),
        ] {
            entry(&volume, &project, main);
            volume.write(&format!("{project}/{main}"), text);
            volume.write(&format!("{project}/package.json"), r#"{"dependencies": {"v": "1"}}"#);
            let package = format!("{project}/node_modules/v/package.json");
            match name {
                "out" => volume.link("../../victim", &format!("{project}/node_modules/v")),
                "gone" => volume.link("../gone", &format!("{project}/node_modules/v")),
                _ => {
                    volume.write(&package, if name == "broken" { "{ nope" } else { r#"{"main": "m.js"}"# });
                    volume.write(&format!("{project}/node_modules/v/index.js"), "");
                    volume.write(&format!("{project}/node_modules/v/m.js"), "");
                }
            }
            if name == "denied" {
                std::fs::set_permissions(volume.path(&package), Permissions::from_mode(0o000)).unwrap();
            }
        }
    }
    let router = Router::builder(&volume).unwatched().start().await;
    for (name, file, why) in cases {
        for kind in ["m", "c"] {
            let error =
                router.admin.project(&format!("{name}-{kind}")).await.error.expect("it fails").message;
            let is_nodes_own = name == "gone" && kind == "c";
            let why = if is_nodes_own { "Cannot find module 'v'" } else { why };
            assert!(error.contains(why), "{name}-{kind}: {error}");
            assert!(
                is_nodes_own || kind == "c" && name == "out" || error.contains(file),
                "{name}-{kind}: {error}"
            );
            assert!(
                name == "broken" || !error.contains("ERR_INVALID_PACKAGE_CONFIG"),
                "{name}-{kind}: {error}"
            );
            let is_missing = is_nodes_own || error.contains("--allow-install");
            assert!(!is_missing || name == "gone", "{name}-{kind}: {error}");
            assert!(!error.contains(volume.root().to_str().unwrap()), "{name}-{kind}: {error}");
        }
    }
}

#[tokio::test]
async fn packages_below_the_project_that_are_a_link_are_not_built() {
    let volume = Volume::with("victim", hello("victim"));
    volume.project("a").file("main.ts", hello("a")).file("lib/x.ts", "").write();
    volume.link("../../victim", "a/lib/node_modules");
    let router = Router::builder(&volume).unwatched().start().await;
    let error = router.admin.project("a").await.error.expect("it fails").message;
    assert!(error.starts_with("lib/node_modules is a symbolic link"), "{error}");
}

#[tokio::test]
async fn a_deploy_keeps_links_among_packages_and_the_packages_of_an_output() {
    let (volume, source) = (Volume::new(), Volume::new());
    entry(&source, "site", ".output/server/index.mjs");
    let store = "site/.output/server/node_modules/.pnpm";
    source.write(
        "site/.output/server/index.mjs",
        module("import dep from 'dep';\nimport say from 'say'", "`${dep} ${say}`"),
    );
    source.write("site/.output/server/package.json", r#"{"dependencies": {"dep": "1"}}"#);
    source.write(
        &format!("{store}/dep@1/node_modules/dep/index.js"),
        "module.exports = `dep ${require('sub')}`;\n",
    );
    source.write(&format!("{store}/sub@1/node_modules/sub/index.js"), "module.exports = 'sub';\n");
    source.link("../../sub@1/node_modules/sub", &format!("{store}/dep@1/node_modules/sub"));
    source.link(".pnpm/dep@1/node_modules/dep", "site/.output/server/node_modules/dep");
    source.write("site/packages/say/index.js", "module.exports = 'say';\n");
    source.link("../packages/say", "site/node_modules/say");
    source.write("site/.gitignore", ".output\nnode_modules\n");
    let router = Router::start(&volume).await;
    let bridge = Bridge::builder(&volume).router(&router).start().await;
    bridge.asks_all().await;
    let outcome = run(&bridge, &["deploy", source.path("site").to_str().unwrap()]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert_eq!(router.public.get("/site/").await.text(), "dep sub say");
    let link = std::fs::read_link(volume.path("site/node_modules/say")).unwrap();
    assert_eq!(link.to_str(), Some("../packages/say"), "its code is the project's");
}
