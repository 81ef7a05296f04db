//! Early ends: of requests, of responses, and of connections.

use super::*;

#[test]
fn a_request_that_is_given_up_resets_its_stream() {
    run(async |setup| {
        let (sent, mut cell, stream) = setup.begin().await;
        sent.abort();
        let reset = cell.next().await.unwrap();
        assert_eq!((reset.stream, reset.content), (stream, Content::Reset { refused: false }));
        cell.respond(stream, "too late").await;
        let next = setup.get().await;
        let stream = cell.request().await.0;
        cell.respond(stream, "in time").await;
        assert_eq!(text(next).await, "in time");
    });
}

#[test]
fn a_response_that_is_given_up_resets_its_stream() {
    run(async |setup| {
        let (sent, mut cell, stream) = setup.begin().await;
        cell.send(|out| head(out, stream)).await;
        cell.send(|out| encode::data(out, stream, b"some", false)).await;
        let mut body = sent.await.unwrap().unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "some");
        drop(body);
        let reset = cell.next().await.unwrap();
        assert_eq!((reset.stream, reset.content), (stream, Content::Reset { refused: false }));
        assert!(setup.conn().is_idle());
    });
}

#[test]
fn a_reset_of_the_cell_ends_the_response_behind_what_came_before() {
    run(async |setup| {
        let (sent, mut cell, stream) = setup.begin().await;
        cell.send(|out| {
            head(out, stream);
            encode::data(out, stream, b"some", false);
            encode::reset(out, stream, false);
        })
        .await;
        let mut body = sent.await.unwrap().unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "some");
        const BROKEN_OFF: Failure = Failure::Invalid(BadAnswer::ClosedEarly);
        assert_eq!(body.frame().await.unwrap().unwrap_err(), BROKEN_OFF);
        assert!(body.frame().await.is_none());
        let (before_its_head, next) = (setup.get().await, setup.get().await);
        let stream = cell.request().await.0;
        cell.send(|out| encode::reset(out, stream, false)).await;
        assert_eq!(failure(before_its_head).await, BROKEN_OFF);
        let stream = cell.request().await.0;
        cell.respond(stream, "no reset comes back").await;
        assert_eq!(text(next).await, "no reset comes back");
    });
}

#[test]
fn a_request_that_was_refused_is_given_back_with_its_body() {
    run(async |setup| {
        let request = post(b"body").await;
        tokio::task::yield_now().await;
        let sent = setup.send(request);
        let mut cell = setup.accept().await;
        let stream = cell.request().await.0;
        cell.send(|out| {
            encode::go_away(out);
            encode::reset(out, stream, true);
        })
        .await;
        let Err(SendError::NotSent(request)) = sent.await.unwrap() else { panic!("it is given back") };
        cell.closed().await;
        let sent = setup.send(*request);
        let mut cell = setup.accept().await;
        let (stream, _, mut body, mut end) = cell.request().await;
        while !end {
            let frame = cell.next().await.unwrap();
            let Content::Data(data) = frame.content else { panic!("data is expected") };
            (body, end) = ([body, data].concat().into(), frame.end);
        }
        assert_eq!(body, "body");
        cell.respond(stream, "taken").await;
        assert_eq!(text(sent).await, "taken");
    });
}

#[test]
fn requests_go_to_another_connection_once_the_cell_goes_away() {
    run(async |setup| {
        let (first, mut old, stream) = setup.begin().await;
        old.send(|out| {
            encode::go_away(out);
            head(out, stream);
        })
        .await;
        let response = first.await.unwrap().unwrap();
        let second = setup.get().await;
        let mut new = setup.accept().await;
        let other = new.request().await.0;
        new.respond(other, "on the new one").await;
        assert_eq!(text(second).await, "on the new one");
        old.send(|out| encode::data(out, stream, b"to its end", true)).await;
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "to its end");
        old.closed().await;
    });
}

#[test]
fn the_end_of_a_connection_ends_its_streams_and_the_next_request_connects_again() {
    run(async |setup| {
        let (first, mut cell, stream) = setup.begin().await;
        let second = setup.get().await;
        cell.request().await;
        cell.send(|out| head(out, stream)).await;
        let response = first.await.unwrap().unwrap();
        drop(cell);
        assert_eq!(failure(second).await, Failure::Ended);
        assert_eq!(response.into_body().collect().await.unwrap_err(), Failure::Ended);
        let (third, mut cell, stream) = setup.begin().await;
        cell.respond(stream, "again").await;
        assert_eq!(text(third).await, "again");
    });
}

#[test]
fn a_request_that_the_cell_cannot_have_got_is_given_back() {
    run(async |mut setup| {
        let (first, mut cell, stream) = setup.begin().await;
        cell.respond(stream, "kept open").await;
        assert_eq!(text(first).await, "kept open");
        // The router has not noticed the end when the next request begins.
        let request = post(b"body").await;
        drop(cell);
        let sent = setup.send(request);
        assert!(matches!(sent.await.unwrap(), Err(SendError::NotSent(_))));
        // Nobody listens any more.
        std::fs::remove_file(setup.folder.path().join("mux")).unwrap();
        setup.listener = UnixListener::bind(setup.folder.path().join("other")).unwrap();
        assert!(matches!(setup.get().await.await.unwrap(), Err(SendError::NotSent(_))));
    });
}

#[test]
fn what_no_frame_can_express_is_given_back() {
    run(async |setup| {
        let mut relative = request("GET", None).await;
        *relative.uri_mut() = "/path".parse().unwrap();
        assert!(matches!(setup.send(relative).await.unwrap(), Err(SendError::NotSent(_))));
        let mut long = post(b"body").await;
        *long.method_mut() = http::Method::from_bytes(&[b'M'; 300]).unwrap();
        let Err(SendError::NotSent(mut request)) = setup.send(long).await.unwrap() else {
            panic!("too long")
        };
        *request.method_mut() = http::Method::PUT;
        let sent = setup.send(*request);
        let mut cell = setup.accept().await;
        let stream = cell.request().await.0;
        assert_eq!(stream, 1, "nothing came before");
        cell.respond(stream, "").await;
        assert_eq!(text(sent).await, "");
    });
}

#[test]
fn an_idle_connection_is_closed_and_one_with_a_stream_is_kept() {
    run(async |setup| {
        let (sent, mut cell, stream) = setup.begin().await;
        for _ in 0..10 {
            setup.transport.sweep();
        }
        cell.respond(stream, "still there").await;
        assert_eq!(text(sent).await, "still there");
        for _ in 0..IDLE_SWEEPS {
            assert!(setup.conn().is_open());
            setup.transport.sweep();
        }
        assert!(setup.transport.conns.borrow().is_empty());
        cell.closed().await;
        setup.transport.sweep();
        assert!(setup.transport.drivers.borrow().is_empty());
    });
}
