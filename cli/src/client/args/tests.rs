use super::*;

fn parse_with(args: &[&str], env: &[(&str, &str)]) -> Result<Parsed, Vec<String>> {
    let env: BTreeMap<_, _> = env.iter().copied().collect();
    parse(args.iter().map(OsString::from), |name| env.get(name).map(OsString::from))
}

fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    match parse_with(args, env) {
        Ok(Parsed::Run(command)) => *command,
        other => panic!("{other:?}"),
    }
}

fn problems(args: &[&str]) -> Vec<String> {
    parse_with(args, &[]).unwrap_err()
}

fn project(name: &str) -> ProjectName {
    ProjectName::parse(name).unwrap()
}

#[test]
fn the_variables_stand_in_for_the_flags() {
    let env = [("SWITCHYARD_TO", "https://deploy.example/x/"), ("SWITCHYARD_TOKEN", "s3cret\n")];
    let read = command(&["status"], &env);
    assert_eq!(read.to.unwrap().as_str(), "https://deploy.example/x/");
    assert_eq!(read.authorization.unwrap(), "Bearer s3cret");
    assert_eq!(command(&["status", "--to", "http://h:1"], &env).to.unwrap().as_str(), "http://h:1/");
}

#[test]
fn only_a_dry_run_needs_no_bridge() {
    assert!(problems(&["deploy", "."])[0].starts_with("--to"));
    assert_eq!(command(&["deploy", ".", "--dry-run"], &[]).to, None);
    let env = [("SWITCHYARD_TO", "http://h")];
    assert!(command(&["deploy", ".", "--dry-run"], &env).to.is_some());
    assert!(problems(&["deploy", ".", "--dry-run", "--to", "ftp://h"])[0].starts_with("--to"));
}

#[test]
fn other_variables_are_no_flags() {
    let env = [("SWITCHYARD_TO", "http://h"), ("SWITCHYARD_KEEP", "5"), ("SWITCHYARD_PROJECT", "x")];
    let Action::Deploy(deploy) = command(&["deploy", "."], &env).action else { panic!() };
    assert!(!deploy.keep);
    assert_eq!(deploy.what, What::Project(None));
}

#[test]
fn flags_and_the_operand_come_in_any_order() {
    let args =
        ["deploy", "--keep", "--to=http://h", "dir", "--no-wait", "--message", "a b", "--project", "blog"];
    let deploy = Deploy {
        folder: "dir".into(),
        what: What::Project(Some(project("blog"))),
        message: Some("a b".into()),
        keep: true,
        wait: false,
        dry_run: false,
        send_packages: false,
    };
    assert_eq!(command(&args, &[]).action, Action::Deploy(deploy));
    let args = ["logs", "--lines", "3", "blog", "--follow", "--to", "http://h", "--json"];
    let read = command(&args, &[]);
    assert_eq!(read.action, Action::Logs { project: project("blog"), lines: Some(3), follow: true });
    assert!(read.json);
}

#[test]
fn a_version_may_be_given_as_it_is_shown() {
    for text in ["3f9a1c2b7d4e", "blog@3f9a1c2b7d4e"] {
        let args = ["rollback", "blog", "--to", "http://h", "--version", text];
        let version = Some("3f9a1c2b7d4e".to_owned());
        assert_eq!(command(&args, &[]).action, Action::Rollback { project: project("blog"), version });
    }
    let wrong = problems(&["rollback", "blog", "--to", "http://h", "--version", "shop@3f9a1c2b7d4e"]);
    assert!(wrong[0].starts_with("--version"), "{wrong:?}");
}

#[test]
fn every_wrong_argument_is_named_at_once() {
    let wrong = problems(&["logs", "Bl.og", "more", "--lines=few", "--folow", "--to", "ftp://h", "-x"]);
    for part in ["Bl.og", "more", "--lines", "--folow", "--to", "-x"] {
        assert!(wrong.iter().any(|problem| problem.contains(part)), "{part}: {wrong:?}");
    }
    assert_eq!(wrong.len(), 6, "{wrong:?}");
    let wrong = problems(&["deploy", "--all", "--project", "blog", "--message"]);
    assert_eq!(wrong.len(), 4, "{wrong:?}");
}

#[test]
fn a_token_is_never_an_argument_and_never_shown() {
    let wrong = problems(&["status", "--to", "http://h", "--token=s3cret"]);
    assert!(wrong[0].contains("--token-file"), "{wrong:?}");
    let wrong = problems(&["status", "--to", "http://me:s3cret@h"]);
    let unreadable =
        parse_with(&["status"], &[("SWITCHYARD_TO", "http://h"), ("SWITCHYARD_TOKEN", "s3cret two")]);
    let read = command(&["status", "--to", "http://h"], &[("SWITCHYARD_TOKEN", "s3cret")]);
    for text in [format!("{wrong:?}"), format!("{unreadable:?}"), format!("{read:?}")] {
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[test]
fn a_token_file_wins_over_the_variable_and_must_be_readable() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "from-file\n").unwrap();
    let args = ["status", "--to", "http://h", "--token-file", file.to_str().unwrap()];
    let read = command(&args, &[("SWITCHYARD_TOKEN", "from-env")]);
    assert_eq!(read.authorization.unwrap(), "Bearer from-file");
    std::fs::remove_file(&file).unwrap();
    assert!(problems(&args)[0].starts_with("--token-file"));
}

#[test]
fn each_command_has_help_of_its_own() {
    for spec in SPECS {
        let Ok(Parsed::Print(text)) = parse_with(&[spec.name, "--help"], &[]) else { panic!() };
        assert!(text.contains(spec.about) && spec.flags.iter().all(|flag| text.contains(flag.name)));
    }
}
