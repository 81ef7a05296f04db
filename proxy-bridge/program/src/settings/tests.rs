use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::*;

#[derive(Debug, Args)]
struct Settings {
    /// Text to show
    #[arg(value_name = "PROJECT")]
    project: Option<String>,
    /// A folder
    #[arg(long, value_name = "DIR")]
    projects: PathBuf,
    /// A time
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = values::time(Duration::from_millis(1)))]
    build_timeout: Duration,
    /// An address
    #[arg(long, value_name = "URL")]
    router: Vec<String>,
    /// Shows errors
    #[arg(long)]
    dev: bool,
    /// Needs --dev
    #[arg(long, value_name = "N", value_parser = values::number::<u64>(1))]
    level: Option<u64>,
}

impl Validate for Settings {
    fn validate(&self, problems: &mut Problems) {
        if self.level.is_some() && !self.dev {
            problems.flag("level", "needs --dev");
        }
    }
}

fn program() -> Command {
    with_variables(Settings::augment_args(Command::new("program").about("Shows how flags are read")))
}

fn parse(args: &[&str], env: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let env: BTreeMap<_, _> = env.iter().copied().collect();
    match super::parse(program(), args.iter().map(OsString::from), |name| env.get(name).map(OsString::from)) {
        Ok(CommandLine::Run(settings)) => Ok(settings),
        Ok(CommandLine::Print(text)) => panic!("printed {text}"),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn a_flag_wins_over_its_variable_and_a_later_value_over_an_earlier_one() {
    let env = [("SWITCHYARD_PROJECTS", "/env"), ("SWITCHYARD_BUILD_TIMEOUT", "7")];
    let read = parse(&["--projects", "/first", "--projects=/flag"], &env).unwrap();
    assert_eq!((read.projects, read.build_timeout), ("/flag".into(), Duration::from_millis(7)));
}

#[test]
fn an_empty_variable_is_not_a_setting() {
    let env = [("SWITCHYARD_PROJECTS", "/env"), ("SWITCHYARD_BUILD_TIMEOUT", ""), ("SWITCHYARD_DEV", "")];
    let read = parse(&[], &env).unwrap();
    assert_eq!((read.build_timeout, read.dev), (Duration::from_millis(10), false));
    assert!(parse(&[], &[("SWITCHYARD_PROJECTS", "/x"), ("SWITCHYARD_DEV", "1")]).unwrap().dev);
}

#[test]
fn a_repeated_flag_is_collected_in_order() {
    let args = ["--projects=/x", "--router", "b", "--dev", "--router", "a"];
    assert_eq!(parse(&args, &[]).unwrap().router, ["b", "a"]);
    assert_eq!(parse(&args[..1], &[("SWITCHYARD_ROUTER", " b\n a ")]).unwrap().router, ["b", "a"]);
    assert!(parse(&args[..1], &[]).unwrap().router.is_empty());
}

#[test]
fn every_wrong_setting_is_named_at_once() {
    let args = ["--build-timeout", "soon", "--projetcs", "/x", "one", "two", "-x", "--router", "--level=2"];
    let problems = parse(&args, &[("SWITCHYARD_DEV", "maybe")]).unwrap_err();
    for name in [
        "--build-timeout: invalid time \"soon\"",
        "--projetcs: unknown flag; did you mean --projects?",
        "two: unexpected argument",
        "-x: unknown flag",
        "--router: needs a value: --router <URL>",
        "--dev: invalid value \"maybe\": expected true or false (from SWITCHYARD_DEV)",
        "--projects: is required: a folder",
        "--level: needs --dev",
    ] {
        assert!(problems.iter().any(|problem| problem.starts_with(name)), "{name}: {problems:#?}");
    }
    assert_eq!(problems.len(), 8, "{problems:#?}");
}

#[test]
fn a_wrong_variable_is_named_with_the_flag() {
    let problems = parse(&["--projects=/x"], &[("SWITCHYARD_BUILD_TIMEOUT", "0")]).unwrap_err();
    let expected =
        "--build-timeout: invalid value \"0\": expected at least 1ms (from SWITCHYARD_BUILD_TIMEOUT)";
    assert_eq!(problems, [expected]);
}

#[test]
fn a_negative_number_is_a_wrong_value() {
    let problems = parse(&["--projects=/x", "--dev", "--level", "-1"], &[]).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].starts_with("--level: invalid number \"-1\""), "{problems:#?}");
}

#[test]
fn a_switch_takes_no_value_and_a_problem_is_reported_once() {
    let problems = parse(&["--projects=/x", "--dev=yes", "--level", "0"], &[]).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems.contains(&"--dev: takes no value".to_owned()), "{problems:#?}");
    assert!(problems.iter().any(|problem| problem.starts_with("--level: invalid number")), "{problems:#?}");
}

#[test]
fn help_names_every_flag_with_its_default() {
    let parsed = super::parse::<Settings>(program(), [OsString::from("--help")], |_| None);
    let Ok(CommandLine::Print(help)) = parsed else { panic!("{parsed:?}") };
    assert!(help.starts_with("Shows how flags are read\n\nUsage: program"), "{help}");
    assert!(help.contains("--build-timeout <TIME>") && help.contains("[default: 10ms]"), "{help}");
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Runs
    Run(Settings),
    /// Stops
    Stop,
}

impl Validate for Commands {
    fn validate(&self, problems: &mut Problems) {
        if let Self::Run(settings) = self {
            settings.validate(problems);
        }
    }
}

fn command_problems(args: &[&str]) -> Vec<String> {
    let command = Commands::augment_subcommands(Command::new("program").subcommand_required(true));
    match super::parse::<Commands>(command, args.iter().map(OsString::from), |_| None) {
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_misspelt_command_is_named_with_the_one_that_is_meant() {
    let problems = command_problems(&["stpo", "--x"]);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].contains("unknown command \"stpo\"; did you mean \"stop\"?"), "{problems:#?}");
    assert!(command_problems(&[])[0].contains("a command is missing: one of run, stop"));
}

#[test]
fn the_flags_of_a_subcommand_are_suggested_and_required_within_it() {
    let problems = command_problems(&["run", "--proj", "--level=1"]);
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(problems[0].starts_with("--proj: unknown flag; did you mean --project"), "{problems:#?}");
    assert!(problems.contains(&"--projects: is required: a folder".to_owned()), "{problems:#?}");
    assert!(problems.contains(&"--level: needs --dev".to_owned()), "{problems:#?}");
}

#[derive(Debug, Args)]
struct Numbered {
    /// A number
    #[arg(value_name = "N", value_parser = values::number::<u64>(1))]
    number: u64,
    /// Another one
    #[arg(long, value_name = "N", value_parser = values::number::<u64>(1))]
    level: u64,
}

impl Validate for Numbered {
    fn validate(&self, _: &mut Problems) {}
}

#[test]
fn a_wrong_value_that_nothing_stands_in_for_is_named_once() {
    let problems = |args: &[&str]| match super::parse::<Numbered>(
        Numbered::augment_args(Command::new("program")),
        args.iter().map(OsString::from),
        |_| None,
    ) {
        Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let wrong = problems(&["one"]);
    assert!(wrong[0].starts_with("N: invalid number \"one\""), "{wrong:#?}");
    for args in [&["1"][..], &[]] {
        let missing = problems(args);
        let expected = if args.is_empty() { "N: is required" } else { "--level: is required" };
        assert!(missing.iter().any(|problem| problem.starts_with(expected)), "{missing:#?}");
        assert!(!missing.iter().any(|problem| problem.contains("unset")), "{missing:#?}");
    }
    assert!(problems(&["unset", "--level=1"])[0].starts_with("N: invalid number \"unset\""));
}

#[test]
fn a_file_has_values_for_what_neither_flags_nor_variables_have() {
    let value = |values: &[&str], origin: &str| FileValue {
        values: values.iter().map(ToString::to_string).collect(),
        origin: origin.to_owned(),
    };
    let file = FileValues::from([
        ("projects".to_owned(), value(&["/file"], "s.toml:1:1")),
        ("build-timeout".to_owned(), value(&["5s"], "s.toml:2:1")),
        ("router".to_owned(), value(&["a b", "c"], "s.toml:3:1")),
        ("dev".to_owned(), value(&["true"], "s.toml:4:1")),
        ("level".to_owned(), value(&["0"], "s.toml:5:1")),
    ]);
    let read = |args: &[&str], file: &FileValues| {
        let env = |name: &str| (name == "SWITCHYARD_BUILD_TIMEOUT").then(|| OsString::from("7ms"));
        parse_with_file::<Settings>(program(), args.iter().map(OsString::from), env, file)
    };
    let problems = read(&["--projects=/flag"], &file).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].to_string().ends_with("(from s.toml:5:1)"), "{problems:?}");
    let Ok(CommandLine::Run(settings)) = read(&["--projects=/flag", "--level=2"], &file) else { panic!() };
    assert_eq!((settings.projects, settings.build_timeout), ("/flag".into(), Duration::from_millis(7)));
    assert_eq!((settings.level, settings.dev), (Some(2), true));
    assert_eq!(settings.router, ["a", "b", "c"]);
}
