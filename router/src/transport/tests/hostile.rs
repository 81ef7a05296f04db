//! Cells that break the rules.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use switchyard_protocol::frame::{HEADER, WINDOW};

use super::*;

fn frame(length: u32, stream: u32, kind: u8, flags: u8) -> Vec<u8> {
    [&length.to_be_bytes()[..], &stream.to_be_bytes(), &[kind, flags]].concat()
}

#[test]
fn a_frame_that_breaks_the_rules_ends_the_connection_and_all_of_its_streams() {
    let encoded = |encode: fn(&mut BytesMut)| {
        let mut out = BytesMut::new();
        encode(&mut out);
        out.to_vec()
    };
    let cases = [
        ("unknown kind", frame(0, 1, 99, 0)),
        (
            "a request",
            encoded(|out| encode::request(out, 1, "GET", &["/"], NO_HEADERS, (b"", true)).unwrap()),
        ),
        ("a stream that is not open", encoded(|out| whole(out, 3, ""))),
        ("data before a head", encoded(|out| encode::data(out, 1, b"x", false))),
        ("trailers before a head", encoded(|out| encode::trailers(out, 1, NO_HEADERS).unwrap())),
        ("more credit than a window", encoded(|out| encode::credit(out, 1, 1))),
        ("a second head", encoded(|out| [1, 1].iter().for_each(|stream| head(out, *stream)))),
        (
            "data after the end",
            encoded(|out| {
                encode::response(out, 1, 200, NO_HEADERS, (b"", true)).unwrap();
                encode::data(out, 1, &[0; 1000], false);
            }),
        ),
        ("an empty frame", [encoded(|out| head(out, 1)), frame(0, 1, 3, 0)].concat()),
        ("a frame that is too long", [encoded(|out| head(out, 1)), frame(1 << 20, 1, 3, 0)].concat()),
        (
            "more body than its credit",
            encoded(|out| {
                head(out, 1);
                (0..5).for_each(|_| encode::data(out, 1, &[0; 64 << 10], false));
            }),
        ),
    ];
    for (case, bytes) in cases {
        run(async |setup| {
            let (sent, mut cell, _) = setup.begin().await;
            let other = setup.get().await;
            cell.request().await;
            let _ = cell.stream.write_all(&bytes).await;
            assert_eq!(failure(other).await, Failure::Invalid(BadAnswer::Invalid), "{case}");
            cell.closed().await;
            if !case.starts_with("data after") {
                assert_eq!(failure(sent).await, Failure::Invalid(BadAnswer::Invalid), "{case}");
            }
            let (next, mut cell, stream) = setup.begin().await;
            cell.respond(stream, "").await;
            assert_eq!(text(next).await, "", "{case}");
        });
    }
}

#[test]
fn a_head_that_is_too_large_or_not_http_ends_its_stream_alone() {
    let large = "x".repeat(MAX_HEAD);
    let many: Vec<_> = (0..=MAX_HEADERS).map(|_| ("a", "")).collect();
    let cases = [
        (BadAnswer::HeadTooLarge, 200, vec![("a", large.as_str())]),
        (BadAnswer::HeadTooLarge, 200, many),
        (BadAnswer::Invalid, 200, vec![("a b", "")]),
        (BadAnswer::Invalid, 200, vec![("a", "b\r\nc: d")]),
        (BadAnswer::Invalid, 101, vec![("upgrade", "websocket")]),
        (BadAnswer::Invalid, 103, vec![]),
        (BadAnswer::Invalid, 999, vec![]),
    ];
    for (bad, status, headers) in cases {
        run(async |setup| {
            let (sent, mut cell, stream) = setup.begin().await;
            let other = setup.get().await;
            let second = cell.request().await.0;
            let encode = |out: &mut BytesMut| {
                encode::response(out, stream, status, headers.iter().copied(), (b"", true)).unwrap();
            };
            cell.send(encode).await;
            assert_eq!(failure(sent).await, Failure::Invalid(bad));
            cell.respond(second, "unharmed").await;
            assert_eq!(text(other).await, "unharmed");
        });
    }
}

#[test]
fn a_head_without_an_end_is_not_read_to_it() {
    run(async |setup| {
        let (sent, mut cell, stream) = setup.begin().await;
        let endless = spawn_local(async move {
            let _ = cell.stream.write_all(&frame(1 << 30, stream, 2, 0)).await;
            while cell.stream.write_all(&[0; 4096]).await.is_ok() {}
        });
        assert_eq!(failure(sent).await, Failure::Invalid(BadAnswer::HeadTooLarge));
        endless.await.unwrap();
    });
}

#[test]
fn frames_after_a_reset_are_ignored_but_not_without_end() {
    run(async |setup| {
        let (sent, mut cell, stream) = setup.begin().await;
        cell.send(|out| head(out, stream)).await;
        drop(sent.await.unwrap().unwrap());
        let mut credit = WINDOW as usize;
        while credit > 0 {
            credit -= 1 << 10;
            cell.send(|out| encode::data(out, stream, &[0; 1 << 10], false)).await;
        }
        let other = setup.get().await;
        assert!(matches!(cell.next().await.unwrap().content, Content::Reset { .. }));
        let second = cell.request().await.0;
        cell.respond(second, "goes on").await;
        assert_eq!(text(other).await, "goes on");
        let last = setup.get().await;
        let mut sent = 0;
        while cell.stream.write_all(&[&frame(1, stream, 3, 0)[..], b"x"].concat()).await.is_ok() {
            sent += HEADER + 1;
            assert!(sent < 64 << 20, "there is an end");
        }
        assert_eq!(failure(last).await, Failure::Invalid(BadAnswer::Invalid));
    });
}

#[test]
fn a_flood_of_frames_leaves_the_thread_to_others() {
    run(async |setup| {
        let (sent, mut cell, stream) = setup.begin().await;
        cell.send(|out| head(out, stream)).await;
        let mut body = sent.await.unwrap().unwrap().into_body();
        let flood = spawn_local(async move {
            let mut bytes = BytesMut::new();
            (0..1000).for_each(|_| encode::data(&mut bytes, stream, b"x", false));
            // A read body earns new credit, in time.
            while cell.stream.write_all(&bytes).await.is_ok() {
                let credit = cell.stream.try_read_buf(&mut cell.input);
                drop(credit);
            }
        });
        let (reading, turns) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let others = async {
            loop {
                turns.set(turns.get() + 1);
                tokio::task::yield_now().await;
            }
        };
        let read = async {
            while reading.get() < 100_000 {
                let frame = body.frame().await.unwrap().unwrap();
                reading.set(reading.get() + frame.into_data().unwrap().len());
            }
        };
        tokio::select! {
            () = read => {}
            () = others => {}
        }
        assert!(turns.get() > 100, "{} turns of others", turns.get());
        drop(body);
        flood.abort();
    });
}

proptest! {
    #![proptest_config(Config { cases: 64, rng_seed: RngSeed::Fixed(11), failure_persistence: None, ..Config::default() })]

    #[test]
    fn whatever_a_cell_sends_ends_in_a_response_or_a_failure(
        frames in prop::collection::vec(
            (
                prop_oneof![0..300_u32, any::<u32>()],
                0..4_u32,
                0..9_u8,
                0..4_u8,
                prop::collection::vec(prop_oneof![Just(0), Just(1), Just(200), any::<u8>()], 0..300),
                any::<bool>(),
            ),
            0..20,
        ),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Vec::new();
        for (length, stream, kind, flags, payload, is_honest) in frames {
            let length = if is_honest { payload.len() as u32 } else { length };
            bytes.extend(frame(length, stream, kind, flags));
            bytes.extend(payload);
        }
        let cut = cut.index(bytes.len() + 1);
        run(async |setup| {
            let (first, mut cell, _) = setup.begin().await;
            let second = setup.get().await;
            cell.request().await;
            let _ = cell.stream.write_all(&bytes[..cut]).await;
            tokio::task::yield_now().await;
            let _ = cell.stream.write_all(&bytes[cut..]).await;
            drop(cell);
            for sent in [first, second] {
                if let Ok(response) = sent.await.unwrap() {
                    let _ = response.into_body().collect().await;
                }
            }
            assert!(setup.transport.conns.borrow().values().all(|conn| conn.is_idle()));
        });
    }
}
