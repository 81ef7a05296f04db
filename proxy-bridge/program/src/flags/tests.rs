use super::*;

const PROGRAM: Program = Program {
    name: "program",
    about: "shows how flags are read",
    usage: "[PROJECT] [flags]",
    operands: 1,
    flags: &[
        flag("projects", "DIR", "", "a folder (required)"),
        flag("build-timeout", "MS", "10", "a time"),
        flag("router", "URL", "", "an address").repeated(),
        flag("dev", "", "", "a switch"),
    ],
};

fn parse<T>(
    args: &[&str],
    env: &[(&str, &str)],
    settings: impl FnOnce(&mut Values<'_>) -> T,
) -> Result<T, Vec<String>> {
    let env: BTreeMap<_, _> = env.iter().copied().collect();
    match PROGRAM.parse(args.iter().map(OsString::from), |name| env.get(name).map(OsString::from), settings) {
        Ok(Parsed::Run(settings)) => Ok(settings),
        Ok(Parsed::Print(text)) => panic!("printed {text}"),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn a_flag_wins_over_its_variable_and_a_later_value_over_an_earlier_one() {
    let env = [("SWITCHYARD_PROJECTS", "/env"), ("SWITCHYARD_BUILD_TIMEOUT", "7")];
    let read = |values: &mut Values<'_>| (values.text("projects"), values.millis("build-timeout", 1));
    let read = parse(&["--projects", "/first", "--projects=/flag"], &env, read);
    assert_eq!(read, Ok(("/flag".to_owned(), Duration::from_millis(7))));
}

#[test]
fn a_repeated_flag_is_collected_in_order() {
    let all = |values: &mut Values<'_>| values.all("router").to_vec();
    assert_eq!(parse(&["--router", "b", "--dev", "--router", "a"], &[], all).unwrap(), ["b", "a"]);
    assert_eq!(parse(&[], &[("SWITCHYARD_ROUTER", " b\n a ")], all).unwrap(), ["b", "a"]);
    assert!(parse(&[], &[], all).unwrap().is_empty());
}

#[test]
fn every_wrong_setting_is_named_at_once() {
    let args = ["--build-timeout", "soon", "--projetcs", "/x", "one", "two"];
    let problems = parse(&args, &[("SWITCHYARD_DEV", "maybe")], |values| {
        values.required("projects", "a folder");
        values.number("build-timeout", 1);
        values.switch("dev");
    });
    let problems = problems.unwrap_err();
    for name in [
        "--projetcs",
        "(command line): unexpected argument \"two\"",
        "--projects",
        "--build-timeout",
        "--dev",
    ] {
        assert!(problems.iter().any(|problem| problem.starts_with(name)), "{name}: {problems:?}");
    }
    assert_eq!(problems.len(), 5, "{problems:?}");
}

#[test]
fn operands_are_taken_as_far_as_there_is_use_for_them() {
    let operands = |values: &mut Values<'_>| values.operands().to_vec();
    assert_eq!(parse(&["--dev", "blog"], &[], operands).unwrap(), ["blog"]);
}

#[test]
fn help_names_every_flag_with_its_default() {
    let help = match PROGRAM.parse([OsString::from("--help")], |_| None, |_| ()) {
        Ok(Parsed::Print(text)) => text,
        other => panic!("{other:?}"),
    };
    assert!(
        help.starts_with("program: shows how flags are read\n\nusage: program [PROJECT] [flags]\n"),
        "{help}"
    );
    assert!(help.contains("--build-timeout MS         a time [10]"), "{help}");
    assert!(help.ends_with("--build-timeout as SWITCHYARD_BUILD_TIMEOUT."), "{help}");
}
