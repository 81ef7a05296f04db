use std::fs;
use std::time::Duration;

use super::*;

/// A folder with the files that settings name.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["secret", "key", "known_hosts", "signers"] {
        fs::write(dir.path().join(name), "hunter2").unwrap();
    }
    fs::write(dir.path().join("empty"), "").unwrap();
    dir
}

fn open_in(dir: &Path, text: &str) -> Result<SourcesFile, Vec<InvalidSetting>> {
    let path = dir.join("sources.toml");
    fs::write(&path, text).unwrap();
    SourcesFile::open(&path, &[PathBuf::from("/srv")])
}

fn open(text: &str) -> Result<SourcesFile, Vec<InvalidSetting>> {
    open_in(folder().path(), text)
}

/// The faults without the file's path, a line each.
fn faults(text: &str) -> String {
    let dir = folder();
    let prefix = format!("{}/sources.toml:", dir.path().display());
    let faults = open_in(dir.path(), text).unwrap_err();
    let shown = faults.iter().map(|fault| fault.0.strip_prefix(&prefix).unwrap_or(&fault.0).to_owned());
    shown.collect::<Vec<_>>().join("\n")
}

/// A source whose last line, the fifth, is `line`.
fn with(line: &str) -> String {
    format!(
        "[[source]]\nname = \"shop\"\nurl = \"https://host/shop\"\n\
         projects = [{{ path = \"apps/*\" }}]\n{line}\n"
    )
}

const WHOLE_FILE: &str = r#"
[defaults]
poll = "1m"
removed = "keep"
max_size = "2GiB"

[[source]]
name = "shop"
url = "https://github.com/acme/shop.git"
branch = "main"
credential = { username = "x-access-token", password = { from_file = "secret" } }
webhook = { kind = "forgejo", secret = { from_file = "secret" } }
projects = [{ path = "apps/api", as = "api" }, { path = "apps/*" }]
shared = ["_shared", "deno.json"]
together = "project"
publish = "hold"
previews = { branches = ["feature/*"], keep = "14d", most = 3 }
drift = "restore"
submodules = ["vendor/lib"]
lfs = true
verify = { signers = "signers" }
windows = [{ deny = "Fri 16:00 - Mon 06:00", zone = "Europe/Berlin" }, { deny = "Sun 00:00 - Mon 00:00" }]
allow = ["https://github.com/acme/*"]
poll = 10
timeout = "1m 30s"

[[source]]
name = "site-2"
url = "git@github.com:acme/site.git"
credential = { ssh_key = "key", known_hosts = "known_hosts" }
projects = [{ path = "." }]

[[source]]
name = "tagged"
url = "file:///srv/tagged.git"
tag = "v1.*"
moving_tags = true
projects = [{ path = "./", as = "t" }]
"#;

#[test]
fn every_setting_is_read() {
    let dir = folder();
    let file = open_in(dir.path(), WHOLE_FILE).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let shop = file.get("shop").unwrap();
    let path = |name: &str| dir.path().join(name);
    assert_eq!(shop.url.to_string(), "https://github.com/acme/shop.git");
    assert_eq!(shop.target, RefTarget::Branch("main".to_owned()));
    let password = Credential::Password { username: "x-access-token".to_owned(), file: path("secret") };
    assert_eq!(shop.credential, Some(password));
    assert_eq!(shop.webhook, Some(WebhookSettings { kind: ForgeKind::Gitea, secret: path("secret") }));
    assert_eq!(shop.projects.len(), 2);
    assert_eq!(shop.projects[0].name, Some(ProjectName::parse("api").unwrap()));
    assert_eq!(shop.shared, ["_shared", "deno.json"]);
    assert_eq!((shop.together, shop.publish), (Together::Project, PublishMode::Hold));
    assert_eq!((shop.removed, shop.drift), (OnRemoval::Keep, OnDrift::Restore));
    let previews = shop.previews.as_ref().unwrap();
    assert_eq!((previews.keep, previews.most), (Span(Duration::from_secs(14 * 86_400)), 3));
    assert!(previews.branches[0].matches("feature/x"));
    assert_eq!((shop.submodules.as_slice(), shop.lfs), (&["vendor/lib".to_owned()][..], true));
    assert_eq!(shop.verify, Some(path("signers")));
    let zones: Vec<_> = shop.windows.iter().map(|window| window.zone.as_str()).collect();
    assert_eq!(zones, ["Europe/Berlin", "UTC"]);
    assert_eq!((shop.poll.0.as_secs(), shop.timeout.0.as_secs(), shop.max_size), (10, 90, Size(2 << 30)));

    let site = file.get("site-2").unwrap();
    let key = Credential::SshKey { key: path("key"), known_hosts: path("known_hosts") };
    assert_eq!(site.credential, Some(key));
    assert_eq!(site.target, RefTarget::Ref("HEAD".to_owned()));
    assert_eq!(site.poll.0.as_secs(), 60);
    let whole = ProjectRule { path: ProjectPath::Whole, name: ProjectName::parse("site-2").ok() };
    assert_eq!(site.projects, [whole]);
    let tagged = file.get("tagged").unwrap();
    assert!(matches!(tagged.target, RefTarget::Tag(_)) && tagged.moving_tags);
    assert_eq!(file.sources().len(), 3);
}

#[test]
fn unset_keys_have_their_defaults() {
    let file = open(&with("")).unwrap();
    let shop = file.get("shop").unwrap();
    assert_eq!((shop.poll.0.as_secs(), shop.timeout.0.as_secs(), shop.max_size), (30, 120, Size(1 << 30)));
    assert_eq!((shop.together, shop.publish), (Together::Commit, PublishMode::Follow));
    assert_eq!((shop.removed, shop.drift), (OnRemoval::Ask, OnDrift::Report));
    assert!(shop.previews.is_none() && shop.windows.is_empty() && !shop.lfs && !shop.moving_tags);
    let file = open(&with("previews = { branches = [\"*\"] }")).unwrap();
    let previews = file.get("shop").unwrap().previews.clone().unwrap();
    assert_eq!((previews.keep.0.as_secs(), previews.most), (7 * 86_400, 20));
}

#[test]
fn a_wrong_value_is_reported_with_its_place_and_the_fix() {
    for (line, says) in [
        ("brnch = \"main\"", "5:1: source \"shop\": unknown key \"brnch\": expected one of"),
        ("brnch = \"main\"", "did you mean \"branch\"?"),
        ("branch = \"-x\"", "5:10: source \"shop\": branch: "),
        ("branch = 1", "5:10: source \"shop\": branch: must be a string"),
        ("commit = \"main\"", "5:10: source \"shop\": commit: "),
        ("ref = \"main\"", "5:7: source \"shop\": ref: "),
        ("tag = \"v*.1\"", "5:7: source \"shop\": tag: "),
        ("branch = \"a\"\ntag = \"v1\"", "6:7: source \"shop\": tag: excludes branch: give one of"),
        ("moving_tags = true", "5:15: source \"shop\": moving_tags: is for a source with tag"),
        ("insecure = \"yes\"", "5:12: source \"shop\": insecure: must be true or false"),
        ("credential = \"hunter2\"", "5:14: source \"shop\": credential: must be a table"),
        ("credential = {}", "5:14: source \"shop\": credential: is empty"),
        ("credential = { username = \"x\" }", "5:14: source \"shop\": credential.password: is missing"),
        (
            "credential = { password = { from_file = \"secret\" } }",
            "5:14: source \"shop\": credential.username: is missing: x-access-token for GitHub",
        ),
        (
            "credential = { username = \"x\", password = \"hunter2\" }",
            "5:43: source \"shop\": credential.password: must be { from_file = \"PATH\" }",
        ),
        (
            "credential = { username = \"x\", password = { from_flie = \"hunter2\" } }",
            "unknown key \"from_flie\": expected one of from_file; did you mean \"from_file\"?",
        ),
        ("credential = { username = \"x\", password = { from_file = \"none\" } }", "/none cannot be read: "),
        ("credential = { username = \"x\", password = { from_file = \"empty\" } }", "/empty is empty"),
        ("credential = { username = \"x\", password = { from_file = \".\" } }", "it is not a plain file"),
        (
            "credential = { username = \"a:b\", password = { from_file = \"secret\" } }",
            "5:27: source \"shop\": credential.username: must have",
        ),
        (
            "credential = { ssh_key = \"key\", known_hosts = \"known_hosts\" }",
            "5:14: source \"shop\": credential: an https URL needs credential = { username",
        ),
        ("webhook = { kind = \"githup\" }", "did you mean \"github\"?"),
        ("webhook = { kind = \"github\" }", "5:11: source \"shop\": webhook.secret: is missing"),
        ("webhook = { secret = { from_file = \"secret\" } }", "webhook.kind: is missing: one of github"),
        ("webhook = { kind = \"github\", secret = \"hunter2\" }", "webhook.secret: must be { from_file"),
        ("shared = \"_shared\"", "5:10: source \"shop\": shared: must be a list of paths"),
        ("shared = [\"a*\"]", "5:11: source \"shop\": shared: is a path and no pattern"),
        ("shared = [\"../x\"]", "5:11: source \"shop\": shared: invalid pattern \"../x\""),
        ("shared = [\".npmrc\"]", "no project can include \".npmrc\""),
        (
            "shared = [\"a/_x\", \"b/_X\"]",
            "5:19: source \"shop\": shared: source \"shop\" twice has the shared name",
        ),
        ("together = \"comit\"", "must be one of \"commit\", \"project\"; did you mean \"commit\"?"),
        ("publish = true", "5:11: source \"shop\": publish: must be one of \"follow\", \"hold\""),
        ("removed = \"delete\"", "must be one of \"ask\", \"remove\", \"keep\""),
        ("drift = \"restor\"", "did you mean \"restore\"?"),
        ("previews = {}", "5:12: source \"shop\": previews.branches: is missing"),
        ("previews = { branches = [\"a/[\"] }", "5:26: source \"shop\": previews.branches: invalid pattern"),
        ("previews = { branches = [], keep = \"1s\" }", "previews.keep: must be 1m to 365d"),
        ("previews = { branches = [], most = 0 }", "previews.most: must be a number from 1 to 500"),
        ("submodules = [1]", "5:15: source \"shop\": submodules: must be a string"),
        ("lfs = 1", "5:7: source \"shop\": lfs: must be true or false"),
        ("verify = \"signers\"", "5:10: source \"shop\": verify: must be a table, as in { signers"),
        ("verify = { signers = \"none\" }", "5:22: source \"shop\": verify.signers: "),
        ("windows = [{ zone = \"UTC\" }]", "5:12: source \"shop\": windows.deny: is missing"),
        ("windows = [{ deny = \" \" }]", "windows.deny: invalid window"),
        (
            "windows = [{ deny = \"Fri\", zone = \"Mars\" }]",
            "5:35: source \"shop\": windows.zone: unknown time zone",
        ),
        ("windows = { deny = \"Fri\" }", "windows: must be a list of tables"),
        ("allow = [\"https://github.com/ac*\"]", "allow: may have one *, at its end and after a /"),
        ("allow = [\"ext::sh\"]", "5:10: source \"shop\": allow: "),
        ("poll = \"1s\"", "5:8: source \"shop\": poll: must be 5s to 24h"),
        ("poll = \"25h\"", "poll: must be 5s to 24h"),
        ("poll = \"soon\"", "poll: must be a time with its unit"),
        ("poll = \"30\"", "poll: must be a time with its unit"),
        ("poll = -5", "poll: must be a time with its unit"),
        ("timeout = \"2h\"", "timeout: must be 1s to 1h"),
        ("max_size = \"1KiB\"", "max_size: must be at least 1MiB"),
        ("max_size = \"big\"", "max_size: must be a size"),
        ("x = hunter2", "5:5: invalid TOML: "),
    ] {
        let faults = faults(&with(line));
        assert!(faults.contains(says), "{line}: {says:?} is not in {faults}");
        assert!(!faults.contains("hunter2"), "{faults}");
    }
}

#[test]
fn a_wrong_rule_for_projects_is_reported() {
    for (projects, says) in [
        ("\"apps/*\"", "4:12: source \"shop\": projects: must be a list of tables"),
        ("[]", "4:12: source \"shop\": projects: is empty: it is a list"),
        ("[\"apps/*\"]", "4:13: source \"shop\": projects: must be a list of tables"),
        ("[{ as = \"x\" }]", "4:13: source \"shop\": projects.path: is missing"),
        ("[{ path = \"a\", nmae = \"x\" }]", "source \"shop\": projects: unknown key"),
        ("[{ path = \"../a\" }]", "4:22: source \"shop\": projects.path: invalid pattern"),
        ("[{ path = \"/a\" }]", "it is absolute"),
        ("[{ path = \"a.b\" }]", "invalid project name \"a.b\""),
        ("[{ path = \"a.b\" }]", "name the project with as = "),
        ("[{ path = \"a\", as = \"a.b\" }]", "4:32: source \"shop\": projects.as: invalid project name"),
        ("[{ path = \"a/*\", as = \"b\" }]", "projects.as: names one project, and path is a pattern"),
        (
            "[{ path = \"a\" }, { path = \"b\", as = \"A\" }]",
            "4:48: source \"shop\": projects.as: source \"shop\" twice has",
        ),
    ] {
        let text = format!("[[source]]\nname = \"shop\"\nurl = \"https://host/x\"\nprojects = {projects}\n");
        let faults = faults(&text);
        assert!(faults.contains(says), "{projects}: {says:?} is not in {faults}");
    }
}

#[test]
fn required_keys_and_misplaced_ones_are_reported() {
    for (text, says) in [
        ("[[source]]\n", "1:1: source 1: name: is missing: name the source"),
        ("[[source]]\n", "1:1: source 1: url: is missing: name the repository"),
        ("[[source]]\n", "1:1: source 1: projects: is missing: it is a list of tables"),
        ("[[source]]\nname = \"Shop\"", "2:8: source 1: name: invalid name \"Shop\": expected 1 to 63"),
        ("[[source]]\nname = \"a b\"", "2:8: source 1: name: invalid name"),
        ("[[source]]\nname = \"\"", "2:8: source 1: name: invalid name"),
        ("[source]\nname = \"x\"", "1:1: source: must be a list of tables: [[source]]"),
        ("source = [1]", "1:11: source 1: must be a table: [[source]]"),
        (
            "[[sources]]\nname = \"x\"",
            "1:3: unknown key \"sources\": expected one of defaults, source; did you",
        ),
        ("0123456789HUNTER2 = 1", "1:1: unknown key: expected one of"),
        ("[defaults]\npoll = \"1s\"", "2:8: defaults: poll: must be 5s to 24h"),
        ("[defaults]\nbranch = \"x\"", "2:1: defaults: unknown key"),
        ("defaults = 1", "1:12: defaults: must be a table: [defaults]"),
        ("[[source]]\nurl = \"https://u:hunter2@host/x\"", "2:7: source 1: url: "),
        ("[[source]]\nurl = \"http://host/x\"", "insecure = true"),
        ("[[source]]\nurl = \"ssh://git@host/x\"", "credential: is missing: an ssh URL needs credential"),
        (
            "[[source]]\nurl = \"ssh://git@host/x\"\ncredential = { ssh_key = \"key\" }",
            "3:14: source 1: credential.known_hosts: is missing",
        ),
        (
            "[[source]]\nurl = \"file:///srv/x\"\ncredential = { ssh_key = \"key\" }",
            "3:14: source 1: credential: the transport of the URL takes no credential",
        ),
    ] {
        let faults = faults(text);
        assert!(faults.contains(says), "{text:?}: {says:?} is not in {faults}");
        assert!(!faults.contains("hunter2") && !faults.contains("HUNTER2"), "{faults}");
    }
}

#[test]
fn sources_that_claim_the_same_are_both_named() {
    let pair = |first: &str, second: &str| {
        let one = |name: &str, keys: &str| {
            format!("[[source]]\nname = \"{name}\"\nurl = \"https://host/{name}\"\n{keys}\n")
        };
        format!("{}{}", one("one", first), one("two", second))
    };
    for (first, second, says) in [
        (
            "projects = [{ path = \"a\", as = \"api\" }]",
            "projects = [{ path = \"b\", as = \"api\" }]",
            "project \"api\"",
        ),
        ("projects = [{ path = \"x_y\" }]", "projects = [{ path = \"b\", as = \"X-y\" }]", "project \"X-y\""),
        ("projects = [{ path = \".\" }]", "projects = [{ path = \"a/one\" }]", "project \"one\""),
        (
            "projects = [{ path = \"a/*\" }]\nshared = [\"_lib\"]",
            "projects = [{ path = \"b/*\" }]\nshared = [\"x/_lib\"]",
            "shared name \"_lib\"",
        ),
    ] {
        let faults = faults(&pair(first, second));
        assert!(faults.contains("source \"one\" and source \"two\" both have the"), "{faults}");
        assert!(faults.contains(says) && faults.lines().count() == 1, "{faults}");
    }
    let twice = "projects = [{ path = \"a/*\" }]";
    let faults = faults(&pair(twice, twice).replace("\"two\"", "\"one\""));
    assert!(faults.contains("6:8: source \"one\": name: another source has the same name"), "{faults}");
}

#[test]
fn all_faults_are_reported_in_the_files_order() {
    let text =
        "[[source]]\npoll = \"1s\"\nname = \"shop\"\nlfs = 1\nx = 1\n[[source]]\nname = \"b\"\ndrift = 1\n";
    let faults = faults(text);
    let places: Vec<_> = faults.lines().map(|line| line.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(places, ["1:1", "1:1", "2:8", "4:7", "5:1", "6:1", "6:1", "8:9"], "{faults}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let errors = SourcesFile::open(Path::new("/nowhere/sources.toml"), &[]).unwrap_err();
    assert!(errors[0].0.starts_with("/nowhere/sources.toml: "), "{errors:?}");
}

#[test]
fn a_source_leads_only_to_what_it_allows() {
    let file = open(&with("allow = [\"https://host/acme/*\", \"https://host/lib.git\"]")).unwrap();
    let shop = file.get("shop").unwrap();
    for (url, allowed) in [
        ("https://host/acme/x.git", true),
        ("https://host/lib.git", true),
        ("https://host/acme/x/y", false),
        ("https://host/acmes/x", false),
        ("https://host/lib", false),
        ("https://other/acme/x", false),
    ] {
        assert_eq!(shop.allows(&GitUrl::parse(url, false).unwrap()), allowed, "{url}");
    }
}

#[test]
fn names_of_sources_leave_room_for_those_of_previews() {
    let text = |name: &str, rest: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\nurl = \"https://example.com/a.git\"\n\
             projects = [{{ path = \"apps/*\" }}]\n{rest}\n"
        )
    };
    let previews = "previews = { branches = [\"*\"] }";
    let twice = faults(&text("shop--a", ""));
    assert!(twice.contains("2:8: source \"shop--a\": name: has --"), "{twice}");
    assert!(open(&text(&"a".repeat(53), previews)).is_ok());
    let long = faults(&text(&"a".repeat(54), previews));
    assert!(long.contains("previews: needs a source whose name has at most 53 characters"), "{long}");
    assert!(open(&text(&"a".repeat(54), "")).is_ok());
}
