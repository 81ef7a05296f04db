//! The operator's policy: the permissions of projects, and the effect of changes.

use rustix::process::Signal;
use serde_json::{Value, json};
use switchyard_contract::admin::{ProjectState, ReloadOutcome};
use switchyard_contract::event::{EventType, Trigger};
use switchyard_integration::client::Client;
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::Probe;
use switchyard_integration::router::{Builder, Router};
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

const SECRET: &str = "hunter2-0123456789";

/// Answers with all of its environment.
const ENV: &str = "export default { fetch: () => Response.json(Deno.env.toObject()) };\n";

/// A project that cannot be served without a variable.
const NEEDY: &str = "const key = Deno.env.get('KEY');
    if (!key) throw new Error('there is no KEY');
    export default { fetch: () => new Response(key) };\n";

/// A router whose policy is a file beside the projects.
fn with_policy(volume: &Volume, policy: &str) -> Builder {
    volume.write("_policy/policy.toml", policy);
    Router::builder(volume).unwatched().flag("policy", volume.path("_policy/policy.toml").display())
}

fn change_policy(router: &Router, volume: &Volume, policy: &str) {
    volume.replace("_policy/policy.toml", policy);
    router.signal(Signal::HUP);
}

async fn env(client: &Client, project: &str) -> Value {
    client.get(&format!("/{project}/")).await.json()
}

/// Waits for a line of the log, including lines already written.
async fn logged(router: &Router, text: &str) {
    let matches = |record: &Value| record["message"].as_str().is_some_and(|message| message.contains(text));
    let found = within(&format!("the log says {text:?}"), router.log.wait_for(matches)).await;
    assert!(found.is_some(), "the log ended without {text:?}");
}

#[tokio::test]
async fn all_that_is_wrong_with_a_policy_is_named_and_the_start_refused() {
    let volume = Volume::new();
    let policy = format!(
        "[defaults.limits]\nmemory = \"lots\"\ncolour = 1\n[projects.blog.env]\nTMPDIR = \"{SECRET}\"\n\
         KEY = {{ from_file = \"gone\" }}\n[projects.\"Bl.og\"]\n"
    );
    let ended = with_policy(&volume, &policy).flag("keep", 5).run_to_end().await;
    assert_eq!(ended.status.code(), Some(64));
    let text = ended.log.text();
    for says in [
        "policy.toml:2:10: defaults.limits.memory: invalid size \"lots\": expected 256MB",
        "policy.toml:3:10: defaults.limits.colour: unknown key: expected one of memory,",
        "policy.toml:5:10: projects.blog.env.TMPDIR: is reserved",
        "projects.blog.env.KEY: ",
        "/_policy/gone cannot be read",
        "projects.Bl.og: invalid project name \"Bl.og\"",
    ] {
        assert!(text.contains(says), "{says:?} is not in {text}");
    }
    assert_eq!(text.matches("--policy: ").count(), 5, "{text}");
    assert!(!text.contains(SECRET), "{text}");
}

#[tokio::test]
async fn a_secret_reaches_its_project_and_nothing_else() {
    let volume = Volume::with("a", ENV);
    volume.project("b").file("main.ts", ENV).write();
    volume.write("_policy/key", format!("{SECRET}\n"));
    let policy = format!(
        "[defaults.env]\nREGION = \"north\"\n[projects.a.env]\nKEY = {{ from_file = \"key\" }}\nINLINE = \"{SECRET}-2\"\n\
         [projects.gone.env]\nKEY = {{ from_file = \"key\" }}"
    );
    let router = with_policy(&volume, &policy).start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    events.wait_live("b").await;
    let own = env(&router.public, "a").await;
    assert_eq!(
        (&own["KEY"], &own["INLINE"], &own["REGION"]),
        (&json!(SECRET), &json!(format!("{SECRET}-2")), &json!("north"))
    );
    let others = env(&router.public, "b").await;
    assert_eq!(others["REGION"], "north");
    assert!(!others.to_string().contains(SECRET), "{others}");
    let granted = router.admin.project("a").await.grants.unwrap().granted.env;
    assert!(granted.contains(&"KEY".to_owned()) && granted.contains(&"INLINE".to_owned()), "{granted:?}");

    // Neither a failure of the project nor a change of the policy reveals it.
    volume.replace("a/main.ts", "nothing that parses (");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Failed);
    change_policy(
        &router,
        &volume,
        &format!("[defaults.env]\nKEY = \"{SECRET}\"\nLD_PRELOAD = \"{SECRET}\""),
    );
    logged(&router, "--policy is invalid, keeping its old content").await;
    for path in ["/projects", "/projects/a", "/metrics", "/projects/b"] {
        let text = router.admin.client.get(path).await.text();
        assert!(!text.contains(SECRET), "{path}: {text}");
    }
    let all_events = serde_json::to_string(&events.all()).unwrap();
    assert!(!all_events.contains(SECRET), "{all_events}");
    assert!(!router.public.get("/a/nowhere").await.headers.iter().any(|(_, value)| value == SECRET));
    let log = router.log.text();
    assert!(!log.contains(SECRET), "{log}");
    let ended = router.stop().await;
    assert!(!ended.log.text().contains(SECRET));
}

#[tokio::test]
async fn requested_granted_and_refused_permissions_are_shown_side_by_side() {
    let volume = Volume::new();
    let config = json!({"permissions": {"default": {
        "read": ["./data", "/etc"],
        "net": ["api.example.com:443", "other.net"],
        "run": true
    }}});
    volume.project("a").file("main.ts", hello("a")).file("deno.json", config.to_string()).write();
    let policy = "[defaults.permissions]\nnet = [\"*.example.com\"]\n\
                  [defaults.limits]\nmax_queued = 7\nevent_loop = \"2s\"";
    let router = with_policy(&volume, policy).flag("max-body", 1000).start().await;
    let grants = router.admin.project("a").await.grants.unwrap();
    assert_eq!(grants.requested.read, ["./data", "/etc"]);
    assert_eq!(grants.granted.read, [".", "$DATA_DIR", "$TMPDIR"]);
    assert_eq!(grants.refused.read, ["/etc"]);
    assert_eq!(grants.granted.net, ["api.example.com:443"]);
    assert_eq!(grants.refused.net, ["other.net"]);
    assert_eq!((grants.requested.run, grants.refused.run), (vec!["*".to_owned()], vec!["*".to_owned()]));
    let limits = grants.limits;
    assert_eq!(
        (limits.max_queued, limits.event_loop_ms, limits.body, limits.max_in_flight),
        (7, 2000, 1000, 100)
    );
}

#[tokio::test]
async fn a_project_sets_allowed_variables_but_no_reserved_ones() {
    let volume = Volume::new();
    let own =
        json!({"MODE": "own", "REGION": "own", "KEY": true, "GONE": true, "OTHER": "x", "LD_PRELOAD": "x"});
    let config = json!({"switchyard": {"env": own}});
    volume.project("a").file("main.ts", ENV).file("deno.json", config.to_string()).write();
    let policy = "[defaults.permissions]\nenv = [\"MODE\", \"REGION\"]\n\
                  [defaults.env]\nREGION = \"north\"\nKEY = \"operator's\"";
    let router = with_policy(&volume, policy).start().await;
    let env = env(&router.public, "a").await;
    let expected = json!(["own", "north", "operator's"]);
    assert_eq!(json!([env["MODE"], env["REGION"], env["KEY"]]), expected, "the operator's value wins");
    let refused = router.admin.project("a").await.grants.unwrap().refused.env;
    assert_eq!(refused, ["GONE", "LD_PRELOAD", "OTHER"]);
    for name in refused {
        assert!(env.get(&name).is_none(), "{name}: {env}");
    }
}

#[tokio::test]
async fn malformed_asking_is_a_failure_that_names_file_and_field() {
    let volume = Volume::with("a", hello("one"));
    volume.write("a/deno.json", r#"{"permissions": {"default": {"net": "api.example.com"}}}"#);
    let router = Router::builder(&volume).unwatched().start().await;
    let error = router.admin.project("a").await.error.unwrap();
    assert_eq!(error.file.as_deref(), Some("deno.json"));
    assert!(
        error.message.contains("\"permissions.default.net\" in deno.json must be true"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn a_changed_policy_reloads_the_projects_that_it_touches_and_no_other() {
    let volume = Volume::with("a", ENV.replace("export", "/* a */ export"));
    volume.project("b").file("main.ts", hello("b")).write();
    volume.write("_policy/key", "one\n");
    let policy = "[projects.a.env]\nKEY = { from_file = \"key\" }\n[projects.b.limits]\nmax_queued = 7";
    let router = with_policy(&volume, policy).start().await;
    let mut events = router.events().await;
    let first = events.wait_live("a").await;
    events.wait_live("b").await;
    let before = router.admin.projects().await;
    let (on_a, on_b) = (Probe::start(&router.public, "/a/").await, Probe::start(&router.public, "/b/").await);

    // The same file, another secret.
    volume.replace("_policy/key", "two\n");
    change_policy(&router, &volume, &policy.replace("max_queued = 7", "max_queued = 8"));
    let live = events.wait_live("a").await;
    assert_eq!(env(&router.public, "a").await["KEY"], "two");
    let (on_a, on_b) = (on_a.finish().await, on_b.finish().await);
    on_a.no_failures();
    on_b.no_failures();

    assert_eq!((live.data.trigger, &live.data.version), (Some(Trigger::Policy), &first.data.version));
    assert_eq!(live.data.previous, first.data.version);
    events.wait_retired("a").await;
    let after = router.admin.projects().await;
    assert_ne!(before["a"].pid, after["a"].pid);
    assert_eq!(before["b"].pid, after["b"].pid);
    assert_eq!(after["b"].grants.as_ref().unwrap().limits.max_queued, 8, "it needs no new cell for that");
    assert_eq!(events.count(EventType::ReloadLive, "b"), 1);
    assert_eq!(after["a"].reloads[0].trigger, Trigger::Policy);
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Unchanged);
}

#[tokio::test]
async fn a_wrong_policy_is_refused_and_the_old_one_stays() {
    let volume = Volume::with("a", ENV);
    let router = with_policy(&volume, "[defaults.env]\nKEY = \"one\"").start().await;
    let pid = router.admin.project("a").await.pid;
    change_policy(&router, &volume, "[defaults.env]\nKEY = \"two\"\n[defaults.limits]\nfiles = 3\nmany = 1");
    logged(&router, "defaults.limits.files: 3 is too little").await;
    logged(&router, "defaults.limits.many: unknown key").await;
    change_policy(&router, &volume, "[defaults");
    logged(&router, "invalid TOML").await;
    let status = router.admin.project("a").await;
    assert_eq!((status.pid, status.state), (pid, ProjectState::Live));
    assert_eq!(env(&router.public, "a").await["KEY"], "one");
}

#[tokio::test]
async fn a_version_that_fails_with_the_new_policy_keeps_running_with_the_old_one() {
    let volume = Volume::with("a", NEEDY);
    let router = with_policy(&volume, "[defaults.env]\nKEY = \"one\"").start().await;
    let mut events = router.events().await;
    let first = events.wait_live("a").await;
    let pid = router.admin.project("a").await.pid;
    change_policy(&router, &volume, "");
    let failed = events.wait_failed("a").await;
    assert_eq!((failed.data.trigger, &failed.data.version), (Some(Trigger::Policy), &first.data.version));
    assert!(failed.data.error.unwrap().message.contains("there is no KEY"));
    let status = router.admin.project("a").await;
    assert_eq!((status.pid, status.state), (pid, ProjectState::Failed));
    assert_eq!(router.public.get("/a/").await.text(), "one");

    change_policy(&router, &volume, "[defaults.env]\nKEY = \"one\"");
    events.wait_live("a").await;
    let status = router.admin.project("a").await;
    assert_eq!((status.pid, status.state), (pid, ProjectState::Live), "it is unchanged");
}

#[tokio::test]
async fn a_failed_version_is_built_again_when_the_policy_grants_the_missing_permission() {
    let volume = Volume::with("a", NEEDY);
    let router = with_policy(&volume, "").start().await;
    let mut events = router.events().await;
    events.wait_failed("a").await;
    change_policy(&router, &volume, "[projects.a.env]\nKEY = \"here\"");
    let live = events.wait_live("a").await;
    assert_eq!(live.data.trigger, Some(Trigger::Policy));
    assert_eq!(router.public.get("/a/").await.text(), "here");
}

#[tokio::test]
async fn a_policy_that_changes_while_a_version_is_built_is_the_one_that_it_gets() {
    let volume = Volume::with("a", "await new Promise(() => setInterval(() => {}, 1000));");
    let router = with_policy(&volume, "[defaults.env]\nKEY = \"old\"")
        .flag("build-timeout", 60_000)
        .start_unready()
        .await;
    // From here on, the version has its files and the policy; what follows needs another one.
    logged(&router, "the entry of a is main.ts").await;
    let mut events = router.events().await;
    volume.replace("a/main.ts", NEEDY);
    change_policy(&router, &volume, "[defaults.env]\nKEY = \"new\"");
    events.wait_live("a").await;
    assert_eq!(router.public.get("/a/").await.text(), "new");
}

#[tokio::test]
async fn a_policy_that_changes_during_a_deploy_is_followed_after_it() {
    let volume = Volume::with("a", NEEDY);
    let router = with_policy(&volume, "[defaults.env]\nKEY = \"one\"").start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    router.admin.hold("d", &["a"]).await;
    change_policy(&router, &volume, "[defaults.env]\nKEY = \"two\"");
    logged(&router, "the policy holds").await;
    assert_eq!(router.public.get("/a/").await.text(), "one", "nothing changes during a hold");
    router.admin.release("d").await;
    let live = events.wait_live("a").await;
    assert_eq!(live.data.trigger, Some(Trigger::Policy));
    assert_eq!(router.public.get("/a/").await.text(), "two");
}

#[tokio::test]
async fn a_version_that_is_stopped_and_started_again_gets_the_current_settings() {
    let volume = Volume::with("a", NEEDY);
    volume.project("b").file("main.ts", hello("b")).write();
    let router = with_policy(&volume, "[projects.a.env]\nKEY = \"one\"").flag("max-cells", 1).start().await;
    assert_eq!(router.public.get("/a/").await.text(), "one");
    assert_eq!(router.public.get("/b/").await.text(), "b");
    eventually("a is stopped", || async { router.admin.project("a").await.state == ProjectState::Idle })
        .await;
    let mut events = router.events().await;
    change_policy(&router, &volume, "[projects.a.env]\nKEY = \"two\"");
    events.wait("it was built again", |event| event.data.trigger == Some(Trigger::Policy)).await;
    assert_eq!(router.public.get("/b/").await.text(), "b");
    eventually("a is stopped", || async { router.admin.project("a").await.state == ProjectState::Idle })
        .await;
    assert_eq!(router.public.get("/a/").await.text(), "two");
}
