use std::net::Ipv4Addr;

use super::*;

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);

fn request(target: &str, hosts: &[&str]) -> Request<()> {
    let mut request = Request::builder().uri(target).body(()).unwrap();
    for host in hosts {
        request.headers_mut().append(HOST, host.parse().unwrap());
    }
    request
}

fn host_and_path(target: &str, hosts: &[&str]) -> Result<(String, String), InvalidTarget> {
    let mut request = request(target, hosts);
    let host = canonical(&mut request, LOCAL)?;
    Ok((host.authority().to_str().unwrap().to_owned(), request.uri().to_string()))
}

fn path_of(target: &str) -> Result<String, InvalidTarget> {
    host_and_path(target, &["h"]).map(|(_, target)| target)
}

#[test]
fn a_host_is_lower_case_without_the_last_dot_and_keeps_its_port() {
    for (written, canonical, name) in [
        ("blog.localhost", "blog.localhost", "blog.localhost"),
        ("Blog.localhost:8000", "blog.localhost:8000", "blog.localhost"),
        ("blog.test.:80", "blog.test:80", "blog.test"),
        ("a.", "a", "a"),
        ("a:", "a", "a"),
        ("my_app.test", "my_app.test", "my_app.test"),
        ("[::1]:80", "[::1]:80", "[::1]"),
        ("[FE80::1]", "[fe80::1]", "[fe80::1]"),
        ("127.0.0.1:1", "127.0.0.1:1", "127.0.0.1"),
    ] {
        let host = super::canonical(&mut request("/", &[written]), LOCAL).unwrap();
        assert_eq!((host.authority().to_str().unwrap(), host.name()), (canonical, name), "{written}");
    }
}

#[test]
fn an_invalid_host_is_refused() {
    for host in [
        "",
        ".",
        ":80",
        "a..b",
        ".a",
        "a b",
        "a/b",
        "a@b",
        "a,b",
        "a%2eb",
        "a:b",
        "a:99999",
        "a:80:80",
        "[::1",
        "[::1]x",
        "[a]",
        "::1",
        "a\\b",
        "a?b",
        "a#b",
        "[::1%25lo]",
        "ä",
    ] {
        assert_eq!(host_and_path("/", &[host]), Err(InvalidTarget::InvalidHost), "{host:?}");
    }
    assert_eq!(host_and_path("/", &[&"a".repeat(300)]), Err(InvalidTarget::InvalidHost));
}

#[test]
fn a_request_names_exactly_one_host() {
    assert_eq!(host_and_path("/", &[]), Err(InvalidTarget::NoHost));
    assert_eq!(host_and_path("/", &["a", "a"]), Err(InvalidTarget::SeveralHosts));
    assert_eq!(host_and_path("http://a/", &["a", "b"]), Err(InvalidTarget::SeveralHosts));
    assert_eq!(
        host_and_path("http://a/", &[]),
        Err(InvalidTarget::NoHost),
        "HTTP/1.1 requires the header as well"
    );
    let mut stream = request("http://a/x", &[]);
    *stream.version_mut() = Version::HTTP_2;
    assert_eq!(canonical(&mut stream, LOCAL).unwrap().name(), "a");
}

#[test]
fn a_request_of_http_1_0_need_not_name_a_host() {
    let old = |target: &str, hosts: &[&str]| {
        let mut request = request(target, hosts);
        *request.version_mut() = Version::HTTP_10;
        let host = canonical(&mut request, LOCAL)?;
        Ok((host.name().to_owned(), host.authority().to_str().unwrap().to_owned()))
    };
    let named = |name: &str, authority: &str| Ok((name.to_owned(), authority.to_owned()));
    assert_eq!(old("/a/x", &[]), named("", "127.0.0.1:8000"));
    assert_eq!(old("/", &["a:81"]), named("a", "a:81"));
    assert_eq!(old("http://a/", &[]), named("a", "a"));
    assert_eq!(old("/", &["a", "a"]), Err(InvalidTarget::SeveralHosts));
    assert_eq!(old("/", &[""]), Err(InvalidTarget::InvalidHost));
}

#[test]
fn a_target_with_a_host_agrees_with_host() {
    assert_eq!(host_and_path("http://A:80/x?y", &["a:80"]), Ok(("a:80".to_owned(), "/x?y".to_owned())));
    assert_eq!(host_and_path("https://a", &["a"]), Ok(("a".to_owned(), "/".to_owned())));
    for (target, host) in [("http://a/", "b"), ("http://a:80/", "a"), ("http://a/", "a:81")] {
        assert_eq!(host_and_path(target, &[host]), Err(InvalidTarget::OtherHost), "{target} {host}");
    }
    assert_eq!(host_and_path("http://b@a/", &["a"]), Err(InvalidTarget::InvalidHost));
    assert_eq!(host_and_path("ftp://a/", &["a"]), Err(InvalidTarget::Form));
    assert_eq!(host_and_path("a", &["a"]), Err(InvalidTarget::Form));
    assert_eq!(host_and_path("*", &["a"]), Err(InvalidTarget::Form));
    let mut options = request("*", &["a"]);
    *options.method_mut() = Method::OPTIONS;
    assert!(canonical(&mut options, LOCAL).is_ok_and(|host| host.name() == "a"));
    assert_eq!(options.uri(), "*");
    let mut connect = request("a:80", &["a:80"]);
    *connect.method_mut() = Method::CONNECT;
    assert_eq!(canonical(&mut connect, LOCAL), Err(InvalidTarget::Tunnel));
}

#[test]
fn a_path_has_no_dot_segments_and_no_needless_percent_signs() {
    for (written, canonical) in [
        ("/", "/"),
        ("/a/b?c/../d", "/a/b?c/../d"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/..", "/"),
        ("/../../b?x=%2e", "/b?x=%2e"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a/%2e/b", "/a/b"),
        ("/%62log/%7Ex", "/blog/~x"),
        ("/a%2Fb/%C3%A9//c", "/a%2Fb/%C3%A9//c"),
        ("/a%2f..%2fb", "/a%2f..%2fb"),
        ("//a", "//a"),
        ("//a/..", "//"),
        ("/a/..//b", "//b"),
        ("/.a/..b/c..", "/.a/..b/c.."),
        ("/%252e%252e/x", "/%252e%252e/x"),
        ("/.../x", "/.../x"),
    ] {
        assert_eq!(path_of(written).as_deref(), Ok(canonical), "{written}");
        assert_eq!(path_of(canonical).as_deref(), Ok(canonical), "{canonical} stays as it is");
    }
}

#[test]
fn an_ambiguous_path_is_refused() {
    for target in ["/a\\b", "/a%5cb", "/a%5Cb", "/a%00b", "/a%", "/a%2", "/a%zz", "/%%32e", "/..%5c..%5cb"] {
        // hyper refuses anything that is not a URI before.
        let Ok(uri) = target.parse::<Uri>() else { continue };
        assert_eq!(path(uri.path()), Err(InvalidTarget::Path), "{target}");
    }
}

/// Returns the target of a request with these headers for a receiver that expects the whole URL.
fn url_of(target: &str, headers: &[(&'static str, &str)]) -> String {
    let mut request = request(target, &[]);
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    set_form(&mut request, true);
    request.uri().to_string()
}

#[test]
fn the_url_has_the_forwarded_scheme_and_host_and_an_unchanged_path() {
    for target in ["/", "/p", "/p?", "/p?q=1&r", "//a//b", "/p?u=http://x/y", "/%2f%23", "/a:b@c"] {
        assert_eq!(url_of(target, &[("host", "h")]), format!("http://h{target}"));
    }
    assert_eq!(url_of("*", &[("host", "h")]), "http://h/*");
    let url = |proto: &str, host: &str| {
        url_of("/p", &[("host", "own:1"), ("x-forwarded-proto", proto), ("x-forwarded-host", host)])
    };
    assert_eq!(url("https", "www.example.com"), "https://www.example.com/p");
    assert_eq!(url("HTTPS", "WWW.example.com:8443"), "https://www.example.com:8443/p");
    assert_eq!(url("wss", "[::1]:80"), "https://[::1]:80/p");
    for proto in ["http", "ws", "ftp", ""] {
        assert_eq!(url(proto, "h"), "http://h/p", "{proto}");
    }
    for host in ["", "user@h", "h/x", "a b", "h:port", "[::1", "1.2.3.4.5", "256.1.1.1", "xn--", "a.xn--"] {
        assert_eq!(url("https", host), "https://own:1/p", "{host}");
    }
}

#[test]
fn the_form_of_a_target_can_be_changed_again_and_again() {
    let mut request = request("/p?q", &["h:1"]);
    for (is_url, target) in
        [(true, "http://h:1/p?q"), (true, "http://h:1/p?q"), (false, "/p?q"), (false, "/p?q")]
    {
        set_form(&mut request, is_url);
        assert_eq!(request.uri().to_string(), target);
    }
}

#[test]
fn a_request_that_names_no_host_keeps_its_target() {
    assert_eq!(url_of("/p?q", &[]), "/p?q");
}
