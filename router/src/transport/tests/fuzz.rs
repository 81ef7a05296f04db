//! Frames of a cell in any order, damaged, and cut anywhere.

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngSeed};
use switchyard_protocol::frame::{HEADER, MAX_DATA, WINDOW};
use tokio::sync::watch;
use tokio::task::yield_now;

use super::*;

/// Requests of a case. One of them is an upload.
const REQUESTS: usize = 5;

/// A frame of a cell. Its content need not fit what came before.
#[derive(Debug, Clone)]
enum Sent {
    Response { status: u16, length: Option<usize>, body: usize, end: bool },
    Data { body: usize, end: bool },
    Trailers,
    Reset { refused: bool },
    Credit(u32),
    GoAway,
}

/// A frame, and what is done to it.
#[derive(Debug, Clone)]
struct Step {
    stream: u32,
    sent: Sent,
    /// Changes a byte of its header, or of the beginning of its payload.
    damage: Option<(Index, u8)>,
}

/// The reader of a response.
#[derive(Debug, Clone, Copy)]
enum Client {
    Reads,
    /// Takes the head, and reads when everything has come.
    Waits,
    /// Goes away then instead.
    Leaves,
}

fn config() -> Config {
    Config { cases: 96, rng_seed: RngSeed::Fixed(16), failure_persistence: None, ..Config::default() }
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..50_usize, 2 => 0..20_000_usize, 1 => Just(MAX_DATA)]
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![8 => Just(200), 1 => 195..610_u16, 1 => Just(204), 1 => Just(304)];
    let announced = prop::option::weighted(0.2, 0..50_usize);
    let sent = prop_oneof![
        6 => (status, announced, length(), any::<bool>())
            .prop_map(|(status, length, body, end)| Sent::Response { status, length, body, end }),
        8 => (length(), prop::bool::weighted(0.2)).prop_map(|(body, end)| Sent::Data { body, end }),
        1 => Just(Sent::Trailers),
        1 => any::<bool>().prop_map(|refused| Sent::Reset { refused }),
        3 => (1..=WINDOW / 4).prop_map(Sent::Credit),
        1 => Just(Sent::GoAway),
    ];
    let damage = prop::option::weighted(0.05, (any::<Index>(), 1..=u8::MAX));
    // The last stream is not open, at first.
    let stream = prop_oneof![30 => 1..=REQUESTS as u32, 1 => Just(REQUESTS as u32 + 1)];
    (stream, sent, damage).prop_map(|(stream, sent, damage)| Step { stream, sent, damage })
}

impl Step {
    fn append(&self, out: &mut BytesMut) {
        let (stream, start, zeros) = (self.stream, out.len(), [0; MAX_DATA]);
        match self.sent {
            Sent::Response { status, length, body, end } => {
                let length = length.map(|length| ("content-length", length.to_string()));
                encode::response(out, stream, status, length, (&zeros[..body], end)).unwrap();
            }
            Sent::Data { body, end } => encode::data(out, stream, &zeros[..body], end || body == 0),
            Sent::Trailers => encode::trailers(out, stream, [("x-sum", "1")]).unwrap(),
            Sent::Reset { refused } => encode::reset(out, stream, refused),
            Sent::Credit(bytes) => encode::credit(out, stream, bytes),
            Sent::GoAway => encode::go_away(out),
        }
        if let Some((at, change)) = self.damage {
            let frame = &mut out[start..];
            let at = at.index(frame.len().min(HEADER + 30));
            frame[at] ^= change;
        }
    }
}

/// Splits `bytes` at these places.
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    let mut start = 0;
    ends.into_iter().map(|end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}

impl Setup {
    /// Sends the requests of a case, the last of which has a body without end. Returns their
    /// clients.
    async fn clients(&self, all_has_come: &watch::Receiver<bool>, readers: &[Client]) -> Vec<JoinHandle<()>> {
        let (endless, pieces) = mpsc::channel(1);
        spawn_local(
            async move { while endless.send(Ok(Bytes::from_static(&[1; 64 << 10]))).await.is_ok() {} },
        );
        let mut requests = vec![request("POST", Some(pieces)).await, request("HEAD", None).await];
        while requests.len() < REQUESTS {
            requests.push(request("GET", None).await);
        }
        let client = |(request, reader): (Request<Upload>, &Client)| {
            let (sent, mut all_has_come, reader) = (self.send(request), all_has_come.clone(), *reader);
            spawn_local(async move {
                // A failure is an end too.
                let Ok(response) = sent.await.unwrap() else { return };
                if !matches!(reader, Client::Reads) {
                    all_has_come.wait_for(|has| *has).await.unwrap();
                }
                if !matches!(reader, Client::Leaves) {
                    let _ = response.into_body().collect().await;
                }
            })
        };
        requests.into_iter().zip(readers).map(client).collect()
    }

    /// Waits for the ends of all connections' tasks, which are to end by themselves.
    async fn drivers_end(&self) {
        let mut drivers = self.transport.drivers.take();
        while let Some(driver) = drivers.join_next().await {
            driver.expect("no task of a connection panics");
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_order_frames_come_in_all_requests_end_and_memory_is_bounded(
        steps in prop::collection::vec(step(), 0..40),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
        readers in prop::collection::vec(
            prop_oneof![Just(Client::Reads), Just(Client::Waits), Just(Client::Leaves)],
            REQUESTS,
        ),
        is_deaf in any::<bool>(),
    ) {
        let mut bytes = BytesMut::new();
        steps.iter().for_each(|step| step.append(&mut bytes));
        run(async |setup| {
            let (come, all_has_come) = watch::channel(false);
            let clients = setup.clients(&all_has_come, &readers).await;
            let mut cell = setup.accept().await;
            let conn = setup.conn();
            let mut begun = 0;
            while begun < REQUESTS {
                // Data of the upload may come between them.
                let frame = cell.next().await.unwrap();
                begun += usize::from(matches!(frame.content, Content::Request(_)));
            }
            for piece in pieces(&bytes, &cuts) {
                if cell.stream.write_all(piece).await.is_err() {
                    break;
                }
                for _ in 0..4 {
                    yield_now().await;
                }
                if !is_deaf {
                    let _ = cell.stream.try_read_buf(&mut cell.input);
                    cell.input.clear();
                }
                let (waiting, held) = (conn.waiting(), conn.held());
                assert!(waiting <= 2 * WINDOW as usize, "{waiting} bytes wait to be written");
                assert!(held <= REQUESTS * WINDOW as usize, "{held} bytes wait for clients");
            }
            come.send_replace(true);
            drop(cell);
            for client in clients {
                client.await.unwrap();
            }
            assert!(conn.is_idle());
            assert_eq!(conn.waiting(), 0);
            setup.drivers_end().await;
            let (next, mut cell, stream) = setup.begin().await;
            cell.respond(stream, "the thread goes on").await;
            assert_eq!(text(next).await, "the thread goes on");
        });
    }

    #[test]
    fn responses_whose_frames_alternate_and_are_cut_anywhere_come_as_they_were_sent(
        bodies in prop::collection::vec(prop::collection::vec(length(), 1..4), 1..6),
        order in prop::collection::vec(any::<Index>(), 5 * 3),
        cuts in prop::collection::vec(any::<Index>(), 0..20),
    ) {
        run(async |setup| {
            let mut sent = Vec::new();
            for _ in &bodies {
                sent.push(setup.get().await);
            }
            let mut cell = setup.accept().await;
            let mut bytes = BytesMut::new();
            // Each stream's pieces in their order, which begin with its head.
            let mut left: Vec<_> = (1..).zip(&bodies).map(|(stream, body)| (stream, &body[..])).collect();
            for turn in &order {
                if left.is_empty() {
                    break;
                }
                let at = turn.index(left.len());
                let (stream, pieces) = left[at];
                let is_first = pieces.len() == bodies[stream as usize - 1].len();
                let (piece, end) = (vec![stream as u8; pieces[0]], pieces.len() == 1);
                match is_first {
                    true => encode::response(&mut bytes, stream, 200, NO_HEADERS, (&piece, end)).unwrap(),
                    false if piece.is_empty() && !end => {}
                    false => encode::data(&mut bytes, stream, &piece, end),
                }
                left[at].1 = &pieces[1..];
                left.retain(|(_, pieces)| !pieces.is_empty());
            }
            prop_assert!(left.is_empty(), "there are turns for all");
            for _ in &bodies {
                cell.request().await;
            }
            let sending = async {
                for piece in pieces(&bytes, &cuts) {
                    cell.stream.write_all(piece).await.unwrap();
                    yield_now().await;
                }
            };
            let reading = async {
                let mut received = Vec::new();
                for sent in sent {
                    let body = sent.await.unwrap().unwrap().into_body();
                    received.push(body.collect().await.unwrap().to_bytes());
                }
                received
            };
            let ((), received) = tokio::join!(sending, reading);
            for (stream, (body, received)) in (1..).zip(bodies.iter().zip(received)) {
                // Zeros would not show bytes of another stream.
                prop_assert_eq!(received, vec![stream; body.iter().sum()]);
            }
            Ok(())
        })?;
    }
}
