use super::*;

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

/// Returns the forwarded headers of a request of `peer`, where 10.0.0.0/8 and one other address are
/// trusted.
fn carried(peer: &str, pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let trusted = "10.0.0.0/8, fd00::1".parse().unwrap();
    let mut map = headers(pairs);
    let client = Client::new(peer.parse().unwrap(), local(), false, &trusted);
    set_forwarded(&mut map, &client, &HeaderValue::from_static("blog.test"), "");
    map
}

#[test]
fn headers_that_connection_names_are_not_passed_on() {
    let mut map = headers(&[
        ("connection", "keep-alive, X-Secret-Hop"),
        ("x-secret-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("accept", "*/*"),
    ]);
    drop_hop_by_hop(&mut map);
    assert_eq!(map, headers(&[("accept", "*/*")]));
}

fn local() -> SocketAddr {
    "127.0.0.1:8000".parse().unwrap()
}

#[test]
fn only_a_websocket_is_an_upgrade_and_connection_names_it() {
    let forwarded_request = |method: Method, pairs: &[(&'static str, &'static str)], has_body: bool| {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.headers_mut() = headers(pairs);
        wants_websocket(&request, has_body)
    };
    let named = ("connection", "keep-alive, Upgrade");
    assert!(forwarded_request(Method::GET, &[("upgrade", "WebSocket"), named], false));
    assert!(forwarded_request(Method::GET, &[("upgrade", "x, websocket"), named], false));
    assert!(!forwarded_request(Method::GET, &[("upgrade", "websocket")], false));
    assert!(!forwarded_request(Method::GET, &[("upgrade", "websocket"), named], true));
    assert!(!forwarded_request(Method::POST, &[("upgrade", "websocket"), named], false));
    for other in ["h2c", "TLS/1.0", "websocket2", ""] {
        assert!(!forwarded_request(Method::GET, &[("upgrade", other), named], false), "{other}");
    }
}

#[test]
fn a_continue_is_sent_here_and_other_expectations_are_left_to_the_receiver() {
    let expect = |value: &'static str| carried("127.0.0.1:99", &[("expect", value)]).remove("expect");
    assert_eq!(expect("100-Continue"), None);
    assert_eq!(expect("x").unwrap(), "x");
}

#[test]
fn a_client_cannot_say_where_it_is() {
    let mut map = headers(&[
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.test"),
        ("x-deno-client-address", "1.2.3.4:5"),
        ("x-forwarded-prefix", "/x"),
        ("forwarded", "for=1.2.3.4"),
    ]);
    let host = HeaderValue::from_static("blog.test");
    let client = Client::new("127.0.0.1:99".parse().unwrap(), local(), false, &TrustedProxies::default());
    set_forwarded(&mut map, &client, &host, "");
    assert_eq!(map["x-forwarded-for"], "127.0.0.1");
    assert_eq!(map["x-forwarded-proto"], "http");
    assert_eq!(map["x-forwarded-host"], "blog.test");
    assert_eq!(map["x-deno-client-address"], "127.0.0.1:99");
    assert!(!map.contains_key("x-forwarded-prefix") && !map.contains_key("forwarded"));
    set_forwarded(&mut map, &client, &host, "/blog");
    assert_eq!(map["x-forwarded-prefix"], "/blog");
}

#[test]
fn a_trusted_proxy_is_believed_and_added_to_the_chain() {
    let cases = [
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "www.example.com:8443"),
        ("x-forwarded-prefix", "/x"),
        ("x-deno-client-address", "6.6.6.6:6"),
    ];
    let map = carried("10.0.0.7:99", &cases);
    assert_eq!(map["x-forwarded-for"], "1.2.3.4, 10.0.0.7");
    assert_eq!(map["x-deno-client-address"], "1.2.3.4:0");
    assert_eq!(map["x-forwarded-proto"], "https");
    assert_eq!(map["x-forwarded-host"], "www.example.com:8443");
    assert_eq!(map["host"], "blog.test");
    assert!(!map.contains_key("x-forwarded-prefix"), "no client may set it");
    let map = carried("11.0.0.7:99", &cases);
    assert_eq!(map["x-forwarded-for"], "11.0.0.7", "not trusted");
    assert_eq!(map["x-forwarded-proto"], "http");
}

#[test]
fn the_client_is_the_last_address_of_the_chain_that_is_not_a_trusted_proxy() {
    for (chain, address) in [
        ("6.6.6.6, 1.2.3.4, 10.1.1.1", "1.2.3.4:0"),
        ("6.6.6.6, 2001:db8::1,fd00::1", "[2001:db8::1]:0"),
        ("1.2.3.4:5555", "1.2.3.4:0"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1:0"),
        ("1.2.3.4, unknown, 10.1.1.1", "10.1.1.1:0"),
        ("unknown", "10.0.0.7:99"),
        ("", "10.0.0.7:99"),
    ] {
        let map = carried("10.0.0.7:99", &[("x-forwarded-for", chain)]);
        assert_eq!(map["x-deno-client-address"], address, "{chain}");
    }
}

#[test]
fn a_worker_gets_the_real_client_address_and_not_a_forged_one() {
    let connecting = |peer, pairs: &[(&'static str, &'static str)]| {
        let mut map = carried(peer, pairs);
        set_connecting_ip(&mut map);
        map.remove("cf-connecting-ip").unwrap()
    };
    assert_eq!(connecting("11.0.0.7:99", &[("cf-connecting-ip", "6.6.6.6")]), "11.0.0.7");
    assert_eq!(connecting("10.0.0.7:99", &[("x-forwarded-for", "1.2.3.4")]), "1.2.3.4");
    assert_eq!(connecting("[2001:db8::1]:99", &[]), "2001:db8::1");
}

#[test]
fn chains_in_several_headers_are_one_chain() {
    let map = carried("10.0.0.7:99", &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")]);
    assert_eq!(map.get_all("x-forwarded-for").iter().count(), 1);
    assert_eq!(map["x-forwarded-for"], "1.1.1.1, 2.2.2.2, 10.0.0.7");
}

#[test]
fn headers_that_a_trusted_proxy_omits_or_garbles_are_set_for_it() {
    let cases = [
        &[][..],
        &[("x-forwarded-host", "a b"), ("x-forwarded-proto", "/")],
        &[("x-forwarded-host", "a"), ("x-forwarded-host", "b")],
    ];
    for cases in cases {
        let map = carried("[::ffff:10.0.0.7]:99", cases);
        assert_eq!(map["x-forwarded-for"], "::ffff:10.0.0.7");
        assert_eq!(map["x-forwarded-proto"], "http");
        assert_eq!(map["x-forwarded-host"], "blog.test");
        assert_eq!(map.get_all("x-forwarded-host").iter().count(), 1);
    }
}

#[test]
fn an_invalid_network_is_named() {
    let error = "10.0.0.0/8,everybody".parse::<TrustedProxies>().unwrap_err();
    assert!(error.to_string().starts_with("invalid network \"everybody\""), "{error}");
}
