use std::collections::BTreeSet;

use switchyard_contract::route::MAX_ROUTES;

use super::*;

fn name(name: &str) -> ProjectName {
    ProjectName::parse(name).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Returns a claim since that second. A route that ends with `!` is assigned by the policy.
fn claim((route, second): &(&str, i64)) -> Claim {
    let (route, assigned) = route.strip_suffix('!').map_or((*route, false), |route| (route, true));
    Claim { route: route.parse().unwrap(), since: at(*second), assigned }
}

/// Returns a table in which the value of each project is its name.
fn table(projects: &[(&'static str, &[(&str, i64)])]) -> Routes<&'static str> {
    let mut table = Routes::default();
    for (project, claims) in projects {
        table.insert(name(project), *project, &claims.iter().map(claim).collect::<Vec<_>>());
    }
    table
}

fn find<'p>(table: &Routes<&'static str>, host: &str, path: &'p str) -> Option<(&'static str, &'p str)> {
    table.find(host, path).map(|(project, prefix)| (*project, prefix))
}

#[test]
fn the_rule_as_a_table() {
    let mut table = table(&[
        ("victim", &[]),
        ("www", &[]),
        ("localhost", &[]),
        ("127", &[]),
        ("10", &[]),
        ("api", &[]),
        // All claims of this project but two are without effect.
        (
            "evil",
            &[
                ("victim.example.com", 1),
                ("/victim", 1),
                ("/victim/api", 1),
                ("/store/login", 3),
                ("www.shop.example", 3),
                ("free.example.com", 3),
                ("/free", 3),
                ("given.example.com", 1),
                ("/pages/given", 1),
            ],
        ),
        ("shop", &[("www.shop.example", 2), ("/store", 2), ("/store/old", 4), ("given.example.com!", 9)]),
        ("eu", &[("/store/eu", 1), ("/pages/given!", 9), ("/victim/given!", 9)]),
        ("one", &[("tie.example.com", 5), ("/tie", 5), ("/outer", 5)]),
        ("two", &[("tie.example.com", 5), ("/tie", 5), ("/outer/inner", 5)]),
    ]);
    let mut assignments = Assignments::default();
    for (pattern, owner) in [
        ("given.example.com", Owner::Project(name("shop"))),
        ("*.corp.example", Owner::Project(name("api"))),
        ("apps.example.com", Owner::Shared),
        ("victim.apps.example.com", Owner::Shared),
    ] {
        assignments.assign(pattern.parse().unwrap(), owner).unwrap();
    }
    table.assign(Arc::new(assignments));
    for (host, path, expected) in [
        // Names precede claims.
        ("victim.example.com", "/", Some(("victim", ""))),
        ("victim.example.com", "/evil/x", Some(("victim", ""))),
        ("localhost", "/victim/api/x", Some(("victim", "/victim"))),
        ("localhost", "/victim", Some(("victim", "/victim"))),
        ("localhost", "/victims", None),
        ("evil.victim.example.com", "/", Some(("evil", ""))),
        // The first claim counts, below a prefix too; a claimed host includes all its paths.
        ("www.shop.example", "/victim/x", Some(("shop", ""))),
        ("localhost", "/store/login/x", Some(("shop", "/store"))),
        ("localhost", "/store/old/x", Some(("shop", "/store/old"))),
        ("localhost", "/store/eu/x", Some(("eu", "/store/eu"))),
        ("free.example.com", "/victim", Some(("evil", ""))),
        ("localhost", "/free/x", Some(("evil", "/free"))),
        ("localhost", "/freed", None),
        // Several first claims: no project gets the requests.
        ("tie.example.com", "/victim/", None),
        ("localhost", "/tie/x", None),
        ("localhost", "/outer/x", Some(("one", "/outer"))),
        ("localhost", "/outer/inner/x", None),
        // The policy precedes names and claims.
        ("given.example.com", "/", Some(("shop", ""))),
        ("localhost", "/pages/given/x", Some(("eu", "/pages/given"))),
        ("localhost", "/victim/given/x", Some(("eu", "/victim/given"))),
        ("api.corp.example", "/victim/", Some(("api", ""))),
        ("victim.corp.example", "/", None),
        ("other.corp.example", "/victim/", None),
        ("corp.example", "/victim/", Some(("victim", "/victim"))),
        ("apps.example.com", "/victim/", Some(("victim", "/victim"))),
        ("victim.apps.example.com", "/evil/", Some(("evil", "/evil"))),
        // Addresses and reserved labels are not names of projects.
        ("127.0.0.1", "/victim/x", Some(("victim", "/victim"))),
        ("127.0.0.1", "/127/x", Some(("127", "/127"))),
        ("10.example.com", "/", None),
        ("victim.10", "/", None),
        ("[::1]", "/victim/", Some(("victim", "/victim"))),
        ("localhost", "/localhost/x", Some(("localhost", "/localhost"))),
        ("localhost.example.com", "/", None),
        ("www.example.com", "/", None),
        ("www.example.com", "/www/x", Some(("www", "/www"))),
        ("", "/victim/", Some(("victim", "/victim"))),
        ("localhost", "/", None),
        ("localhost", "//victim/", None),
        ("localhost", "*", None),
    ] {
        assert_eq!(find(&table, host, path), expected, "{host}{path}");
    }
}

/// All ways in which three projects can claim three routes at two moments, or not at all.
#[test]
fn no_claim_ever_takes_a_route_that_another_project_has_by_name_or_earlier_claim() {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    const ROUTES: [&str; 3] = ["/x", "/x/y", "a.example"];
    let since = |choice: usize, project: usize, route: usize| {
        let port = u32::try_from(project * ROUTES.len() + route).unwrap();
        // 0: no claim. Otherwise: the second since which the project claims the route.
        i64::try_from(choice / 3_usize.pow(port) % 3).ok().filter(|second| *second > 0)
    };
    let requests = [("localhost", "/x/z"), ("localhost", "/x/y/z"), ("a.example", "/x")];
    for choice in 0..3_usize.pow(9) {
        let mut table = Routes::default();
        for (project, named) in NAMES.iter().enumerate() {
            let claims = ROUTES
                .iter()
                .enumerate()
                .filter_map(|(route, text)| Some(claim(&(text, since(choice, project, route)?))));
            table.insert(name(named), project, &claims.collect::<Vec<_>>());
        }
        let found = requests.map(|(host, path)| table.find(host, path).map(|(project, _)| *project));
        assert_eq!(found[2], Some(0), "the name: {choice}");
        let first = |routes: &[usize]| {
            let all = NAMES.iter().enumerate().flat_map(|(project, _)| {
                let seconds = routes.iter().filter_map(move |route| since(choice, project, *route));
                seconds.min().map(|second| (second, project))
            });
            let mut all: Vec<_> = all.collect();
            all.sort_unstable();
            match all.as_slice() {
                [(one, _), (two, _), ..] if one == two => None,
                [(_, project), ..] => Some(*project),
                [] => None,
            }
        };
        assert_eq!(found[0], first(&[0]), "the first: {choice}");
        // No project has an earlier claim of the route, or of a prefix of it.
        assert!(found[1].is_none() || first(&[0, 1]).is_none() || found[1] == first(&[0, 1]), "{choice}");
        // Each claim either leads to its project, or is a conflict of that project and of the
        // rival.
        for (project, named) in NAMES.iter().enumerate() {
            let named = name(named);
            let conflicts = table.conflicts(&named, 100);
            for (route, text) in ROUTES.iter().enumerate() {
                let route_of: Route = text.parse().unwrap();
                let claims = since(choice, project, route).is_some();
                let leads = found[route] == Some(project);
                let own = conflicts
                    .iter()
                    .find(|conflict| conflict.route == route_of && conflict.claimant == named);
                assert_eq!(own.is_some(), claims && !leads, "{choice} {named} {text}");
                if let Some(own) = own {
                    assert!(
                        table.conflicts(&own.rival.project, 100).contains(own),
                        "{choice} {named} {text}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_change_leaves_older_tables_as_they_were_and_claims_pass_to_the_next() {
    let before = table(&[
        ("blog", &[("www.example.com", 1)]),
        ("shop", &[("/store", 1), ("/store/old", 1)]),
        ("zoo", &[("/store", 2)]),
    ]);
    let mut table = before.clone();
    table.remove(&name("shop"));
    assert_eq!(find(&table, "localhost", "/store/old/x"), Some(("zoo", "/store")));
    assert_eq!(find(&table, "localhost", "/shop"), None);
    table.insert(name("zoo"), "zoo", &[claim(&("zoo.example.com", 3))]);
    assert_eq!(find(&table, "localhost", "/store"), None);
    assert!(table.find("zoo.example.com", "/").is_some());
    table.insert(name("zoo"), "zoo", &[]);
    assert!(table.find("zoo.example.com", "/").is_some(), "it is the label of the project itself");
    assert!(table.hosts.get("zoo.example.com").is_none() && !table.ordered.contains("zoo.example.com"));
    assert_eq!((table.len(), before.len()), (2, 3));
    assert_eq!(find(&before, "localhost", "/store/old/x"), Some(("shop", "/store/old")));
}

#[test]
fn conflicts_are_reported_to_both_sides_with_the_reason() {
    let table = table(&[
        ("victim", &[]),
        ("evil", &[("victim.example.com", 1), ("/victim/api", 1), ("/store/login", 3), ("/own", 1)]),
        ("shop", &[("/store", 2)]),
        ("tie", &[("/own", 1)]),
    ]);
    let conflicts_of = |project: &str| -> Vec<_> {
        let all = table.conflicts(&name(project), 10).into_iter();
        all.map(|conflict| {
            let holder = conflict.holder().map(ToString::to_string);
            (conflict.route.to_string(), conflict.claimant.to_string(), conflict.rival.reason, holder)
        })
        .collect()
    };
    let by_name =
        |route: &str| (route.to_owned(), "evil".to_owned(), Reason::Name, Some("victim".to_owned()));
    assert_eq!(conflicts_of("victim"), [by_name("victim.example.com"), by_name("/victim/api")]);
    let late =
        ("/store/login".to_owned(), "evil".to_owned(), Reason::Claimed(at(2)), Some("shop".to_owned()));
    assert_eq!(conflicts_of("shop"), std::slice::from_ref(&late));
    let tie = |claimant: &str| ("/own".to_owned(), claimant.to_owned(), Reason::Contested(at(1)), None);
    assert_eq!(
        conflicts_of("evil"),
        [by_name("victim.example.com"), by_name("/victim/api"), late, tie("evil"), tie("tie")]
    );
    assert_eq!(conflicts_of("tie"), [tie("tie"), tie("evil")]);
    assert_eq!(table.conflicts(&name("evil"), 2).len(), 2);
    for (project, neighbours) in
        [("victim", &["evil"][..]), ("shop", &["evil", "shop"]), ("tie", &["evil", "tie"])]
    {
        let found = table.neighbours(&name(project));
        assert_eq!(found.iter().map(ProjectName::as_str).collect::<Vec<_>>(), neighbours, "{project}");
    }
    let rival = table.rival(&name("shop"), &"/victim".parse().unwrap());
    assert_eq!(rival, Some(Rival { project: name("victim"), reason: Reason::Name }));
    assert_eq!(table.rival(&name("victim"), &"/victim/api".parse().unwrap()), None);
    assert_eq!(table.rival(&name("victim"), &"/nobodys".parse().unwrap()), None);
}

/// A route that a thousand projects claim at the same moment is examined for two of them: for each,
/// it would take a thousand times as long.
#[test]
fn the_conflicts_of_a_project_are_found_without_a_look_at_claims_that_it_is_not_in_the_way_of() {
    let mut table = Routes::default();
    let claims = [claim(&("tie.example.com", 1)), claim(&("/tie", 1)), claim(&("/tie/inner", 1))];
    let names: Vec<_> = (0..1000).map(|number| name(&format!("n{number:03}"))).collect();
    for name in &names {
        table.insert(name.clone(), "", &claims);
    }
    let looked_at = |project: &ProjectName| {
        table.near(project, |route| table.is_in_the_way(project, route)).collect::<Vec<_>>().len()
    };
    for project in &names[..2] {
        assert!(looked_at(project) >= 3 * 1000);
    }
    for project in &names[2..] {
        assert_eq!(looked_at(project), 0, "{project}");
        let conflicts = table.conflicts(project, 10);
        let rivals: Vec<_> =
            conflicts.iter().map(|conflict| (&conflict.claimant, &conflict.rival.project)).collect();
        assert_eq!(rivals, [(project, &names[0]); 3]);
    }
    let claimants = |project: &ProjectName, limit| {
        let conflicts = table.conflicts(project, limit).into_iter();
        conflicts.map(|conflict| conflict.claimant).collect::<BTreeSet<_>>()
    };
    assert_eq!(claimants(&names[0], 5000), names.iter().cloned().collect());
    assert_eq!(claimants(&names[1], 5000), names[..2].iter().cloned().collect());
}

#[test]
fn a_prefix_ends_with_a_segment_and_escapes_have_one_spelling() {
    let table = table(&[("shop", &[("/store", 1), ("/caf%c3%a9", 1)])]);
    assert_eq!(find(&table, "localhost", "/stores"), None);
    assert_eq!(find(&table, "localhost", "/store"), Some(("shop", "/store")));
    for path in ["/caf%C3%A9/x", "/caf%c3%a9/x", "/caf%c3%A9/x"] {
        assert_eq!(find(&table, "localhost", path), Some(("shop", &path[..10])), "{path}");
    }
}

#[test]
fn a_route_that_a_project_claims_twice_is_one_claim() {
    let mut table = Routes::default();
    let twice = [claim(&("/store", 1)), claim(&("/store/", 1))];
    table.insert(name("shop"), "shop", &twice);
    table.insert(name("shop"), "shop", &twice);
    assert_eq!(table.find("localhost", "/store"), Some((&"shop", "/store")));
    table.remove(&name("shop"));
    assert_eq!(table.find("localhost", "/store"), None);
    assert!(table.is_empty() && table.ordered.is_empty());
}

#[test]
fn a_path_of_many_segments_is_looked_at_no_further_than_claims_go() {
    let deep = "/a".repeat(32);
    let table = table(&[("shop", &[(&deep, 1), ("/b", 1)])]);
    let long = "/a".repeat(10_000);
    assert_eq!(find(&table, "localhost", &long), Some(("shop", &deep[..])));
    assert_eq!(table.prefixes.steps(&long), 32);
    assert_eq!(table.prefixes.steps(&format!("/b{long}")), 1);
    assert_eq!(table.prefixes.steps(&format!("/c{long}")), 0);
}

/// A lookup takes as many steps among a million routes as among one.
#[test]
fn the_steps_of_a_lookup_do_not_grow_with_projects_and_routes() {
    let mut table = Routes::default();
    for project in 0..10_000 {
        let claims: Vec<_> = (0..MAX_ROUTES)
            .filter(|route| project % 100 == 0 || *route < 2)
            .map(|route| {
                let text = if route % 2 == 0 {
                    format!("h{route}.p{project}.example")
                } else {
                    format!("/p{project}/{route}/x")
                };
                claim(&(text.as_str(), 1))
            })
            .collect();
        table.insert(name(&format!("n{project}")), project, &claims);
    }
    for project in [0, 100, 9_900] {
        let path = format!("/p{project}/99/x/y");
        assert_eq!(table.find("localhost", &path).map(|(found, _)| *found), Some(project));
        assert_eq!(table.prefixes.steps(&path), 3);
        let host = format!("h98.p{project}.example");
        assert_eq!(table.find(&host, "/").map(|(found, _)| *found), Some(project));
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
fn a_project_is_found_by_its_label_and_by_its_name() {
    let mut table = table(&[("greet_user", &[]), ("Upper", &[]), ("plain", &[])]);
    for (host, path, found) in [
        ("greet-user.localhost", "/x", Some(("greet_user", ""))),
        ("upper.localhost", "/x", Some(("Upper", ""))),
        ("localhost", "/greet_user/x", Some(("greet_user", "/greet_user"))),
        ("localhost", "/Upper/x", Some(("Upper", "/Upper"))),
        ("localhost", "/greet-user/x", None),
        ("localhost", "/upper/x", None),
        ("plain.localhost", "/x", Some(("plain", ""))),
    ] {
        assert_eq!(find(&table, host, path), found, "{host}{path}");
    }
    assert_eq!(table.namesake(&name("greet_user")), None);
    // A project that comes later does not get the host.
    table.insert(name("greet-user"), "greet-user", &[]);
    table.insert(name("UPPER"), "UPPER", &[]);
    assert_eq!(find(&table, "greet-user.localhost", "/"), Some(("greet_user", "")));
    assert_eq!(find(&table, "localhost", "/greet-user"), Some(("greet-user", "/greet-user")));
    assert_eq!(table.namesake(&name("greet-user")), Some(&name("greet_user")));
    assert_eq!(table.namesake(&name("greet_user")), Some(&name("greet-user")));
    assert_eq!(table.namesake(&name("plain")), None);
    table.remove(&name("greet_user"));
    table.remove(&name("Upper"));
    assert_eq!(find(&table, "greet-user.localhost", "/"), Some(("greet-user", "")));
    assert_eq!(find(&table, "upper.localhost", "/"), Some(("UPPER", "")));
    assert_eq!(table.namesake(&name("greet-user")), None);
}

#[test]
fn a_plain_name_keeps_its_label() {
    let mut table = table(&[("greet-user", &[])]);
    table.insert(name("greet_user"), "greet_user", &[]);
    assert_eq!(find(&table, "greet-user.localhost", "/"), Some(("greet-user", "")));
    assert_eq!(table.namesake(&name("greet_user")), Some(&name("greet-user")));
    table.remove(&name("greet_user"));
    assert_eq!(find(&table, "greet-user.localhost", "/"), Some(("greet-user", "")));
    assert_eq!(table.namesake(&name("greet-user")), None);
}
