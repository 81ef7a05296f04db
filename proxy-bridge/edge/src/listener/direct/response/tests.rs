use std::time::Duration;

use http::Response;
use http_body_util::{Empty, Full, StreamBody};

use super::*;

/// Returns what is written of a response, and whether it is whole.
fn written<B>(response: Response<B>, frames: &[&'static str], is_head: bool, is_last: bool) -> (String, bool)
where
    B: Body,
{
    let mut output = Output::new(Duration::from_secs(1));
    let (head, body) = response.into_parts();
    let mut writer = BodyWriter::begin(&mut output, &head, (&body, None), is_head, is_last);
    for frame in frames {
        writer.write(&mut output, Frame::data(Bytes::from_static(frame.as_bytes())));
    }
    let is_whole = writer.end(&mut output);
    let text = String::from_utf8(output.buffer().to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let lines: Vec<_> = head.lines().filter(|line| !line.starts_with("date: ")).collect();
    assert_eq!(lines.len() + 1, head.lines().count(), "there is one date: {head}");
    (format!("{}|{body}", lines.join("|")), is_whole)
}

fn full(text: &'static str) -> Full<Bytes> {
    Full::new(Bytes::from_static(text.as_bytes()))
}

/// A body of unknown length.
fn stream() -> impl Body {
    StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, std::io::Error>>())
}

#[test]
fn a_body_of_known_length_is_announced() {
    let (text, is_whole) = written(Response::new(full("hi")), &["hi"], false, false);
    assert_eq!((text.as_str(), is_whole), ("HTTP/1.1 200 OK|content-length: 2|hi", true));
    let (text, _) = written(Response::new(Empty::<Bytes>::new()), &[], false, true);
    assert_eq!(text, "HTTP/1.1 200 OK|content-length: 0|connection: close|");
}

#[test]
fn a_body_of_unknown_length_comes_in_chunks() {
    let (text, is_whole) = written(Response::new(stream()), &["a", "", "0123456789abcdef"], false, false);
    let expected = "HTTP/1.1 200 OK|transfer-encoding: chunked|1\r\na\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n";
    assert_eq!((text.as_str(), is_whole), (expected, true));
}

#[test]
fn responses_without_a_body_have_none() {
    let announced = || Response::builder().header("content-length", "9").body(stream()).unwrap();
    let (text, is_whole) = written(announced(), &["ignored"], true, false);
    assert_eq!((text.as_str(), is_whole), ("HTTP/1.1 200 OK|content-length: 9|", true));
    for status in [204, 304] {
        let response = Response::builder().status(status).body(stream()).unwrap();
        let (text, is_whole) = written(response, &["ignored"], false, false);
        assert!(
            text.starts_with(&format!("HTTP/1.1 {status} ")) && text.ends_with("|") && is_whole,
            "{text}"
        );
        assert!(!text.contains("chunked"), "{text}");
    }
}

#[test]
fn a_body_is_cut_to_its_announced_length_and_a_shorter_one_is_not_whole() {
    let announced = || Response::builder().header("content-length", "3").body(stream()).unwrap();
    let (text, is_whole) = written(announced(), &["ab", "cd"], false, false);
    assert_eq!((text.as_str(), is_whole), ("HTTP/1.1 200 OK|content-length: 3|abc", true));
    assert!(!written(announced(), &["ab"], false, false).1);
}

#[test]
fn the_id_of_the_request_replaces_the_one_of_the_handler() {
    let mut output = Output::new(Duration::from_secs(1));
    let response = Response::builder().header("x-request-id", "other").body(full("hi")).unwrap();
    let (head, body) = response.into_parts();
    BodyWriter::begin(&mut output, &head, (&body, Some("my-1")), false, false);
    let text = String::from_utf8(output.buffer().to_vec()).unwrap();
    assert!(text.contains("x-request-id: my-1\r\n") && !text.contains("other"), "{text}");
}
