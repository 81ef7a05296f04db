//! Listeners at paths, and the service manager: its notifications and its sockets.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
use rustix::process::Signal;
use switchyard_integration::bridge::cli;
use switchyard_integration::client::Client;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::manager::{Manager, get_at};
use switchyard_integration::router::Router;
use switchyard_integration::serve::Serve;
use switchyard_integration::volume::Volume;

const EX_USAGE: i32 = 64;

/// Waits until all projects are read.
async fn ready(admin: &Path) {
    eventually("it is ready", || async {
        get_at(admin, "/readyz").await.is_some_and(|response| response.starts_with("HTTP/1.1 200"))
    })
    .await;
}

#[tokio::test]
async fn listeners_at_paths_are_for_their_user_and_group_and_their_files_go_with_them() {
    let (volume, folder) = (Volume::with("a", hello("one")), tempfile::tempdir().unwrap());
    let [public, api, admin] = ["public", "api", "admin"].map(|name| folder.path().join(name));
    // A file that a server has left behind.
    drop(UnixListener::bind(&public).unwrap());
    let builder = Serve::builder(&volume)
        .flag("listen", format!("unix:{}", public.display()))
        .flag("api", format!("unix:{}", api.display()))
        .flag("admin", format!("unix:{}", admin.display()));
    let server = builder.launch(Vec::new());
    ready(&admin).await;
    for path in [&public, &api, &admin] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o660, "{}", path.display());
    }
    let response = get_at(&public, "/a/").await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("one"), "{response}");
    ready(&api).await;
    let to = format!("unix:{}", api.display());
    let status = cli::run_with(&["status", "--to", &to], &[]).await;
    assert!(status.code == Some(0) && status.stdout.contains("live"), "{status:#?}");
    let second = builder.launch(Vec::new()).ended().await;
    assert_eq!(second.status.code(), Some(EX_USAGE));
    let text = second.log.text();
    assert!(text.contains(&format!("--listen: unix:{} is already in use", public.display())), "{text}");
    assert!(get_at(&public, "/a/").await.is_some(), "the first one listens as before");
    server.signal(Signal::TERM);
    assert!(server.ended().await.status.success());
    assert!([public, api, admin].iter().all(|path| !path.exists()));
}

#[tokio::test]
async fn the_service_manager_hears_of_the_start_of_reloads_and_of_the_stop() {
    let (volume, manager) = (Volume::with("a", hello("one")), Manager::start());
    let path = manager.path().display().to_string();
    let router = Router::builder(&volume).env("NOTIFY_SOCKET", &path).start().await;
    let ready = manager.next().await;
    assert!(ready.starts_with("READY=1\nSTATUS=projects at 127.0.0.1:"), "{ready}");
    router.signal(Signal::HUP);
    let reloading = manager.next().await;
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(manager.next().await.trim_end(), "READY=1");
    router.signal(Signal::TERM);
    assert!(manager.next().await.starts_with("STOPPING=1\n"));
    assert!(router.ended().await.status.success());
}

#[tokio::test]
async fn router_and_bridge_in_one_process_reload_as_one() {
    let (volume, manager) = (Volume::with("a", hello("one")), Manager::start());
    let path = manager.path().display().to_string();
    let server = Serve::builder(&volume).env("NOTIFY_SOCKET", &path).launch(Vec::new());
    assert!(manager.next().await.starts_with("READY=1\nSTATUS="));
    for _ in 0..2 {
        server.signal(Signal::HUP);
        assert!(manager.next().await.starts_with("RELOADING=1\n"));
        assert_eq!(manager.next().await.trim_end(), "READY=1");
    }
    server.signal(Signal::TERM);
    assert!(server.ended().await.status.success());
}

#[tokio::test]
async fn sockets_that_the_service_manager_has_opened_are_served_and_stay() {
    let (volume, folder) = (Volume::with("a", hello("one")), tempfile::tempdir().unwrap());
    let public = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = folder.path().join("api");
    let client = Client::new(public.local_addr().unwrap());
    // A client that connects before there is a server waits for the project's first version.
    let early = tokio::spawn(async move { client.get("/a/").await });
    let sockets = vec![("public", public.into()), ("api", UnixListener::bind(&api).unwrap().into())];
    let server = Serve::builder(&volume).launch(sockets);
    assert_eq!(early.await.unwrap().text(), "one");
    ready(&api).await;
    server.signal(Signal::TERM);
    assert!(server.ended().await.status.success());
    assert!(api.exists(), "the file is the service manager's");
}

#[tokio::test]
async fn sockets_are_checked_as_the_addresses_of_the_settings_are() {
    let volume = Volume::new();
    // An address of no machine: others could reach it, and nobody does.
    let admin = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_ip_freebind(&admin, true).unwrap();
    bind(&admin, &SocketAddr::from(([192, 0, 2, 1], 0))).unwrap();
    listen(&admin, 1).unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Serve::builder(&volume).launch(vec![("admin", admin), ("web", other.into())]);
    let ended = server.ended().await;
    assert_eq!(ended.status.code(), Some(EX_USAGE));
    let text = ended.log.text();
    for part in ["no listener for the socket \"web\"", "--admin: 192.0.2.1:", "reachable from other machines"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}
