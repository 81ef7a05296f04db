//! Tests of the settings.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Command;
use switchyard_program::settings::{CommandLine, parse as parse_settings, with_variables};

use super::*;

fn parse(args: &[&str], env: &[(&str, &str)]) -> Result<RouterConfig, Vec<String>> {
    let env: BTreeMap<_, _> = env.iter().copied().collect();
    let command = with_variables(RouterConfig::augment_args(Command::new("router")));
    let args = args.iter().map(OsString::from);
    match parse_settings(command, args, |name| env.get(name).map(OsString::from)) {
        Ok(CommandLine::Run(config)) => Ok(config),
        Ok(CommandLine::Print(text)) => panic!("printed {text}"),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn the_volume_alone_is_enough() {
    let config = parse(&["--projects", "/srv"], &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.reload.debounce, Debounce::Fixed(Duration::from_millis(500)));
    assert_eq!(config.reload.poll, None);
    assert_eq!(config.reads.limits(), ReadLimits::default());
}

#[test]
fn times_and_sizes_have_units_or_are_in_milliseconds_and_bytes() {
    let args = ["--projects=/srv", "--grace=2m", "--debounce", "20", "--max-body=1MiB", "--max-head=2048"];
    let config = parse(&args, &[("SWITCHYARD_POLL", "3s")]).unwrap();
    assert_eq!(
        (config.grace, config.reload.debounce),
        (Duration::from_secs(120), Debounce::Fixed(Duration::from_millis(20)))
    );
    assert_eq!((config.requests.max_body, config.connections.max_head), (1 << 20, 2048));
    assert_eq!(config.reload.poll, Some(Duration::from_secs(3)));
}

#[test]
fn the_quiet_time_may_be_automatic() {
    let config = parse(&["--projects=/srv"], &[("SWITCHYARD_DEBOUNCE", "auto")]).unwrap();
    assert_eq!(config.reload.debounce, Debounce::Auto);
    assert_eq!(Debounce::Auto.quiet_time(), AUTO_DEBOUNCE);
    let problems = parse(&["--projects=/srv", "--debounce=soon"], &[]).unwrap_err();
    assert!(problems[0].ends_with("or auto"), "{problems:?}");
}

#[test]
fn every_wrong_setting_is_named_at_once() {
    let args = [
        "--debounce",
        "soon",
        "--listen",
        "here",
        "--projetcs",
        "/x",
        "--log-format=xml",
        "--inspect",
        "A.b",
    ];
    let problems = parse(&args, &[("SWITCHYARD_KEEP", "-1")]).unwrap_err();
    for flag in ["--debounce", "--listen", "--projetcs", "--projects", "--log-format", "--keep", "--inspect"]
    {
        assert!(problems.iter().any(|problem| problem.starts_with(flag)), "{flag}: {problems:?}");
    }
    assert_eq!(problems.len(), 7, "{problems:?}");
}

#[test]
fn an_admin_listener_that_others_can_reach_needs_tokens() {
    let open = ["--projects", "/x", "--admin", "0.0.0.0:8001"];
    let problems = parse(&open, &[]).unwrap_err();
    assert!(problems[0].starts_with("--admin: 0.0.0.0:8001 is reachable"), "{problems:?}");
    assert!(parse(&open, &[("SWITCHYARD_ADMIN_TOKEN_FILE", "/tokens")]).is_ok());
    assert!(parse(&["--projects", "/x", "--admin", "[::1]:0"], &[]).is_ok());
}

#[test]
fn the_users_of_cells_are_chosen_once() {
    let args = ["--projects", "/x", "--cell-users", "5000-6000"];
    assert_eq!(parse(&args, &[]).unwrap().cells.cell_users, "5000-6000".parse().ok());
    assert_eq!(parse(&args[..2], &[]).unwrap().cells.cell_users, None);
    let cell_user = ("SWITCHYARD_CELL_USER", "nobody");
    let root = ("SWITCHYARD_DANGEROUSLY_RUN_CELLS_AS_ROOT", "1");
    for (count, env) in [(4, [cell_user, ("X", "")]), (4, [root, ("X", "")]), (2, [cell_user, root])] {
        let problems = parse(&args[..count], &env).unwrap_err();
        assert!(problems[0].contains("choose one of the two"), "{problems:?}");
    }
    let problems = parse(&["--projects", "/x", "--cell-users", "1-2"], &[]).unwrap_err();
    assert!(problems[0].contains("200000-265535"), "{problems:?}");
}

#[test]
fn overrides_are_off_and_their_folders_are_repeated_or_a_list() {
    let folders = |args: &[&str], env: &[(&str, &str)]| {
        let args: Vec<_> = ["--projects", "/x"].iter().chain(args).copied().collect();
        parse(&args, env).unwrap().reload.allow_override
    };
    assert!(folders(&[], &[]).is_empty());
    let all = ["/a", "/b", "/c"].map(PathBuf::from);
    assert_eq!(folders(&["--allow-override", "/a,/b", "--allow-override=/c"], &[]), all);
    assert_eq!(folders(&[], &[("SWITCHYARD_ALLOW_OVERRIDE", "/a,/b,/c")]), all);
}

#[test]
fn events_are_never_sent_unsigned() {
    let problems = parse(&["--projects", "/x", "--event-url", "http://h/"], &[]).unwrap_err();
    assert!(problems[0].starts_with("--event-secret-file"), "{problems:?}");
}
