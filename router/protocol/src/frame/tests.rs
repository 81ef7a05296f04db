//! Tests of whole frames.

use http::HeaderMap;
use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, headers: 64 };
const FROM_CELL: Decoder = Decoder::new(Sender::Cell, LIMITS);
const FROM_ROUTER: Decoder = Decoder::new(Sender::Router, HeadLimits::ROUTER);

type Headers = Vec<(String, Vec<u8>)>;

/// A frame of any kind.
#[derive(Debug, Clone, PartialEq)]
enum Sent {
    Request(String, String, Headers, Vec<u8>, bool),
    Response(u16, Headers, Vec<u8>, bool),
    Data(Vec<u8>, bool),
    Trailers(Headers),
    Reset(bool),
    Credit(u32),
    GoAway,
}

fn encoded(sent: &Sent, stream: u32, out: &mut BytesMut) {
    fn pairs(headers: &Headers) -> impl Iterator<Item = (&String, &Vec<u8>)> {
        headers.iter().map(|(name, value)| (name, value))
    }
    match sent {
        Sent::Request(method, target, headers, body, end) => {
            let target = target.split_at(target.len() / 2);
            let target = [target.0, target.1];
            encode::request(out, stream, method, &target, pairs(headers), (body, *end)).unwrap();
        }
        Sent::Response(status, headers, body, end) => {
            encode::response(out, stream, *status, pairs(headers), (body, *end)).unwrap();
        }
        Sent::Data(body, end) => encode::data(out, stream, body, *end),
        Sent::Trailers(headers) => encode::trailers(out, stream, pairs(headers)).unwrap(),
        Sent::Reset(refused) => encode::reset(out, stream, *refused),
        Sent::Credit(bytes) => encode::credit(out, stream, *bytes),
        Sent::GoAway => encode::go_away(out),
    }
}

fn decoded(frame: Frame) -> Sent {
    let flat = |headers: &HeaderMap| {
        let pair = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), value.as_bytes().to_vec())
        };
        headers.iter().map(pair).collect::<Headers>()
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match frame.content {
        Content::Request(payload) => {
            let (head, body) = RequestHead::parse(payload).unwrap();
            let headers = head.headers().map(|(name, value)| (text(name), value.to_vec())).collect();
            assert_eq!(head.headers().count(), head.count());
            Sent::Request(text(head.method()), text(head.target()), headers, body.to_vec(), frame.end)
        }
        Content::Response(payload) => {
            let (head, body) = ResponseHead::parse(payload, LIMITS).unwrap();
            Sent::Response(head.status.as_u16(), flat(&head.headers), body.to_vec(), frame.end)
        }
        Content::Data(body) => Sent::Data(body.to_vec(), frame.end),
        Content::Trailers(payload) => Sent::Trailers(flat(&parse_trailers(&payload, LIMITS).unwrap())),
        Content::Reset { refused } => Sent::Reset(refused),
        Content::Credit(bytes) => Sent::Credit(bytes),
        Content::GoAway => Sent::GoAway,
    }
}

/// A frame with these fields.
fn raw(length: u32, stream: u32, kind: u8, flags: u8, payload: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(payload);
    out
}

fn response(payload: &[u8]) -> Result<(), FrameError> {
    ResponseHead::parse(Bytes::copy_from_slice(payload), LIMITS).map(drop)
}

#[test]
fn a_small_response_is_one_frame_of_known_bytes() {
    let mut out = BytesMut::new();
    encode::response(&mut out, 7, 200, [("a", "bc")], (b"hi", true)).unwrap();
    assert_eq!(out, &b"\0\0\0\x0f\0\0\0\x07\x02\x01\0\xc8\0\x01\0\x01a\0\0\0\x02bchi"[..]);
}

#[test]
fn frames_that_their_sender_may_not_send_are_refused_by_their_header() {
    let (long, head) = (MAX_DATA as u32 + 1, (LIMITS.payload() + MAX_DATA) as u32 + 1);
    let cases = [
        (raw(0, 1, 0, 0, b""), FrameError::Kind(0)),
        (raw(0, 1, 8, 0, b""), FrameError::Kind(8)),
        (raw(0, 1, REQUEST, 0, b""), FrameError::Kind(REQUEST)),
        (raw(1, 0, DATA, 0, b"x"), FrameError::Stream),
        (raw(1, u32::MAX, DATA, 0, b"x"), FrameError::Stream),
        (raw(0, 1, GO_AWAY, 0, b""), FrameError::Stream),
        (raw(1, 1, DATA, REFUSED, b"x"), FrameError::Flags),
        (raw(2, 1, TRAILERS, 0, b"\0\0"), FrameError::Flags),
        (raw(0, 1, RESET, END, b""), FrameError::Flags),
        (raw(4, 1, CREDIT, END, b"\0\0\0\x01"), FrameError::Flags),
        (raw(0, 1, DATA, 0, b""), FrameError::Length),
        (raw(long, 1, DATA, 0, b""), FrameError::Length),
        (raw(u32::MAX, 1, DATA, END, b""), FrameError::Length),
        (raw(1, 1, RESET, 0, b""), FrameError::Length),
        (raw(3, 1, CREDIT, 0, b""), FrameError::Length),
        (raw(head, 1, RESPONSE, 0, b""), FrameError::HeadTooLarge),
        (raw(head, 1, TRAILERS, END, b""), FrameError::HeadTooLarge),
        (raw(4, 1, CREDIT, 0, b"\0\0\0\0"), FrameError::Credit),
    ];
    for (mut sent, error) in cases {
        assert_eq!(FROM_CELL.decode(&mut sent.clone()), Err(error), "{sent:?}");
        assert_eq!(FROM_CELL.missing(&sent), 0);
        assert_eq!(FROM_CELL.decode(&mut sent.split_to(HEADER - 1)), Ok(None));
    }
    for kind in [RESPONSE, TRAILERS, GO_AWAY] {
        assert_eq!(FROM_ROUTER.decode(&mut raw(0, 1, kind, 0, b"")), Err(FrameError::Kind(kind)));
    }
    assert_eq!(FROM_ROUTER.decode(&mut raw(0, 1, RESET, REFUSED, b"")), Err(FrameError::Flags));
}

#[test]
fn heads_that_are_cut_off_or_not_http_are_refused() {
    let whole = b"\0\xc8\0\x01\0\x01a\0\0\0\x02bc";
    response(whole).unwrap();
    for end in 0..whole.len() {
        assert_eq!(response(&whole[..end]), Err(FrameError::Truncated), "{end} bytes");
    }
    for status in [0_u16, 100, 101, 103, 199, 600, 999, u16::MAX] {
        assert_eq!(response(&[&status.to_be_bytes()[..], b"\0\0"].concat()), Err(FrameError::Head));
    }
    for (name, value) in [("", "x"), ("a b", "x"), ("a:", "x"), ("a", "x\r\ny: z"), ("a", "\0"), ("ä", "x")]
    {
        let mut out = BytesMut::new();
        encode::response(&mut out, 1, 200, [(name, value)], (b"", true)).unwrap();
        assert_eq!(response(&out[HEADER..]), Err(FrameError::Head), "{name:?}: {value:?}");
    }
}

#[test]
fn heads_beyond_their_limits_are_refused_before_they_are_stored() {
    let headers = |count: usize, length: usize| {
        let mut out = BytesMut::new();
        let headers = std::iter::repeat_n(("a", "x".repeat(length)), count);
        encode::response(&mut out, 1, 200, headers, (b"", true)).unwrap();
        response(&out[HEADER..])
    };
    headers(1, LIMITS.bytes - 5).unwrap();
    headers(LIMITS.headers, 10).unwrap();
    assert_eq!(headers(1, LIMITS.bytes - 4), Err(FrameError::HeadTooLarge));
    assert_eq!(headers(LIMITS.headers + 1, 1), Err(FrameError::HeadTooLarge));
    assert_eq!(response(b"\0\xc8\xff\xff"), Err(FrameError::HeadTooLarge));
    assert_eq!(response(b"\0\xc8\0\x40"), Err(FrameError::Truncated), "64 headers are announced");
    assert_eq!(response(b"\0\xc8\0\x01\xff\xff"), Err(FrameError::Truncated));
    assert_eq!(response(b"\0\xc8\0\x01\0\x01a\xff\xff\xff\xff"), Err(FrameError::Truncated));
}

#[test]
fn a_head_that_fits_into_no_frame_leaves_the_buffer_as_it_was() {
    let mut out = BytesMut::from("before");
    let (none, method) = ([("a", "b"); 0], "M".repeat(256));
    assert_eq!(encode::request(&mut out, 1, &method, &["/"], none, (b"", true)), Err(encode::TooLong));
    let name = "n".repeat(1 << 16);
    assert_eq!(encode::trailers(&mut out, 1, [(name, "v")]), Err(encode::TooLong));
    assert_eq!(out, "before");
}

fn headers() -> impl Strategy<Value = Headers> {
    // Names in lower case that differ, in their order: a `HeaderMap` keeps the order of values only.
    let value = prop::collection::vec(0x20..0x7f_u8, 0..30);
    prop::collection::vec(value, 0..12).prop_map(|values| {
        values.into_iter().enumerate().map(|(at, value)| (format!("x-{at}"), value)).collect()
    })
}

fn sent(from: Sender) -> BoxedStrategy<Sent> {
    let body = || prop::collection::vec(any::<u8>(), 0..3000);
    let data =
        (body(), any::<bool>()).prop_map(|(body, end)| Sent::Data(body.clone(), end || body.is_empty()));
    let credit = (1..=u32::MAX).prop_map(Sent::Credit);
    match from {
        Sender::Router => prop_oneof![
            ("[A-Z]{1,20}", "[!-~]{0,300}", headers(), body(), any::<bool>()).prop_map(
                |(method, target, headers, body, end)| Sent::Request(method, target, headers, body, end)
            ),
            data,
            credit,
            Just(Sent::Reset(false)),
        ]
        .boxed(),
        Sender::Cell => prop_oneof![
            (200..600_u16, headers(), body(), any::<bool>())
                .prop_map(|(status, headers, body, end)| Sent::Response(status, headers, body, end)),
            data,
            credit,
            headers().prop_map(Sent::Trailers),
            any::<bool>().prop_map(Sent::Reset),
            Just(Sent::GoAway),
        ]
        .boxed(),
    }
}

/// Decodes `bytes`, which come in pieces that end at `cuts`.
fn in_pieces(decoder: Decoder, bytes: &[u8], cuts: &[usize]) -> Result<Vec<Frame>, FrameError> {
    let (mut buffer, mut frames, mut at) = (BytesMut::new(), Vec::new(), 0);
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]).collect();
    ends.sort_unstable();
    for end in ends {
        buffer.extend_from_slice(&bytes[at..end]);
        at = end;
        while let Some(frame) = decoder.decode(&mut buffer)? {
            frames.push(frame);
        }
        assert!(buffer.is_empty() || decoder.missing(&buffer) > 0);
    }
    assert!(buffer.is_empty() || at < bytes.len() || decoder.missing(&buffer) > 0);
    Ok(frames)
}

proptest! {
    #![proptest_config(crate::fuzz())]

    #[test]
    fn frames_are_the_same_wherever_they_are_cut(
        (from, all) in prop_oneof![Just(Sender::Router), Just(Sender::Cell)]
            .prop_flat_map(|from| (Just(from), prop::collection::vec((1..=MAX_STREAM, sent(from)), 0..8))),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let decoder = if from == Sender::Router { FROM_ROUTER } else { FROM_CELL };
        let mut bytes = BytesMut::new();
        for (stream, sent) in &all {
            encoded(sent, *stream, &mut bytes);
        }
        let frames = in_pieces(decoder, &bytes, &cuts).unwrap();
        for (frame, (stream, sent)) in frames.iter().zip(&all) {
            prop_assert_eq!(frame.stream, if *sent == Sent::GoAway { 0 } else { *stream });
        }
        let frames: Vec<_> = frames.into_iter().map(decoded).collect();
        let all: Vec<_> = all.into_iter().map(|(_, sent)| sent).collect();
        prop_assert_eq!(frames, all);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_decoded_and_never_panic(
        noise in prop::collection::vec(prop_oneof![Just(0), Just(1), 0..10_u8, any::<u8>()], 0..400),
        kind in 0..9_u8,
        flags in 0..4_u8,
        stream in 0..3_u32,
        cuts in prop::collection::vec(any::<usize>(), 0..5),
    ) {
        let framed = raw(noise.len() as u32, stream, kind, flags, &noise);
        for decoder in [FROM_CELL, FROM_ROUTER] {
            let _ = in_pieces(decoder, &noise, &cuts);
            for frame in in_pieces(decoder, &framed, &cuts).unwrap_or_default() {
                match frame.content {
                    Content::Request(payload) => {
                        if let Ok((head, body)) = RequestHead::parse(payload.clone()) {
                            let text = head.headers().map(|(name, value)| name.len() + value.len()).sum::<usize>();
                            prop_assert!(text + body.len() <= payload.len());
                            let _ = (head.method(), head.target(), head.header("x"));
                        }
                    }
                    Content::Response(payload) => {
                        if let Ok((head, body)) = ResponseHead::parse(payload.clone(), LIMITS) {
                            prop_assert!(head.headers.len() <= LIMITS.headers);
                            prop_assert!(body.len() < payload.len());
                        }
                    }
                    Content::Trailers(payload) => drop(parse_trailers(&payload, LIMITS)),
                    Content::Data(data) => prop_assert!(data.len() <= MAX_DATA),
                    _ => {}
                }
            }
        }
    }
}
