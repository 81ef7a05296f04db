use std::collections::BTreeMap;
use std::ffi::OsString;

use reqwest::header::HeaderValue;
use switchyard_program::settings::CommandLine;

use super::*;
use crate::commands;

struct Parsed {
    command: ClientCommand,
    authorization: Option<HeaderValue>,
}

fn parse_with(args: &[&str], env: &[(&str, &str)]) -> Result<Parsed, Vec<String>> {
    let env: BTreeMap<_, _> = env.iter().copied().collect();
    let env = |name: &str| env.get(name).map(OsString::from);
    let shown = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    let command = match commands::parse(args.iter().map(OsString::from), env).map_err(shown)? {
        CommandLine::Run(commands::Command::Client(command)) => *command,
        other => panic!("{other:?}"),
    };
    let authorization = command.access().authorization(env).map_err(|problem| shown(vec![problem]))?;
    Ok(Parsed { command, authorization })
}

fn parsed(args: &[&str], env: &[(&str, &str)]) -> Parsed {
    parse_with(args, env).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn deploy(args: &[&str], env: &[(&str, &str)]) -> DeployArgs {
    match parsed(args, env).command {
        ClientCommand::Deploy(args) => args,
        other => panic!("{other:?}"),
    }
}

fn problems(args: &[&str]) -> Vec<String> {
    parse_with(args, &[]).err().expect("it is wrong")
}

fn url_of(args: &[&str], env: &[(&str, &str)]) -> String {
    parsed(args, env).command.access().to.as_ref().expect("a URL").to_string()
}

#[test]
fn the_variables_stand_in_for_the_flags() {
    let env = [("SWITCHYARD_TO", "https://deploy.example/x/"), ("SWITCHYARD_TOKEN", "s3cret\n")];
    assert_eq!(url_of(&["status"], &env), "https://deploy.example/x/");
    assert_eq!(parsed(&["status"], &env).authorization.unwrap(), "Bearer s3cret");
    assert_eq!(url_of(&["status", "--to", "http://h:1"], &env), "http://h:1/");
}

#[test]
fn a_port_and_a_host_stand_for_urls_and_the_default_is_this_machine() {
    let url = |to: &str| parsed(&["status", "--to", to], &[]).command.access().url().to_string();
    assert_eq!(url(":9000"), "http://127.0.0.1:9000/");
    assert_eq!(url("9001"), "http://127.0.0.1:9001/");
    assert_eq!(url("localhost:9000"), "http://localhost:9000/");
    assert_eq!(url("deploy.example.com:443"), "http://deploy.example.com:443/");
    assert_eq!(parsed(&["status"], &[]).command.access().url().as_str(), "http://127.0.0.1:9000/");
    assert_eq!(url("unix:/run/api.sock"), "unix:/run/api.sock");
    for wrong in ["nowhere", "unix:a", "h:", ":x", "me:s3cret@h:80"] {
        assert!(problems(&["status", "--to", wrong])[0].starts_with("--to: "), "{wrong}");
    }
}

#[test]
fn a_dry_run_asks_a_bridge_only_if_one_is_named() {
    assert!(deploy(&["deploy", ".", "--dry-run"], &[]).access.to.is_none());
    let env = [("SWITCHYARD_TO", "http://h")];
    assert!(deploy(&["deploy", ".", "--dry-run"], &env).access.to.is_some());
    assert!(problems(&["deploy", ".", "--dry-run", "--to", "ftp://h"])[0].starts_with("--to"));
}

#[test]
fn other_variables_are_not_flags() {
    let env = [("SWITCHYARD_TO", "http://h"), ("SWITCHYARD_KEEP", "5"), ("SWITCHYARD_PROJECT", "x")];
    let deploy = deploy(&["deploy", "."], &env);
    assert!(!deploy.keep && deploy.project.is_none());
}

#[test]
fn flags_and_the_operand_come_in_any_order() {
    let args =
        ["deploy", "--keep", "--to=http://h", "dir", "--no-wait", "--message", "-a b", "--project", "blog"];
    let deploy = deploy(&args, &[]);
    assert_eq!((deploy.folder, deploy.message.as_deref()), ("dir".into(), Some("-a b")));
    assert_eq!(deploy.project, Some(ProjectName::parse("blog").unwrap()));
    assert_eq!((deploy.keep, deploy.no_wait, deploy.all, deploy.dry_run), (true, true, false, false));
    let args = ["logs", "--lines", "3", "blog", "--follow", "--to", "http://h", "--json"];
    let ClientCommand::Logs(logs) = parsed(&args, &[]).command else { panic!() };
    assert_eq!((logs.projects[0].as_str(), logs.lines, logs.follow), ("blog", Some(3), true));
    assert!(logs.access.json);
}

#[test]
fn a_version_may_be_given_in_the_form_that_is_printed() {
    for text in ["3f9a1c2b7d4e", "blog@3f9a1c2b7d4e"] {
        let args = ["rollback", "blog", "--to", "http://h", text];
        let ClientCommand::Rollback(rollback) = parsed(&args, &[]).command else { panic!() };
        assert_eq!((rollback.project.as_str(), rollback.digits()), ("blog", Some("3f9a1c2b7d4e")));
    }
    let wrong = problems(&["rollback", "blog", "--to", "http://h", "shop@3f9a1c2b7d4e"]);
    assert!(wrong[0].starts_with("VERSION"), "{wrong:?}");
}

#[test]
fn a_version_may_be_given_as_the_commit_that_it_was_deployed_from() {
    for text in ["abcdef0", &"a".repeat(40)] {
        let args = ["rollback", "blog", "--to", "http://h", text];
        let ClientCommand::Rollback(rollback) = parsed(&args, &[]).command else { panic!() };
        assert_eq!(rollback.digits(), Some(text));
    }
    for text in ["abcdef", "blog@abcdef0", "main"] {
        let wrong = problems(&["rollback", "blog", "--to", "http://h", text]);
        assert!(wrong[0].contains("7 to 64 of a commit"), "{wrong:?}");
    }
}

#[test]
fn every_wrong_argument_is_named_at_once() {
    let wrong = problems(&["status", "Bl.og", "more", "--color=few", "--wtch", "--to", "ftp://h", "-x"]);
    for part in ["Bl.og", "more", "--color", "--wtch", "--to", "-x"] {
        assert!(wrong.iter().any(|problem| problem.contains(part)), "{part}: {wrong:?}");
    }
    assert_eq!(wrong.len(), 6, "{wrong:?}");
    let wrong = problems(&["deploy", "--all", "-p", "blog", "--message"]);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    let wrong = problems(&["logs", "-n", "few", "-fn", "some"]);
    assert!(wrong[0].starts_with("--lines: invalid number"), "{wrong:?}");
}

#[test]
fn a_token_is_never_an_argument_and_never_shown() {
    let wrong = problems(&["status", "--to", "http://h", "--token=s3cret"]);
    assert!(wrong[0].contains("--token-file"), "{wrong:?}");
    let wrong = problems(&["status", "--to", "http://me:s3cret@h"]);
    let env = [("SWITCHYARD_TO", "http://h"), ("SWITCHYARD_TOKEN", "s3cret two")];
    let unreadable = parse_with(&["status"], &env).err().expect("it is wrong");
    let read = parsed(&["status", "--to", "http://h"], &[("SWITCHYARD_TOKEN", "s3cret")]);
    let read = format!("{:?} {:?}", read.command, read.authorization);
    for text in [format!("{wrong:?}"), format!("{unreadable:?}"), read] {
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[test]
fn a_token_file_wins_over_the_variable_and_must_be_readable() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "from-file\n").unwrap();
    let args = ["status", "--to", "http://h", "--token-file", file.to_str().unwrap()];
    let read = parsed(&args, &[("SWITCHYARD_TOKEN", "from-env")]);
    assert_eq!(read.authorization.unwrap(), "Bearer from-file");
    std::fs::remove_file(&file).unwrap();
    assert!(problems(&args)[0].starts_with("--token-file"));
}

#[test]
fn a_time_is_a_length_until_now_a_time_of_the_day_or_one_with_its_zone() {
    let since = |text: &str| {
        let ClientCommand::Logs(logs) = parsed(&["logs", "--since", text], &[]).command else { panic!() };
        logs.since.expect("it is set")
    };
    assert_eq!(since("2026-03-01T14:30:00+02:00").to_string(), "2026-03-01T12:30:00Z");
    let now = jiff::Timestamp::now();
    assert!(since("10m") < now && since("10m") > since("1h"));
    for text in ["00:00", "23:59"] {
        let ago = now.duration_since(since(text)).as_hours();
        assert!((0..=25).contains(&ago), "{text}: {ago}");
    }
    let wrong = problems(&["logs", "--since", "noon"]);
    assert!(wrong[0].contains("--since: invalid time \"noon\"") && wrong[0].contains("14:30"), "{wrong:?}");
}

#[test]
fn a_wrong_url_is_shown_with_the_forms_that_are_right() {
    for text in ["ftp://h", "no url", "host:"] {
        let wrong = problems(&["status", "--to", text]);
        assert!(wrong[0].contains(&format!("{text:?}")) && wrong[0].contains("HOST:PORT"), "{wrong:?}");
    }
}
