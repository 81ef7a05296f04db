//! Webhooks of git servers: a signed push is live without a sync, and nothing else does anything.

use futures_util::future::join_all;
use switchyard_contract::source::{SourceState, SyncOutcome};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{hello, slow};
use switchyard_integration::git::{GitDaemon, Repository};
use switchyard_integration::sources::{Forge, HOOK_SECRET, Scene, Source};

/// A source whose whole repository is one project with its name.
fn whole(name: &str, repository: &Repository, kind: &str) -> Source {
    Source::of(name, repository).key("projects", r#"[{ path = "." }]"#).webhook(kind)
}

async fn commit(repository: &Repository, label: &str) -> String {
    repository.commit(&[("main.ts", &hello(label))], label).await
}

/// A scene with the one source `shop`, whose hooks are GitHub's, and its first commit.
async fn shop() -> (Repository, Scene, String) {
    let repository = Repository::create().await;
    let first = commit(&repository, "one").await;
    let scene = Scene::start(&[whole("shop", &repository, "github")]).await;
    scene.api.synced("shop", &first).await;
    (repository, scene, first)
}

#[tokio::test]
async fn a_push_is_live_by_the_webhook_of_each_forge() {
    let mut repositories = Vec::new();
    let mut sources = Vec::new();
    for (index, forge) in Forge::ALL.into_iter().enumerate() {
        let repository = Repository::create().await;
        commit(&repository, "one").await;
        sources.push(whole(&format!("p{index}"), &repository, forge.kind()));
        repositories.push(repository);
    }
    let scene = Scene::start(&sources).await;
    assert_eq!(scene.api.sync_all().await.len(), Forge::ALL.len());
    for (index, forge) in Forge::ALL.into_iter().enumerate() {
        let (repository, name) = (&repositories[index], format!("p{index}"));
        let pushed = commit(repository, "two").await;
        scene.deliver(&forge.push(&name, &pushed)).await;
        let status = scene.api.live(&name, &pushed).await;
        assert_eq!(scene.routers.texts(&format!("/{name}/")).await, ["two"], "{forge:?}");
        let hook = status.last_hook.expect("the delivery is shown");
        assert!(hook.accepted && hook.detail.contains("refs/heads/main"), "{forge:?}: {hook:?}");
    }
}

#[tokio::test]
async fn a_delivery_that_is_not_proven_is_refused_alike_and_does_nothing() {
    let (one, two) = (Repository::create().await, Repository::create().await);
    let first = commit(&one, "one").await;
    commit(&two, "two").await;
    let silent = Source::of("silent", &two).key("projects", r#"[{ path = "." }]"#);
    let scene = Scene::start(&[whole("shop", &one, "github"), silent]).await;
    scene.api.synced("shop", &first).await;
    let pushed = commit(&one, "not yet").await;

    let good = Forge::Github.push("shop", &pushed);
    let ref_name = "refs/heads/main";
    let refused = [
        ("another secret", Forge::Github.push_of("shop", ref_name, &pushed, "guessed")),
        ("another body", good.clone().with_body(r#"{"ref": "refs/heads/main"}"#)),
        ("another forge's headers", Forge::Gitea.push("shop", &pushed)),
        ("an unknown source", good.clone().to("nobody")),
        ("a source without a webhook", good.clone().to("silent")),
    ];
    let mut answers = Vec::new();
    for (what, delivery) in refused {
        let reply = scene.hooks.send(delivery.request()).await;
        reply.assert_problem(401, "unauthorized");
        answers.push((what, reply.text()));
    }
    for (what, answer) in &answers {
        assert_eq!(*answer, answers[0].1, "{what} shows by its answer");
    }
    let status = scene.api.status("shop").await;
    assert_eq!((status.seen, status.state), (Some(first), SourceState::Idle));
    assert!(status.last_hook.is_none_or(|hook| !hook.accepted));
    assert!(!scene.bridge.log.text().contains(HOOK_SECRET), "the log has the secret");

    // Webhooks are not received by the API, and the API is not at the webhooks' listener.
    assert_eq!(scene.bridge.client.send(good.request()).await.status, 404);
    scene.hooks.post("/sources/shop/sync").await.assert_problem(404, "unknown-path");
    scene.deliver(&good).await;
    scene.api.live("shop", &pushed).await;
}

#[tokio::test]
async fn a_delivery_that_is_sent_again_does_nothing() {
    let (repository, scene, _) = shop().await;
    let second = commit(&repository, "two").await;
    let delivery = Forge::Github.push("shop", &second);
    let accepted = scene.hooks.send(delivery.request()).await;
    scene.api.live("shop", &second).await;
    let third = commit(&repository, "three").await;
    let again = scene.hooks.send(delivery.request()).await;
    assert_eq!((again.status, again.text()), (202, accepted.text()));
    // The sync finds the commit: the replay has not.
    scene.api.goes_live("shop", &third).await;
}

#[tokio::test]
async fn a_push_of_another_branch_is_told_and_not_followed() {
    let (repository, scene, first) = shop().await;
    let other = repository.on("other").file("main.ts", hello("other")).commit("other").await;
    scene.deliver(&Forge::Github.push_of("shop", "refs/heads/other", &other, HOOK_SECRET)).await;
    let told = |status: &switchyard_contract::source::SourceStatus| {
        status.last_hook.as_ref().is_some_and(|hook| hook.detail.contains("refs/heads/other"))
    };
    let status = scene.api.becomes("shop", "the push is told", told).await;
    assert_eq!((status.seen.as_ref(), status.applied.as_ref()), (Some(&first), Some(&first)));
    assert_eq!(scene.routers.texts("/shop/").await, ["one"]);
}

#[tokio::test]
async fn a_commit_that_the_server_does_not_show_yet_is_asked_for_again() {
    let repository = Repository::create().await;
    let first = commit(&repository, "one").await;
    let daemon = GitDaemon::start(&repository).await;
    let source = Source::new("shop", daemon.url()).key("insecure", "true");
    let source = source.key("projects", r#"[{ path = "." }]"#).webhook("github");
    let scene = Scene::start(&[source]).await;
    scene.api.synced("shop", &first).await;
    let asked = || daemon.log().text().matches("Request upload-pack").count();
    repository.branch("later").await;
    let second = repository.on("later").file("main.ts", hello("two")).commit("two").await;
    let before = asked();
    scene.deliver(&Forge::Github.push("shop", &second)).await;
    eventually("the server is asked", || std::future::ready(asked() > before)).await;
    scene.api.becomes("shop", "the question is over", |status| status.state == SourceState::Idle).await;
    repository.force_push("main", &second).await;
    scene.api.live("shop", &second).await;
    assert_eq!(scene.routers.texts("/shop/").await, ["two"]);
}

#[tokio::test]
async fn a_hundred_signed_pushes_are_each_live_in_their_order() {
    // Two sources, since one may send sixty deliveries a minute.
    let repositories = [Repository::create().await, Repository::create().await];
    for repository in &repositories {
        commit(repository, "begin").await;
    }
    let sources = [0, 1].map(|index| whole(&format!("s{index}"), &repositories[index], "github"));
    let scene = Scene::start(&sources).await;
    scene.api.sync_all().await;
    let pushes = async |index: usize| {
        let (repository, name) = (&repositories[index], format!("s{index}"));
        let mut pushed = Vec::new();
        for push in 1..=50 {
            let label = format!("push {push}");
            let commit = commit(repository, &label).await;
            scene.deliver(&Forge::Github.push(&name, &commit)).await;
            scene.api.live(&name, &commit).await;
            let reply = scene.routers[0].public.get(&format!("/{name}/")).await;
            assert_eq!((reply.text(), reply.header("x-switchyard-commit")), (label, Some(commit.as_str())));
            pushed.push(commit);
        }
        let deployed = scene.api.commits(&name).await;
        let deployed = deployed.into_iter().rev().map(|deployed| deployed.commit).skip(1);
        assert_eq!(deployed.collect::<Vec<_>>(), pushed, "{name}");
    };
    join_all([pushes(0), pushes(1)]).await;
}

#[tokio::test]
async fn of_five_pushes_during_a_build_the_first_and_the_last_are_deployed() {
    let (repository, scene, begin) = shop().await;
    repository.branch("side").await;
    let mut commits = Vec::new();
    for (push, main) in ["1", "2", "3", "4", "5"]
        .into_iter()
        .zip([slow("1", 2000)].into_iter().chain(["2", "3", "4", "5"].map(hello)))
    {
        commits.push(repository.on("side").file("main.ts", main).commit(push).await);
    }
    for (index, commit) in commits.iter().enumerate() {
        repository.force_push("main", commit).await;
        scene.deliver(&Forge::Github.push("shop", commit)).await;
        if index == 0 {
            let deploys =
                |status: &switchyard_contract::source::SourceStatus| status.state == SourceState::Deploying;
            scene.api.becomes("shop", "it deploys the first", deploys).await;
        }
    }
    let state = scene.api.status("shop").await.state;
    assert_eq!(state, SourceState::Deploying, "the build was over before the last push");
    scene.api.live("shop", &commits[4]).await;
    assert_eq!(scene.routers.texts("/shop/").await, ["5"]);
    let deployed: Vec<_> = scene.api.commits("shop").await.into_iter().map(|one| one.commit).collect();
    assert_eq!(deployed, [commits[4].as_str(), commits[0].as_str(), begin.as_str()]);
    assert_eq!(scene.api.sync("shop").await.outcome, SyncOutcome::Unchanged);
}

#[tokio::test]
async fn a_source_that_gets_too_many_deliveries_says_when_the_next_one_may_come() {
    let (one, two) = (Repository::create().await, Repository::create().await);
    let head = commit(&one, "one").await;
    commit(&two, "two").await;
    let scene = Scene::start(&[whole("one", &one, "github"), whole("two", &two, "github")]).await;
    let delivery = Forge::Github.push("one", &head);
    let mut connection = scene.hooks.connect().await;
    let mut taken = 0;
    let refused = loop {
        let reply = connection.send(delivery.request()).await;
        if reply.status != 202 {
            break reply;
        }
        taken += 1;
        assert!(taken < 5000, "nothing is refused");
    };
    refused.assert_problem(429, "too-many-deliveries");
    assert!(taken >= 60, "{taken}");
    assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
    scene.deliver(&delivery.to("two")).await;
}

#[tokio::test]
async fn after_sighup_a_webhook_has_the_current_secret() {
    let (repository, scene, _) = shop().await;
    scene.file.secret("hook-secret", "the next secret");
    scene.configure(&[whole("shop", &repository, "github")]).await;
    let second = commit(&repository, "two").await;
    let old = scene.hooks.send(Forge::Github.push("shop", &second).request()).await;
    old.assert_problem(401, "unauthorized");
    let delivery = Forge::Github.push_of("shop", "refs/heads/main", &second, "the next secret");
    scene.deliver(&delivery).await;
    scene.api.live("shop", &second).await;
}
