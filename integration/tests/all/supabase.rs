//! A folder of Supabase's functions as a set of projects.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustix::process::Signal;
use serde_json::json;
use switchyard_contract::admin::{ProjectState, ReloadOutcome};
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::client::{Client, request, with_header, with_method};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Builder, Router, State};
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

/// The function of the self-hosted stack that starts the other ones.
const DISPATCHER: &str = "Deno.serve(async (req) => {
    const worker = await EdgeRuntime.userWorkers.create({ servicePath: '/home/deno/functions/hello' });
    return await worker.fetch(req);
});\n";

/// Answers with the path that it receives.
const PATH: &str = "Deno.serve((req) => new Response(new URL(req.url).pathname));\n";

/// A folder of functions as the self-hosted stack has it.
fn functions() -> Volume {
    let volume = Volume::called("functions");
    volume.write("main/index.ts", DISPATCHER);
    volume
}

fn supabase(volume: &Volume) -> Builder {
    Router::builder(volume).unwatched()
}

/// Stops a router gracefully, so that it writes its state.
async fn stop(router: Router) {
    router.signal(Signal::TERM);
    router.ended().await;
}

async fn text(client: &Client, path: &str) -> String {
    client.get(path).await.text()
}

#[tokio::test]
async fn functions_import_the_shared_folder_and_the_import_map_of_the_root() {
    let volume = functions();
    volume.write("_shared/cors.ts", "export const cors = { 'access-control-allow-origin': '*' };\n");
    volume.write("import_map.json", json!({ "imports": { "cors": "./_shared/cors.ts" } }).to_string());
    let serve = "Deno.serve(() => new Response('hello', { headers: cors }));\n";
    volume.write("hello/index.ts", format!("import {{ cors }} from '../_shared/cors.ts';\n{serve}"));
    volume.write("mapped/index.ts", format!("import {{ cors }} from 'cors';\n{serve}"));
    let own = json!({ "imports": { "own": "./own.ts" } });
    volume.write("own/deno.json", own.to_string());
    volume.write("own/own.ts", "export const cors = { 'access-control-allow-origin': 'own' };\n");
    volume.write("own/index.ts", format!("import {{ cors }} from 'own';\n{serve}"));
    let router = supabase(&volume).start().await;
    for (function, origin) in [("hello", "*"), ("mapped", "*"), ("own", "own")] {
        let reply = router.public.get(&format!("/{function}")).await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some(origin)));
    }
    // A change of a shared file changes each function.
    volume.write("_shared/cors.ts", "export const cors = { 'access-control-allow-origin': 'new' };\n");
    assert_eq!(router.admin.reload("mapped").await.outcome, ReloadOutcome::Live);
    let reply = router.public.get("/mapped").await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("new"));
}

#[tokio::test]
async fn the_configuration_of_the_root_holds_for_functions_without_one() {
    let volume = functions();
    volume.write("deno.json", json!({ "imports": { "lib": "./_shared/lib.ts" } }).to_string());
    volume.write("_shared/lib.ts", "export const lib = 'root';\n");
    volume.write("hello/index.ts", "import { lib } from 'lib';\nDeno.serve(() => new Response(lib));\n");
    let router = supabase(&volume).start().await;
    assert_eq!(text(&router.public, "/hello").await, "root");
}

#[tokio::test]
async fn paths_keep_the_name_of_the_function() {
    let volume = functions();
    for function in ["rest", "greet_user", "Upper"] {
        volume.write(&format!("{function}/index.ts"), PATH);
    }
    let router = supabase(&volume).start().await;
    for (path, seen) in [
        ("/functions/v1/rest", "/rest"),
        ("/functions/v1/rest/tasks/1", "/rest/tasks/1"),
        ("/rest/tasks/1", "/rest/tasks/1"),
        ("/greet_user/x", "/greet_user/x"),
        ("/functions/v1/greet_user", "/greet_user"),
        ("/functions/v1/Upper/", "/Upper/"),
    ] {
        assert_eq!(text(&router.public, path).await, seen, "{path}");
    }
    for (host, seen) in [("rest.localhost", "/tasks"), ("greet-user.localhost", "/tasks")] {
        let reply = router.public.send(with_header(request("/tasks"), "host", host)).await;
        assert_eq!(reply.text(), seen, "{host}");
    }
}

#[tokio::test]
async fn the_dispatcher_and_disabled_functions_are_left_out_with_a_note() {
    let volume = functions();
    volume.write("config.toml", "[functions.off]\nenabled = false\n[functions.on]\nverify_jwt = false\n");
    volume.write("off/index.ts", PATH);
    volume.write("on/index.ts", PATH);
    let router = supabase(&volume).start().await;
    let names: Vec<_> = router.admin.projects().await.into_keys().collect();
    assert_eq!(names, ["on"]);
    for says in
        ["main is left out: it starts Supabase's functions", "off is left out: config.toml has enabled"]
    {
        let matches = |record: &serde_json::Value| {
            record["message"].as_str().is_some_and(|message| message.contains(says))
        };
        assert!(router.log.wait_for(matches).await.is_some(), "{says}");
    }
    router.public.get("/main/").await.assert_problem(404, "unknown-project");
}

#[tokio::test]
async fn a_function_that_is_left_out_fails_its_deploy_with_the_reason() {
    let volume = functions();
    volume.write("config.toml", "[functions.off]\nenabled = false\n[functions.on]\nverify_jwt = false\n");
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    bridge.deploy_live("on", &Upload::main(PATH)).await;
    for (function, says) in
        [("off", "config.toml has enabled = false"), ("main", "starts Supabase's functions")]
    {
        let upload = Upload::browser(function, &[("index.ts", DISPATCHER)]);
        let problem = bridge.deploy(function, &upload).await.assert_problem(422, "build-failed");
        let text = problem.to_string();
        assert!(text.contains(&format!("{function} is left out: ")) && text.contains(says), "{text}");
    }
    assert!(!volume.path("off").exists() && volume.read("main/index.ts") == DISPATCHER);
    bridge.clean().await;
}

#[tokio::test]
async fn a_project_called_functions_keeps_its_paths_and_the_conflict_is_shown() {
    let volume = functions();
    volume.write("functions/index.ts", "Deno.serve(() => new Response('functions'));\n");
    volume.write("hello/index.ts", PATH);
    let router = supabase(&volume).start().await;
    assert_eq!(text(&router.public, "/hello/x").await, "/hello/x");
    assert_eq!(text(&router.public, "/functions/v1/hello").await, "functions");
    let conflicts = router.admin.project("hello").await.conflicts;
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert_eq!(conflicts[0].holder.as_deref(), Some("functions"));
}

#[tokio::test]
async fn wait_until_work_runs_after_the_answer_and_before_the_end() {
    let volume = functions();
    let code = "import { appendFileSync, existsSync, readFileSync } from 'node:fs';
        const file = Deno.env.get('DATA_DIR') + '/done';
        Deno.serve(() => {
            const late = new Promise((done) => setTimeout(done, 50)).then(() => appendFileSync(file, 'VERSION '));
            EdgeRuntime.waitUntil(late);
            return new Response(existsSync(file) ? readFileSync(file, 'utf8') : 'none');
        });\n";
    volume.write("work/index.ts", code.replace("VERSION", "one"));
    let router = supabase(&volume).start().await;
    assert_eq!(text(&router.public, "/work").await, "none");
    eventually("the pending work is done", || async {
        text(&router.public, "/work").await.starts_with("one")
    })
    .await;
    // The version is replaced at once after its last answer.
    let before = text(&router.public, "/work").await.matches("one").count();
    volume.write("work/index.ts", code.replace("VERSION", "two"));
    assert_eq!(router.admin.reload("work").await.outcome, ReloadOutcome::Live);
    eventually("the replaced version has ended its work", || async {
        text(&router.public, "/work").await.matches("one").count() > before
    })
    .await;
}

const SECRET: &str = "super-secret-jwt-token-with-at-least-32-characters-long";

/// A token that is signed with [`SECRET`].
fn token(claims: &serde_json::Value) -> String {
    use hmac::Mac as _;
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let signed =
        format!("{}.{}", encode(br#"{"alg":"HS256","typ":"JWT"}"#), encode(claims.to_string().as_bytes()));
    let mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key is taken");
    let signature = mac.chain_update(&signed).finalize().into_bytes();
    format!("{signed}.{}", encode(&signature))
}

#[tokio::test]
async fn tokens_are_verified_according_to_config_toml() {
    let volume = functions();
    volume.write("config.toml", "[functions.open]\nverify_jwt = false\n");
    volume.write("open/index.ts", PATH);
    volume.write("shut/index.ts", PATH);
    let router = supabase(&volume).start().await;
    assert_eq!(text(&router.public, "/open").await, "/open");
    let status = router.admin.project("shut").await;
    let error = status.error.unwrap().message;
    assert_eq!(status.state, ProjectState::Failed);
    assert!(error.contains("JWT_SECRET") && error.contains("[projects.shut.env]"), "{error}");
    stop(router).await;

    volume.write("_policy/policy.toml", format!("[defaults.env]\nJWT_SECRET = \"{SECRET}\"\n"));
    let state = State::new();
    let policy = volume.path("_policy/policy.toml");
    let start = || supabase(&volume).flag("policy", policy.display()).state(&state);
    let router = start().start().await;
    let ask = async |router: &Router, header: Option<String>| {
        let request = request("/shut/x");
        let request = match header {
            Some(value) => with_header(request, "authorization", &value),
            None => request,
        };
        router.public.send(request).await
    };
    eventually("it is live", || async { ask(&router, None).await.status == 401 }).await;
    ask(&router, None).await.assert_problem(401, "unauthorized");
    ask(&router, Some("Bearer x.y.z".to_owned())).await.assert_problem(401, "unauthorized");
    let expired = format!("Bearer {}", token(&json!({ "role": "anon", "exp": 1 })));
    ask(&router, Some(expired)).await.assert_problem(401, "unauthorized");
    let valid = format!("Bearer {}", token(&json!({ "role": "anon" })));
    assert_eq!(ask(&router, Some(valid.clone())).await.text(), "/shut/x");
    let preflight = router.public.send(with_method(http::Method::OPTIONS, "/shut/x")).await;
    assert_eq!(preflight.status, 200);
    stop(router).await;

    // A change of config.toml applies from the next read on.
    let router = start().start().await;
    eventually("it is live again", || async { ask(&router, None).await.status == 401 }).await;
    volume.write("config.toml", "[functions.shut]\nverify_jwt = false\n");
    assert_eq!(router.admin.reload("shut").await.outcome, ReloadOutcome::Live);
    assert_eq!(ask(&router, None).await.text(), "/shut/x");
    volume.write("config.toml", "[functions.shut]\nverify_jwt = true\n");
    assert_eq!(router.admin.reload("shut").await.outcome, ReloadOutcome::Live);
    ask(&router, None).await.assert_problem(401, "unauthorized");
    stop(router).await;

    // The live version verifies tokens as before, regardless of changes on the volume.
    volume.remove("config.toml");
    volume.remove("shut/index.ts");
    let router = start().start().await;
    eventually("the last good version serves", || async {
        ask(&router, Some(valid.clone())).await.status == 200
    })
    .await;
    ask(&router, None).await.assert_problem(401, "unauthorized");
}

#[tokio::test]
async fn tokens_stay_required_if_config_toml_is_missing_or_unreadable() {
    let volume = Volume::called("functions");
    let config = "[functions.shut]\nverify_jwt = true\n";
    volume.write("config.toml", config);
    volume.write("shut/index.ts", PATH);
    volume.write("_policy/policy.toml", format!("[defaults.env]\nJWT_SECRET = \"{SECRET}\"\n"));
    let policy = volume.path("_policy/policy.toml");
    let state = State::new();
    let start = || supabase(&volume).flag("policy", policy.display()).state(&state);
    let mut router = start().start().await;
    router.public.get("/shut/x").await.assert_problem(401, "unauthorized");
    let large = format!("# {}\n{config}", "x".repeat(1 << 20));
    for text in [Some("project_id = \n[functions.shut"), Some(large.as_str()), Some("[other]\n"), None] {
        volume.remove("config.toml");
        if let Some(text) = text {
            volume.write("config.toml", text);
        }
        let report = router.admin.reload("shut").await;
        assert_eq!(report.outcome, ReloadOutcome::Failed, "{text:?}");
        assert!(report.error.unwrap().message.contains("config.toml"));
        router.public.get("/shut/x").await.assert_problem(401, "unauthorized");
        stop(router).await;
        router = start().start().await;
        eventually("it is live", || async { router.public.get("/shut/x").await.status == 401 }).await;
        volume.write("config.toml", config);
        let outcome = router.admin.reload("shut").await.outcome;
        assert!(matches!(outcome, ReloadOutcome::Live | ReloadOutcome::Unchanged), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_function_claims_nothing_of_the_gateways_paths_of_others() {
    let volume = functions();
    for (name, route) in
        [("one", "/functions/v1/late"), ("two", "/functions/v1"), ("own", "/functions/v1/own/x")]
    {
        volume.write(&format!("{name}/index.ts"), PATH);
        let config = json!({ "switchyard": { "routes": [route], "platform": "plain" } });
        volume.write(&format!("{name}/deno.json"), config.to_string());
    }
    let router = supabase(&volume).start().await;
    for (name, state) in
        [("one", ProjectState::Failed), ("two", ProjectState::Failed), ("own", ProjectState::Live)]
    {
        assert_eq!(router.admin.project(name).await.state, state, "{name}");
    }
    volume.write("late/index.ts", PATH);
    assert_eq!(router.admin.reload("late").await.outcome, ReloadOutcome::Live);
    assert_eq!(text(&router.public, "/functions/v1/late/x").await, "/late/x");
}

#[tokio::test]
async fn no_project_makes_functions_of_the_others_and_a_platform_of_its_own_is_built_once() {
    let volume = Volume::new();
    volume.project("blog").file("main.ts", PATH).write();
    volume.write("named/main.ts", PATH);
    volume.write("named/deno.json", json!({ "switchyard": { "platform": "supabase" } }).to_string());
    let router = supabase(&volume).start().await;
    volume.write("main/index.ts", DISPATCHER);
    router.admin.reload("main").await;
    for name in ["blog", "named", "named"] {
        assert_eq!(router.admin.reload(name).await.outcome, ReloadOutcome::Unchanged, "{name}");
    }
    assert_eq!(text(&router.public, "/blog/x").await, "/x");
    assert_eq!(text(&router.public, "/named/x").await, "/named/x");
}

#[tokio::test]
async fn the_owner_of_a_host_label_keeps_it_after_a_restart() {
    let volume = Volume::new();
    volume.project("greet_user").file("main.ts", hello("first")).write();
    let state = State::new();
    let router = supabase(&volume).state(&state).start().await;
    // These come before it by their names.
    for name in ["Greet_User", "greet-user"] {
        volume.project(name).file("main.ts", hello("second")).write();
        assert_eq!(router.admin.reload(name).await.outcome, ReloadOutcome::Failed);
    }
    stop(router).await;
    let router = supabase(&volume).state(&state).start().await;
    let ask = || router.public.send(with_header(request("/"), "host", "greet-user.localhost"));
    eventually("it is live again", || async { ask().await.text() == "first" }).await;
}

#[tokio::test]
async fn two_projects_with_one_label_are_an_error_at_both_and_disturb_none_that_is_live() {
    let volume = Volume::new();
    volume.project("greet-user").file("main.ts", hello("first")).write();
    let router = supabase(&volume).start().await;
    volume.project("greet_user").file("main.ts", hello("second")).write();
    let report = router.admin.reload("greet_user").await;
    assert_eq!(report.outcome, ReloadOutcome::Failed);
    let message = report.error.unwrap().message;
    assert!(message.contains("greet-user") && message.contains("rename"), "{message}");
    assert_eq!(router.admin.project("greet-user").await.conflicts.len(), 1);
    let ask = || router.public.send(with_header(request("/"), "host", "greet-user.localhost"));
    assert_eq!(ask().await.text(), "first");
    volume.remove("greet-user");
    router.admin.reload("greet-user").await;
    eventually("the other one is served", || async { ask().await.text() == "second" }).await;
}
