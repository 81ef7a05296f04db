//! Users of cells: under a root router each project's cells have a user of their own, and files are
//! private.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::native;
use switchyard_integration::router::{Builder, Router, ServerExit, State, binary, is_installed};
use switchyard_integration::volume::Volume;

/// `CAP_DAC_OVERRIDE` and `CAP_DAC_READ_SEARCH`, as `/proc` shows sets of capabilities.
const WRITE: &str = "0000000000000006";
const READ: &str = "0000000000000004";
const NONE: &str = "0000000000000000";

const NOBODY: u32 = 65534;

/// Adds a line to a file of `DATA_DIR` and answers with all of them; leaves a file in `TMPDIR`.
const KEEPS: &str = "export default { fetch() {
    Deno.writeTextFileSync(Deno.env.get('TMPDIR') + '/file', '');
    const path = Deno.env.get('DATA_DIR') + '/folder/kept';
    Deno.mkdirSync(Deno.env.get('DATA_DIR') + '/folder', { recursive: true });
    Deno.writeTextFileSync(path, 'kept ', { append: true });
    return new Response(Deno.readTextFileSync(path));
} };";

/// Answers with the export of a package in `node_modules`, through a module that is resolved before
/// it is read.
const PACKAGED: [(&str, &str); 3] = [
    ("main.ts", "import said from 'said';\nexport default { fetch: () => new Response(said) };"),
    ("node_modules/said/index.js", "module.exports = require('./cjs/said.js');"),
    ("node_modules/said/cjs/said.js", "module.exports = 'said';"),
];

fn keeping(names: &[&str]) -> Volume {
    let volume = Volume::new();
    for name in names {
        volume.project(name).file("main.ts", KEEPS).write();
    }
    volume
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("the test can look");
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().expect("the test can look").mode() & 0o7777
}

fn owner(path: &Path) -> u32 {
    path.symlink_metadata().expect("the test can look").uid()
}

/// The distinct values of a field over all threads of a process.
fn on_threads(pid: u32, field: &str) -> BTreeSet<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the test can look");
    let value = |thread: PathBuf| {
        let status = fs::read_to_string(thread.join("status")).expect("the test can look");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the test can look");
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    threads.map(|thread| value(thread.expect("the test can look").path())).collect()
}

fn only(value: &str) -> BTreeSet<String> {
    BTreeSet::from([value.to_owned()])
}

async fn pid(router: &Router, project: &str) -> u32 {
    router.admin.project(project).await.pid.expect("the test can look")
}

async fn user(router: &Router, project: &str) -> u32 {
    let pid = pid(router, project).await;
    fs::metadata(format!("/proc/{pid}/task")).expect("the test can look");
    let ids = on_threads(pid, "Uid:").pop_first().expect("the test can look");
    ids.split(' ').next().expect("the test can look").parse().expect("the test can look")
}

/// Returns the folder of a project's cell, found by the cell's own socket.
fn run_folder(state: &State, uid: u32) -> PathBuf {
    let folders = fs::read_dir(state.path().join("run"))
        .expect("the test can look")
        .map(|folder| folder.expect("the test can look").path());
    folders.into_iter().find(|folder| owner(folder) == uid).expect("the test can look")
}

fn refused(ended: &ServerExit) -> String {
    assert_eq!(ended.status.code(), Some(64), "{}", ended.log.text());
    ended.log.text()
}

async fn gaps(router: &Router) -> String {
    router.admin.client.get("/readyz").await.text()
}

#[tokio::test]
async fn cells_of_two_projects_are_two_users_without_powers_on_all_threads_and_own_their_folders() {
    if !geteuid().is_root() {
        return;
    }
    let (volume, state) = (keeping(&["a", "b"]), State::new());
    let router = Router::builder(&volume).state(&state).start().await;
    let mut users = BTreeSet::new();
    for name in ["a", "b"] {
        assert_eq!(router.public.get(&format!("/{name}/")).await.text(), "kept ");
        let (pid, uid) = (pid(&router, name).await, user(&router, name).await);
        assert!((200_001..=265_535).contains(&uid), "{uid}");
        for field in ["Uid:", "Gid:"] {
            assert_eq!(on_threads(pid, field), only(&format!("{uid} {uid} {uid} {uid}")), "{name} {field}");
        }
        assert_eq!(on_threads(pid, "Groups:"), only(""));
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(on_threads(pid, set), only(NONE), "{name} {set}");
        }
        assert_eq!(on_threads(pid, "NoNewPrivs:"), only("1"));
        assert_eq!(owner(Path::new(&format!("/proc/{pid}/environ"))), 0, "it can be looked into");
        let run = run_folder(&state, uid);
        for folder in ["data", "cache"].map(|folder| state.path().join(folder).join(name)) {
            assert_eq!((owner(&folder), mode(&folder)), (uid, 0o700), "{}", folder.display());
        }
        for path in [run.clone(), run.join("tmp")] {
            assert_eq!((owner(&path), mode(&path)), (uid, 0o700), "{}", path.display());
        }
        assert_eq!((owner(&run.join("http")), mode(&run.join("http")) & 0o077), (uid, 0));
        assert_eq!(owner(&run.join("tmp/file")), uid);
        users.insert(uid);
    }
    assert_eq!(users.len(), 2);
    for folder in fs::read_dir(state.path().join("checkouts")).unwrap() {
        let metadata = folder.unwrap().metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (0, 0o750));
        assert!(users.remove(&metadata.gid()), "each is one project's group's");
    }
    for (folder, expected) in
        [("checkouts", 0o711), ("data", 0o711), ("run", 0o711), ("last-good", 0o700), ("cell-users", 0o600)]
    {
        assert_eq!(mode(&state.path().join(folder)), expected, "{folder}");
    }
    assert_eq!(gaps(&router).await.lines().filter(|line| line.contains("users")).count(), 0);
}

#[tokio::test]
async fn a_spare_is_root_with_only_the_capabilities_to_become_another_user() {
    if !geteuid().is_root() {
        return;
    }
    let volume = Volume::new();
    let router = Router::start(&volume).await;
    let children = || fs::read_to_string(format!("/proc/{0}/task/{0}/children", router.pid())).unwrap();
    eventually("there is a spare", || {
        let powers =
            children().split_whitespace().next().map(|pid| on_threads(pid.parse().unwrap(), "CapEff:"));
        // CAP_SETGID and CAP_SETUID are 0xc0.
        std::future::ready(powers.is_some_and(|powers| powers == only("00000000000000c6")))
    })
    .await;
}

#[tokio::test]
async fn a_restart_keeps_the_users_and_another_incarnation_of_a_project_gets_another_one() {
    if !geteuid().is_root() {
        return;
    }
    let (volume, state) = (keeping(&["a", "b"]), State::new());
    let router = Router::builder(&volume).state(&state).start().await;
    let before = [user(&router, "a").await, user(&router, "b").await];
    drop(router);
    let router = Router::builder(&volume).state(&state).start().await;
    for name in ["b", "a"] {
        router.public.get(&format!("/{name}/")).await;
    }
    assert_eq!([user(&router, "a").await, user(&router, "b").await], before);
    volume.write(
        ".switchyard-bridge/incarnations/a.json",
        r#"{"current":"00000000000000ab","removed":false,"ended":[]}"#,
    );
    volume.write("a/other.ts", "");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    assert_eq!(router.public.get("/a/").await.text(), "kept ");
    let now = user(&router, "a").await;
    assert!(!before.contains(&now), "{now} {before:?}");
    assert_eq!(owner(&state.path().join("data/a")), before[0]);
    assert_eq!(owner(&state.path().join("data/a.00000000000000ab")), now);
}

#[tokio::test]
async fn data_of_a_project_stays_its_own_regardless_of_earlier_users_of_cells() {
    if !geteuid().is_root() {
        return;
    }
    let (volume, state) = (keeping(&["a"]), State::new());
    let outside = volume.path("_outside");
    fs::write(&outside, "").unwrap();
    let mut kept = String::new();
    for (flag, value) in [
        ("dangerously-run-cells-as-root", ""),
        ("cell-users", "300000-300010"),
        ("cell-user", "nobody"),
        ("cell-users", "400000-400010"),
        ("cell-users", "300000-300010"),
        ("dangerously-run-cells-as-root", ""),
    ] {
        let router = Router::builder(&volume).state(&state).flag(flag, value).start().await;
        kept.push_str("kept ");
        assert_eq!(router.public.get("/a/").await.text(), kept, "{flag} {value}");
        let (data, uid) = (state.path().join("data/a"), user(&router, "a").await);
        for path in [data.clone(), data.join("folder"), data.join("folder/kept")] {
            assert_eq!(owner(&path), uid, "{flag} {value}: {}", path.display());
        }
        let link = data.join("link");
        let _ = symlink(&outside, &link);
        assert_eq!(owner(&outside), 0, "{flag} {value}");
    }
    let table = fs::read_to_string(state.path().join("cell-users")).unwrap();
    assert_eq!(table, "switchyard cell users 1\n300001 a\n400001 a\n300002 a\n");
}

#[tokio::test]
async fn a_checkout_that_was_made_under_another_umask_is_read_all_the_same() {
    if !geteuid().is_root() {
        return;
    }
    let (volume, state) = (Volume::new(), State::new());
    volume.project("a").file("main.ts", "export { default } from './lib/deep/a.ts';").write();
    volume.write("a/lib/deep/a.ts", "export default { fetch: () => new Response('read') };");
    let builder = Router::builder(&volume).state(&state);
    drop(builder.clone().flag("dangerously-run-cells-as-root", "").start().await);
    let checkout = fs::read_dir(state.path().join("checkouts")).unwrap().next().unwrap().unwrap().path();
    for folder in ["a/lib/deep", "a/lib", "a", ""] {
        set_mode(&checkout.join(folder), 0o700);
    }
    let router = builder.start().await;
    assert_eq!(router.public.get("/a/").await.text(), "read");
    assert_eq!(on_threads(pid(&router, "a").await, "CapEff:"), only(NONE));
}

/// Returns true if a command succeeds as this user, without other groups and capabilities.
fn succeeds(uid: u32, program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).uid(uid).gid(uid).current_dir("/");
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    output.status().expect("the test can look").success()
}

#[tokio::test]
async fn the_user_of_one_project_reaches_nothing_of_anothers_nor_of_roots() {
    if !geteuid().is_root() || !is_installed("curl") {
        return;
    }
    let (volume, state) = (keeping(&["a", "b"]), State::new());
    let router = Router::builder(&volume).state(&state).start().await;
    for name in ["a", "b"] {
        router.public.get(&format!("/{name}/")).await;
    }
    let (pid, own, other) = (pid(&router, "a").await, user(&router, "a").await, user(&router, "b").await);
    let (run, data) = (run_folder(&state, own), state.path().join("data/a"));
    let checkouts = fs::read_dir(state.path().join("checkouts")).unwrap().map(|it| it.unwrap().path());
    let checkout = checkouts.into_iter().find(|it| it.metadata().unwrap().gid() == own).unwrap();
    let shown = |path: PathBuf| path.display().to_string();
    let socket = shown(run.join("http"));
    let source = shown(checkout.join("a/main.ts"));
    let kept = shown(data.join("folder/kept"));
    let signal = format!("kill -0 {pid}");
    // Allowed for the project's own user only.
    for (program, arguments) in [
        ("chmod", vec!["600", &kept]),
        ("touch", vec!["-d", "@0", &kept]),
        ("cat", vec![&kept]),
        ("cat", vec![&source]),
        ("chmod", vec!["700", &socket]),
        ("curl", vec!["-s", "-H", "host: a", "--unix-socket", &socket, "http://a/"]),
        ("sh", vec!["-c", &signal]),
    ] {
        assert!(succeeds(own, program, &arguments), "{program} {arguments:?}");
        assert!(!succeeds(other, program, &arguments), "{program} {arguments:?}");
    }
    // Allowed for neither.
    let (lock, table) = (shown(state.path().join("lock")), shown(state.path().join("cell-users")));
    let folders = shown(state.path().join("data"));
    let good = shown(state.path().join("last-good/a.json"));
    for (program, arguments) in [
        ("chmod", vec!["666", &lock]),
        ("touch", vec!["-d", "@0", &lock]),
        ("chmod", vec!["666", &source]),
        ("cat", vec![&table]),
        ("cat", vec![&good]),
        ("ls", vec![&folders]),
    ] {
        assert!(!succeeds(own, program, &arguments), "{program} {arguments:?}");
    }
}

#[tokio::test]
async fn a_state_folder_below_a_closed_one_works_and_reports_the_weaker_layer() {
    if !geteuid().is_root() {
        return;
    }
    let (volume, closed) = (keeping(&["a"]), tempfile::tempdir().unwrap());
    set_mode(closed.path(), 0o700);
    let builder = Router::builder(&volume).flag("state", closed.path().join("state").display());
    let router = builder.clone().start().await;
    assert_eq!(router.public.get("/a/").await.text(), "kept ");
    assert_eq!(on_threads(pid(&router, "a").await, "CapPrm:"), only(READ));
    assert_ne!(user(&router, "a").await, 0);
    let fix = format!("chmod o+x {}", closed.path().display());
    assert!(gaps(&router).await.contains(&fix), "{}", gaps(&router).await);
    assert_eq!(router.log.text().matches(&fix).count(), 1, "{}", router.log.text());
    drop(router);
    let text = refused(&builder.clone().flag("require-sandbox", "").run_to_end().await);
    assert!(text.contains("--require-sandbox: ") && text.contains(&fix), "{text}");
    set_mode(closed.path(), 0o711);
    let router = builder.start().await;
    router.public.get("/a/").await;
    assert_eq!(on_threads(pid(&router, "a").await, "CapPrm:"), only(NONE));
    assert!(!gaps(&router).await.contains(&fix));
}

#[tokio::test]
async fn re_exports_of_a_package_are_found_below_a_closed_folder() {
    if !geteuid().is_root() {
        return;
    }
    let main = "import { word } from 'say';\nexport default { fetch: () => new Response(word) };\n";
    let (volume, closed) = (Volume::with("a", main), tempfile::tempdir().unwrap());
    volume.write("a/node_modules/say/index.js", "module.exports = require('./lib/word.js');\n");
    volume.write("a/node_modules/say/lib/word.js", "exports.word = 'found';\n");
    set_mode(closed.path(), 0o700);
    set_mode(&volume.path("a/node_modules"), 0o700);
    let router = Router::builder(&volume).flag("state", closed.path().join("state").display()).start().await;
    assert_eq!(router.admin.project("a").await.error, None);
    assert_eq!(router.public.get("/a/").await.text(), "found");
}

fn packaged() -> Volume {
    let volume = Volume::new();
    for (path, text) in PACKAGED {
        volume.write(&format!("a/{path}"), text);
    }
    volume.write("b/main.ts", hello("b"));
    volume
}

#[tokio::test]
async fn packages_that_only_root_may_read_are_read_and_reported() {
    if !geteuid().is_root() {
        return;
    }
    let volume = packaged();
    set_mode(volume.root(), 0o711);
    let packages = volume.path("a/node_modules");
    set_mode(&packages, 0o700);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.text(), "said");
    assert_eq!(on_threads(pid(&router, "a").await, "CapPrm:"), only(READ));
    assert_eq!(on_threads(pid(&router, "b").await, "CapPrm:"), only(NONE), "it has none of these");
    let fix = format!("chmod -R o+rX {}", packages.display());
    assert!(gaps(&router).await.contains(&fix), "{}", gaps(&router).await);
    set_mode(&packages, 0o755);
    volume.write("a/other.ts", "");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    assert_eq!(on_threads(pid(&router, "a").await, "CapPrm:"), only(NONE));
    assert_eq!(router.public.get("/a/").await.text(), "said");
}

#[tokio::test]
async fn a_closed_folder_above_packages_is_opened_for_passing_alone() {
    if !geteuid().is_root() {
        return;
    }
    let volume = packaged();
    set_mode(volume.root(), 0o700);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.text(), "said");
    let gaps = gaps(&router).await;
    let fix = format!("chmod o+x {} closes", volume.root().display());
    assert!(gaps.contains(&fix) && !gaps.contains("o+rX"), "other projects' files stay closed: {gaps}");
}

#[tokio::test]
async fn packages_that_only_root_may_read_fail_the_build_where_the_sandbox_is_required() {
    let probed = Command::new(binary("switchyard-cell")).arg("--probe-sandbox").output().unwrap();
    let support: serde_json::Value = serde_json::from_slice(&probed.stdout).unwrap();
    if !geteuid().is_root() || support["landlock"].as_i64() < Some(6) || support["seccomp"] != true {
        return;
    }
    let volume = packaged();
    set_mode(volume.root(), 0o711);
    set_mode(&volume.path("a/node_modules"), 0o700);
    let router = Router::builder(&volume).flag("require-sandbox", "").start().await;
    assert_eq!(router.public.get("/b/").await.text(), "b");
    let error = router.admin.project("a").await.error.unwrap().message;
    let fix = format!("chmod -R o+rX {}", volume.path("a/node_modules").display());
    assert!(error.contains("of a may not read") && error.contains(&fix), "{error}");
    set_mode(&volume.path("a/node_modules"), 0o755);
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
}

#[tokio::test]
async fn a_root_owned_folder_that_the_policy_lets_a_project_write_to_is_written_and_reported() {
    if !geteuid().is_root() {
        return;
    }
    let volume = Volume::with(
        "a",
        "export default { fetch(request) {
        Deno.writeTextFileSync(new URL(request.url).searchParams.get('path'), 'written');
        return new Response('written');
    } };",
    );
    let shared = tempfile::tempdir().unwrap();
    let path = shared.path().display();
    volume.write(
        "_policy.toml",
        format!("[projects.a.permissions]\nread = [\"{path}\"]\nwrite = [\"{path}\"]\n"),
    );
    let router = Router::builder(&volume).flag("policy", volume.path("_policy.toml").display()).start().await;
    let write = async |name: &str| router.public.get(&format!("/a/?path={path}/{name}")).await.text();
    assert_eq!(write("one").await, "written");
    assert_eq!(on_threads(pid(&router, "a").await, "CapPrm:"), only(WRITE));
    assert!(gaps(&router).await.contains(&format!("chmod -R o+rwX {path}")), "{}", gaps(&router).await);
    set_mode(shared.path(), 0o777);
    volume.write("a/other.ts", "");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    assert_eq!(write("two").await, "written");
    assert_eq!(on_threads(pid(&router, "a").await, "CapPrm:"), only(NONE));
    assert_eq!(owner(&shared.path().join("two")), user(&router, "a").await);
}

#[tokio::test]
async fn a_damaged_or_newer_table_of_users_is_refused_and_left_unchanged() {
    if !geteuid().is_root() {
        return;
    }
    let (volume, state) = (keeping(&["a"]), State::new());
    let builder = Router::builder(&volume).state(&state);
    drop(builder.clone().start().await);
    let path = state.path().join("cell-users");
    let whole = fs::read_to_string(&path).unwrap();
    for (text, reason) in [
        (whole.replace("200001 a", "20000? a"), "line 2 is not a user and a project"),
        (whole.replace("users 1", "users 2"), "written by a newer router"),
        (String::new(), "line 1"),
    ] {
        fs::write(&path, &text).unwrap();
        let output = refused(&builder.clone().run_to_end().await);
        assert!(output.contains("--cell-users: ") && output.contains(reason), "{output}");
        assert!(output.contains(path.to_str().unwrap()) && output.contains("backup"), "{output}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::write(&path, whole).unwrap();
    let router = builder.start().await;
    assert_eq!(router.public.get("/a/").await.text(), "kept ");
}

#[tokio::test]
async fn a_range_that_is_used_up_is_an_error_of_new_projects_alone() {
    if !geteuid().is_root() {
        return;
    }
    let (volume, state) = (keeping(&["a"]), State::new());
    let builder = Router::builder(&volume).state(&state).flag("cell-users", "5000-5001");
    let router = builder.start().await;
    assert_eq!(user(&router, "a").await, 5001);
    volume.project("b").file("main.ts", KEEPS).write();
    let reload = router.admin.reload("b").await;
    assert_eq!(reload.outcome, ReloadOutcome::Failed);
    let message = reload.error.unwrap().message;
    assert!(message.contains("--cell-users 5000-5001") && message.contains("larger range"), "{message}");
    volume.write("a/other.ts", "");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    drop(router);
    let router = Router::builder(&volume).state(&state).flag("cell-users", "5000-5002").start().await;
    router.public.get("/b/").await;
    assert_eq!(user(&router, "b").await, 5002);
}

#[tokio::test]
async fn users_that_this_machine_does_not_have_are_refused_by_the_name_of_the_flag() {
    use switchyard_integration::bridge::mounts::Mounts;
    if !Mounts::are_possible() {
        return;
    }
    let volume = keeping(&["a"]);
    let builder = Router::builder(&volume).inside(&Mounts::new());
    let text = refused(&builder.clone().flag("cell-users", "200000-265535").run_to_end().await);
    assert!(text.contains("--cell-users: cannot run a process as user 200000"), "{text}");
    assert!(text.contains("--dangerously-run-cells-as-root"), "{text}");
    let text = refused(&builder.clone().flag("cell-user", "nobody").run_to_end().await);
    assert!(text.contains("user namespace has no such user"), "{text}");
    let router = builder.flag("dangerously-run-cells-as-root", "").start().await;
    assert_eq!(router.public.get("/a/").await.text(), "kept ");
    assert!(gaps(&router).await.contains("cells run as root"), "{}", gaps(&router).await);
    let warned = router.log.text();
    assert!(warned.contains("cells run as root (--dangerously-run-cells-as-root)"), "{warned}");
}

#[tokio::test]
async fn the_home_folder_is_the_projects_whatever_user_its_cells_are() {
    let volume = Volume::with(
        "a",
        "import os from 'node:os';
        import path from 'node:path';
        const worker = new Worker('data:text/javascript,' + encodeURIComponent(
            `import os from 'node:os'; postMessage(os.homedir())`), { type: 'module' });
        const told = await new Promise((done) => worker.onmessage = ({ data }) => done(data));
        export default { fetch() {
            Deno.writeTextFileSync(path.join(os.homedir(), 'kept'), '');
            const [home, data] = [os.homedir(), Deno.env.get('DATA_DIR')];
            return Response.json([home === data, told === data, Deno.env.get('HOME') ?? null]);
        } };",
    );
    volume.write(
        "b/main.ts",
        "import os from 'node:os';\nexport default { fetch: () => new Response(os.homedir()) };",
    );
    volume.write("_policy.toml", "[projects.b.env]\nHOME = \"/given\"\n");
    let router = Router::builder(&volume).flag("policy", volume.path("_policy.toml").display()).start().await;
    let output = router.public.get("/a/").await;
    assert_eq!(output.text(), "[true,true,null]", "{:?}", router.admin.project("a").await.error);
    assert_eq!(router.public.get("/b/").await.text(), "/given");
}

#[tokio::test]
async fn two_ways_to_choose_users_are_refused() {
    let volume = keeping(&["a"]);
    let two = Router::builder(&volume).flag("cell-users", "5000-6000").flag("cell-user", "nobody");
    assert!(refused(&two.run_to_end().await).contains("--cell-users: cannot be combined with --cell-user"));
}

/// A router of a user that is not root, where this machine lets one read its binary.
fn of_nobody(volume: &Volume, state: &State) -> Option<Builder> {
    let runs = |binary: PathBuf| {
        let mut command = Command::new(binary);
        command.arg("--version").uid(NOBODY).gid(NOBODY).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !geteuid().is_root() || !runs(binary("switchyard")) {
        return None;
    }
    set_mode(volume.root(), 0o755);
    chown(state.path(), Some(NOBODY), Some(NOBODY)).expect("the test can look");
    Some(Router::builder(volume).state(state).run_as(NOBODY))
}

#[tokio::test]
async fn a_router_that_is_not_root_has_cells_of_its_own_user() {
    let (volume, state) = (keeping(&["a"]), State::new());
    let Some(builder) = of_nobody(&volume, &state) else { return };
    let router = builder.clone().start().await;
    assert_eq!(router.public.get("/a/").await.text(), "kept ");
    assert_eq!(user(&router, "a").await, NOBODY);
    assert_eq!(on_threads(pid(&router, "a").await, "CapPrm:"), only(NONE));
    assert!(!state.path().join("cell-users").exists());
    assert!(!gaps(&router).await.contains("users"), "{}", gaps(&router).await);
    drop(router);
    for (flag, value) in
        [("cell-users", "5000-6000"), ("cell-user", "daemon"), ("dangerously-run-cells-as-root", "")]
    {
        let text = refused(&builder.clone().flag(flag, value).run_to_end().await);
        assert!(text.contains(&format!("--{flag}: only a router that runs as root")), "{text}");
    }
}

/// Calls that native code in a cell may make, and that the kernel has to refuse.
#[tokio::test]
async fn native_code_in_a_cell_is_its_user_for_good_and_changes_nothing_of_others() {
    if !native::is_possible() {
        return;
    }
    let (volume, state) = (keeping(&["a", "b"]), State::new());
    let router = Router::builder(&volume).state(&state).start().await;
    for name in ["a", "b"] {
        router.public.get(&format!("/{name}/")).await;
    }
    let (cell, other) = (pid(&router, "b").await, pid(&router, "a").await);
    let others_socket = run_folder(&state, user(&router, "a").await).join("http");
    let paths = [state.path().join("lock"), state.path().join("data/a"), others_socket.clone()];
    let call = |number, arguments: &[u64]| {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        native::call(cell, number, all)
    };
    assert_eq!(call(libc::SYS_getuid, &[]), i64::from(user(&router, "b").await));
    let here = libc::AT_FDCWD as u64;
    for path in &paths {
        let text = [path.as_os_str().as_encoded_bytes(), b"\0"].concat();
        let address = native::put(cell, &text);
        let before = path.metadata().unwrap();
        assert!(call(libc::SYS_fchmodat, &[here, address, 0o777]) < 0, "{}", path.display());
        assert!(call(libc::SYS_chmod, &[address, 0o777]) < 0, "{}", path.display());
        assert!(call(libc::SYS_utimensat, &[here, address, 0, 0]) < 0, "{}", path.display());
        assert!(call(libc::SYS_access, &[address, libc::W_OK as u64]) < 0, "{}", path.display());
        let after = path.metadata().unwrap();
        assert_eq!((before.mode(), before.mtime_nsec()), (after.mode(), after.mtime_nsec()));
    }
    let mut address = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    address.extend_from_slice(others_socket.as_os_str().as_encoded_bytes());
    address.push(0);
    let (length, address) = (address.len() as u64, native::put(cell, &address));
    let socket = call(libc::SYS_socket, &[libc::AF_UNIX as u64, libc::SOCK_STREAM as u64, 0]);
    // Without a socket there is nothing to connect.
    assert!(socket < 0 || call(libc::SYS_connect, &[socket as u64, address, length]) < 0);
    for victim in [other, u32::try_from(router.pid().as_raw_nonzero().get()).unwrap()] {
        assert!(call(libc::SYS_kill, &[victim.into(), 0]) < 0);
    }
    let none = native::put(cell, &[0; 24]);
    for (number, arguments) in [
        (libc::SYS_setresuid, vec![0, 0, 0]),
        (libc::SYS_setuid, vec![0]),
        (libc::SYS_setresgid, vec![0, 0, 0]),
        (libc::SYS_setgroups, vec![0, 0]),
        (libc::SYS_capset, vec![none, none]),
        (libc::SYS_prctl, vec![libc::PR_SET_PDEATHSIG as u64, 0]),
        (libc::SYS_prctl, vec![libc::PR_SET_DUMPABLE as u64, 1]),
        (libc::SYS_prctl, vec![libc::PR_SET_KEEPCAPS as u64, 1]),
    ] {
        assert!(call(number, &arguments) < 0, "{number} {arguments:?}");
    }
    assert_eq!(router.public.get("/b/").await.text(), "kept kept ");
}

#[tokio::test]
async fn a_cell_that_stands_still_ends_with_its_router_though_it_has_become_another_user() {
    if !geteuid().is_root() {
        return;
    }
    let volume = keeping(&["a"]);
    let router = Router::start(&volume).await;
    let pid = pid(&router, "a").await;
    // A stopped process cannot notice the end of the control socket.
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::STOP).unwrap();
    drop(router);
    eventually("the cell is gone", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        std::future::ready(status.is_empty() || status.contains("Z (zombie)"))
    })
    .await;
}

#[tokio::test]
async fn a_root_router_without_a_required_capability_is_refused_with_the_failed_step() {
    if !geteuid().is_root() || !is_installed("setpriv") {
        return;
    }
    let volume = keeping(&["a"]);
    let needed = ["chown", "dac_override", "fowner", "kill", "setgid", "setuid"];
    let builder = |without: &str| {
        let kept = needed.iter().filter(|name| **name != without).map(|name| format!(",+{name}"));
        Router::builder(&volume).capabilities(&format!("-all{}", kept.collect::<String>()))
    };
    for (without, reason) in [
        ("chown", "cannot give user 200000 a folder"),
        ("kill", "cannot kill a process of user 200000"),
        ("setuid", "cannot run a process as user 200000"),
    ] {
        let text = refused(&builder(without).run_to_end().await);
        assert!(text.contains("--cell-users: ") && text.contains(reason), "{without}: {text}");
    }
    let router = builder("").start().await;
    assert_eq!(router.public.get("/a/").await.text(), "kept ");
    drop(router);
    // No process can keep a capability that the router does not have.
    let closed = tempfile::tempdir().unwrap();
    set_mode(closed.path(), 0o700);
    let builder = builder("").flag("state", closed.path().join("state").display());
    let text = refused(&builder.run_to_end().await);
    assert!(text.contains(&format!("chmod o+x {}", closed.path().display())), "{text}");
}
