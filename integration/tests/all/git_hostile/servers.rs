//! Servers that lead elsewhere, or answer with what a terminal would obey.

use switchyard_integration::git::{Answer, HttpBackend};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::git_failures::scene::Scene;

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    let scene = Scene::new().await;
    let server = HttpBackend::start(&scene.repository).await;
    server.require_password("deploy", "right-password");
    let file = scene.write("password", "right-password\n");
    let credential = format!(
        "credential = {{ username = \"deploy\", password = {{ from_file = \"{}\" }} }}\n",
        file.display()
    );
    scene.source(&server.url(), &credential);
    let first = scene.push("one").await;
    let shop = scene.start().await;
    shop.follows(&first).await;
    server.answer(Answer::Redirect);
    let second = scene.push("two").await;
    let synced = shop.sync().await;
    assert!(synced.status >= 400, "{synced:#?}");
    let problem = shop.status().await.problem.expect("the source has a problem");
    assert!(["invalid", "unreachable"].contains(&problem.kind.as_str()), "{problem:#?}");
    assert!(problem.detail.contains("302") || problem.detail.contains("redirect"), "{problem:#?}");
    scene.still("one").await;
    server.answer(Answer::Repository);
    shop.syncs_to(&second).await;
    let elsewhere: Vec<_> =
        server.requests().into_iter().filter(|request| request.starts_with("localhost")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

/// Answers each connection with git's own form of an error, and this text in it.
async fn refuse_all(listener: TcpListener, text: &'static str) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let answer = format!("{:04x}ERR {text}", text.len() + 8);
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

#[tokio::test]
async fn a_terminal_that_shows_the_log_obeys_no_server() {
    const TEXT: &str = "no\u{1b}[2J\u{1b}]0;title\u{7}\r\u{9b}31m\nfatal: <script>alert(1)</script>";
    let scene = Scene::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(refuse_all(listener, TEXT));
    scene.source(&format!("git://{address}/repo.git"), "");
    let shop = scene.start().await;
    let detail = shop.is_unreachable("unreachable").await;
    assert!(!detail.contains(char::is_control), "{detail:?}");
    for record in shop.bridge.log.records() {
        for text in record.as_object().unwrap().values().filter_map(|value| value.as_str()) {
            assert!(!text.contains(['\u{1b}', '\u{7}', '\u{9b}', '\r']), "{record}");
        }
    }
    server.abort();
}
