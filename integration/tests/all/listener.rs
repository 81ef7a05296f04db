//! The limits of clients at a public listener: time, connections, requests on a connection. The router and
//! the bridge have the same.

use std::fs;

use futures_util::{SinkExt, StreamExt};
use switchyard_integration::bridge::fronts::LimitedFronts;
use switchyard_integration::client::{Client, Upload, request};
use switchyard_integration::fixtures::{ABORTS, UNREAD, hello, lasting};
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};
use tokio_tungstenite::tungstenite::Message;

/// In milliseconds: short for a test, and long for what is right to be done in.
const SHORT: u64 = 400;

const GET: &str = "GET /a/ HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn a_head_that_takes_too_long_is_cut_off_and_others_are_served_meanwhile() {
    let volume = Volume::with("a", hello("one"));
    let fronts = LimitedFronts::start(&volume, &[("head-timeout", &SHORT.to_string())]).await;
    for front in fronts.each() {
        let mut bystander = front.public.connect().await;
        let mut slow = Vec::new();
        for begun in [
            "",
            "G",
            "GET /a/ HTTP/1.1\r\nHost: h\r\n",
            "PRI * HTTP/2.0\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            let mut connection = front.public.open().await;
            connection.send(begun).await;
            slow.push((begun, connection));
        }
        let mut pipelined = front.public.open().await;
        pipelined.send(format!("{GET}GET /a/ ")).await;
        assert_eq!(bystander.get("/a/").await.text(), "one");
        for (begun, mut connection) in slow {
            let rest = connection.rest().await;
            assert!(!rest.contains(" 200 "), "{begun:?}: {rest}");
            if begun.starts_with('G') {
                assert!(rest.is_empty() || rest.contains("problem:head-timeout"), "{begun:?}: {rest}");
            }
        }
        let both = pipelined.rest().await;
        assert!(both.starts_with("HTTP/1.1 200 ") && both.contains("problem:head-timeout"), "{both}");
    }
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off() {
    let volume = Volume::with("a", hello("one"));
    let fronts = LimitedFronts::start(&volume, &[("head-timeout", &SHORT.to_string())]).await;
    for front in fronts.each() {
        let mut connection = front.public.open().await;
        let dripping = async {
            connection.send("GET /a/ HTTP/1.1\r\nX: ").await;
            while connection.try_send("x").await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        within("it is cut off", dripping).await;
        assert_eq!(front.public.get("/a/").await.text(), "one");
    }
}

#[tokio::test]
async fn a_connection_without_requests_is_closed() {
    let volume = Volume::with("a", hello("one"));
    let fronts = LimitedFronts::start(&volume, &[("idle-timeout", &SHORT.to_string())]).await;
    for front in fronts.each() {
        let mut connection = front.public.open().await;
        connection.send(GET).await;
        connection.until("one").await;
        assert_eq!(connection.rest().await, "");
        let mut streams = front.public.connect_h2c().await;
        assert_eq!(streams.get("/a/").await.text(), "one");
        let closed = async {
            while streams.share().unwrap().try_send(request("/none")).await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(2 * SHORT)).await;
            }
        };
        within("it is closed", closed).await;
    }
}

#[tokio::test]
async fn a_body_that_stops_is_answered_and_cut_off() {
    let volume = Volume::with("a", lasting("one"));
    let fronts = LimitedFronts::start(&volume, &[("body-timeout", &SHORT.to_string())]).await;
    for front in fronts.each() {
        let mut slow = Vec::new();
        for body in [
            "Content-Length: 10\r\n\r\n",
            "Content-Length: 10\r\n\r\n123",
            "Transfer-Encoding: chunked\r\n\r\n5\r\n12",
        ] {
            let mut connection = front.public.open().await;
            connection.send(format!("POST /a/wait HTTP/1.1\r\nHost: h\r\n{body}")).await;
            slow.push(connection);
        }
        let mut streams = front.public.connect_h2c().await;
        let (upload, asked) = Upload::post("/a/wait");
        upload.send("x").await;
        assert_eq!(front.public.get("/a/").await.text(), "one");
        for mut connection in slow {
            let answer = connection.rest().await;
            assert!(
                answer.starts_with("HTTP/1.1 408 ") && answer.contains("problem:body-timeout"),
                "{answer}"
            );
        }
        streams.send(asked).await.assert_problem(408, "body-timeout");
        assert_eq!(streams.get("/a/").await.text(), "one", "other streams continue");
        eventually("nothing is in flight", || async { front.router.admin.project("a").await.in_flight == 0 })
            .await;
    }
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off() {
    let volume = Volume::with("a", lasting("one"));
    let fronts = LimitedFronts::start(&volume, &[("body-timeout", &SHORT.to_string())]).await;
    for front in fronts.each() {
        let mut connection = front.public.open().await;
        connection.send("POST /a/wait HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n").await;
        let dripping = async {
            while connection.try_send("x").await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        within("it is cut off", dripping).await;
        assert_eq!(front.public.get("/a/").await.text(), "one");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let volume = Volume::with("a", UNREAD);
    let fronts = LimitedFronts::start(&volume, &[("body-timeout", &SHORT.to_string())]).await;
    for front in fronts.each() {
        let mut connection = front.public.open().await;
        connection.send(GET).await;
        connection.until("HTTP/1.1 200").await;
        let in_flight = || async { front.router.admin.project("a").await.in_flight };
        eventually("it holds no slot", || async { in_flight().await == 0 }).await;
        let mut streams = front.public.connect_h2c().await;
        let unread = streams.stream(request("/a/")).await;
        assert_eq!(unread.status(), 200);
        eventually("a stream holds no slot", || async { in_flight().await == 0 }).await;
    }
}

#[tokio::test]
async fn a_quiet_connection_is_not_cut_off() {
    let volume = Volume::with("a", lasting("one"));
    volume.project("quiet").file("main.ts", ABORTS).write();
    let fronts = LimitedFronts::start(
        &volume,
        &[
            ("body-timeout", &SHORT.to_string()),
            ("idle-timeout", &SHORT.to_string()),
            ("head-timeout", &SHORT.to_string()),
        ],
    )
    .await;
    for front in fronts.each() {
        let mut socket = front.public.websocket("/a/").await.unwrap();
        let (mut one, mut other) = (front.public.connect().await, front.public.connect_h2c().await);
        let mut quiet = Vec::new();
        for connection in [&mut one, &mut other] {
            let mut stream = connection.stream(request("/quiet/stream")).await;
            assert_eq!(stream.next().await.as_deref(), Some("1"));
            quiet.push(stream);
        }
        // Three of them, one after the other: those above have been quiet for longer than any bound.
        for _ in 0..3 {
            assert_eq!(front.public.open().await.rest().await, "");
        }
        socket.send(Message::text("x")).await.unwrap();
        let echo = within("an echo", socket.next()).await.unwrap().unwrap();
        assert_eq!(echo, Message::text("one x"));
        assert_eq!(front.router.admin.project("quiet").await.in_flight, 2);
        assert_eq!(front.public.get("/quiet/counts").await.text(), "2 0");
    }
}

/// Connects, and returns true if the listener serves the connection.
async fn is_taken(client: &Client) -> bool {
    let mut connection = client.open().await;
    let closing = GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    connection.try_send(closing).await.is_ok() && connection.rest().await.contains("200 OK")
}

#[tokio::test]
async fn a_client_has_a_limited_number_of_connections() {
    let volume = Volume::with("a", hello("one"));
    let fronts = LimitedFronts::start(&volume, &[("max-client-connections", "3")]).await;
    for front in fronts.each() {
        let mut kept = Vec::new();
        for _ in 0..3 {
            let mut connection = front.public.connect().await;
            assert_eq!(connection.get("/a/").await.text(), "one");
            kept.push(connection);
        }
        for _ in 0..5 {
            assert!(!is_taken(front.public).await);
        }
        assert_eq!(kept[0].get("/a/").await.text(), "one");
        assert_eq!(front.refused_connections("bound=\"client\"").await, Some(5.0));
        let told = front.log.wait_for(|record| record.to_string().contains("--max-client-connections"));
        assert!(within("the log tells of it", told).await.is_some());
        kept.pop();
        eventually("there is a place again", || is_taken(front.public)).await;
    }
}

#[tokio::test]
async fn all_connections_together_are_limited_and_a_trusted_proxy_may_use_them_all() {
    let volume = Volume::with("a", hello("one"));
    let fronts = LimitedFronts::start(
        &volume,
        &[("max-connections", "4"), ("max-client-connections", "1"), ("trusted-proxy", "127.0.0.1")],
    )
    .await;
    for front in fronts.each() {
        let mut kept = Vec::new();
        for _ in 0..3 {
            let mut connection = front.public.connect().await;
            assert_eq!(connection.get("/a/").await.text(), "one");
            kept.push(connection);
        }
        let mut socket = front.public.open().await;
        socket.send(GET).await;
        socket.until("one").await;
        assert!(!is_taken(front.public).await);
        assert_eq!(front.refused_connections("bound=\"all\"").await, Some(1.0));
        drop(socket);
        eventually("there is a place again", || is_taken(front.public)).await;
        for connection in &mut kept {
            assert_eq!(connection.get("/a/").await.text(), "one");
        }
    }
}

#[tokio::test]
async fn a_connection_carries_a_limited_number_of_requests() {
    let volume = Volume::with("a", hello("one"));
    let fronts = LimitedFronts::start(&volume, &[("max-connection-requests", "3")]).await;
    for front in fronts.each() {
        let answers = front.public.raw(GET.repeat(5)).await;
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
        assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");
        let mut streams = front.public.connect_h2c().await;
        for _ in 0..3 {
            assert_eq!(streams.get("/a/").await.text(), "one");
        }
        let refused = async { while streams.try_send(request("/a/")).await.is_ok() {} };
        within("no more are taken", refused).await;
        assert_eq!(front.public.get("/a/").await.text(), "one");
    }
}

/// The open descriptors of the router.
fn descriptors(router: &Router) -> usize {
    fs::read_dir(format!("/proc/{}/fd", router.pid().as_raw_nonzero())).expect("the router runs").count()
}

#[tokio::test]
async fn ten_thousand_clients_that_hang_up_in_mid_request_leave_nothing_behind() {
    const BATCH: usize = 250;
    let begun = [
        "GET /a/ HT",
        "GET /a/never HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /a/never HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n1234",
        "POST /a/stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0",
        "GET /a/stream HTTP/1.1\r\nHost: h\r\n\r\nGET /a/",
        "POST /a/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
        "",
    ];
    let volume = Volume::with("a", ABORTS);
    volume.project("bystander").file("main.ts", hello("here")).write();
    // A handler that never answers keeps its connection.
    volume.write("_policy.toml", "[projects.a.limits]\nfiles = 20000");
    let router = Router::builder(&volume)
        .flag("max-client-connections", 10_000)
        .flag("policy", volume.path("_policy.toml").display())
        .start()
        .await;
    let mut bystander = router.public.connect().await;
    assert_eq!(bystander.get("/bystander/").await.text(), "here");
    assert_eq!(router.public.get("/a/counts").await.text(), "0 0");
    let before = descriptors(&router);
    for batch in 0..10_000 / BATCH {
        let mut clients = Vec::with_capacity(BATCH);
        for client in 0..BATCH {
            let mut connection = router.public.open().await;
            connection.send(begun[(batch + client) % begun.len()]).await;
            clients.push(connection);
        }
        assert_eq!(bystander.get("/bystander/").await.text(), "here", "batch {batch}");
    }
    eventually("nothing is in flight", || async { router.admin.project("a").await.in_flight == 0 }).await;
    eventually("all descriptors are given back", || async { descriptors(&router) <= before }).await;
    eventually("no connection is counted", || async {
        // The bystander's.
        router.admin.metric("switchyard_connections", "").await == Some(1.0)
    })
    .await;
    assert_eq!(bystander.get("/bystander/").await.text(), "here");
    assert!(router.public.get("/a/counts").await.text() != "0 0", "the same cell still answers");
    assert!(router.admin.project("a").await.crashes.is_empty());
}
