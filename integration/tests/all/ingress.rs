//! The ingress of `examples/ingress` in front of two routers on one volume.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use futures_util::{SinkExt, StreamExt};
use rustix::process::Signal;
use switchyard_integration::client::{Upload, post, request, with_header};
use switchyard_integration::fixtures::{ABORTS, ECHO, GATE, UNREAD, hello, lasting};
use switchyard_integration::ingress::{Behind, Ingress, Kind};
use switchyard_integration::probe::Probe;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};
use tokio_tungstenite::tungstenite::Message;

use raw::{breaking, by_tls, from, json};

mod deploys;
mod raw;

/// Two routers that trust the ingress.
async fn routers(volume: &Volume) -> (Router, Router) {
    let router = || Router::builder(volume).flag("trusted-proxy", "127.0.0.1").start();
    tokio::join!(router(), router())
}

fn both(routers: &(Router, Router)) -> Behind {
    Behind::routers(&routers.0.public, &routers.1.public)
}

#[tokio::test]
async fn a_project_is_found_by_host_and_by_path() {
    let volume = Volume::with("blog", ECHO);
    let routers = routers(&volume).await;
    for kind in Kind::installed() {
        let ingress = Ingress::start(kind, &both(&routers)).await;
        for (host, path) in [
            ("blog.example.com", "/a%2Fb//c?x=%20+&y"),
            ("example.com", "/blog/a%2Fb//c?x=%20+&y"),
            ("elsewhere.test", "/blog/a%2Fb//c?x=%20+&y"),
        ] {
            let reply = ingress.public.send(with_header(request(path), "host", host)).await;
            assert_eq!(reply.status, 200, "{kind:?} {host}: {}", reply.text());
            let echo = reply.json();
            assert_eq!(echo["path"], "/a%2Fb//c", "{kind:?} {host}");
            assert_eq!(echo["query"], "?x=%20+&y", "{kind:?} {host}");
            assert_eq!(echo["host"], host, "{kind:?}");
        }
        let unknown = ingress.public.get("/metrics").await;
        unknown.assert_problem(404, "unknown-project");
    }
}

#[tokio::test]
async fn only_the_public_paths_of_the_bridge_are_reachable() {
    let volume = Volume::with("projects", hello("of the project"));
    let routers = routers(&volume).await;
    for kind in Kind::installed() {
        let ingress = Ingress::start(kind, &both(&routers)).await;
        let ask = async |path| {
            ingress.public.send(with_header(request(path), "host", "deploy.example.com")).await.status
        };
        for path in ["/", "/events", "/metrics", "/healthz", "/readyz", "/deployed", "/projects/../metrics"] {
            assert_eq!(ask(path).await, 404, "{kind:?} {path}");
        }
        // This ingress has no bridge behind it.
        for path in ["/deploy", "/deploy/blog", "/deploys", "/deploys/1", "/projects", "/projects/blog/logs"]
        {
            assert_eq!(ask(path).await, 502, "{kind:?} {path}");
        }
    }
}

#[tokio::test]
async fn connections_to_the_routers_are_kept() {
    let volume = Volume::with("a", GATE);
    // Routers without trusted proxies report the ingress's port as the client's.
    let routers = tokio::join!(Router::start(&volume), Router::start(&volume));
    for kind in Kind::installed() {
        let ingress = Ingress::start(kind, &both(&routers)).await;
        let mut connection = ingress.public.connect().await;
        let mut ports = BTreeSet::new();
        for _ in 0..20 {
            ports.insert(connection.get("/a/port").await.text());
        }
        assert_eq!(ports.len(), 2, "{kind:?}: one connection to each router, not {ports:?}");
    }
}

#[tokio::test]
async fn a_websocket_passes_both_ways() {
    let volume = Volume::with("a", lasting("one"));
    let routers = routers(&volume).await;
    for kind in Kind::installed() {
        let ingress = Ingress::start(kind, &both(&routers)).await;
        let mut socket = ingress.public.websocket("/a/").await.unwrap();
        for text in ["x", "y"] {
            socket.send(Message::text(text)).await.unwrap();
            let echo = within("the echo", socket.next()).await.unwrap().unwrap();
            assert_eq!(echo, Message::text(format!("one {text}")), "{kind:?}");
        }
    }
}

#[tokio::test]
async fn an_event_arrives_before_the_next_one_is_sent() {
    for kind in Kind::installed() {
        let volume = Volume::with("a", GATE);
        let routers = routers(&volume).await;
        let ingress = Ingress::start(kind, &both(&routers)).await;
        let mut connection = ingress.public.connect().await;
        let mut events = connection.stream(request("/a/events")).await;
        assert_eq!(events.next().await.unwrap(), "data: one\n\n", "{kind:?}");
        for router in [&routers.0, &routers.1] {
            router.public.get("/a/next").await;
        }
        assert_eq!(events.next().await.unwrap(), "data: two\n\n", "{kind:?}");
        assert_eq!(events.next().await, None, "{kind:?}");
    }
}

#[tokio::test]
async fn a_project_makes_no_more_than_a_slow_client_reads() {
    for kind in Kind::installed() {
        let volume = Volume::with("a", UNREAD);
        let routers = routers(&volume).await;
        let ingress = Ingress::start(kind, &both(&routers)).await;
        let mut connection = ingress.public.connect().await;
        let _unread = connection.stream(request("/a/")).await;
        let settled = async {
            let (mut made, mut asked_since) = (0, 0);
            while asked_since < 40 {
                let now = sum(&routers, "/a/made").await[0];
                asked_since = if now == made { asked_since + 1 } else { 0 };
                made = now;
            }
            made
        };
        let made = within("no more is made", settled).await;
        assert!(made < 64 << 20, "{kind:?}: {made} bytes were produced without a reader");
    }
}

#[tokio::test]
async fn a_project_learns_that_a_client_has_gone() {
    for kind in Kind::installed() {
        let volume = Volume::with("a", ABORTS);
        let routers = routers(&volume).await;
        let ingress = Ingress::start(kind, &both(&routers)).await;
        let mut connection = ingress.public.connect().await;
        let mut stream = connection.stream(request("/a/stream")).await;
        assert_eq!(stream.next().await.as_deref(), Some("1"), "{kind:?}");
        drop((stream, connection));
        eventually("the handler is notified", || async { sum(&routers, "/a/counts").await == [1, 1] }).await;
    }
}

#[tokio::test]
async fn a_body_that_is_sent_in_pieces_arrives_whole() {
    let volume = Volume::with("a", ECHO);
    let routers = routers(&volume).await;
    for kind in Kind::installed() {
        let ingress = Ingress::start(kind, &both(&routers)).await;
        let (upload, request) = Upload::post("/a/");
        let mut connection = ingress.public.connect().await;
        let sending = async {
            // More than nginx keeps in memory.
            for _ in 0..8 {
                upload.send("x".repeat(10_000)).await;
            }
            upload.end();
        };
        let (reply, ()) = tokio::join!(connection.send(request), sending);
        assert_eq!(reply.json()["body"].as_str().map(str::len), Some(80_000), "{kind:?}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let volume = Volume::with("a", ECHO);
    let routers = routers(&volume).await;
    for kind in Kind::installed() {
        let ingress = Ingress::start(kind, &both(&routers)).await;
        let limit = 10 * 1024 * 1024;
        let allowed = ingress.public.send(post("/a/", vec![b'x'; limit])).await;
        assert_eq!(allowed.status, 200, "{kind:?}: {}", allowed.text());
        let mut head = format!("POST /a/ HTTP/1.1\r\nHost: example.com\r\nContent-Length: {}\r\n", limit + 1);
        head.push_str("Connection: close\r\n\r\n");
        let refused = ingress.public.raw(head.into_bytes()).await;
        assert!(refused.starts_with("HTTP/1.1 413 "), "{kind:?}: {refused}");
    }
}

#[tokio::test]
async fn a_project_learns_the_client_address_and_no_client_can_forge_it() {
    let volume = Volume::with("blog", ECHO);
    let routers = routers(&volume).await;
    for kind in Kind::installed() {
        let ingress = Ingress::start(kind, &both(&routers)).await;
        let forged = "GET / HTTP/1.1\r\nHost: blog.example.com\r\nX-Forwarded-For: 6.6.6.6\r\n\
                      X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nX-Real-Ip: 6.6.6.6\r\n\
                      Forwarded: for=6.6.6.6\r\nConnection: close\r\n\r\n";
        let reply = from([127, 0, 0, 2], ingress.public.address, forged).await;
        let echo = json(&reply);
        assert_eq!(echo["headers"]["x-forwarded-for"], "127.0.0.2, 127.0.0.1", "{kind:?}");
        assert_eq!(echo["headers"]["x-forwarded-proto"], "http", "{kind:?}");
        assert_eq!(echo["headers"]["x-forwarded-host"], "blog.example.com", "{kind:?}");
        assert_eq!(echo["address"], "127.0.0.2", "{kind:?}");
        assert!(!reply.contains("6.6.6.6") && !reply.contains("evil"), "{kind:?}: {reply}");
    }
}

#[tokio::test]
async fn a_project_learns_that_its_client_used_tls() {
    let volume = Volume::with("blog", ECHO);
    let routers = routers(&volume).await;
    let ingress = Ingress::start(Kind::Nginx, &both(&routers)).await;
    let request = "GET / HTTP/1.1\r\nHost: blog.example.com\r\nConnection: close\r\n\r\n";
    let echo = json(&by_tls(ingress.tls.address, request).await);
    assert_eq!(echo["headers"]["x-forwarded-proto"], "https");
    assert_eq!(echo["host"], "blog.example.com");
}

#[tokio::test]
async fn a_router_that_is_killed_or_stopped_fails_no_request() {
    for kind in Kind::installed() {
        for signal in [Signal::KILL, Signal::TERM] {
            let volume = Volume::with("a", hello("one"));
            let (staying, leaving) = routers(&volume).await;
            let behind = Behind::routers(&staying.public, &leaving.public);
            let ingress = Ingress::start(kind, &behind).await;
            let probe = Probe::start(&ingress.public, "/a/").await;
            leaving.signal(signal);
            leaving.ended().await;
            probe.pass(20).await;
            probe.finish().await.no_failures();
        }
    }
}

#[tokio::test]
async fn requests_that_are_not_safe_to_repeat_are_sent_once() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    for kind in Kind::installed() {
        let (breaking, taken) = breaking().await;
        let behind = Behind { routers: [breaking, router.public.address], bridge: None };
        let ingress = Ingress::start(kind, &behind).await;
        let mut answered = Vec::new();
        let until_taken = async {
            while taken.load(Ordering::SeqCst) == 0 {
                answered.push(ingress.public.send(post("/a/", "x")).await.status);
            }
        };
        within("the breaking router gets the request", until_taken).await;
        assert_eq!(taken.load(Ordering::SeqCst), 1, "{kind:?}");
        assert_eq!(answered.pop(), Some(502), "{kind:?}: the other router got the request again");
        assert!(answered.iter().all(|status| *status == 200), "{kind:?}: {answered:?}");
    }
}

#[tokio::test]
async fn nginx_in_the_routers_pod_passes_on_the_headers_of_the_clusters_ingress() {
    let volume = Volume::with("blog", ECHO);
    let router = Router::builder(&volume).flag("trusted-proxy", "127.0.0.1").start().await;
    let ingress = Ingress::in_pod(&router.public).await;
    let mut request = request("/");
    for (name, value) in
        [("host", "blog.example.com"), ("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https")]
    {
        request = with_header(request, name, value);
    }
    let echo = ingress.public.send(request).await.json();
    assert_eq!(echo["headers"]["x-forwarded-for"], "203.0.113.7, 127.0.0.1");
    assert_eq!(echo["headers"]["x-forwarded-proto"], "https");
    assert_eq!((&echo["host"], &echo["address"]), (&"blog.example.com".into(), &"203.0.113.7".into()));
}

#[tokio::test]
async fn nginx_in_the_routers_pod_lets_websockets_through() {
    let volume = Volume::with("blog", lasting("one"));
    let router = Router::start(&volume).await;
    let ingress = Ingress::in_pod(&router.public).await;
    let mut socket = ingress.public.websocket("/blog/").await.unwrap();
    socket.send(Message::text("x")).await.unwrap();
    assert_eq!(within("the echo", socket.next()).await.unwrap().unwrap(), Message::text("one x"));
}

/// Returns the project's answers at both routers, by number.
async fn sum(routers: &(Router, Router), path: &str) -> Vec<u64> {
    let numbers = async |router: &Router| -> Vec<u64> {
        let text = router.public.get(path).await.text();
        text.split(' ').map(|number| number.parse().expect("a number")).collect()
    };
    let (one, other) = (numbers(&routers.0).await, numbers(&routers.1).await);
    one.iter().zip(other).map(|(one, other)| one + other).collect()
}
