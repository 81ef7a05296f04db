use super::*;

const MAX_HEAD: usize = 4096;
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Shows the bytes in pieces. Returns the bytes that are passed on, and the reason why the rest is
/// not.
fn follow<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> (Vec<u8>, Option<Refusal>, Framing) {
    let mut framing = Framing::new(MAX_HEAD);
    let (mut held, mut passed) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let (length, stop) = framing.look(&held);
            passed.extend(held.drain(..length));
            match stop {
                Stop::Incomplete => break,
                Stop::Refused(refusal) => return (passed, Some(refusal), framing),
                Stop::Replaced { length, by } => {
                    held.drain(..length);
                    passed.extend(by);
                }
            }
        }
    }
    (passed, None, framing)
}

/// Returns the bytes that are passed on, wherever they are cut, and the reason why the rest is not.
fn look(bytes: impl AsRef<[u8]>) -> (String, Option<Refusal>, u64) {
    let bytes = bytes.as_ref();
    let (passed, refusal, framing) = follow([bytes]);
    for cut in 0..=bytes.len() {
        let (one, other) = bytes.split_at(cut);
        let cut_in_two = follow([one, other]);
        assert_eq!((&cut_in_two.0, cut_in_two.1), (&passed, refusal), "cut at {cut}");
        assert_eq!((cut_in_two.2.next, cut_in_two.2.heads), (framing.next, framing.heads), "cut at {cut}");
    }
    let byte_by_byte = follow(bytes.chunks(1));
    assert_eq!((&byte_by_byte.0, byte_by_byte.1), (&passed, refusal), "byte by byte");
    (String::from_utf8_lossy(&passed).into_owned(), refusal, framing.heads)
}

#[track_caller]
fn assert_refused(request: impl AsRef<[u8]>, refusal: Refusal) {
    let request = request.as_ref();
    assert_eq!(look(request), (String::new(), Some(refusal), 0), "{}", request.escape_ascii());
    // The request before the refused one is passed on.
    let behind = [GET.as_bytes(), request].concat();
    assert_eq!(look(behind), (GET.to_owned(), Some(refusal), 1), "{}", request.escape_ascii());
}

#[track_caller]
fn assert_passed(bytes: impl AsRef<[u8]>, heads: u64) {
    let bytes = bytes.as_ref();
    let (passed, refusal, seen) = look(bytes);
    assert_eq!((refusal, seen), (None, heads), "{}", bytes.escape_ascii());
    assert_eq!(passed.as_bytes().escape_ascii().to_string(), bytes.escape_ascii().to_string());
}

fn with(header: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: a\r\n{header}\r\nX-End: 1\r\n\r\n")
}

#[test]
fn valid_requests_are_passed_on_unchanged() {
    for (bytes, heads) in [
        (GET.to_owned(), 1),
        (GET.repeat(3), 3),
        (format!("\r\n{GET}\r\n\r\n{GET}"), 2),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), 1),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\nEmpty:\r\nTab:\ta\tb \r\n\r\n".to_owned(), 1),
        (format!("{}{GET}", with("Content-Length: 0")), 2),
        (format!("{}12345{GET}", with("content-length: 5")), 2),
        (format!("{}5\r\n12345\r\n0\r\n\r\n{GET}", with("Transfer-Encoding: chunked")), 2),
        (format!("{}0\r\n\r\n{GET}", with("transfer-encoding:  Chunked ")), 2),
        (
            format!(
                "{}1;a=\"b c\"\r\nx\r\n000\r\nX-Sum: 1\r\nX: 2\r\n\r\n{GET}",
                with("Transfer-Encoding: chunked")
            ),
            2,
        ),
        (
            format!(
                "{}00a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
                with("Transfer-Encoding: chunked")
            ),
            1,
        ),
    ] {
        assert_passed(bytes, heads);
    }
}

#[test]
fn a_body_may_look_like_anything() {
    let body = "GET / HTTP/1.1\nHost : b\n\n\0\r\r";
    assert_passed(format!("{}{body}{GET}", with(&format!("Content-Length: {}", body.len()))), 2);
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    assert_passed(format!("{}{chunked}{GET}", with("Transfer-Encoding: chunked")), 2);
}

#[test]
fn ambiguous_lengths_are_refused() {
    for (headers, refusal) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", Refusal::LengthAndEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", Refusal::LengthAndEncoding),
        ("Content-Length: 5\r\nContent-Length: 5", Refusal::SeveralLengths),
        ("Content-Length: 5\r\ncontent-length: 6", Refusal::SeveralLengths),
        ("Content-Length: 5, 5", Refusal::SeveralLengths),
        ("Content-Length: 5,", Refusal::SeveralLengths),
        ("Content-Length:", Refusal::Length),
        ("Content-Length: +5", Refusal::Length),
        ("Content-Length: -5", Refusal::Length),
        ("Content-Length: 0x5", Refusal::Length),
        ("Content-Length: 5 5", Refusal::Length),
        ("Content-Length: 18446744073709551616", Refusal::Length),
        ("Content-Length: ٣", Refusal::Length),
        ("Transfer-Encoding: gzip, chunked", Refusal::Encoding),
        ("Transfer-Encoding: chunked, identity", Refusal::Encoding),
        ("Transfer-Encoding: chunked, chunked", Refusal::Encoding),
        ("Transfer-Encoding: xchunked", Refusal::Encoding),
        ("Transfer-Encoding: identity", Refusal::Encoding),
        ("Transfer-Encoding: \"chunked\"", Refusal::Encoding),
        ("Transfer-Encoding:", Refusal::Encoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Refusal::Encoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", Refusal::Encoding),
        ("Transfer-Encoding: \u{b}chunked", Refusal::ControlCharacter),
    ] {
        assert_refused(with(headers), refusal);
    }
    assert_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::EncodingInOld);
}

#[test]
fn ambiguous_line_ends_are_refused() {
    for (request, refusal) in [
        ("GET / HTTP/1.1\nHost: a\n\n", Refusal::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", Refusal::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", Refusal::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\nContent-Length: 5\r\n\r\n", Refusal::BareLineFeed),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n", Refusal::BareCarriageReturn),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", Refusal::BareCarriageReturn),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", Refusal::BareCarriageReturn),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", Refusal::FoldedLine),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n", Refusal::FoldedLine),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refusal::FoldedLine),
    ] {
        assert_refused(request, refusal);
    }
}

#[test]
fn ambiguous_headers_are_refused() {
    for (header, refusal) in [
        ("Transfer-Encoding : chunked", Refusal::HeaderName),
        ("Content-Length\t: 5", Refusal::HeaderName),
        ("no colon", Refusal::HeaderName),
        (": empty", Refusal::HeaderName),
        ("X(y): 1", Refusal::HeaderName),
        ("Transfer-Encodin\u{212a}: chunked", Refusal::HeaderName),
        ("X\0: 1", Refusal::HeaderName),
        ("X: a\0b", Refusal::ControlCharacter),
        ("X: a\u{8}b", Refusal::ControlCharacter),
        ("X: a\u{7f}b", Refusal::ControlCharacter),
    ] {
        assert_refused(with(header), refusal);
    }
}

#[test]
fn a_first_line_that_cannot_be_a_request_is_refused() {
    for request in [
        "GET /\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\u{16}\u{3}\u{1}",
    ] {
        assert_refused(request, Refusal::RequestLine);
    }
}

#[test]
fn chunks_are_read_in_one_way() {
    let head = with("Transfer-Encoding: chunked");
    for (body, passed, refusal) in [
        ("5\n12345", "", Refusal::BareLineFeed),
        ("\r\n", "", Refusal::ChunkSize),
        ("x\r\n", "", Refusal::ChunkSize),
        ("-1\r\n", "", Refusal::ChunkSize),
        ("0x5\r\n", "", Refusal::ChunkSize),
        (" 5\r\n", "", Refusal::ChunkSize),
        ("5 \r\n", "", Refusal::ChunkSize),
        ("5 ;a\r\n", "", Refusal::ChunkSize),
        ("5;a\rb\r\n", "", Refusal::ChunkSize),
        ("5;\0\r\n", "", Refusal::ChunkSize),
        ("10000000000000000\r\n", "", Refusal::ChunkSize),
        ("5\r\n12345\n0\r\n", "5\r\n12345", Refusal::ChunkEnd),
        ("5\r\n123456\r\n", "5\r\n12345", Refusal::ChunkEnd),
        ("5\r\n12345\r0", "5\r\n12345", Refusal::ChunkEnd),
        ("0\r\n\n", "0\r\n", Refusal::BareLineFeed),
        ("0\r\nX: 1\n\r\n", "0\r\n", Refusal::BareLineFeed),
        ("0\r\nX : 1\r\n\r\n", "0\r\n", Refusal::HeaderName),
        ("0\r\nX: 1\r\n y\r\n\r\n", "0\r\n", Refusal::FoldedLine),
    ] {
        assert_eq!(look(format!("{head}{body}")), (format!("{head}{passed}"), Some(refusal), 1), "{body:?}");
    }
    let long = format!("5;{}", "a".repeat(MAX_CHUNK_LINE));
    assert_eq!(look(format!("{head}{long}")).1, Some(Refusal::ChunkSize));
    let trailers = format!("0\r\n{}", "X: 1\r\n".repeat(MAX_HEAD / 6 + 1));
    assert_eq!(follow([head.as_bytes(), trailers.as_bytes()]).1, Some(Refusal::HeadTooLarge));
}

#[test]
fn a_head_has_a_limit_in_bytes_and_in_lines() {
    let padded = |length: usize| {
        let empty = "GET / HTTP/1.1\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(length - empty))
    };
    assert_passed(padded(MAX_HEAD), 1);
    assert_refused(padded(MAX_HEAD + 1), Refusal::HeadTooLarge);
    assert_refused("A".repeat(MAX_HEAD), Refusal::HeadTooLarge);
    let lines = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "X: 1\r\n".repeat(count));
    assert_passed(lines(USUAL_HEADERS), 1);
    assert_passed(lines(USUAL_HEADERS + 1), 1);
}

#[test]
fn many_headers_and_trailers_pass_up_to_the_number_that_hyper_takes() {
    let follow = |text: String| {
        let mut framing = Framing::new(1 << 20);
        let (passed, stop) = framing.look(text.as_bytes());
        (passed == text.len(), stop)
    };
    let head = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a:b\r\n".repeat(count));
    assert_eq!(follow(head(MAX_HEADERS)), (true, Stop::Incomplete));
    assert_eq!(follow(head(MAX_HEADERS + 1)), (false, Stop::Refused(Refusal::HeadTooLarge)));
    let trailers =
        |count: usize| format!("{}0\r\n{}\r\n", with("Transfer-Encoding: chunked"), "a:b\r\n".repeat(count));
    assert_eq!(follow(trailers(3000)), (true, Stop::Incomplete));
    assert_eq!(follow(trailers(3300)), (false, Stop::Refused(Refusal::HeadTooLarge)));
}

#[test]
fn an_invalid_request_is_refused_at_the_end_of_its_first_line() {
    for line in ["GET /\r\n", "GET / HTTP/0.9\r\n", "hello\r\n", "GET / HTTP/1.1 x\r\n"] {
        assert_refused(line, Refusal::RequestLine);
    }
    assert_refused("GET /\rx\r\n", Refusal::BareCarriageReturn);
}

/// Returns the bytes that are passed on of a head, wherever it is cut, and with bytes behind it.
#[track_caller]
fn assert_rewritten(head: &str, rewritten: &str) {
    assert_eq!(look(head), (rewritten.to_owned(), None, 1));
    assert_eq!(look(format!("{GET}{head}{GET}")), (format!("{GET}{rewritten}{GET}"), None, 3));
}

#[test]
fn invalid_characters_of_a_target_are_percent_encoded_and_the_rest_stays() {
    for (target, encoded) in [
        ("/s?q=<x>", "/s?q=%3Cx%3E"),
        ("/s?f={\"a\":[1|2]}", "/s?f={%22a%22:[1|2]}"),
        ("/p<1>`\"?a`b", "/p%3C1%3E%60\"?a`b"),
        ("http://a/<?<", "http://a/%3C?%3C"),
        ("/ü<?ß>", "/ü%3C?ß%3E"),
    ] {
        let head = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\nX: <\"\r\n\r\n");
        assert_rewritten(&head(target), &head(encoded));
    }
    for target in ["/p|q^[1]{2}\"", "/s?q=a^b`c\\x%zz", "/ü?ß", "/a#b", "*"] {
        assert_passed(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), 1);
    }
    for target in [&b"/\xff"[..], b"/?\xc3", b"/\xed\xa0\x80"] {
        assert_refused([b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat(), Refusal::Target);
    }
}

#[test]
fn offers_to_upgrade_that_are_not_websocket_are_taken_out() {
    let rest = "Connection: Upgrade, HTTP2-Settings\r\nX: Upgrade: h2c\r\nContent-Length: 3\r\n\r\nabc";
    for offer in [
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        "UPGRADE:TLS/1.0, h2c\r\n",
        "upgrade: a\r\nUpgrade: websocket\r\n",
        "Upgrade:\r\n",
    ] {
        let post = |offer: &str| format!("POST /<> HTTP/1.1\r\nHost: a\r\n{offer}{rest}");
        assert_eq!(look(post(offer)), (post("").replace("<>", "%3C%3E"), None, 1));
    }
    // A WebSocket needs GET, HTTP/1.1, no body, and `Connection`.
    for (method, version, headers) in [
        ("POST", "1.1", "Connection: upgrade\r\n"),
        ("GET", "1.0", "Connection: upgrade\r\n"),
        ("GET", "1.1", "Connection: close\r\n"),
        ("GET", "1.1", "Connection: upgrade\r\nContent-Length: 3\r\n"),
    ] {
        let head = |offer: &str| format!("{method} / HTTP/{version}\r\nHost: a\r\n{offer}{headers}\r\n");
        assert_eq!(look(head("Upgrade: websocket\r\n")), (head(""), None, 1));
    }
}

#[test]
fn any_number_of_heads_in_another_form_is_followed() {
    let head = "GET /< HTTP/1.1\r\n\r\n";
    let (passed, refusal, framing) = follow([head.repeat(2_000).as_bytes()]);
    assert_eq!((passed.len(), refusal, framing.heads), (2_000 * (head.len() + 2), None, 2_000));
}

#[test]
fn bytes_after_a_protocol_switch_are_passed_on_unchecked() {
    for opening in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        with("Connection: keep-alive, Upgrade\r\nUPGRADE: foo, WebSocket").replace("POST", "GET"),
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_owned(),
    ] {
        assert_passed(format!("{opening}\n\0\u{1}anything\n\n"), 1);
    }
    // HTTP/2 is recognized at the beginning of a connection only.
    assert_eq!(look(format!("{GET}PRI * HTTP/2.0\r\n\r\n")).1, Some(Refusal::RequestLine));
    // An upgrade offer does not hide an ambiguous length.
    assert_refused(
        with("Upgrade: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"),
        Refusal::LengthAndEncoding,
    );
}

/// A generator of numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

#[test]
fn input_is_parsed_the_same_however_it_is_split() {
    let parts = [
        "GET / HTTP/1.1\r\n",
        "POST /x HTTP/1.1\r\n",
        "Host: a\r\n",
        "Content-Length: 3\r\n",
        "\r\n",
        "abc",
        "\n",
        "Transfer-Encoding: chunked\r\n",
        "3\r\n",
        "0\r\n",
        "X : y\r\n",
        " folded\r\n",
        "X: y\r\n",
        "\r",
        "\0",
        "HTTP/1.0\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        ":",
        "Upgrade: x\r\n",
        "3;x=y\r\n",
        "\r\n\r\n",
        "10000000\r\n",
    ];
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    for _ in 0..20_000 {
        let count = 1 + dice.below(14);
        let text: String = (0..count).map(|_| parts[dice.below(parts.len())]).collect();
        let bytes = text.as_bytes();
        let (passed, refusal, framing) = follow([bytes]);
        if !text.contains("Upgrade") {
            assert!(bytes.starts_with(&passed), "{text:?}");
        }
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(1 + dice.below(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        let cut = follow(pieces);
        assert_eq!((cut.0, cut.1), (passed, refusal), "{text:?}");
        assert_eq!((cut.2.next, cut.2.heads), (framing.next, framing.heads), "{text:?}");
    }
}
