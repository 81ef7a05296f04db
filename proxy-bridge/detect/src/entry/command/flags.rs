//! The flags of the commands that start programs.

/// The flags of a command that take the next word as their value.
pub(super) type ValueFlags = &'static [&'static str];

pub(super) const NODE: ValueFlags = &[
    "-r",
    "--require",
    "--import",
    "--loader",
    "--experimental-loader",
    "--env-file",
    "--env-file-if-exists",
    "-C",
    "--conditions",
    "--title",
    "--watch-path",
    "--icu-data-dir",
    "--disable-warning",
    "--redirect-warnings",
    "--run",
];

pub(super) const DENO: ValueFlags = &[
    "-c",
    "--config",
    "--import-map",
    "--lock",
    "--location",
    "--cert",
    "--seed",
    "-L",
    "--log-level",
    "--ext",
    "--port",
    "--host",
    "--preload",
    "--import",
    "--require",
];

pub(super) const TS: ValueFlags = &[
    "--tsconfig",
    "-P",
    "--project",
    "-r",
    "--require",
    "--import",
    "--loader",
    "-O",
    "--compiler-options",
    "-C",
    "--conditions",
    "--cwd-mode",
    "-x",
    "--presets",
    "--extensions",
    "--config-file",
    "-c",
    "--config",
    "--env-file",
    "--ignore",
    "--ignore-watch",
    "--clear-screen",
];

pub(super) const MONITOR: ValueFlags = &[
    "-w",
    "--watch",
    "-e",
    "--ext",
    "-i",
    "--ignore",
    "-d",
    "--delay",
    "-s",
    "--signal",
    "--config",
    "-x",
    "--exec",
    "-r",
    "--require",
];

pub(super) const MANAGER: ValueFlags = &[
    "-i",
    "--instances",
    "-n",
    "--name",
    "--env",
    "-o",
    "--output",
    "-e",
    "--error",
    "-l",
    "--log",
    "--max-memory-restart",
    "--node-args",
    "--interpreter",
    "--cron",
    "--uid",
    "-c",
    "--minUptime",
    "--spinSleepTime",
];

pub(super) const PACKAGES: ValueFlags =
    &["-p", "--package", "-w", "--workspace", "--filter", "-F", "--prefix", "-C", "--dir", "--cwd"];

/// The flags of package managers that lead to a member of the workspace, and those that lead to
/// all.
pub(super) const MEMBER: ValueFlags = &["-w", "--workspace", "--filter", "-F"];
pub(super) const EVERYWHERE: &[&str] = &["--workspaces", "-ws", "-r", "--recursive"];

/// Those of programs that run several commands.
pub(super) const PARALLEL: ValueFlags =
    &["-n", "--names", "-c", "--prefix-colors", "-p", "--prefix", "-m", "--max-processes"];

pub(super) const VARIABLES: ValueFlags =
    &["-e", "-f", "--file", "--env-file", "--environments", "-v", "-c", "-u", "-p", "--project", "--config"];

/// The flags in front of the subject of a command.
pub(super) struct Flags<'a> {
    pub(super) flags: Vec<&'a str>,
    pub(super) values: Vec<(&'a str, &'a str)>,
    pub(super) rest: &'a [String],
}

impl<'a> Flags<'a> {
    pub(super) fn read(words: &'a [String], with_value: ValueFlags) -> Self {
        let (mut flags, mut values) = (Vec::new(), Vec::new());
        let mut rest = words;
        while let Some((word, after)) = rest.split_first() {
            if word == "--" {
                rest = after;
                break;
            }
            // `node $NODE_OPTIONS app.js`
            if !word.starts_with(['-', '$']) || word.len() == 1 {
                break;
            }
            rest = after;
            if let Some((flag, value)) = word.split_once('=') {
                values.push((flag, value));
            } else if let Some((value, after)) = after.split_first()
                && with_value.contains(&word.as_str())
            {
                values.push((word.as_str(), value.as_str()));
                rest = after;
            } else {
                flags.push(word.as_str());
            }
        }
        Self { flags, values, rest }
    }

    /// The values of flags anywhere in `words`.
    pub(super) fn values_in(words: &'a [String], with_value: ValueFlags) -> Vec<&'a str> {
        let pairs = words.windows(2).filter(|pair| with_value.contains(&pair[0].as_str()));
        pairs.map(|pair| pair[1].as_str()).collect()
    }

    pub(super) fn has(&self, any: &[&str]) -> bool {
        let names = self.flags.iter().chain(self.values.iter().map(|(flag, _)| flag));
        names.into_iter().any(|flag| any.contains(flag))
    }

    pub(super) fn value(&self, flag: &str) -> Option<&'a str> {
        self.values.iter().rev().find(|(name, _)| *name == flag).map(|(_, value)| *value)
    }
}
