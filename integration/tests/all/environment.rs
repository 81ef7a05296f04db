//! Projects begin as a program of `deno run` does: with the environment's language, certificates
//! and variables, the features and the vendor folder that deno.json names, and a clock of their
//! own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::router::{Builder, Router};
use switchyard_integration::volume::Volume;
use switchyard_integration::within;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

fn with_policy(volume: &Volume, policy: &str) -> Builder {
    volume.write("_policy/policy.toml", policy);
    Router::builder(volume).unwatched().flag("policy", volume.path("_policy/policy.toml").display())
}

/// A project that answers with a value, and with the value that a web worker computes.
fn main_with_worker(expression: &str) -> String {
    format!(
        "const worker = new Worker(import.meta.resolve('./worker.js'), {{ type: 'module' }});\n\
         const theirs = new Promise((told) => worker.onmessage = (event) => told(event.data));\n\
         const own = {expression};\n\
         export default {{ fetch: async () => Response.json([own, await theirs]) }};\n"
    )
}

fn write_with_worker(volume: &Volume, project: &str, expression: &str) {
    volume.write(&format!("{project}/worker.js"), format!("postMessage({expression});\n"));
    volume.write(&format!("{project}/main.js"), main_with_worker(expression));
}

async fn answer_of(router: &Router, project: &str) -> Value {
    router.public.get(&format!("/{project}/")).await.json()
}

async fn logged(router: &Router, text: &str) -> Value {
    let matches = |line: &Value| line["message"].as_str().is_some_and(|message| message.contains(text));
    within(&format!("the log says {text:?}"), router.log.wait_for(matches)).await.expect("logging continues")
}

#[tokio::test]
async fn node_env_is_production_by_default() {
    let library = "module.exports = process.env.NODE_ENV === 'production' ? 'terse' : 'verbose';";
    let main = "import library from 'library';\nimport condition from 'library/condition';\n\
                export default { fetch: () => Response.json([process.env.NODE_ENV, library, condition]) };";
    let volume = Volume::new();
    for project in ["a", "b", "c"] {
        volume.write(&format!("{project}/main.mjs"), main);
        let package = json!({"name": "library", "exports": {".": "./index.js", "./condition": {
            "development": "./d.js", "production": "./p.js", "default": "./neither.js"}}});
        let folder = format!("{project}/node_modules/library");
        volume.write(&format!("{folder}/package.json"), package.to_string());
        volume.write(&format!("{folder}/index.js"), library);
        for name in ["d", "p", "neither"] {
            volume.write(&format!("{folder}/{name}.js"), format!("module.exports = '{name}';"));
        }
    }
    volume.write("c/deno.json", r#"{"switchyard": {"env": {"NODE_ENV": "own"}}}"#);
    let policy = "[projects.b.env]\nNODE_ENV = \"staging\"\n";
    let expected = |own: &str, library: &str| json!([own, library, "neither"]);
    let router = with_policy(&volume, policy).start().await;
    assert_eq!(answer_of(&router, "a").await, expected("production", "terse"));
    assert_eq!(answer_of(&router, "b").await, expected("staging", "verbose"));
    assert_eq!(answer_of(&router, "c").await, expected("own", "verbose"));
    let granted = router.admin.project("a").await.grants.expect("it has some").granted.env;
    assert!(granted.contains(&"NODE_ENV".to_owned()), "{granted:?}");
    drop(router);
    let router = with_policy(&volume, policy).flag("dev", "").start().await;
    assert_eq!(answer_of(&router, "a").await, expected("development", "verbose"));
    assert_eq!(answer_of(&router, "b").await, expected("staging", "verbose"));
}

#[tokio::test]
async fn the_language_is_the_one_that_the_environment_names() {
    let volume = Volume::new();
    let expression =
        "[navigator.language, Intl.NumberFormat().resolvedOptions().locale, (1234.5).toLocaleString()]";
    for project in ["a", "b", "c"] {
        write_with_worker(&volume, project, expression);
    }
    let policy = "[projects.b.env]\nLANG = \"de_DE.UTF-8\"\n\
                  [projects.c.env]\nLANG = \"de_DE.UTF-8\"\nLC_ALL = \"fr_CH\"\n";
    let router = with_policy(&volume, policy).env("LANG", "ja_JP.UTF-8").start().await;
    let both = |answer_of: Value| json!([answer_of, answer_of]);
    assert_eq!(answer_of(&router, "a").await, both(json!(["en-US-u-va-posix", "en-US", "1,234.5"])));
    assert_eq!(answer_of(&router, "b").await, both(json!(["de-DE", "de-DE", "1.234,5"])));
    let swiss = answer_of(&router, "c").await;
    assert_eq!(json!([swiss[0][0], swiss[1][1]]), json!(["fr-CH", "fr-CH"]), "{swiss}");
}

#[tokio::test]
async fn a_version_is_as_old_as_its_process_serves_it() {
    let volume = Volume::new();
    let router = Router::start(&volume).await;
    let written = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() * 1000.0;
    let main = "import process from 'node:process';\nimport threads from 'node:worker_threads';\n\
        const age = () => [process.uptime() * 1000, performance.now(), performance.timeOrigin];\n\
        const began = [...age(), Number(process.hrtime.bigint()), Math.random(), crypto.randomUUID()];\n\
        const code = \"import process from 'node:process'; import { parentPort } from 'node:worker_threads';\
            parentPort.postMessage([process.uptime() * 1000, performance.now(), performance.timeOrigin]);\";\n\
        const thread = new threads.Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));\n\
        const theirs = new Promise((told) => thread.on('message', told));\n\
        export default { fetch: async () => Response.json([began, await theirs, age(), Number(process.hrtime.bigint()), Date.now()]) };\n";
    volume.write("a/main.mjs", main);
    volume.write("b/main.mjs", main);
    let mut events = router.events().await;
    events.wait_live("a").await;
    events.wait_live("b").await;
    let (a, b) = (answer_of(&router, "a").await, answer_of(&router, "b").await);
    for answer_of in [&a, &b] {
        let number = |value: &Value| value.as_f64().expect("it is a number");
        let asked = number(&answer_of[4]);
        for age in [&answer_of[0], &answer_of[1], &answer_of[2]] {
            let (uptime, now, origin) = (number(&age[0]), number(&age[1]), number(&age[2]));
            // Times in milliseconds are compared roughly, because the wall clock may be set while
            // the test runs.
            assert!(origin >= written - 1.0, "it began {origin}, and its files came {written}");
            assert!(uptime <= asked - written + 1.0 && now <= asked - written + 1.0, "{answer_of}");
        }
        assert!(number(&answer_of[3]) > number(&answer_of[0][3]), "the clock goes forward: {answer_of}");
    }
    assert_ne!((&a[0][4], &a[0][5]), (&b[0][4], &b[0][5]), "random numbers differ");
}

#[tokio::test]
async fn features_that_deno_json_names_exist_in_workers_too() {
    let volume = Volume::new();
    let expression = "[({}).__proto__ === Object.prototype, typeof WebSocketStream, typeof CSSStyleSheet]";
    write_with_worker(&volume, "a", expression);
    write_with_worker(&volume, "b", expression);
    let named = ["unsafe-proto", "raw-imports", "worker-options", "no-such-thing", "fmt-sql"];
    volume.write("b/deno.json", json!({"unstable": named}).to_string());
    let router = Router::start(&volume).await;
    let both = |answer_of: Value| json!([answer_of, answer_of]);
    assert_eq!(answer_of(&router, "a").await, both(json!([false, "function", "undefined"])));
    assert_eq!(answer_of(&router, "b").await, both(json!([true, "function", "function"])));
    logged(&router, "'no-such-thing' isn't a valid unstable feature").await;
    let others = ["unsafe-proto", "fmt-sql"].map(|name| format!("'{name}' isn't"));
    assert!(!others.iter().any(|text| router.log.text().contains(text)), "{}", router.log.text());
}

#[tokio::test]
async fn proto_is_as_javascript_has_it_where_it_is_turned_on() {
    let main = "class A {} const a = {}; a.__proto__ = A.prototype; const b = { x: 1 }; b.__proto__ = 3; const n = Object.create(null); n.__proto__ = 5;\n\
        let thrown = []; for (const act of [() => { Object.preventExtensions({}).__proto__ = A.prototype; }, () => Reflect.set(Object.freeze({}), '__proto__', null) && 0, () => Object.getOwnPropertyDescriptor(Object.prototype, '__proto__').get.call(null)]) { try { act(); thrown.push('no'); } catch (e) { thrown.push(e.name); } }\n\
        export default { fetch: () => Response.json([a instanceof A, b.__proto__ === Object.prototype, n.__proto__, (5).__proto__ === Number.prototype, thrown]) };";
    let volume = Volume::with("a", main);
    volume.write("a/deno.json", r#"{"unstable": ["unsafe-proto"]}"#);
    let router = Router::start(&volume).await;
    let expected = json!([true, true, 5, true, ["TypeError", "TypeError", "TypeError"]]);
    assert_eq!(answer_of(&router, "a").await, expected);
}

#[tokio::test]
async fn options_of_workers_work_if_they_are_enabled() {
    let main = "const worker = new Worker(import.meta.resolve('./worker.js'), { type: 'module', deno: { permissions: 'none' } });\n\
        const theirs = new Promise((told) => worker.onmessage = (event) => told(event.data));\n\
        export default { fetch: async () => Response.json(await theirs) };";
    let volume = Volume::with("a", main);
    volume.write(
        "a/worker.js",
        "try { Deno.readTextFileSync('x'); } catch (error) { postMessage(error.name); }",
    );
    volume.write("a/deno.json", r#"{"unstable": ["worker-options"]}"#);
    let router = Router::start(&volume).await;
    // The project's own file is outside the worker's permissions.
    assert_eq!(answer_of(&router, "a").await, "NotFound");
}

#[tokio::test]
async fn variables_that_node_and_deno_read_at_their_start_are_read() {
    let volume = Volume::new();
    let main = "import { debuglog } from 'node:util';\nimport condition from 'library';\n\
        debuglog('mine')('this is %s', 'debugged'); debuglog('other')('this is not');\n\
        export default { fetch: () => new Response(condition) };";
    volume.write("a/main.mjs", main);
    let package = json!({"name": "library", "exports": {"edge": "./edge.js", "default": "./plain.js"}});
    volume.write("a/node_modules/library/package.json", package.to_string());
    volume.write("a/node_modules/library/edge.js", "module.exports = 'edge';");
    volume.write("a/node_modules/library/plain.js", "module.exports = 'plain';");
    let policy = "[projects.a.env]\nNODE_DEBUG = \"mine\"\nDENO_CONDITIONS = \"worker, edge\"\n";
    let router = with_policy(&volume, policy).start().await;
    assert_eq!(router.public.get("/a/").await.text(), "edge");
    logged(&router, "this is debugged").await;
    assert!(!router.log.text().contains("this is not"), "{}", router.log.text());
}

#[tokio::test]
async fn remote_modules_are_loaded_from_the_vendor_folder() {
    let volume = Volume::new();
    let main = "import { x } from 'https://vendored.test/mod.ts';\nimport { y } from 'jsr:@a/b@1';\n\
        const worker = new Worker(import.meta.resolve('./worker.js'), { type: 'module' });\n\
        const theirs = new Promise((told) => worker.onmessage = (event) => told(event.data));\n\
        export default { fetch: async () => { const { z } = await import('https://vendored.test/lazy.ts'); \
        return new Response([x, y, z, await theirs].join(' ')); } };";
    volume.write("a/main.ts", main);
    volume.write(
        "a/worker.js",
        "import { x } from 'https://vendored.test/mod.ts'; postMessage(`worker ${x}`);",
    );
    volume.write("a/deno.json", r#"{"vendor": true}"#);
    let text = |name: &str, value: &str| format!("export const {name}: string = '{value}';\n");
    volume.write("a/vendor/vendored.test/mod.ts", "export { x } from './deep/x.ts';");
    volume.write("a/vendor/vendored.test/deep/x.ts", text("x", "remote"));
    volume.write("a/vendor/vendored.test/lazy.ts", text("z", "lazy"));
    volume.write("a/vendor/jsr.io/@a/b/meta.json", r#"{"versions": {"1.0.0": {}}}"#);
    let info = r#"{"exports": {".": "./mod.ts"}, "manifest": {}}"#;
    volume.write("a/vendor/jsr.io/@a/b/1.0.0_meta.json", info);
    volume.write("a/vendor/jsr.io/@a/b/1.0.0/mod.ts", text("y", "package"));
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.text(), "remote package lazy worker remote");

    // Missing packages are named, with the fix; without the setting the folder is not read.
    volume.replace(
        "a/main.ts",
        "import 'https://vendored.test/other.ts';\nexport default { fetch: () => new Response() };",
    );
    let report = router.admin.reload("a").await;
    let error = report.error.expect("it does not build");
    assert_eq!(
        (report.outcome, error.file.as_deref(), error.line),
        (ReloadOutcome::Failed, Some("main.ts"), Some(1))
    );
    assert!(
        error.message.contains("https://vendored.test/other.ts") && error.message.contains("vendor/"),
        "{error:?}"
    );
    volume.write("b/main.ts", "import { z } from 'https://vendored.test/lazy.ts';\nexport default { fetch: () => new Response(z) };");
    volume.write("b/vendor/vendored.test/lazy.ts", text("z", "lazy"));
    assert_eq!(router.admin.reload("b").await.outcome, ReloadOutcome::Failed);
}

/// An authority of a company, and a server on this machine that only it has certified.
struct Company {
    folder: TempDir,
    port: u16,
    _server: Child,
}

impl Company {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"];
        let authority = ["-subj", "/CN=Company", "-addext", "basicConstraints=critical,CA:TRUE"];
        openssl(
            folder.path(),
            ["req", "-x509", "-keyout", "ca.key", "-out", "ca.pem"],
            &[&key[..], &authority].concat(),
        );
        let server = [
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=CA:FALSE",
        ];
        let signed = ["-CA", "ca.pem", "-CAkey", "ca.key"];
        openssl(
            folder.path(),
            ["req", "-x509", "-keyout", "key", "-out", "pem"],
            &[&key[..], &server, &signed].concat(),
        );
        let mut command = tokio::process::Command::new("openssl");
        command.args([
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-cert",
            "pem",
            "-key",
            "key",
            "-www",
            "-naccept",
            "64",
        ]);
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut server = command.spawn().expect("openssl is installed: tools/deps test");
        let mut lines = BufReader::new(server.stdout.take().expect("it is piped")).lines();
        let port = within("the server listens", async {
            loop {
                let line = lines.next_line().await.expect("it prints text").expect("it keeps serving");
                if let Some((_, port)) = line.strip_prefix("ACCEPT").and_then(|at| at.rsplit_once(':')) {
                    break port.trim().parse().expect("it is a port");
                }
            }
        })
        .await;
        // The process ends with a pipe that has no reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { folder, port, _server: server }
    }

    fn pem(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

fn openssl(folder: &Path, first: [&str; 6], more: &[&str]) {
    let made = Command::new("openssl").args(first).args(more).current_dir(folder).output();
    let made = made.expect("openssl is installed: tools/deps test");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Sends the server at `port` a request in every available way, and answers with each outcome.
fn asking(port: u16) -> String {
    format!(
        "import https from 'node:https';\nimport tls from 'node:tls';\nconst port = {port};\nconst url = `https://127.0.0.1:${{port}}/`;\n\
         const ways = {{\n\
             fetch: async () => {{ const answer = await fetch(url); await answer.text(); return answer.status; }},\n\
             https: () => new Promise((done, failed) => https.get(url, (answer) => answer.resume().on('end', () => done(answer.statusCode))).on('error', failed)),\n\
             deno: async () => {{ const c = await Deno.connectTls({{ hostname: '127.0.0.1', port }}); await c.handshake(); c.close(); return 200; }},\n\
         }};\n\
         export default {{ async fetch() {{\n\
             const told = {{}};\n\
             for (const [name, ask] of Object.entries(ways)) told[name] = await ask().catch(() => 'refused');\n\
             return Response.json(told);\n\
         }} }};\n"
    )
}

#[tokio::test]
async fn a_companys_authority_is_believed_where_the_environment_names_it() {
    let company = Company::start().await;
    let volume = Volume::new();
    for project in ["a", "b", "c", "d", "e"] {
        volume.write(&format!("{project}/main.mjs"), asking(company.port));
    }
    let pem = std::fs::read_to_string(company.pem()).expect("it was made");
    volume.write("b/certs/ca.pem", &pem);
    volume.write("e/ca.pem", &pem);
    let (port, folder, path) =
        (company.port, company.folder.path().display(), company.pem().display().to_string());
    let policy = format!(
        "[defaults.permissions]\nprivate_net = [\"127.0.0.1:{port}\"]\n\
         [projects.b.env]\nNODE_EXTRA_CA_CERTS = \"certs/ca.pem\"\n\
         [projects.c.permissions]\nread = [\"{folder}\"]\n[projects.c.env]\nNODE_EXTRA_CA_CERTS = \"{path}\"\n\
         [projects.d.env]\nNODE_EXTRA_CA_CERTS = \"{path}\"\n[projects.e.env]\nDENO_CERT = \"ca.pem\"\n"
    );
    let router = with_policy(&volume, &policy).start().await;
    let all = |how: Value| json!({"fetch": how, "https": how, "deno": how});
    assert_eq!(answer_of(&router, "a").await, all(json!("refused")));
    assert_eq!(answer_of(&router, "b").await, all(json!(200)), "a file of the project");
    assert_eq!(answer_of(&router, "c").await, all(json!(200)), "a file that the policy lets it read");
    let closed = answer_of(&router, "d").await;
    assert_eq!(closed, all(json!("refused")), "a file of another owner");
    let warning = logged(&router, "NODE_EXTRA_CA_CERTS names").await;
    let message = warning["message"].as_str().unwrap_or_default();
    assert!(message.contains(&path) && message.contains("permissions.read"), "{message}");
    assert_eq!(warning["project.name"], "d", "{warning}");
    let deno = answer_of(&router, "e").await;
    assert_eq!(json!([deno["fetch"], deno["deno"]]), json!([200, 200]), "Deno's own variable");
}

#[tokio::test]
async fn no_file_of_another_owner_is_read_by_naming_it_in_the_variable_later() {
    let volume = Volume::new();
    volume.write("_others/ca.pem", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n");
    let path = volume.path("_others/ca.pem").display().to_string();
    let main = format!(
        "import tls from 'node:tls';\nprocess.env.NODE_EXTRA_CA_CERTS = '{path}';\n\
         const ask = () => {{ try {{ return tls.getCACertificates('extra').length; }} catch (e) {{ return e.name; }} }};\n\
         export default {{ fetch: () => Response.json(ask()) }};"
    );
    volume.write("a/main.mjs", main);
    let router = Router::start(&volume).await;
    let answer_of = answer_of(&router, "a").await;
    // On a kernel that cannot confine projects to their files, every call is refused.
    assert!(answer_of == 0 || answer_of == "NotCapable", "{answer_of}");
}
