//! The sandbox layers of kernel and operator: reported, required, refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use rustix::process::geteuid;
use switchyard_contract::admin::{LayerState, Sandbox};
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Router, ServerExit, State, binary};
use switchyard_integration::volume::Volume;

/// Lists its files and writes one.
const WRITES: &str = "export default { fetch() {
    const path = Deno.env.get('DATA_DIR') + '/kept';
    Deno.writeTextFileSync(path, 'kept');
    return new Response(Deno.readTextFileSync(path));
} };";

fn refused(ended: &ServerExit) -> String {
    assert_eq!(ended.status.code(), Some(64), "{}", ended.log.text());
    ended.log.text()
}

#[tokio::test]
async fn missing_sandbox_layers_are_reported_by_readyz_and_nothing_starts_if_all_are_required() {
    let probed = Command::new(binary("switchyard-cell")).arg("--probe-sandbox").output().unwrap();
    let support: serde_json::Value = serde_json::from_slice(&probed.stdout).unwrap();
    let has_all = support["landlock"].as_i64().unwrap() >= 6 && support["seccomp"] == true;
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let ready = router.admin.client.get("/readyz").await.text();
    assert_eq!(ready == "ready\n", has_all, "{ready}");
    assert!(ready.lines().skip(1).all(|line| line.starts_with("missing ")), "{ready}");
    let sandbox: Sandbox = serde_json::from_value(router.admin.client.get("/sandbox").await.json()).unwrap();
    let missing: String = sandbox.missing.iter().map(|missing| format!("missing {missing}\n")).collect();
    assert_eq!(ready, format!("ready\n{missing}"));
    let names: Vec<_> = sandbox.layers.iter().map(|layer| layer.name.as_str()).collect();
    let kernel = ["landlock-files", "landlock-tcp", "landlock-signals", "seccomp"];
    assert_eq!(names, [&["users"], &kernel[..], &["memory", "threads", "cpu"]].concat());
    let of_kernel = sandbox.layers[1..5].iter();
    assert_eq!(of_kernel.clone().all(|layer| layer.state == LayerState::On), has_all, "{sandbox:?}");
    assert!(
        of_kernel.filter(|layer| layer.state == LayerState::Off).all(|layer| ready.contains(&layer.detail))
    );
    // The router has no control group.
    assert!(sandbox.layers[5..].iter().all(|layer| layer.state == LayerState::Partial), "{sandbox:?}");
    let requiring = Router::builder(&volume).flag("require-sandbox", "");
    if has_all {
        assert_eq!(requiring.start().await.public.get("/a/").await.text(), "one");
    } else {
        assert!(
            refused(&requiring.run_to_end().await)
                .contains("--require-sandbox: the sandbox is incomplete on this machine: missing ")
        );
    }
}

#[tokio::test]
async fn users_and_groups_that_cannot_be_are_refused() {
    let volume = Volume::with("a", hello("one"));
    let ended = Router::builder(&volume)
        .flag("cell-user", "root")
        .flag("cgroup", volume.root().display())
        .run_to_end()
        .await;
    let text = refused(&ended);
    assert!(text.contains("--cell-user: ") && text.contains("--cgroup: "), "{text}");
    assert!(text.contains("not a control group of cgroup v2"), "{text}");
}

#[tokio::test]
async fn cells_run_as_the_user_that_is_named_and_own_what_they_write() {
    let volume = Volume::with("a", WRITES);
    let (state, parent) = (State::new(), State::new());
    let builder = Router::builder(&volume).state(&state).flag("cell-user", "nobody");
    if !geteuid().is_root() {
        let text = refused(&builder.run_to_end().await);
        assert!(text.contains("only a router that runs as root"), "{text}");
        return;
    }
    fs::set_permissions(parent.path(), Permissions::from_mode(0o700)).unwrap();
    let text =
        refused(&builder.clone().flag("state", parent.path().join("state").display()).run_to_end().await);
    assert!(text.contains("let other users enter the folders above"), "{text}");
    let router = builder.start().await;
    assert_eq!(router.public.get("/a/").await.text(), "kept");
    let pid = router.admin.project("a").await.pid.unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(!line("Uid:").contains("\t0"), "{}", line("Uid:"));
    assert_eq!(line("CapEff:"), "CapEff:\t0000000000000000");
    assert_eq!(line("NoNewPrivs:"), "NoNewPrivs:\t1");
    let others = Permissions::from_mode(0o700);
    assert_eq!(
        fs::metadata(state.path().join("data/a")).unwrap().permissions().mode() & 0o777,
        others.mode()
    );
}
