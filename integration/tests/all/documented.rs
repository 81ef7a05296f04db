//! Documented settings exist: in the README, the examples and the containers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use switchyard_integration::router::{binary, is_installed};

/// Commands with documented flags.
const PROGRAMS: [&str; 3] = ["switchyard router", "switchyard bridge", "switchyard deploy"];

/// The flags of each command, as its `--help` lists them.
#[derive(Default)]
struct Flags(BTreeMap<String, BTreeSet<String>>);

impl Flags {
    fn of(&mut self, command: &str) -> &BTreeSet<String> {
        self.0.entry(command.to_owned()).or_insert_with(|| {
            let mut words = command.split(' ');
            let program = binary(words.next().unwrap_or_default());
            let output = Command::new(program).args(words).arg("--help").output().expect("it can be run");
            assert!(output.status.success(), "{command} --help: {}", output.status);
            String::from_utf8_lossy(&output.stdout).lines().filter_map(listed).collect()
        })
    }

    fn assert_has(&mut self, command: &str, flag: &str, path: &Path) {
        let known = self.of(command);
        assert!(known.contains(flag), "{}: {command} has no {flag}, but {known:?}", path.display());
    }
}

/// Returns the flag that a line of a list of flags begins with.
fn listed(line: &str) -> Option<String> {
    let word = line.split_whitespace().next()?;
    (line.starts_with("  ") && word.starts_with("--")).then(|| word.to_owned())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns all files below a folder of the repository.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a folder can be read").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Returns the program that a container runs, if the line names it.
fn run_by(line: &str) -> Option<&'static str> {
    let line = line.to_lowercase().replace(['[', ']', '"', ','], " ");
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if !line.trim_start().trim_start_matches("- ").starts_with("command:") && !line.starts_with("cmd ") {
        return None;
    }
    PROGRAMS.into_iter().find(|program| line.contains(program))
}

/// Returns every `SWITCHYARD_…` in a line as a flag.
fn variables(line: &str) -> Vec<String> {
    let names = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = names.filter_map(|name| name.strip_prefix("SWITCHYARD_"));
    names.map(|name| format!("--{}", name.to_lowercase().replace('_', "-"))).collect()
}

#[test]
fn every_variable_of_the_containers_is_a_flag_of_what_they_run() {
    let (mut flags, mut seen) = (Flags::default(), BTreeMap::<&str, usize>::new());
    for path in files(&root().join("examples/deploy")) {
        let kinds = ["yaml", "Containerfile"];
        if !kinds.iter().any(|kind| path.to_string_lossy().ends_with(kind)) {
            continue;
        }
        let mut program = None;
        for line in read(&path).lines() {
            // Comments mention variables that are not settings.
            let line = line.split(" #").next().filter(|line| !line.trim_start().starts_with('#'));
            let line = line.unwrap_or_default();
            program = run_by(line).or(program);
            for flag in variables(line) {
                let program =
                    program.unwrap_or_else(|| panic!("{}: no command precedes {flag}", path.display()));
                flags.assert_has(program, &flag, &path);
                *seen.entry(program).or_default() += 1;
            }
        }
    }
    assert!(PROGRAMS[..2].iter().all(|program| seen.get(program).is_some_and(|seen| *seen > 5)), "{seen:?}");
}

#[test]
fn every_setting_of_the_service_is_a_flag() {
    let path = root().join("examples/deploy/switchyard.toml");
    let (text, mut flags) = (read(&path), Flags::default());
    // A comment has a space behind its hash, a setting that is off has none.
    let settings = text.lines().filter_map(|line| line.trim_start_matches('#').split_once(" = "));
    let mut seen = 0;
    for (key, _) in settings.filter(|(key, _)| !key.contains(' ')) {
        flags.assert_has("switchyard serve", &format!("--{}", key.replace('_', "-")), &path);
        seen += 1;
    }
    assert!(seen > 5, "{seen} settings are too few to be all");
}

/// Returns the command lines in a text that run one of the commands, each with its arguments.
fn command_lines(text: &str) -> Vec<(&'static str, Vec<String>)> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().filter(|line| line.starts_with("    "));
    let commands = lines.flat_map(|line| line.split(['&', '|', ';', '#'])).filter_map(|command| {
        let words: Vec<_> = command.split_whitespace().collect();
        let (first, rest) = words.split_first()?;
        let (second, rest) = rest.split_first()?;
        let named = format!("{first} {second}");
        let program = PROGRAMS.into_iter().find(|program| named.ends_with(program))?;
        Some((program, rest.iter().map(ToString::to_string).collect()))
    });
    commands.collect()
}

#[test]
fn every_flag_of_a_command_line_is_one() {
    let (mut flags, mut seen) = (Flags::default(), 0);
    let pages = [
        "README.md",
        "examples/ingress/README.md",
        "examples/deploy/README.md",
        "examples/deploy/systemd/README.md",
    ];
    for path in pages {
        let path = root().join(path);
        for (program, arguments) in command_lines(&read(&path)) {
            let command = program.to_owned();
            for flag in arguments.iter().filter(|argument| argument.starts_with("--")) {
                flags.assert_has(&command, flag.split('=').next().unwrap_or(flag), &path);
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "{seen} flags are too few to be all");
}

#[test]
fn the_units_of_systemd_have_flags_that_exist_and_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let mut flags = Flags::default();
    let mut units = Vec::new();
    for path in files(&root().join("examples/deploy/systemd")) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            continue;
        }
        let text = read(&path);
        for line in text.lines().filter_map(|line| line.strip_prefix("ExecStart=/usr/bin/")) {
            let words: Vec<_> = line.split(' ').collect();
            let command = words[..2].join(" ");
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                flags.assert_has(&command, flag, &path);
            }
        }
        // systemd looks for the program.
        let own = binary("switchyard").display().to_string();
        let unit = folder.path().join(name);
        fs::write(&unit, text.replace("/usr/bin/switchyard", &own)).unwrap();
        units.push(unit);
    }
    assert_eq!(units.len(), 4);
    if is_installed("systemd-analyze") {
        // The manual page is there once the package is installed.
        let output =
            Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{errors}");
    }
}
