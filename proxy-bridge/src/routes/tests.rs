use super::*;

/// Blog, shop and zoo; each is held as its own name.
fn routes() -> Routes<(&'static str, Vec<Route>)> {
    let claims: [(&str, &[&str]); 3] =
        [("blog", &["www.example.com"]), ("shop", &["/store", "/store/old"]), ("zoo", &["/store"])];
    let projects = claims.into_iter().map(|(name, routes)| {
        let routes: Vec<Route> = routes.iter().map(|route| route.parse().unwrap()).collect();
        (ProjectName::parse(name).unwrap(), (name, routes))
    });
    Routes::new(projects, |(_, routes)| routes)
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
fn a_prefix_ends_with_a_segment() {
    assert_eq!(find("localhost", "/stores"), None);
    assert_eq!(find("localhost", "/store/older"), Some(("shop", "/store")));
    assert_eq!(find("localhost", "/store/old"), Some(("shop", "/store/old")));
}

#[test]
fn a_change_leaves_older_tables_as_they_were_and_claims_pass_to_the_next_by_name() {
    let before = routes();
    let (shop, zoo) = (ProjectName::parse("shop").unwrap(), ProjectName::parse("zoo").unwrap());
    let found = |routes: &Routes<(&'static str, Vec<Route>)>, path| {
        routes.find("localhost", path).map(|((name, _), prefix)| (*name, prefix.to_owned()))
    };
    let mut table = before.clone();
    table.remove(&shop);
    assert_eq!(found(&table, "/store/old/x"), Some(("zoo", "/store".to_owned())));
    assert_eq!(found(&table, "/shop"), None);
    table.insert(zoo.clone(), ("zoo", Vec::new()), &[Route::Host("zoo.example.com".into())]);
    assert_eq!(found(&table, "/store"), None);
    assert!(table.find("zoo.example.com", "/").is_some());
    table.insert(zoo, ("zoo", Vec::new()), &[]);
    assert!(table.find("zoo.example.com", "/").is_some(), "it is the label of the project itself");
    assert!(table.hosts.get("zoo.example.com").is_none());
    assert_eq!((table.len(), before.len()), (2, 3));
    assert_eq!(found(&before, "/store/old/x"), Some(("shop", "/store/old".to_owned())));
}

#[test]
fn a_route_is_a_host_or_a_prefix_and_shows_as_it_is_parsed() {
    for (text, shown) in [("WWW.Example.com", "www.example.com"), ("/shop/", "/shop"), ("/a/b", "/a/b")] {
        let route: Route = text.parse().unwrap();
        assert_eq!(route.to_string(), shown);
        assert_eq!(shown.parse(), Ok(route));
    }
    let deep = "/a".repeat(MAX_SEGMENTS);
    assert!(deep.parse::<Route>().is_ok());
    for text in ["", "/", "a b", "example.com:80", &format!("{deep}/a")] {
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

#[test]
fn a_prefix_that_a_project_claims_twice_is_one_claim() {
    let mut routes = Routes::default();
    let shop = ProjectName::parse("shop").unwrap();
    let twice: [Route; 2] = ["/store".parse().unwrap(), "/store/".parse().unwrap()];
    routes.insert(shop.clone(), "shop", &twice);
    routes.insert(shop.clone(), "shop", &twice);
    assert_eq!(routes.find("localhost", "/store"), Some((&"shop", "/store")));
    routes.remove(&shop);
    assert_eq!(routes.find("localhost", "/store"), None);
    assert!(routes.is_empty());
}
