//! Passwords and secrets of webhooks: not in arguments, environments, logs, answers or files of the
//! bridge.

use switchyard_integration::bridge::addresses::reserve;
use switchyard_integration::client::{Client, json_body, post, with_header};
use switchyard_integration::eventually;
use switchyard_integration::git::{Answer, HttpBackend};

use super::watch::Watch;
use crate::git_failures::scene::{Scene, Shop, below};

const PASSWORD: &str = "hunter2-the-password-of-the-repository";
const WRONG: &str = "hunter3-a-password-that-is-refused";
const HOOK: &str = "hunter4-the-secret-of-the-webhook-0123456789";

/// `GET` of all that tells of sources, in one text.
async fn all_answers(shop: &Shop) -> String {
    let mut text = String::new();
    for path in [
        "/sources",
        "/sources/shop",
        "/sources/shop/commits",
        "/sources/shop/explain",
        "/projects",
        "/projects/api",
        "/deploys",
        "/readyz",
        "/metrics",
    ] {
        let reply = shop.bridge.client.get(path).await;
        text.push_str(&format!("{path} {:?} {}\n", reply.headers, reply.text()));
    }
    text
}

#[tokio::test]
async fn no_secret_is_in_a_process_a_log_an_answer_or_a_file() {
    let scene = Scene::new().await;
    let server = HttpBackend::start(&scene.repository).await;
    server.require_password("deploy", PASSWORD);
    let password = scene.write("password", &format!("{PASSWORD}\n"));
    let secret = scene.write("hook", &format!("{HOOK}\n"));
    scene.source(
        &server.url(),
        &format!(
            "credential = {{ username = \"deploy\", password = {{ from_file = \"{}\" }} }}\n\
             webhook = {{ kind = \"gitlab\", secret = {{ from_file = \"{}\" }} }}\n",
            password.display(),
            secret.display()
        ),
    );
    let mut commit = scene.push("0").await;
    let hooks = reserve();
    let shop = Scene::started(scene.bridge().flag("hooks", hooks)).await;
    let watch = Watch::of(&shop.bridge);
    let mut answers = String::new();
    shop.follows(&commit).await;
    for index in 1..5 {
        commit = scene.push(&index.to_string()).await;
        shop.syncs_to(&commit).await;
    }
    // Told by a webhook.
    commit = scene.push("5").await;
    let hook = |token: &str, commit: &str| {
        let body = format!("{{\"object_kind\":\"push\",\"ref\":\"refs/heads/main\",\"after\":\"{commit}\"}}");
        let request = json_body(post("/hooks/git/shop", body));
        with_header(with_header(request, "x-gitlab-event", "Push Hook"), "x-gitlab-token", token)
    };
    let listener = Client::new(hooks);
    let refused = listener.send(hook(&format!("{HOOK}x"), &commit)).await;
    assert_eq!(refused.status, 401);
    answers.push_str(&refused.text());
    let accepted = listener.send(hook(HOOK, &commit)).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    answers.push_str(&accepted.text());
    shop.follows(&commit).await;
    // Failures, whose messages are git's.
    scene.write("password", &format!("{WRONG}\n"));
    answers.push_str(&shop.is_unreachable("unauthorized").await);
    answers.push_str(&all_answers(&shop).await);
    scene.write("password", &format!("{PASSWORD}\n"));
    for answer in [Answer::Redirect, Answer::Status(500), Answer::Status(403), Answer::Repository] {
        server.answer(answer);
        answers.push_str(&format!("{:?}", shop.sync().await));
        answers.push_str(&all_answers(&shop).await);
    }
    eventually("it recovers", || async { shop.sync().await.status == 200 }).await;
    answers.push_str(&all_answers(&shop).await);

    let seen = watch.finish();
    assert!(seen.iter().any(|seen| seen.program.starts_with("git-remote-http")), "{seen:#?}");
    let pid = shop.bridge.pid().as_raw_nonzero();
    let own = ["cmdline", "environ"].map(|name| std::fs::read(format!("/proc/{pid}/{name}")).unwrap());
    let own = String::from_utf8_lossy(&own.concat()).into_owned();
    for secret in [PASSWORD, WRONG, HOOK] {
        for seen in &seen {
            assert!(!format!("{seen:?}").contains(secret), "{seen:#?}");
        }
        assert!(!own.contains(secret), "in the bridge's own arguments or environment");
        assert!(!shop.bridge.log.text().contains(secret), "in the log: {secret}");
        assert!(!answers.contains(secret), "in an answer: {secret}");
        for folder in [scene.state(), scene.volume.root().to_owned()] {
            for file in below(&folder).iter().filter(|path| path.is_file()) {
                let bytes = std::fs::read(file).unwrap_or_default();
                let holds = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!holds, "in {}", file.display());
            }
        }
    }
}
