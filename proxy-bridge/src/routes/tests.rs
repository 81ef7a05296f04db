use super::*;

/// Blog, shop and zoo; each is held as its own name.
fn routes() -> Routes<(&'static str, Vec<Route>)> {
    let claims: [(&str, &[&str]); 3] =
        [("blog", &["www.example.com"]), ("shop", &["/store", "/store/old"]), ("zoo", &["/store"])];
    let projects = claims.into_iter().map(|(name, routes)| {
        let routes = routes.iter().map(|route| route.parse().unwrap()).collect();
        (ProjectName::parse(name).unwrap(), (name, routes))
    });
    Routes::new(projects.collect(), |(_, routes)| routes)
}

fn find<'p>(host: &str, path: &'p str) -> Option<(&'static str, &'p str)> {
    routes().find(host, path).map(|((name, _), prefix)| (*name, prefix))
}

#[test]
fn the_first_label_of_the_host_names_the_project() {
    assert_eq!(find("blog.localhost", "/shop/x"), Some(("blog", "")));
}

#[test]
fn else_the_first_path_segment_does() {
    for (path, prefix) in [("/shop", "/shop"), ("/shop/", "/shop"), ("/shop/a", "/shop")] {
        assert_eq!(find("localhost", path), Some(("shop", prefix)));
    }
    assert_eq!(find("localhost", "/shopping"), None);
    assert_eq!(find("localhost", "/"), None);
}

#[test]
fn a_project_can_claim_hosts_and_prefixes_and_the_first_by_name_wins() {
    assert_eq!(find("www.example.com", "/"), Some(("blog", "")));
    assert_eq!(find("localhost", "/store/x"), Some(("shop", "/store")));
    assert_eq!(find("localhost", "/store/old/x"), Some(("shop", "/store/old")));
}

#[test]
fn a_project_that_changes_its_routes_or_goes_leaves_them_to_the_next_by_name() {
    let mut routes = routes();
    let name = |name| ProjectName::parse(name).unwrap();
    let found = |routes: &Routes<(&'static str, Vec<Route>)>, host, path| {
        routes.find(host, path).map(|((name, _), prefix)| (*name, prefix.to_owned()))
    };
    routes.put(name("shop"), ("shop", Vec::new()), vec!["/kiosk".parse().unwrap()]);
    assert_eq!(found(&routes, "localhost", "/store/old/x"), Some(("zoo", "/store".to_owned())));
    assert_eq!(found(&routes, "localhost", "/kiosk/x"), Some(("shop", "/kiosk".to_owned())));
    routes.remove(&name("zoo"));
    assert_eq!(found(&routes, "localhost", "/store/x"), None);
    routes.put(name("abc"), ("abc", Vec::new()), vec!["www.example.com".parse().unwrap()]);
    assert_eq!(found(&routes, "www.example.com", "/").unwrap().0, "abc");
    routes.remove(&name("abc"));
    assert_eq!(found(&routes, "www.example.com", "/").unwrap().0, "blog");
    for left in ["blog", "shop"] {
        routes.remove(&name(left));
    }
    assert!(routes.hosts.is_empty() && routes.prefixes.is_empty() && routes.lengths.is_empty());
    assert!(routes.claimed.is_empty() && routes.projects.is_empty());
}

#[test]
fn a_prefix_that_a_project_claims_twice_is_one_claim() {
    let mut routes = Routes::default();
    let shop = ProjectName::parse("shop").unwrap();
    let twice = || vec!["/store".parse().unwrap(), "/store/".parse().unwrap()];
    routes.put(shop.clone(), "shop", twice());
    routes.put(shop.clone(), "shop", twice());
    assert_eq!(routes.find("localhost", "/store"), Some((&"shop", "/store")));
    routes.remove(&shop);
    assert!(routes.lengths.is_empty() && routes.prefixes.is_empty());
}

#[test]
fn a_route_is_a_host_or_a_prefix_and_shows_as_it_is_parsed() {
    for (text, shown) in [("WWW.Example.com", "www.example.com"), ("/shop/", "/shop"), ("/a/b", "/a/b")] {
        let route: Route = text.parse().unwrap();
        assert_eq!(route.to_string(), shown);
        assert_eq!(shown.parse(), Ok(route));
    }
    for text in ["", "/", "a b", "example.com:80"] {
        assert!(text.parse::<Route>().is_err(), "{text:?}");
    }
}

#[test]
fn the_path_behind_a_prefix_begins_with_a_slash() {
    let behind = |uri: &'static str| behind(&Uri::from_static(uri), "/blog").unwrap().to_string();
    assert_eq!(behind("/blog/x?y=1"), "/x?y=1");
    assert_eq!(behind("/blog"), "/");
    assert_eq!(behind("/blog?y"), "/?y");
    assert_eq!(behind("http://h/blog/%2e%2e/x"), "/%2e%2e/x");
}
