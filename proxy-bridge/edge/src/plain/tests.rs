use proptest::prelude::*;

use super::*;
use crate::framing::{Framing, Stop};

const MAX_HEAD: usize = 4096;

/// The parts of a plain request: method, target, host, headers and body.
type Taken = (String, String, String, Vec<(String, String)>, String);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn taken(bytes: &str) -> Look<Taken> {
    look(bytes.as_bytes(), MAX_HEAD, |request| {
        let headers = request.headers().map(|(name, value)| (name.to_owned(), text(value))).collect();
        Some((
            request.method().to_owned(),
            request.target().to_owned(),
            text(request.host()),
            headers,
            text(request.body()),
        ))
    })
}

fn with(line: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")
}

#[test]
fn a_plain_request_is_taken_with_its_body_and_without_what_is_for_this_hop() {
    let request = "POST /a/b.txt?q=%20 HTTP/1.1\r\nHost: A.example:80\r\nConnection: Keep-Alive\r\n\
                   X-Forwarded-For: 1.2.3.4\r\nCookie: a=1\r\ncookie: b=2\r\ncontent-length: 4\r\n\r\n";
    let Look::Taken(length, (method, target, host, headers, body)) = taken(&format!("{request}bodyGET "))
    else {
        panic!("it is plain");
    };
    assert_eq!(length, request.len() + 4);
    assert_eq!((&*method, &*target, &*host, &*body), ("POST", "/a/b.txt?q=%20", "A.example:80", "body"));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [header("Cookie", "a=1"), header("cookie", "b=2"), header("content-length", "4")];
    assert_eq!(headers, expected);
}

#[test]
fn anything_in_doubt_takes_the_long_way() {
    let lines = [
        "Connection: close",
        "Connection: keep-alive, x-own",
        "Upgrade: websocket",
        "TE: trailers",
        "Expect: 100-continue",
        "Transfer-Encoding: chunked",
        "HTTP2-Settings: x",
        "Host: b",
        "x-request-id: a\r\nx-request-id: b",
        "Content-Length: +1",
        "Content-Length: 1,1",
        "Content-Length: 99999",
        "Content-Length: 0\r\nContent-Length: 0",
        "Content-Length: 1",
        "a: b\n",
        "a: b\r\n folded",
        "a : b",
        "a: \u{0}",
    ];
    for line in lines {
        assert_eq!(taken(&with(line)), Look::Other, "{line:?}");
    }
    let targets =
        ["*", "a", "http://a/", "/%61", "/a/../b", "/./a", "/.a", "/a\\b", "/ä", "/a#b", "/a?b\"c", "/a?b[c"];
    for target in targets {
        let other = taken(&with("a: b").replacen("/a", target, 1));
        assert_eq!(other, Look::Other, "{target:?}");
    }
    let heads = [
        "GET /a HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET /a HTTP/1.1\r\n\r\n",
        "get /a HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        "GET /a HTTP/1.1\nHost: a\r\n\r\n",
        "GET  /a HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for head in heads {
        assert_eq!(taken(head), Look::Other, "{head:?}");
    }
    let many: String = (0..65).map(|number| format!("a{number}: b\r\n")).collect();
    assert_eq!(taken(&with(many.trim_end())), Look::Other);
    assert_eq!(taken(&with(&format!("a: {}", "x".repeat(MAX_HEAD)))), Look::Other);
}

#[test]
fn a_request_that_is_not_taken_is_left_as_it_is() {
    assert_eq!(look(with("a: b").as_bytes(), MAX_HEAD, |_| None::<()>), Look::Other);
}

#[test]
fn a_head_is_incomplete_up_to_its_last_byte() {
    let request = with("a: b");
    for end in 0..request.len() {
        assert_eq!(taken(&request[..end]), Look::Incomplete, "{end}");
    }
    assert!(matches!(taken(&request), Look::Taken(..)));
}

/// Lines of heads, most of them valid, and some that are not.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z-]{1,12}: ?[ -~]{0,12}\r\n",
        "(Host|Connection|Content-Length|Transfer-Encoding|Upgrade|Expect|TE): ?[a-z0-9,-]{0,10}\r\n",
        "[ -~\r\n\t]{0,20}\r?\n",
    ]
}

proptest! {
    #![proptest_config(crate::fuzz())]

    /// No bytes are plain here that the framing in front of hyper would refuse, rewrite, or take for
    /// another number of bytes.
    #[test]
    fn a_plain_request_is_the_same_for_the_framing(
        method in "(GET|POST|HEAD|PUT|get|PRI)",
        target in "/[a-z./%?&=\"<-]{0,10}",
        lines in proptest::collection::vec(line(), 0..5),
        body in "[a-z]{0,12}",
    ) {
        let bytes = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{}\r\n{body}", lines.concat());
        if let Look::Taken(length, _) = taken(&bytes) {
            let mut framing = Framing::new(MAX_HEAD);
            let (passed, stop) = framing.look(&bytes.as_bytes()[..length]);
            prop_assert_eq!((passed, stop), (length, Stop::Incomplete));
            prop_assert!(framing.is_between_requests() && framing.heads() == 1);
        }
    }
}
