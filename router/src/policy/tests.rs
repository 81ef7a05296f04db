use std::fs;

use serde_json::{Value, json};
use switchyard_contract::admin::Rights;
use switchyard_edge::routes::Owner;

use super::*;

fn try_read(text: &str) -> Result<Policy, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), "hunter2\n").unwrap();
    let file = dir.path().join("policy.toml");
    fs::write(&file, text).unwrap();
    let read = Policy::read(
        &file,
        RequestLimits::default(),
        ReadLimits::default(),
        Path::new("/var/lib/switchyard"),
    );
    let place = format!("{}:", file.display());
    read.map_err(|problems| {
        let problem = |problem: String| problem.strip_prefix(&place).unwrap_or(&problem).to_owned();
        problems.iter().map(ToString::to_string).map(problem).collect()
    })
}

fn grant_of(project: &str, policy: &str, config: Value) -> Grant {
    let project = ProjectName::parse(project).unwrap();
    let requested = PermissionRequest::read(&config).unwrap();
    try_read(policy).unwrap().grant(&project, &requested)
}

/// The grant of `blog`.
fn grant(policy: &str, config: Value) -> Grant {
    grant_of("blog", policy, config)
}

fn asking(set: Value) -> Value {
    json!({"permissions": {"default": set}})
}

fn env(grant: &Grant) -> Vec<(&str, &str)> {
    grant.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn every_problem_is_reported_at_once_with_its_position_and_key() {
    let problems = try_read(
        r#"
        [default.limits]
        [defaults]
        limit = {}
        permissions = true
        [projects."Bl.og".limits]
        [projects.blog.permissions]
        read = ["shared", "/srv/a", "/var/lib"]
        net = "all"
        private_net = ["db.internal", "10.0.0.0/33"]
        sys = ["everything", "inspector", "setuid"]
        env = ["A-B"]
        neat = true
        [projects.shop.permissions]
        net = ["http://a", "127.0.0.1", "a.com"]
        [projects.blog.limits]
        memory = "lots"
        event_loop = 5
        workers = 2000
        files = -1
        disk = 1.5
        max_queued = "many"
        request_time = "-3s"
        body = "10MB"
        open_webhooks = "yes"
        run_time = "900h"
        [projects.blog.env]
        A-B = "hunter2"
        TMPDIR = "hunter2"
        LD_PRELOAD = "hunter2"
        NUMBER = 12345
        KEY = { from_file = "gone" }
        NUL = "hunter2\u0000"
        "#,
    );
    let problems = problems.unwrap_err();
    for expected in [
        "2:10: default: unknown key: expected one of defaults, projects, shared_hosts",
        "4:17: defaults.limit: unknown key: expected one of permissions, limits, env, routes",
        "5:23: defaults.permissions: must be a table",
        "6:19: projects.Bl.og: invalid project name \"Bl.og\"",
        "8:16: projects.blog.permissions.read: invalid path \"shared\": expected an absolute path",
        "8:16: projects.blog.permissions.read: \"/var/lib\" overlaps with the router's own folder",
        "projects.blog.permissions.net: must be true, false or a list",
        "projects.blog.permissions.private_net: invalid address or network \"db.internal\"",
        "projects.blog.permissions.private_net: invalid address or network \"10.0.0.0/33\"",
        "projects.blog.permissions.sys: invalid kind \"everything\": expected one of",
        "projects.blog.permissions.sys: \"inspector\" cannot be granted: remove it",
        "projects.blog.permissions.sys: \"setuid\" cannot be granted",
        "projects.blog.permissions.env: invalid variable \"A-B\"",
        "projects.blog.permissions.neat: unknown key: expected one of read,",
        "projects.shop.permissions.net: invalid host \"http://a\"",
        "projects.shop.permissions.net: \"127.0.0.1\" is not public",
        "projects.blog.limits.memory: invalid size \"lots\": expected 256MB",
        "projects.blog.limits.event_loop: invalid time 5: expected \"30s\"",
        "projects.blog.limits.workers: 2000 is too much: at most 1000",
        "projects.blog.limits.files: invalid number -1",
        "projects.blog.limits.disk: invalid size 1.5",
        "projects.blog.limits.max_queued: invalid number \"many\"",
        "projects.blog.limits.request_time: invalid time \"-3s\"",
        "projects.blog.limits.open_webhooks: invalid \"yes\": expected true or false",
        "projects.blog.limits.run_time: \"900h\" is too much: at most 720h is possible",
        "projects.blog.env.A-B: invalid variable name \"A-B\"",
        "projects.blog.env.TMPDIR: is reserved",
        "projects.blog.env.LD_PRELOAD: is reserved",
        "projects.blog.env.NUMBER: must be a string",
        "projects.blog.env.KEY: ",
        "projects.blog.env.NUL: contains NUL",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:#?}");
    }
    assert_eq!(problems.len(), 31, "{problems:#?}");
    let all = problems.join("\n");
    assert!(
        all.contains("/gone cannot be read") && !all.contains("hunter2") && !all.contains("12345"),
        "{all}"
    );
}

#[test]
fn invalid_toml_is_reported_with_line_and_column_and_without_its_text() {
    let problems = try_read("[defaults.env]\nKEY = \"hunter2\nOTHER = hunter2\n").unwrap_err();
    assert!(problems.iter().any(|problem| problem.starts_with("2:")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.starts_with("3:")), "{problems:?}");
    assert!(!problems.join("\n").contains("hunter2"), "{problems:?}");
    let missing = Policy::read(
        Path::new("/nowhere/p.toml"),
        RequestLimits::default(),
        ReadLimits::default(),
        Path::new("/s"),
    );
    assert!(missing.unwrap_err()[0].to_string().starts_with("/nowhere/p.toml cannot be read"));
}

#[test]
fn a_project_overrides_key_by_key_and_its_environment_name_by_name() {
    let policy = r#"
        [projects.blog.permissions]
        read = ["/srv/blog"]
        [projects.blog.limits]
        memory = "1GiB"
        files = 4096
        [projects.blog.env]
        LOG_LEVEL = "debug"
        REGION = false
        API_KEY = { from_file = "secret" }
        [defaults.permissions]
        read = ["/srv/shared"]
        sys = ["networkInterfaces"]
        [defaults.limits]
        memory = 128_000_000
        request_time = "1m 30s"
        queue_timeout = "500ms"
        [defaults.env]
        LOG_LEVEL = "info"
        REGION = "north"
        "#;
    let blog = grant(policy, json!({}));
    assert_eq!(blog.permissions.read, [Path::new("/srv/blog")]);
    assert_eq!(blog.permissions.sys, ["networkInterfaces"]);
    assert_eq!((blog.limits.memory, blog.limits.files), (1 << 30, 4096));
    assert_eq!(
        (blog.requests.time, blog.requests.queue_timeout),
        (Duration::from_secs(90), Duration::from_millis(500))
    );
    assert_eq!(env(&blog), [("API_KEY", "hunter2"), ("LOG_LEVEL", "debug")]);
    let shop = grant_of("shop", policy, json!({}));
    assert_eq!(shop.permissions.read, [Path::new("/srv/shared")]);
    assert_eq!((shop.limits.memory, shop.limits.files), (128_000_000, 4096));
    assert_eq!(env(&shop), [("LOG_LEVEL", "info"), ("REGION", "north")]);
}

#[test]
fn the_limits_of_runs_are_the_policy_s_and_shown_and_no_cell_has_to_change_for_them() {
    let (before, after) = (
        grant("", json!({})),
        grant(
            "[projects.blog.limits]\nruns = 2\nrun_queue = 0\nrun_time = \"2h\"\nrun_result = \"2MiB\"\n\
             run_log = 20_000\nopen_webhooks = true",
            json!({}),
        ),
    );
    assert_eq!(before.runs, RunLimits::default());
    let runs = RunLimits {
        runs: 2,
        queue: 0,
        time_ms: 7_200_000,
        result: 2 << 20,
        log: 20_000,
        open_webhooks: true,
    };
    assert_eq!((after.runs, after.shown.limits.runs), (runs, runs));
    assert!(before != after && before.is_equivalent(&after));
}

#[test]
fn without_a_policy_the_defaults_are_safe() {
    let grant = grant("", json!({}));
    assert_eq!(grant.permissions, Permissions::default());
    assert!(grant.env.is_empty());
    assert_eq!(grant.shown.granted.read, [".", "$DATA_DIR", "$TMPDIR"]);
    assert_eq!(grant.shown.granted.write, ["$DATA_DIR", "$TMPDIR"]);
    assert_eq!(grant.shown.granted.net, ["*"]);
    assert_eq!((&grant.shown.requested, &grant.shown.refused), (&Rights::default(), &Rights::default()));
    assert_eq!(grant.shown.limits.memory, 256 << 20);
}

#[test]
fn a_project_gets_what_it_requests_within_what_is_allowed() {
    let policy = r#"
        [projects.blog.permissions]
        read = ["/srv/shared"]
        write = ["/srv/shared/blog"]
        net = ["*.example.com:443", "203.0.113.0/24"]
        private_net = ["127.0.0.1:5432"]
        sys = ["networkInterfaces"]
        "#;
    let grant = grant(
        policy,
        asking(json!({
            "read": ["./data", "../shop", "/srv/shared/a", "/etc"],
            "write": ["/srv", "./data", "/tmp/x"],
            "net": ["api.example.com", "203.0.113.7:80", "other.net", "localhost:5432", "10.0.0.1", "unix:/run/x"],
            "sys": ["hostname", "networkInterfaces", "userInfo", "inspector"],
            "run": ["git"],
            "ffi": true,
            "import": ["jsr.io"]
        })),
    );
    let Grant { permissions, shown: Grants { requested, granted, refused, .. }, .. } = &grant;
    assert_eq!(permissions.read, [Path::new("/srv/shared/a")]);
    assert_eq!(permissions.write, [Path::new("/srv/shared/blog")]);
    assert_eq!(
        permissions.net.as_deref().unwrap(),
        ["api.example.com:443", "203.0.113.7:80", "localhost:5432"]
    );
    assert_eq!(permissions.private_net, ["127.0.0.1:5432".parse().unwrap()]);
    assert_eq!(permissions.sys, ["networkInterfaces"]);
    assert_eq!(requested.write, ["/srv", "./data", "/tmp/x"]);
    assert_eq!(granted.read, [".", "$DATA_DIR", "$TMPDIR", "/srv/shared/a"]);
    assert_eq!(granted.net.last().unwrap(), "127.0.0.1:5432");
    assert_eq!(refused.read, ["../shop", "/etc"]);
    assert_eq!(refused.write, ["/srv", "./data"], "/tmp is the project's own");
    assert_eq!(refused.net, ["api.example.com", "other.net", "10.0.0.1", "unix:/run/x"]);
    assert_eq!(refused.sys, ["userInfo", "inspector"], "it is no error to ask for a kind that Deno has");
    assert_eq!(
        (&refused.run[..], &refused.ffi[..], &refused.import[..]),
        (&["git".to_owned()][..], &["*".to_owned()][..], &["jsr.io".to_owned()][..])
    );
    assert!(granted.run.is_empty() && granted.ffi.is_empty() && granted.import.is_empty());
}

#[test]
fn a_request_for_everything_gets_what_is_allowed_and_one_for_nothing_gets_nothing() {
    let policy =
        "[defaults.permissions]\nread = [\"/srv/a\"]\nnet = [\"a.com\"]\nprivate_net = [\"10.0.0.1\"]";
    let all = grant(policy, asking(json!({"all": true})));
    assert_eq!(all.permissions.net.as_deref().unwrap(), ["a.com"]);
    assert_eq!(all.permissions.private_net.len(), 1);
    assert_eq!(
        (&all.shown.refused.net[..], &all.shown.refused.read[..]),
        (&["*".to_owned()][..], &["*".to_owned()][..])
    );
    let none = grant(policy, asking(json!({})));
    assert_eq!((none.permissions.net.as_deref(), none.permissions.private_net.len()), (Some(&[][..]), 0));
    assert!(none.permissions.read.is_empty() && none.shown.refused == Rights::default());
    let any = grant("", asking(json!({"net": ["api.example.com"]})));
    assert_eq!(any.permissions.net.unwrap(), ["api.example.com"]);
    let closed = grant("[defaults.permissions]\nnet = false", asking(json!({"net": true})));
    assert_eq!(
        (closed.permissions.net.as_deref(), &closed.shown.refused.net[..]),
        (Some(&[][..]), &["*".to_owned()][..])
    );
}

#[test]
fn permissions_that_a_project_denies_itself_reach_the_cell() {
    let grant =
        grant("", asking(json!({"net": {"allow": true, "deny": ["a.com"]}, "read": {"ignore": ["./x"]}})));
    assert_eq!(grant.permissions.net, None);
    assert_eq!(
        (&grant.permissions.denied.net[..], &grant.permissions.denied.read[..]),
        (&["a.com".to_owned()][..], &["./x".to_owned()][..])
    );
}

#[test]
fn variables_are_the_operators_and_what_it_lets_the_project_set() {
    let policy =
        "[defaults.permissions]\nenv = [\"APP_*\"]\n[defaults.env]\nKEY = \"k\"\nAPP_MODE = \"operator's\"";
    let own = json!({
        "APP_MODE": "own", "APP_NAME": "own", "OTHER": "own", "KEY": true, "GONE": true, "TMPDIR": true,
        "DATA_DIR": "own", "APP_": "own"
    });
    let blog = grant(policy, json!({"switchyard": {"env": own}}));
    assert_eq!(env(&blog), [("APP_", "own"), ("APP_MODE", "operator's"), ("APP_NAME", "own"), ("KEY", "k")]);
    assert_eq!(blog.shown.refused.env, ["DATA_DIR", "GONE", "OTHER"]);
    assert_eq!(blog.shown.requested.env.len(), 8);
    assert!(blog.shown.granted.env.contains(&"KEY".to_owned()));
    let reserved = grant("", json!({"switchyard": {"env": {"LD_PRELOAD": "x", "A": "x"}}}));
    assert_eq!(
        (env(&reserved), &reserved.shown.refused.env[..]),
        (vec![("A", "x")], &["LD_PRELOAD".to_owned()][..])
    );
    let none = grant("[defaults.permissions]\nenv = false", json!({"switchyard": {"env": {"A": "x"}}}));
    assert_eq!((env(&none).len(), &none.shown.refused.env[..]), (0, &["A".to_owned()][..]));
}

#[test]
fn a_set_of_permissions_narrows_the_operators_variables() {
    let policy = "[defaults.env]\nA = \"a\"\nB = \"b\"\nC_1 = \"c\"\nD = \"d\"";
    let set = |env: Value| asking(json!({ "env": env }));
    assert_eq!(env(&grant(policy, set(json!(["A", "C_*", "GONE", "TMPDIR"])))), [("A", "a"), ("C_1", "c")]);
    assert_eq!(grant(policy, set(json!(["A", "GONE", "TMPDIR"]))).shown.refused.env, ["GONE"]);
    assert_eq!(
        env(&grant(policy, set(json!({"allow": true, "deny": ["A", "C_*"]})))),
        [("B", "b"), ("D", "d")]
    );
    let mut config = set(json!(false));
    config["switchyard"] = json!({"env": {"D": true}});
    assert_eq!(env(&grant(policy, config)), [("D", "d")]);
}

#[test]
fn secrets_show_in_no_debug_print_and_a_changed_one_is_another_grant() {
    let policy = "[projects.blog.env]\nAPI_KEY = { from_file = \"secret\" }";
    let read = try_read(policy).unwrap();
    let before = grant(policy, json!({}));
    let shown = format!("{read:?}{before:?}{:?}", before.shown);
    assert!(shown.contains("API_KEY") && !shown.contains("hunter2"), "{shown}");
    let mut after = before.clone();
    after.env.insert("API_KEY".into(), "hunter3".into());
    assert!(!before.is_equivalent(&after));
}

#[test]
fn limits_of_requests_alone_make_no_difference_to_a_cell() {
    let (before, after) = (grant("", json!({})), grant("[defaults.limits]\nmax_queued = 1", json!({})));
    assert!(before != after && before.is_equivalent(&after));
}

#[test]
fn routes_are_assigned_to_projects_and_unassigned_ones_are_open_unless_the_default_says_no() {
    let policy = |defaults: &str| {
        let text = format!(
            "shared_hosts = [\"apps.example.com\", \"*.apps.example.com\"]\n{defaults}\n\
             [projects.shop]\nroutes = [\"*.shop.example\", \"/store\"]\n\
             [projects.blog]\nroutes = true\n[projects.none]\nroutes = false\n[projects.other.env]\nA = \"b\""
        );
        try_read(&text).unwrap()
    };
    let judge = |policy: &Policy, project: &str, route: &str| {
        policy.judge(&ProjectName::parse(project).unwrap(), &route.parse().unwrap())
    };
    let shop = ClaimVerdict::Refused(Some(Owner::Project(ProjectName::parse("shop").unwrap())));
    let shared = ClaimVerdict::Refused(Some(Owner::Shared));
    for defaults in ["", "[defaults]\nroutes = true", "[defaults]\nroutes = false"] {
        let policy = policy(defaults);
        for route in ["www.shop.example", "a.b.shop.example", "/store", "/store/eu"] {
            assert_eq!(judge(&policy, "shop", route), ClaimVerdict::Assigned, "{route}");
            assert_eq!(judge(&policy, "blog", route), shop, "{route}");
        }
        for route in ["apps.example.com", "x.apps.example.com"] {
            assert_eq!(judge(&policy, "shop", route), shared);
        }
        let others =
            if defaults.ends_with("false") { ClaimVerdict::Refused(None) } else { ClaimVerdict::Open };
        for route in ["shop.example", "/stores", "www.example.com"] {
            assert_eq!(judge(&policy, "shop", route), ClaimVerdict::Refused(None), "it has a list: {route}");
            assert_eq!(judge(&policy, "none", route), ClaimVerdict::Refused(None));
            assert_eq!(judge(&policy, "blog", route), ClaimVerdict::Open, "{route}");
            assert_eq!(judge(&policy, "other", route), others, "{route}");
            assert_eq!(judge(&policy, "unnamed", route), others, "{route}");
        }
    }
}

#[test]
fn a_repeated_or_invalid_route_is_reported_with_its_key() {
    let text = "shared_hosts = [\"/x\", \"a.example\"]\n[defaults]\nroutes = [\"b.example\"]\n\
                [projects.shop]\nroutes = [\"a.example\", \"/store\", \"127.0.0.1\"]\n\
                [projects.blog]\nroutes = [\"/store/\", \"c.example:80\", \"a.example\"]\n[projects.none]\nroutes = 1\n";
    let problems = try_read(text).unwrap_err();
    for expected in [
        "shared_hosts: invalid host \"/x\"",
        "defaults.routes: must be true or false: give a route to one project",
        "projects.shop.routes: invalid route \"127.0.0.1\"",
        "projects.blog.routes: invalid route \"c.example:80\": write the host without its port",
        "projects.none.routes: must be true, false or a list of strings",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:#?}");
    }
    let text = "shared_hosts = [\"a.example\"]\n[projects.blog]\nroutes = [\"/store/\"]\n\
                [projects.shop]\nroutes = [\"a.example\", \"/store\"]\n";
    let problems = try_read(text).unwrap_err();
    for expected in [
        "projects.shop.routes: shared_hosts assigns \"a.example\" too",
        "projects.shop.routes: projects.blog.routes assigns \"/store\" too",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:#?}");
    }
}

#[test]
fn the_limits_of_reading_are_the_operators_alone() {
    let policy = r#"
        [defaults.limits]
        project_files = 200
        [projects.blog.limits]
        project_folders = 30
        project_size = "2MB"
        file_size = "1MiB"
        read_time = "2s"
        "#;
    let read = try_read(policy).unwrap();
    let reads = |project: &str| read.reads(&ProjectName::parse(project).unwrap());
    let shop = ReadLimits { files: 200, ..ReadLimits::default() };
    assert_eq!(reads("shop"), shop);
    let time = Duration::from_secs(2);
    assert_eq!(
        reads("blog"),
        ReadLimits { folders: 30, bytes: 2_000_000, file_bytes: 1 << 20, time, ..shop }
    );
    let config = json!({"switchyard": {"limits": {"project_files": 1_000_000}}});
    let shown = grant(policy, config).shown.limits;
    assert_eq!((shown.project_files, shown.project_folders, shown.project_size), (200, 30, 2_000_000));
    assert_eq!((shown.file_size, shown.read_ms), (1 << 20, 2000));
    for (limit, why) in [
        ("project_files = 1", "too little"),
        ("project_size = \"2TB\"", "too much"),
        ("read_time = \"2h\"", "too much"),
    ] {
        let problems = try_read(&format!("[defaults.limits]\n{limit}")).unwrap_err();
        assert!(problems[0].contains(why), "{problems:?}");
    }
}
