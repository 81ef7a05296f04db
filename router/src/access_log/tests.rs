use serde_json::Value;

use super::*;
use crate::requests::RequestRecord;

fn config(format: AccessLogFormat) -> AccessLogConfig {
    AccessLogConfig { access_log: None, access_log_format: format, access_log_query: true }
}

fn entry(path: &str, query: Option<&str>, has_queries: bool) -> AccessEntry {
    let header = |name: &str| match name {
        "referer" => Some(&b"https://me:pw@example.com/from?token=abc&page=2#x"[..]),
        "user-agent" => Some(&b"curl \"8\"\n"[..]),
        _ => None,
    };
    let details = RequestDetails::new(b"blog.localhost:8000", query, "HTTP/1.1", header, has_queries);
    let mut record = RequestRecord::new("GET", "id-1", path);
    (record.status, record.bytes, record.is_whole) = (200, 3, true);
    AccessEntry { project: None, request: record.info("blog"), details }
}

fn line(entry: &AccessEntry, format: AccessLogFormat) -> String {
    let mut line = Vec::new();
    entry.write(format, &mut line);
    String::from_utf8(line).unwrap()
}

#[test]
fn queries_and_credentials_are_left_out() {
    let query = Some("page=2&access_token=abc&%74oken=abc;pin=abc;spin=3");
    for format in [AccessLogFormat::Json, AccessLogFormat::Combined] {
        let without = line(&entry("/blog/a", query, false), format);
        assert!(!without.contains("page=2") && !without.contains("pw"), "{without}");
        let with = line(&entry("/blog/a", query, true), format);
        assert!(
            with.contains("page=2&access_token=[redacted]&%74oken=[redacted];pin=[redacted];spin=3"),
            "{with}"
        );
        assert!(!with.contains("abc") && !with.contains("pw"), "{with}");
    }
}

#[test]
fn secrets_are_known_by_their_names_and_a_referer_is_a_url() {
    for name in ["pass", "otp", "bearer", "user_pin", "connect.sid", "ticket", "SAMLResponse", "assertion"] {
        let text = line(&entry("/", Some(&format!("{name}=abc&x=1")), true), AccessLogFormat::Json);
        assert!(text.contains(&format!("{name}=[redacted]&x=1")), "{text}");
    }
    for referer in ["token=abc", "/from?x=1", "://host/", "about:blank"] {
        let header = |name: &str| (name == "referer").then_some(referer.as_bytes());
        let details = RequestDetails::new(b"h", None, "HTTP/1.1", header, true);
        let entry = AccessEntry { details, ..entry("/", None, true) };
        assert!(!line(&entry, AccessLogFormat::Json).contains("referer"), "{referer}");
    }
}

#[test]
fn a_request_is_one_line_in_either_format() {
    let entry = entry("/blog/a\"b", None, false);
    let json: Value = serde_json::from_str(&line(&entry, AccessLogFormat::Json)).unwrap();
    assert_eq!((json["path"].as_str(), json["status"].as_u64()), (Some("/blog/a\"b"), Some(200)));
    assert_eq!(json["time"], "1970-01-01T00:00:00.000000Z");
    assert_eq!(
        line(&entry, AccessLogFormat::Combined),
        "0.0.0.0 - - [01/Jan/1970:00:00:00 +0000] \"GET /blog/a\\\"b HTTP/1.1\" 200 3 \
         \"https://example.com/from\" \"curl \\\"8\\\"\\x0A\"\n"
    );
}

#[test]
fn a_file_that_was_moved_is_begun_anew_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    let config = config(AccessLogFormat::Json);
    let log = AccessLog::start(Output::open(&path).unwrap(), &config, Metrics::default()).unwrap();
    log.add(entry("/before", None, false));
    while std::fs::read_to_string(&path).unwrap().is_empty() {
        std::thread::yield_now();
    }
    std::fs::rename(&path, &moved).unwrap();
    log.reopen();
    log.add(entry("/after", None, false));
    log.finish();
    assert!(std::fs::read_to_string(&moved).unwrap().contains("/before"));
    let new = std::fs::read_to_string(&path).unwrap();
    assert!(new.contains("/after") && !new.contains("/before"), "{new}");
}

#[test]
fn requests_that_find_the_queue_full_are_counted() {
    let (queue, _messages) = sync_channel(1);
    let (_end, ended) = sync_channel(1);
    let (state, ended) = (Arc::<State>::default(), Mutex::new(ended));
    let log = AccessLog { queue, state, has_queries: false, ended };
    (0..3).for_each(|_| log.add(entry("/", None, false)));
    assert_eq!(log.state.metrics.access_log_dropped.get(), 2);
}
