//! Responses that are as they should be.

use super::*;

#[test]
fn requests_of_one_turn_share_a_connection_and_are_answered_in_any_order() {
    run(async |setup| {
        let mut sent = VecDeque::new();
        for _ in 0..50 {
            sent.push_back(setup.get().await);
        }
        let mut cell = setup.accept().await;
        let mut streams = Vec::new();
        for _ in 0..50 {
            let (stream, head, body, end) = cell.request().await;
            assert_eq!((head.method(), head.target()), (&b"GET"[..], &b"http://a.test/path?query"[..]));
            assert_eq!(head.header("host"), Some(&b"a.test"[..]));
            assert!(body.is_empty() && end);
            streams.push(stream);
        }
        assert_eq!(streams, (1..=50).collect::<Vec<_>>());
        let answer =
            |out: &mut BytesMut| streams.iter().rev().for_each(|id| whole(out, *id, &id.to_string()));
        cell.send(answer).await;
        for stream in streams {
            assert_eq!(text(sent.pop_front().unwrap()).await, stream.to_string());
        }
        assert_eq!(setup.transport.drivers.borrow().len(), 1);
    });
}

#[test]
fn a_response_with_its_body_and_trailers_may_come_in_single_bytes() {
    run(async |setup| {
        let (sent, mut cell, stream) = setup.begin().await;
        let mut bytes = BytesMut::new();
        encode::response(&mut bytes, stream, 201, [("a", "1"), ("a", "2")], (b"be", false)).unwrap();
        encode::data(&mut bytes, stream, b"gin", false);
        encode::data(&mut bytes, stream, b"ning", false);
        encode::trailers(&mut bytes, stream, [("x-sum", "9")]).unwrap();
        let feed = spawn_local(async move {
            for byte in bytes {
                cell.stream.write_all(&[byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            cell
        });
        let response = sent.await.unwrap().unwrap();
        assert_eq!(response.status(), 201);
        let values: Vec<_> = response.headers().get_all("a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x-sum"], "9");
        assert_eq!(collected.to_bytes(), "beginning");
        feed.await.unwrap().respond(stream, "a frame after the end").await;
    });
}

#[test]
fn the_length_of_a_body_is_known_if_it_is_whole_or_announced() {
    run(async |setup| {
        let (sent, mut cell, stream) = setup.begin().await;
        cell.respond(stream, "12345").await;
        let response = sent.await.unwrap().unwrap();
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(5));
        let (sent, headers) = (setup.get().await, [("content-length", "7")]);
        let stream = cell.request().await.0;
        cell.send(|out| encode::response(out, stream, 200, headers, (b"123", false)).unwrap()).await;
        let response = sent.await.unwrap().unwrap();
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(7));
        cell.send(|out| encode::data(out, stream, b"4567", true)).await;
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "1234567");
    });
}

#[test]
fn a_body_that_is_longer_or_shorter_than_announced_is_invalid() {
    for (length, first, second) in [
        ("4", "12345", ""),
        ("6", "12345", ""),
        ("4", "123", "45"),
        ("6", "123", "45"),
        ("x", "1", ""),
        ("", "", ""),
    ] {
        run(async |setup| {
            let (sent, mut cell, stream) = setup.begin().await;
            let headers = [("content-length", length)];
            let (first, second) = (first.as_bytes(), second.as_bytes());
            let is_whole = second.is_empty();
            cell.send(|out| {
                encode::response(out, stream, 200, headers, (first, is_whole)).unwrap();
                if !is_whole {
                    encode::data(out, stream, second, true);
                }
            })
            .await;
            assert_eq!(failure(sent).await, Failure::Invalid(BadAnswer::Invalid), "{length}");
            let next = setup.get().await;
            assert!(matches!(cell.next().await.unwrap().content, Content::Reset { .. }));
            let stream = cell.request().await.0;
            cell.respond(stream, "the connection goes on").await;
            assert_eq!(text(next).await, "the connection goes on");
        });
    }
}

#[test]
fn responses_to_head_and_of_some_statuses_have_no_body_whatever_their_length() {
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
        run(async |setup| {
            let sent = setup.send(request(method, None).await);
            let mut cell = setup.accept().await;
            let (stream, headers) = (cell.request().await.0, [("content-length", "100")]);
            cell.send(|out| encode::response(out, stream, status, headers, (b"", true)).unwrap()).await;
            let response = sent.await.unwrap().unwrap();
            assert_eq!(response.headers()["content-length"], "100");
            assert!(http_body::Body::is_end_stream(response.body()));
            let sent = setup.send(request(method, None).await);
            let stream = cell.request().await.0;
            cell.send(|out| encode::response(out, stream, status, NO_HEADERS, (b"x", true)).unwrap()).await;
            assert_eq!(failure(sent).await, Failure::Invalid(BadAnswer::Invalid));
        });
    }
}

#[test]
fn a_download_of_100_megabytes_waits_for_its_reader() {
    static PIECE: [u8; 64 << 10] = [7; 64 << 10];
    const PIECES: usize = 1600;
    run(async |setup| {
        let (sent, mut cell, stream) = setup.begin().await;
        let serving = spawn_local(async move {
            cell.send(|out| head(out, stream)).await;
            let (mut left, mut sent) = (switchyard_protocol::frame::WINDOW as usize, 0);
            for number in 1..=PIECES {
                while left < PIECE.len() {
                    let Content::Credit(bytes) = cell.next().await.unwrap().content else { panic!("credit") };
                    left += bytes as usize;
                }
                left -= PIECE.len();
                sent += PIECE.len();
                cell.send(|out| encode::data(out, stream, &PIECE, number == PIECES)).await;
            }
            (cell, sent)
        });
        let mut body = sent.await.unwrap().unwrap().into_body();
        let (mut received, mut turns) = (0, 0);
        while let Some(frame) = body.frame().await {
            received += frame.unwrap().into_data().unwrap().len();
            if turns < 20 {
                // A slow reader, at first: everything that the cell may send has come.
                turns += 1;
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            }
        }
        assert_eq!(received, PIECES * PIECE.len());
        assert_eq!(serving.await.unwrap().1, received);
        assert!(setup.conn().is_idle());
    });
}
