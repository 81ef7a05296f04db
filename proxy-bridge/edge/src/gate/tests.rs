use http::{Method, Request};

use super::*;

fn parts(method: Method, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn get(headers: &[(&str, &str)]) -> Parts {
    parts(Method::GET, "/projects", headers)
}

fn post(headers: &[(&str, &str)]) -> Parts {
    let own = [("host", "127.0.0.1:8001")];
    let all: Vec<_> = own.iter().chain(headers).copied().collect();
    parts(Method::POST, "/_reload", &all)
}

fn gate() -> Gate {
    Gate::new(vec!["Deploy.Example.com".parse().unwrap()])
}

#[test]
fn addresses_localhost_and_public_names_are_this_listeners() {
    for host in [
        "127.0.0.1:8001",
        "127.0.0.1",
        "127.0.0.1.",
        "localhost:8001",
        "LocalHost",
        "localhost.",
        "localhost:",
        "[::1]:8001",
        "[::1]",
        "[fe80::1%eth0]:8001",
        "[fe80::1%25eth0]",
        "10.1.2.3:1",
        "deploy.example.com",
        "DEPLOY.example.com.:443",
    ] {
        assert_eq!(gate().check(&get(&[("host", host)]), false), Ok(()), "{host}");
    }
}

#[test]
fn other_names_need_a_token() {
    for host in [
        "evil.example",
        "localhost.evil.example:8001",
        "blog.localhost",
        "127.0.0.1.evil.example",
        "x.deploy.example.com",
        "deploy.example.com.evil.example",
        "127.1",
        "2130706433",
    ] {
        assert_eq!(gate().check(&get(&[("host", host)]), false), Err(GateError::ForeignHost), "{host}");
        assert_eq!(gate().check(&get(&[("host", host)]), true), Ok(()), "{host}");
    }
}

#[test]
fn a_malformed_host_is_refused_with_a_token_too() {
    let long = "a.".repeat(200);
    for host in [
        "",
        ".",
        "::1",
        "[::1",
        "[::1]x",
        "[evil]:1",
        "[fe80::1%]",
        "localhost:port",
        "localhost:+80",
        "127.0.0.1:70000",
        "user@localhost",
        "localhost@evil.example",
        "localhost:80@evil.example",
        "local host",
        "localhost/x",
        "a..b",
        long.as_str(),
    ] {
        assert_eq!(gate().check(&get(&[("host", host)]), true), Err(GateError::MalformedHost), "{host}");
    }
    let twice = get(&[("host", "localhost"), ("host", "localhost")]);
    assert_eq!(gate().check(&twice, true), Err(GateError::MalformedHost));
    assert_eq!(gate().check(&get(&[]), true), Err(GateError::MalformedHost));
}

#[test]
fn a_request_of_http_1_0_without_a_host_needs_a_token() {
    let mut request = get(&[]);
    request.version = Version::HTTP_10;
    assert_eq!(gate().check(&request, false), Err(GateError::ForeignHost));
    assert_eq!(gate().check(&request, true), Ok(()));
}

#[test]
fn the_host_in_an_absolute_target_counts_and_has_to_be_the_same() {
    let verdict = |target: &str, host: &str| {
        gate().check(&parts(Method::GET, &format!("http://{target}/projects"), &[("host", host)]), false)
    };
    assert_eq!(verdict("127.0.0.1:8001", "127.0.0.1:8001"), Ok(()));
    assert_eq!(verdict("evil.example", "evil.example"), Err(GateError::ForeignHost));
    assert_eq!(verdict("evil.example", "localhost"), Err(GateError::MalformedHost));
    assert_eq!(verdict("localhost", "evil.example"), Err(GateError::MalformedHost));
}

#[test]
fn pages_of_other_sites_cannot_send_commands_whatever_they_carry() {
    for headers in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:8000")],
        &[("origin", "https://127.0.0.1")],
        &[("origin", "http://localhost:8001")],
        &[("origin", "devtools://devtools")],
        &[("origin", "")],
        &[("origin", "http://127.0.0.1:8001"), ("origin", "https://evil.example")],
        &[("origin", "http://127.0.0.1:8001"), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
        &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
    ] {
        for has_token in [false, true] {
            let refused = gate().check(&post(headers), has_token);
            assert_eq!(refused, Err(GateError::ForeignOrigin), "{headers:?}");
        }
    }
    for headers in [
        &[][..],
        &[("origin", "http://127.0.0.1:8001")],
        &[("origin", "http://127.0.0.1:8001"), ("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
    ] {
        assert_eq!(gate().check(&post(headers), false), Ok(()), "{headers:?}");
    }
}

#[test]
fn an_origin_without_a_port_has_that_of_its_scheme() {
    let verdict = |host: &str, origin: &str| {
        let headers = [("host", host), ("origin", origin)];
        gate().check(&parts(Method::POST, "/deploy/a", &headers), false)
    };
    assert_eq!(verdict("deploy.example.com", "https://deploy.example.com"), Ok(()));
    assert_eq!(verdict("deploy.example.com:443", "https://deploy.example.com"), Ok(()));
    assert_eq!(verdict("deploy.example.com:80", "https://deploy.example.com"), Err(GateError::ForeignOrigin));
    assert_eq!(
        verdict("deploy.example.com", "https://deploy.example.com:8443"),
        Err(GateError::ForeignOrigin)
    );
}

#[test]
fn pages_of_other_sites_may_link_here_and_read_nothing() {
    let own = ("host", "localhost:8001");
    let verdict = |headers: &[(&str, &str)]| {
        let all: Vec<_> = [own].iter().chain(headers).copied().collect();
        gate().check(&get(&all), false)
    };
    assert_eq!(verdict(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]), Ok(()));
    let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    for (dest, checked) in [
        ("document", Ok(())),
        ("iframe", Err(GateError::ForeignOrigin)),
        ("object", Err(GateError::ForeignOrigin)),
    ] {
        assert_eq!(verdict(&[link[0], link[1], ("sec-fetch-dest", dest)]), checked, "{dest}");
    }
    assert_eq!(verdict(&[("origin", "devtools://devtools"), ("sec-fetch-site", "cross-site")]), Ok(()));
    for mode in ["no-cors", "cors", "websocket"] {
        let headers = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode)];
        assert_eq!(verdict(&headers), Err(GateError::ForeignOrigin), "{mode}");
    }
    assert_eq!(verdict(&[("sec-fetch-site", "same-site")]), Err(GateError::ForeignOrigin));
    assert_eq!(verdict(&[("origin", "https://evil.example")]), Err(GateError::ForeignOrigin));
    let both = [("origin", "devtools://devtools"), ("origin", "https://evil.example")];
    assert_eq!(verdict(&both), Err(GateError::ForeignOrigin));
}

#[test]
fn a_public_host_is_a_name_and_nothing_else() {
    for text in ["", "http://a.example", "a.example:443", "*.example.com", "a b", "127.0.0.1", "[::1]"] {
        assert!(text.parse::<PublicHost>().is_err(), "{text}");
    }
}

#[test]
fn bodies_need_the_content_type_of_their_endpoint() {
    const HOLD: BodyKind = BodyKind::Json("{}");
    let with = |kind: Option<&str>, length: &str| {
        let kind = kind.map(|kind| ("content-type", kind));
        post(&kind.into_iter().chain([("content-length", length)]).collect::<Vec<_>>())
    };
    for (kind, good) in [
        (HOLD, "application/json"),
        (HOLD, "Application/JSON; charset=utf-8"),
        (BodyKind::None, "application/json"),
        (BodyKind::Upload, "multipart/form-data; boundary=x"),
        (BodyKind::Upload, "application/octet-stream"),
        (BodyKind::Upload, "application/gzip"),
    ] {
        assert_eq!(kind.check(&with(Some(good), "2")), Ok(()), "{good}");
    }
    for kind in [HOLD, BodyKind::None, BodyKind::Upload] {
        for wrong in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("json")] {
            let refused = kind.check(&with(wrong, "2")).unwrap_err();
            assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{wrong:?}");
            assert!(refused.to_string().contains("curl -X POST "), "{refused}");
            assert!(refused.to_string().contains("http://127.0.0.1:8001/_reload"), "{refused}");
        }
    }
    assert_eq!(BodyKind::None.check(&with(Some("application/x-www-form-urlencoded"), "0")), Ok(()));
    let chunked = post(&[("transfer-encoding", "chunked"), ("content-type", "text/plain")]);
    assert!(BodyKind::None.check(&chunked).is_err());
}
