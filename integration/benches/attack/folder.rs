//! Rows 10, 12, 15 and 16 of the table: attackers who may write to a project's folder.

use std::fmt::Write as _;
use std::time::Duration;

use switchyard_integration::client::{request, with_header};
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::Router;
use tokio::time::timeout;

use crate::attempt::{Attempt, Verdict};
use crate::stage::{HANGS, Stage, put};
use crate::user::User;

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt {
        number: "10",
        severity: "critical",
        deed: "a project claims another one's name, and a host that another one has",
        broken: "it answers requests of the other one",
        as_each: false,
        make: |user| Box::pin(claims(user)),
    },
    Attempt {
        number: "12",
        severity: "high",
        deed: "2,000 empty folders are made in a project at once",
        broken: "another's change is not live in 10 s",
        as_each: false,
        make: |user| Box::pin(folders(user)),
    },
    Attempt {
        number: "15",
        severity: "medium",
        deed: "124,000 prefixes in one deno.json",
        broken: "they are live: each request would search them",
        as_each: false,
        make: |user| Box::pin(prefixes(user)),
    },
    Attempt {
        number: "16",
        severity: "medium",
        deed: "projects that are called 127, 10, localhost",
        broken: "they get requests by address or for localhost",
        as_each: false,
        make: |user| Box::pin(names(user)),
    },
];

async fn by_host(router: &Router, host: &str, path: &str) -> String {
    let mut connection = router.public.connect().await;
    let pending = connection.try_send(with_header(request(path), "host", host));
    timeout(HANGS, pending).await.ok().and_then(Result::ok).map(|reply| reply.text()).unwrap_or_default()
}

fn claim(stage: &Stage, name: &str, routes: &str) {
    stage
        .volume
        .write(&format!("{name}/deno.json"), format!(r#"{{"switchyard": {{"routes": [{routes}]}}}}"#));
    put(&stage.volume, name, &hello(name));
}

async fn claims(user: User) -> Verdict {
    let stage = Stage::of(user, &[("victim", hello("victim").as_str())]).await;
    let admin = &stage.router().admin;
    claim(&stage, "m-shop", r#""www.shop.example", "/sale""#);
    timeout(HANGS, admin.client.post("/_reload/m-shop")).await.ok();
    for name in ["a-evil", "zz-evil"] {
        let routes = r#""www.shop.example", "victim.example.com", "/victim", "/sale", "/bystander", "victim.localhost", "localhost", "127.0.0.1""#;
        claim(&stage, name, routes);
        timeout(HANGS, admin.client.post(&format!("/_reload/{name}"))).await.ok();
    }
    let mut wrong = Vec::new();
    for (host, path, owner) in [
        ("localhost", "/victim/", "victim"),
        ("victim.localhost", "/", "victim"),
        ("victim.example.com", "/", "victim"),
        ("www.shop.example", "/", "m-shop"),
        ("WWW.shop.example.:80", "/", "m-shop"),
        ("localhost", "/sale/x", "m-shop"),
        ("localhost", "/m-shop/", "m-shop"),
        ("127.0.0.1", "/victim/", "victim"),
    ] {
        let text = by_host(stage.router(), host, path).await;
        if text != owner {
            wrong.push(format!("{text:?} answers {host}{path}, which is {owner}'s"));
        }
    }
    stage.finish(Verdict::of(wrong, "none of 8 requests was diverted")).await
}

async fn folders(user: User) -> Verdict {
    let stage = Stage::of(user, &[("evil", hello("evil").as_str())]).await;
    for n in 0..2000 {
        std::fs::create_dir(stage.path(&format!("evil/{n}"))).expect("a folder can be made");
    }
    let seen = stage.change_is_seen().await;
    let held =
        seen.as_ref().map_or(String::new(), |took| format!("a change of another is live in {took:.1?}"));
    stage.finish(Verdict::of(seen.err().into_iter().collect(), held)).await
}

async fn prefixes(user: User) -> Verdict {
    let mut routes = String::from("\"/0\"");
    for n in 1..124_000 {
        let _ = write!(routes, ",\"/{n:x}\"");
    }
    let stage = Stage::of(user, &[]).await;
    claim(&stage, "evil", &routes);
    let reply = timeout(HANGS * 2, stage.router().admin.client.post("/_reload/evil")).await;
    let outcome = reply.ok().and_then(|reply| Some(reply.json()["outcome"].as_str()?.to_owned()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    stage.pass(100).await;
    let wrong = match outcome.as_deref() {
        Some("failed") => vec![],
        outcome => vec![format!("its reload: {}", outcome.unwrap_or("no answer"))],
    };
    stage.finish(Verdict::of(wrong, "its reload fails")).await
}

async fn names(user: User) -> Verdict {
    let evil = hello("evil");
    let evil = evil.as_str();
    let stage = Stage::of(user, &[("127", evil), ("10", evil), ("localhost", evil)]).await;
    let mut wrong = Vec::new();
    let port = stage.router().public.address.port();
    for host in ["127.0.0.1", "127.0.0.1:80", "localhost", "LOCALHOST.", "10.0.0.1", "[::1]", "127.1"] {
        let hosts = [host.to_owned(), format!("{host}:{port}")];
        for host in hosts.into_iter().filter(|host| host.matches(':').count() != 2) {
            let text = by_host(stage.router(), &host, "/bystander/").await;
            if text != "bystander" {
                wrong.push(format!("{host}: {text:?}"));
            }
        }
    }
    // "127.1" is an address to some parsers and a name to others: no project may get it by its
    // label.
    wrong.retain(|what| what.contains("evil"));
    stage.finish(Verdict::of(wrong, "none of them gets a request")).await
}
