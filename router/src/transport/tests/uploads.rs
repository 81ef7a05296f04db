//! Bodies of requests.

use switchyard_protocol::frame::{MAX_DATA, WINDOW};

use super::*;

/// Returns the senders of a body's pieces, and the request.
async fn upload() -> (mpsc::Sender<Result<Bytes, std::io::Error>>, Request<Upload>) {
    let (pieces, received) = mpsc::channel(1);
    (pieces, request("POST", Some(received)).await)
}

#[test]
fn a_body_that_is_there_goes_with_its_request() {
    run(async |setup| {
        let mut request = post(b"all of it").await;
        request.headers_mut().insert("content-length", "9".parse().unwrap());
        // hyper has read it by now.
        tokio::task::yield_now().await;
        let sent = setup.send(request);
        let mut cell = setup.accept().await;
        let (stream, head, mut body, mut end) = cell.request().await;
        assert_eq!(head.header("content-length"), Some(&b"9"[..]));
        while !end {
            let frame = cell.next().await.unwrap();
            let Content::Data(data) = frame.content else { panic!("data is expected") };
            body = [body, data].concat().into();
            end = frame.end;
        }
        assert_eq!(body, "all of it");
        cell.respond(stream, "thanks").await;
        assert_eq!(text(sent).await, "thanks");
        assert!(setup.conn().is_idle());
    });
}

#[test]
fn a_body_of_unknown_length_is_announced_as_http_1_1_does() {
    run(async |setup| {
        let (pieces, request) = upload().await;
        let sent = setup.send(request);
        let mut cell = setup.accept().await;
        let (stream, head, body, end) = cell.request().await;
        assert_eq!(head.header("transfer-encoding"), Some(&b"chunked"[..]));
        assert!(body.is_empty() && !end);
        for piece in ["one", "two"] {
            pieces.send(Ok(piece.into())).await.unwrap();
            let Frame { content: Content::Data(data), end: false, .. } = cell.next().await.unwrap() else {
                panic!("data is expected")
            };
            assert_eq!(data, piece);
        }
        drop(pieces);
        let Frame { content, end: true, .. } = cell.next().await.unwrap() else { panic!("the end") };
        assert_eq!(content, Content::Data(Bytes::new()));
        cell.respond(stream, "").await;
        assert_eq!(text(sent).await, "");
    });
}

#[test]
fn an_upload_of_100_megabytes_waits_for_its_credit() {
    const PIECE: &[u8] = &[7; 128 << 10];
    const PIECES: usize = 800;
    run(async |setup| {
        let (pieces, request) = upload().await;
        let sent = setup.send(request);
        spawn_local(async move {
            for _ in 0..PIECES {
                pieces.send(Ok(Bytes::from_static(PIECE))).await.unwrap();
            }
        });
        let mut cell = setup.accept().await;
        let (stream, _, first, mut end) = cell.request().await;
        let (mut received, mut due, mut most) = (first.len(), first.len(), 0);
        while !end {
            most = most.max(setup.conn().waiting());
            if due == WINDOW as usize {
                let credit = std::mem::take(&mut due) as u32;
                cell.send(|out| encode::credit(out, stream, credit)).await;
            }
            let frame = cell.next().await.unwrap();
            let Content::Data(data) = frame.content else { panic!("data is expected") };
            assert!(data.len() <= MAX_DATA);
            received += data.len();
            due += data.len();
            assert!(due <= WINDOW as usize);
            end = frame.end;
        }
        assert_eq!(received, PIECES * PIECE.len());
        assert!(most <= 2 * WINDOW as usize, "{most} bytes waited in the router");
        cell.respond(stream, "done").await;
        assert_eq!(text(sent).await, "done");
    });
}

#[test]
fn the_rest_of_a_body_is_sent_while_the_response_is_read() {
    run(async |setup| {
        let (pieces, request) = upload().await;
        let sent = setup.send(request);
        let mut cell = setup.accept().await;
        let stream = cell.request().await.0;
        cell.send(|out| head(out, stream)).await;
        let mut body = sent.await.unwrap().unwrap().into_body();
        for piece in ["one", "two"] {
            pieces.send(Ok(piece.into())).await.unwrap();
            let echo = async {
                let Content::Data(data) = cell.next().await.unwrap().content else { panic!("data") };
                cell.send(|out| encode::data(out, stream, &data, false)).await;
            };
            let (frame, ()) = tokio::join!(body.frame(), echo);
            assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), piece);
        }
        drop(pieces);
        let end = async {
            assert!(cell.next().await.unwrap().end);
            cell.send(|out| encode::data(out, stream, b"", true)).await;
        };
        let (frame, ()) = tokio::join!(body.frame(), end);
        assert!(frame.is_none());
        drop(body);
        assert!(setup.conn().is_idle());
    });
}

#[test]
fn a_response_before_the_end_of_the_body_ends_the_body() {
    run(async |setup| {
        let (_pieces, request) = upload().await;
        let sent = setup.send(request);
        let mut cell = setup.accept().await;
        let stream = cell.request().await.0;
        cell.respond(stream, "enough").await;
        assert_eq!(text(sent).await, "enough");
        let reset = cell.next().await.unwrap();
        assert_eq!((reset.stream, reset.content), (stream, Content::Reset { refused: false }));
        assert!(setup.conn().is_idle());
    });
}

#[test]
fn a_body_that_breaks_off_or_is_too_large_resets_its_stream() {
    for is_large in [true, false] {
        run(async |setup| {
            let (pieces, received) = mpsc::channel(1);
            let request = limited("POST", Some(received), if is_large { 4 } else { 1000 }).await;
            let sent = setup.send(request);
            let mut cell = setup.accept().await;
            let stream = cell.request().await.0;
            let piece = if is_large { Ok("12345".into()) } else { Err(std::io::Error::other("gone")) };
            pieces.send(piece).await.unwrap();
            let reset = cell.next().await.unwrap();
            assert_eq!((reset.stream, reset.content), (stream, Content::Reset { refused: false }));
            let expected = if is_large { UploadError::TooLarge } else { UploadError::BrokenOff };
            assert_eq!(failure(sent).await, Failure::Upload(expected));
            assert!(setup.conn().is_open() && setup.conn().is_idle());
        });
    }
}

#[test]
fn bodies_and_requests_wait_for_a_cell_that_does_not_read() {
    run(async |setup| {
        let mut uploads = Vec::new();
        for _ in 0..20 {
            let (pieces, request) = upload().await;
            spawn_local(
                async move { while pieces.send(Ok(Bytes::from_static(&[1; 64 << 10]))).await.is_ok() {} },
            );
            uploads.push(setup.send(request));
        }
        let mut cell = setup.accept().await;
        let mut waiting = setup.conn().waiting();
        while waiting < WINDOW as usize {
            tokio::task::yield_now().await;
            waiting = setup.conn().waiting();
        }
        for _ in 0..1000 {
            let mut request = request("GET", None).await;
            request.headers_mut().insert("x-large", "x".repeat(2000).parse().unwrap());
            let sent = setup.send(request);
            tokio::task::yield_now().await;
            // Its time is over.
            sent.abort();
        }
        let most = setup.conn().waiting();
        assert!(most < 2 * WINDOW as usize, "{most} bytes wait");
        uploads.iter().for_each(JoinHandle::abort);
        let late = setup.get().await;
        let stream = loop {
            let frame = cell.next().await.unwrap();
            if let Frame { stream, end: true, content: Content::Request(_) } = frame {
                break stream;
            }
        };
        cell.respond(stream, "it reads again").await;
        assert_eq!(text(late).await, "it reads again");
        assert!(setup.conn().is_idle());
    });
}
