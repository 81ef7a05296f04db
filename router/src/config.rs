//! Every setting: its flag, its variable, its default and why that number. Reads all of them,
//! reports all that is wrong with them together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One flag. Its variable is the name in capitals behind `SWITCHYARD_`, with `_` for `-`.
struct Flag {
    name: &'static str,
    /// What stands for the value in `--help`; empty for a switch.
    value: &'static str,
    default: &'static str,
    help: &'static str,
}

const fn flag(name: &'static str, value: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, value, default, help }
}

const PROJECTS: &str = "projects";
const STATE: &str = "state";
const LISTEN: &str = "listen";
const ADMIN: &str = "admin";
const DEBOUNCE: &str = "debounce";
const EVENT_URL: &str = "event-url";
const EVENT_SECRET_FILE: &str = "event-secret-file";
const GRACE: &str = "grace";
const BUILD_TIMEOUT: &str = "build-timeout";
const POLL: &str = "poll";
const SPARES: &str = "spares";
const MAX_CELLS: &str = "max-cells";
const KEEP: &str = "keep";
const REQUEST_TIMEOUT: &str = "request-timeout";
const MAX_BODY: &str = "max-body";
const MAX_IN_FLIGHT: &str = "max-in-flight";
const LOG_FORMAT: &str = "log-format";
const DEV: &str = "dev";

const FLAGS: &[Flag] = &[
    flag(PROJECTS, "DIR", "", "the volume: each directory in it is a project (required)"),
    flag(STATE, "DIR", ".switchyard", "checkouts, sockets and what must survive a restart"),
    flag(LISTEN, "ADDR", "127.0.0.1:8000", "public listener"),
    flag(ADMIN, "ADDR", "127.0.0.1:8001", "admin listener"),
    flag(DEBOUNCE, "MS", "500", "quiet time after the last change of a project before it is read"),
    flag(EVENT_URL, "URL", "", "where events are posted (with --event-secret-file)"),
    flag(EVENT_SECRET_FILE, "FILE", "", "the secret that events are signed with"),
    flag(GRACE, "MS", "30000", "how long a replaced version may finish its requests"),
    flag(BUILD_TIMEOUT, "MS", "10000", "how long a version may take to load and serve"),
    flag(POLL, "MS", "", "read all projects again this often (by itself where the mount has no events)"),
    // Two: one for the edit under way and one for its neighbour's; each costs a warmed V8's memory.
    flag(SPARES, "N", "2", "warmed cells kept ready"),
    // A hundred hello worlds are about 1.5 GB.
    flag(
        MAX_CELLS,
        "N",
        "100",
        "versions that run at once; beyond it the least recently used is stopped until its next request",
    ),
    flag(KEEP, "N", "5", "checkouts kept per project besides those in use"),
    flag(REQUEST_TIMEOUT, "MS", "30000", "how long a project may take to begin its answer"),
    flag(MAX_BODY, "BYTES", "10485760", "largest request body"),
    flag(MAX_IN_FLIGHT, "N", "1000", "requests in flight per project before it answers 503"),
    flag(LOG_FORMAT, "FORMAT", "text", "text or json"),
    flag(DEV, "", "", "show build errors to browsers"),
];

/// All settings, valid in themselves. What they name has not been looked at yet.
#[derive(Debug, Clone)]
pub struct Config {
    pub projects: PathBuf,
    pub state: PathBuf,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub debounce: Duration,
    pub events: Option<EventTarget>,
    pub grace: Duration,
    pub build_timeout: Duration,
    /// `None`: only where the mount has no events of its own.
    pub poll: Option<Duration>,
    pub spares: usize,
    pub max_cells: usize,
    pub keep: usize,
    pub request_timeout: Duration,
    pub max_body: u64,
    pub max_in_flight: usize,
    pub log_format: LogFormat,
    pub dev: bool,
}

/// Where events go.
#[derive(Debug, Clone)]
pub struct EventTarget {
    pub url: String,
    pub secret_file: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// What the command line asks for.
pub enum Parsed {
    Run(Box<Config>),
    /// `--help` or `--version`: the text to print.
    Print(String),
}

/// One wrong setting: the flag, what is wrong, what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub flag: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}: {}", self.flag, self.message)
    }
}

impl Problem {
    pub fn new(flag: &str, message: impl Into<String>) -> Self {
        Self { flag: flag.to_owned(), message: message.into() }
    }
}

impl Config {
    /// Reads the command line and, for what it leaves out, the environment.
    ///
    /// # Errors
    /// Every wrong setting at once.
    pub fn parse(
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Parsed, Vec<Problem>> {
        let mut values = Values::default();
        if let Some(text) = values.read_args(args) {
            return Ok(Parsed::Print(text));
        }
        values.read_env(env);
        let config = values.config();
        if values.problems.is_empty() { Ok(Parsed::Run(Box::new(config))) } else { Err(values.problems) }
    }
}

#[derive(Default)]
struct Values {
    given: BTreeMap<&'static str, String>,
    problems: Vec<Problem>,
}

impl Values {
    /// Returns a text to print instead of running.
    fn read_args(&mut self, args: impl IntoIterator<Item = OsString>) -> Option<String> {
        use lexopt::Arg;
        let mut parser = lexopt::Parser::from_args(args);
        loop {
            let name = match parser.next() {
                Ok(Some(Arg::Long("help") | Arg::Short('h'))) => return Some(help()),
                Ok(Some(Arg::Long("version") | Arg::Short('V'))) => {
                    return Some(concat!("switchyard-router ", env!("CARGO_PKG_VERSION")).to_owned());
                }
                Ok(Some(Arg::Long(name))) => name.to_owned(),
                Ok(Some(Arg::Short(short))) => {
                    self.problem(&format!("(-{short})"), "unknown flag");
                    continue;
                }
                Ok(Some(Arg::Value(value))) => {
                    let value = value.to_string_lossy().into_owned();
                    self.problem(
                        "projects",
                        format!("unexpected argument {value:?}; name the volume with --projects DIR"),
                    );
                    continue;
                }
                Ok(None) => return None,
                Err(error) => {
                    self.problem("(command line)", error.to_string());
                    continue;
                }
            };
            let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) else {
                self.unknown(&name);
                // An unknown flag's value is not a problem of its own.
                let _ = parser.optional_value();
                if let Some(mut rest) = parser.try_raw_args()
                    && rest.peek().is_some_and(|next| !next.to_string_lossy().starts_with('-'))
                {
                    rest.next();
                }
                continue;
            };
            if flag.value.is_empty() {
                self.given.insert(flag.name, "true".to_owned());
                continue;
            }
            match parser.value() {
                Ok(value) => self.give(flag.name, value),
                Err(_) => self.problem(flag.name, format!("needs a value: --{} {}", flag.name, flag.value)),
            }
        }
    }

    fn read_env(&mut self, env: impl Fn(&str) -> Option<OsString>) {
        for flag in FLAGS {
            let variable = variable(flag.name);
            if self.given.contains_key(flag.name) {
                continue;
            }
            match env(&variable) {
                Some(value) if !value.is_empty() => self.give(flag.name, value),
                _ => {}
            }
        }
    }

    fn give(&mut self, name: &'static str, value: OsString) {
        match value.into_string() {
            Ok(value) => {
                self.given.insert(name, value);
            }
            Err(_) => self.problem(name, "is not valid UTF-8"),
        }
    }

    fn problem(&mut self, flag: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(flag, message));
    }

    fn unknown(&mut self, name: &str) {
        let near = FLAGS
            .iter()
            .map(|flag| flag.name)
            .find(|known| known.starts_with(name) || name.starts_with(known));
        let hint = near.map(|near| format!("; did you mean --{near}?")).unwrap_or_default();
        self.problem(name, format!("unknown flag{hint}"));
    }

    /// Reads every setting; what is wrong is noted and stands in as a harmless value.
    fn config(&mut self) -> Config {
        let projects = self.text(PROJECTS);
        if projects.is_empty() && !self.problems.iter().any(|problem| problem.flag == PROJECTS) {
            self.problem(PROJECTS, "is required: the directory that holds the projects");
        }
        let event_url = self.text(EVENT_URL);
        let secret_file = self.text(EVENT_SECRET_FILE);
        if !event_url.is_empty()
            && !["http://", "https://"].iter().any(|scheme| event_url.starts_with(scheme))
        {
            self.problem(EVENT_URL, format!("{event_url:?} is no http:// or https:// URL"));
        }
        let events = match (event_url.is_empty(), secret_file.is_empty()) {
            (true, true) => None,
            (true, false) => {
                self.problem(EVENT_URL, "is missing: --event-secret-file alone sends nothing");
                None
            }
            (false, true) => {
                self.problem(EVENT_SECRET_FILE, "is missing: events are never sent unsigned");
                None
            }
            (false, false) => Some(EventTarget { url: event_url, secret_file: secret_file.into() }),
        };
        Config {
            projects: projects.into(),
            state: self.text(STATE).into(),
            listen: self.address(LISTEN),
            admin: self.address(ADMIN),
            debounce: self.millis(DEBOUNCE, 0),
            events,
            grace: self.millis(GRACE, 0),
            build_timeout: self.millis(BUILD_TIMEOUT, 1),
            poll: (!self.text(POLL).is_empty()).then(|| self.millis(POLL, 10)),
            spares: self.number(SPARES, 0) as usize,
            max_cells: self.number(MAX_CELLS, 1) as usize,
            keep: self.number(KEEP, 0) as usize,
            request_timeout: self.millis(REQUEST_TIMEOUT, 1),
            max_body: self.number(MAX_BODY, 0),
            max_in_flight: self.number(MAX_IN_FLIGHT, 1) as usize,
            log_format: self.log_format(),
            dev: self.switch(DEV),
        }
    }

    fn text(&self, name: &str) -> String {
        let default = FLAGS.iter().find(|flag| flag.name == name).map(|flag| flag.default);
        self.given.get(name).cloned().or_else(|| default.map(str::to_owned)).unwrap_or_default()
    }

    fn number(&mut self, name: &str, least: u64) -> u64 {
        let text = self.text(name);
        match text.parse() {
            Ok(number) if number >= least => number,
            _ => {
                self.problem(name, format!("{text:?} is no whole number of at least {least}"));
                least
            }
        }
    }

    fn millis(&mut self, name: &str, least: u64) -> Duration {
        Duration::from_millis(self.number(name, least))
    }

    fn address(&mut self, name: &str) -> SocketAddr {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| {
            self.problem(
                name,
                format!("{text:?} is no address; write IP:PORT, as 127.0.0.1:8000 or [::1]:8000"),
            );
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn log_format(&mut self) -> LogFormat {
        match self.text(LOG_FORMAT).as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => {
                let message = format!("{other:?} is neither text nor json");
                self.problem(LOG_FORMAT, message);
                LogFormat::Text
            }
        }
    }

    fn switch(&mut self, name: &str) -> bool {
        match self.text(name).as_str() {
            "" | "0" | "false" => false,
            "1" | "true" => true,
            other => {
                let message = format!("{other:?} is neither true nor false");
                self.problem(name, message);
                false
            }
        }
    }
}

fn variable(flag: &str) -> String {
    format!("SWITCHYARD_{}", flag.to_uppercase().replace('-', "_"))
}

fn help() -> String {
    let mut text = String::from(
        "switchyard-router: serves the projects of a shared volume and hot-reloads them\n\n\
         usage: switchyard-router --projects DIR [flags]\n\n",
    );
    for flag in FLAGS {
        let name = format!("--{} {}", flag.name, flag.value);
        let default = match flag.default {
            "" => String::new(),
            default => format!(" [{default}]"),
        };
        text.push_str(&format!("  {name:<26} {}{default}\n", flag.help));
    }
    text.push_str("\nEach flag can be given as a variable too: --build-timeout as SWITCHYARD_BUILD_TIMEOUT.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str], env: &[(&str, &str)]) -> Result<Box<Config>, Vec<String>> {
        let env: BTreeMap<_, _> = env.iter().copied().collect();
        let args = args.iter().map(OsString::from);
        match Config::parse(args, |name| env.get(name).map(OsString::from)) {
            Ok(Parsed::Run(config)) => Ok(config),
            Ok(Parsed::Print(text)) => panic!("printed {text}"),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn the_volume_alone_is_enough() {
        let config = parse(&["--projects", "/srv"], &[]).unwrap();
        assert_eq!(config.listen, "127.0.0.1:8000".parse().unwrap());
        assert_eq!(config.debounce, Duration::from_millis(500));
        assert_eq!(config.poll, None);
    }

    #[test]
    fn a_flag_wins_over_its_variable() {
        let env = [("SWITCHYARD_PROJECTS", "/env"), ("SWITCHYARD_BUILD_TIMEOUT", "7")];
        let config = parse(&["--projects=/flag"], &env).unwrap();
        assert_eq!(config.projects, PathBuf::from("/flag"));
        assert_eq!(config.build_timeout, Duration::from_millis(7));
    }

    #[test]
    fn every_wrong_setting_is_named_at_once() {
        let args = ["--debounce", "soon", "--listen", "here", "--projetcs", "/x", "--log-format=xml"];
        let problems = parse(&args, &[("SWITCHYARD_KEEP", "-1")]).unwrap_err();
        for flag in ["--debounce", "--listen", "--projetcs", "--projects", "--log-format", "--keep"] {
            assert!(problems.iter().any(|problem| problem.starts_with(flag)), "{flag}: {problems:?}");
        }
        assert_eq!(problems.len(), 6, "{problems:?}");
    }

    #[test]
    fn events_are_never_sent_unsigned() {
        let problems = parse(&["--projects", "/x", "--event-url", "http://h/"], &[]).unwrap_err();
        assert!(problems[0].starts_with("--event-secret-file"), "{problems:?}");
    }
}
