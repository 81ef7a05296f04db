//! Keys of ssh, on both sides: none is learnt, and none is tried with another policy.

use std::path::Path;

use switchyard_integration::git::Sshd;

use super::scene::Scene;

fn credential(key: &Path, known_hosts: &Path) -> String {
    format!(
        "credential = {{ ssh_key = \"{}\", known_hosts = \"{}\" }}\n",
        key.display(),
        known_hosts.display()
    )
}

#[tokio::test]
async fn an_unknown_or_changed_host_key_is_refused_and_never_learnt() {
    let scene = Scene::new().await;
    let first = scene.push("one").await;
    let server = Sshd::start(&scene.repository).await;
    let right = std::fs::read_to_string(server.known_hosts()).unwrap();
    let changed = std::fs::read_to_string(server.other_known_hosts()).unwrap();
    let unknown =
        changed.replace(&server.address().to_string().replace("127.0.0.1", "[127.0.0.1]"), "other.test");
    assert_ne!(unknown, changed);
    let known_hosts = scene.write("known_hosts", &unknown);
    scene.source(server.url(), &credential(&server.key(), &known_hosts));
    let shop = scene.start().await;
    let detail = shop.names("host-key").await;
    assert!(detail.contains("known_hosts"), "{detail}");
    for wrong in [&changed, &unknown] {
        scene.write("known_hosts", wrong);
        shop.is_unreachable("host-key").await;
        assert_eq!(std::fs::read_to_string(&known_hosts).unwrap(), *wrong);
    }
    assert_eq!(shop.status().await.applied, None);
    scene.write("known_hosts", &right);
    shop.syncs_to(&first).await;
    scene.answers("api", "one").await;

    scene.write("known_hosts", &changed);
    let second = scene.push("two").await;
    shop.is_unreachable("host-key").await;
    scene.still("one").await;
    scene.write("known_hosts", &right);
    shop.syncs_to(&second).await;
    scene.still("two").await;
}

#[tokio::test]
async fn a_key_that_the_server_refuses_is_named() {
    let scene = Scene::new().await;
    let commit = scene.push("one").await;
    let server = Sshd::start(&scene.repository).await;
    let copy = |key: &Path| scene.write("key", &std::fs::read_to_string(key).unwrap());
    let key = copy(&server.other_key());
    scene.source(server.url(), &credential(&key, &server.known_hosts()));
    let shop = scene.start().await;
    let detail = shop.names("unauthorized").await;
    assert!(detail.contains(key.to_str().unwrap()), "{detail}");
    copy(&server.key());
    shop.syncs_to(&commit).await;
    scene.answers("api", "one").await;
}
