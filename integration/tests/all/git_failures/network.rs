//! Servers that are away, refuse, hang, or are cut off.

use std::net::SocketAddr;

use switchyard_contract::source::SyncOutcome;
use switchyard_integration::bridge::addresses::reserve;
use switchyard_integration::eventually;
use switchyard_integration::git::{Answer, CuttingProxy, Fault, GitDaemon, HttpBackend, Sshd};
use switchyard_integration::probe::Probe;

use super::scene::{Scene, Shop, below};

#[tokio::test]
async fn a_server_that_is_away_at_the_start_is_named_and_followed_once_it_is_there() {
    let scene = Scene::new().await;
    let commit = scene.push("one").await;
    let daemon = GitDaemon::start(&scene.repository).await;
    let address = reserve();
    scene.source(&daemon.url().replace(&daemon.address().to_string(), &address.to_string()), "");
    // It takes deploys all the same.
    let shop = scene.start().await;
    shop.names("unreachable").await;
    let ready = shop.bridge.client.get("/readyz").await;
    assert!(ready.status == 200 && ready.text().contains("shop"), "{}: {}", ready.status, ready.text());
    shop.is_unreachable("unreachable").await;
    let status = shop.status().await;
    assert_eq!((status.applied, status.seen, status.projects), (None, None, Vec::new()));
    assert_eq!(scene.routers.texts("/own/").await, ["own"]);
    assert_eq!(scene.routers[0].public.get("/api/").await.status, 404);
    // Nobody asks for it: the next attempt finds the server.
    let _proxy = CuttingProxy::start_at(address, daemon.address()).await;
    shop.follows(&commit).await;
    scene.answers("api", "one").await;
}

#[tokio::test]
async fn a_server_that_goes_away_later_leaves_what_is_live() {
    let scene = Scene::new().await;
    let first = scene.push("one").await;
    let daemon = GitDaemon::start(&scene.repository).await;
    let proxy = CuttingProxy::start(daemon.address()).await;
    scene.source(&proxy.url(daemon.url()), "");
    let shop = scene.start().await;
    shop.follows(&first).await;
    let probe = Probe::start(&scene.routers[0].public, "/api/").await;
    let address = proxy.address();
    drop(proxy);
    let second = scene.push("two").await;
    shop.is_unreachable("unreachable").await;
    let since = shop.status().await.problem.unwrap().since;
    shop.is_unreachable("unreachable").await;
    let status = shop.status().await;
    assert_eq!(status.applied.as_deref(), Some(first.as_str()));
    assert_eq!(status.problem.unwrap().since, since, "the problem is the same one");
    scene.still("one").await;
    let _proxy = CuttingProxy::start_at(address, daemon.address()).await;
    shop.syncs_to(&second).await;
    scene.answers("api", "two").await;
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two"]);
}

#[tokio::test]
async fn a_server_that_refuses_is_named_and_what_is_live_stays() {
    let scene = Scene::new().await;
    let server = HttpBackend::start(&scene.repository).await;
    let mut commit = scene.push("0").await;
    scene.source(&server.url(), "");
    let shop = scene.start().await;
    shop.follows(&commit).await;
    let statuses = [503, 500, 502, 504, 429, 404, 403, 401];
    for (index, status) in statuses.into_iter().enumerate() {
        server.answer(Answer::Status(status));
        let next = scene.push(&format!("{}", index + 1)).await;
        let kind = if [401, 403].contains(&status) { "unauthorized" } else { "unreachable" };
        shop.is_unreachable(kind).await;
        assert_eq!(shop.status().await.applied.as_ref(), Some(&commit), "{status}");
        scene.still(&index.to_string()).await;
        server.answer(Answer::Repository);
        shop.syncs_to(&next).await;
        scene.still(&(index + 1).to_string()).await;
        commit = next;
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let scene = Scene::new().await;
    let server = HttpBackend::start(&scene.repository).await;
    scene.push("one").await;
    scene.source(&server.tls_url(), "");
    let shop = scene.start().await;
    let detail = shop.is_unreachable("unreachable").await;
    assert!(detail.contains("certificate"), "{detail}");
    assert!(server.requests().is_empty(), "{:?}", server.requests());
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_its_git_ended() {
    let scene = Scene::new().await;
    let first = scene.push_large("one", 100_000).await;
    let daemon = GitDaemon::start(&scene.repository).await;
    let proxy = CuttingProxy::start(daemon.address()).await;
    scene.source(&proxy.url(daemon.url()), "timeout = \"2s\"\n");
    let shop = scene.start().await;
    shop.follows(&first).await;
    let second = scene.push_large("two", 400_000).await;
    // Before its first answer, and in the middle of the pack.
    for bytes in [0, 200_000] {
        proxy.fail(Fault::Stall(bytes));
        let detail = shop.is_unreachable("unreachable").await;
        assert!(detail.contains("longer than 2 seconds"), "{detail}");
        // A retry by back-off has a git of its own, which ends too.
        eventually("no git is left", || std::future::ready(shop.children() == 0)).await;
        scene.still("one").await;
    }
    proxy.fail(Fault::None);
    eventually("the source recovers", || async { shop.sync().await.status == 200 }).await;
    shop.follows(&second).await;
    scene.still("two").await;
    assert_no_leftovers(&scene);
}

#[tokio::test]
async fn a_password_that_is_refused_is_named_until_its_file_is_corrected() {
    let scene = Scene::new().await;
    let server = HttpBackend::start(&scene.repository).await;
    server.require_password("deploy", "right-password");
    let first = scene.push("one").await;
    let file = scene.write("password", "wrong-password\n");
    let credential = format!(
        "credential = {{ username = \"deploy\", password = {{ from_file = \"{}\" }} }}\npoll = \"5s\"\n",
        file.display()
    );
    scene.source(&server.url(), &credential);
    let shop = scene.start().await;
    let detail = shop.names("unauthorized").await;
    assert!(detail.contains(file.to_str().unwrap()) && !detail.contains("wrong-password"), "{detail}");
    shop.is_unreachable("unauthorized").await;
    // The next poll reads the file again.
    scene.write("password", "right-password\n");
    shop.follows(&first).await;

    server.require_password("deploy", "rotated-password");
    let second = scene.push("two").await;
    shop.is_unreachable("unauthorized").await;
    scene.still("one").await;
    scene.write("password", "rotated-password\n");
    shop.syncs_to(&second).await;
    scene.still("two").await;
    let log = shop.bridge.log.text();
    assert!(!["wrong", "right", "rotated"].iter().any(|word| log.contains(&format!("{word}-password"))));
}

#[tokio::test]
async fn a_fetch_by_git_that_is_cut_at_any_tenth_leaves_what_is_live_and_the_next_one_succeeds() {
    let scene = Scene::new().await;
    let daemon = GitDaemon::start(&scene.repository).await;
    cut_at_each_tenth(&scene, daemon.url(), daemon.address(), "").await;
}

#[tokio::test]
async fn a_fetch_by_http_that_is_cut_at_any_tenth_leaves_what_is_live_and_the_next_one_succeeds() {
    let scene = Scene::new().await;
    let server = HttpBackend::start(&scene.repository).await;
    cut_at_each_tenth(&scene, &server.url(), server.address(), "").await;
}

#[tokio::test]
async fn a_fetch_by_ssh_that_is_cut_at_any_tenth_leaves_what_is_live_and_the_next_one_succeeds() {
    let scene = Scene::new().await;
    let server = Sshd::start(&scene.repository).await;
    // The proxy's address, and so its line, is known only when it runs.
    let known_hosts = scene.write("known_hosts", "host key\n");
    let credential = format!(
        "credential = {{ ssh_key = \"{}\", known_hosts = \"{}\" }}\n",
        server.key().display(),
        known_hosts.display()
    );
    let proxy = CuttingProxy::start(server.address()).await;
    scene.write("known_hosts", &server.known_at(proxy.address()));
    cut(&scene, &proxy, &proxy.url(server.url()), &credential).await;
}

async fn cut_at_each_tenth(scene: &Scene, url: &str, address: SocketAddr, lines: &str) {
    let proxy = CuttingProxy::start(address).await;
    cut(scene, &proxy, &proxy.url(url), lines).await;
}

async fn cut(scene: &Scene, proxy: &CuttingProxy, url: &str, lines: &str) {
    const LENGTH: usize = 200_000;
    let mut applied = scene.push_large("0", LENGTH).await;
    scene.source(url, lines);
    let shop = scene.start().await;
    shop.follows(&applied).await;
    let probe = Probe::start(&scene.routers[0].public, "/api/").await;
    // Nearly all of it is the pack.
    let whole = proxy.longest();
    assert!(whole > LENGTH as u64, "{whole}");
    for tenth in 0..10 {
        let commit = scene.push_large(&(tenth + 1).to_string(), LENGTH).await;
        proxy.fail(Fault::Cut(whole * tenth / 10));
        let synced = shop.sync().await;
        assert_eq!(
            (synced.status, synced.report.outcome),
            (502, SyncOutcome::Unreachable),
            "cut at {tenth} tenths: {synced:#?}"
        );
        assert_cut(scene, &shop, &applied, tenth).await;
        proxy.fail(Fault::None);
        shop.syncs_to(&commit).await;
        scene.still(&(tenth + 1).to_string()).await;
        applied = commit;
    }
    assert_no_leftovers(scene);
    let labels: Vec<_> = (0..=10).map(|label| label.to_string()).collect();
    let labels: Vec<_> = labels.iter().map(String::as_str).collect();
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&labels);
}

async fn assert_cut(scene: &Scene, shop: &Shop, applied: &str, tenth: u64) {
    let status = shop.status().await;
    let kind = status.problem.map(|problem| problem.kind);
    assert_eq!(
        (kind.as_deref(), status.applied.as_deref()),
        (Some("unreachable"), Some(applied)),
        "cut at {tenth} tenths"
    );
    scene.still(&tenth.to_string()).await;
}

/// No half of a pack, and no lock, is in a mirror.
fn assert_no_leftovers(scene: &Scene) {
    for mirror in scene.mirrors() {
        let left: Vec<_> = below(&mirror)
            .into_iter()
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("tmp_") || name.ends_with(".lock")
            })
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
