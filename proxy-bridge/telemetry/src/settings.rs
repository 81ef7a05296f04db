//! The standard variables of OpenTelemetry, as far as no library reads them.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use opentelemetry_sdk::trace::Sampler;
use reqwest::{Certificate, Url};

/// The specification's default of `OTEL_EXPORTER_OTLP_TIMEOUT`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The specification's default of `OTEL_BSP_MAX_QUEUE_SIZE`.
const QUEUE: usize = 2048;

/// Stands for a value that is not shown, as it may contain a token.
const HIDDEN: &str = "…";

/// A variable with a value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {name} {value:?}: {why}")]
pub struct InvalidSetting {
    /// The variable.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The reason, and what is expected.
    pub why: String,
}

/// The settings of an export.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) is_json: bool,
    /// The time limit of one export.
    pub(crate) timeout: Duration,
    /// Certificates of authorities, besides the system's.
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) sampling: Sampling,
    /// Spans that wait at most.
    pub(crate) queue: usize,
}

/// The decision about which traces are exported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampling {
    /// A trace that began elsewhere is exported if its first span is.
    follows_parent: bool,
    /// The share of other traces.
    pub(crate) ratio: f64,
}

/// A set variable: its name, and its value without spaces around it.
type Variable = (String, String);

impl Settings {
    /// Reads variables. `None`: nothing is exported.
    ///
    /// # Errors
    /// All variables with a value that cannot be used.
    pub(crate) fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Vec<InvalidSetting>> {
        let get = |name: &str| {
            let value = get(name)?.trim().to_owned();
            (!value.is_empty()).then(|| (name.to_owned(), value))
        };
        let of_traces = |name: &str| {
            let own = get(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
            own.or_else(|| get(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        let is_disabled =
            get("OTEL_SDK_DISABLED").is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
        let Some(endpoint) = of_traces("ENDPOINT").filter(|_| !is_disabled) else { return Ok(None) };
        let mut problems = Vec::new();
        match get("OTEL_TRACES_EXPORTER") {
            Some((_, value)) if value == "none" => return Ok(None),
            Some((name, value)) if value != "otlp" => {
                problems.push(invalid(&name, &value, "expected \"otlp\" or \"none\""));
            }
            _ => {}
        }
        let compression = of_traces("COMPRESSION")
            .map(|(name, value)| invalid(&name, &value, "compression is not supported: unset it"));
        problems.extend(compression);
        let certificates = of_traces("CERTIFICATE").as_ref().map(certificates).transpose();
        let is_json = is_json(of_traces("PROTOCOL"));
        let timeout = of_traces("TIMEOUT").as_ref().map(number).transpose();
        let queue = get("OTEL_BSP_MAX_QUEUE_SIZE").as_ref().map(number).transpose();
        let sampling = Sampling::read(get);
        let checks = [
            check_endpoint(&endpoint),
            of_traces("HEADERS").as_ref().map_or(Ok(()), check_headers),
            get("OTEL_RESOURCE_ATTRIBUTES").as_ref().map_or(Ok(()), check_attributes),
            get("OTEL_BSP_SCHEDULE_DELAY").as_ref().map_or(Ok(0), number).map(drop),
            get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").as_ref().map_or(Ok(0), number).map(drop),
        ];
        problems.extend(checks.into_iter().filter_map(Result::err));
        let mut or_problem = |error| problems.push(error);
        let read = (
            certificates.map_err(&mut or_problem),
            is_json.map_err(&mut or_problem),
            timeout.map_err(&mut or_problem),
            queue.map_err(&mut or_problem),
            sampling.map_err(&mut or_problem),
        );
        match read {
            (Ok(certificates), Ok(is_json), Ok(timeout), Ok(queue), Ok(sampling)) if problems.is_empty() => {
                let timeout = timeout.map_or(TIMEOUT, Duration::from_millis);
                let queue = queue.map_or(QUEUE, |most| usize::try_from(most).unwrap_or(usize::MAX));
                let certificates = certificates.unwrap_or_default();
                Ok(Some(Self { is_json, timeout, certificates, sampling, queue }))
            }
            _ => Err(problems),
        }
    }
}

impl Sampling {
    fn read(get: impl Fn(&str) -> Option<Variable>) -> Result<Self, InvalidSetting> {
        let Some((name, value)) = get("OTEL_TRACES_SAMPLER") else {
            return Ok(Self { follows_parent: true, ratio: 1.0 });
        };
        let root = value.strip_prefix("parentbased_");
        let ratio = match root.unwrap_or(&value) {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => match get("OTEL_TRACES_SAMPLER_ARG") {
                None => 1.0,
                Some((name, argument)) => match argument.parse() {
                    Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
                    _ => return Err(invalid(&name, &argument, "expected a share from 0 to 1")),
                },
            },
            _ => {
                let why =
                    "expected always_on, always_off or traceidratio, with or without parentbased_ before it";
                return Err(invalid(&name, &value, why));
            }
        };
        Ok(Self { follows_parent: root.is_some(), ratio })
    }

    pub(crate) fn sampler(self) -> Sampler {
        let root = Sampler::TraceIdRatioBased(self.ratio);
        if self.follows_parent { Sampler::ParentBased(Box::new(root)) } else { root }
    }
}

/// Reads the certificates in the file that a variable names.
///
/// # Errors
/// The file cannot be read, or contains no certificate.
fn certificates((name, file): &Variable) -> Result<Vec<Certificate>, InvalidSetting> {
    let pem = std::fs::read(file).map_err(|error| invalid(name, file, &error.to_string()))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(invalid(name, file, "the file contains no certificate: expected PEM")),
        Err(error) => Err(invalid(name, file, &error.to_string())),
    }
}

fn check_endpoint((name, value): &Variable) -> Result<(), InvalidSetting> {
    const EXPECTED: &str = "expected http://HOST:PORT or https://HOST:PORT";
    let url = Url::parse(value).map_err(|error| invalid(name, value, &format!("{error}: {EXPECTED}")))?;
    let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
    if is_http { Ok(()) } else { Err(invalid(name, value, EXPECTED)) }
}

/// Checks a list of headers, whose values are not shown.
fn check_headers((name, value): &Variable) -> Result<(), InvalidSetting> {
    let wrong = |number: usize, why: &str| {
        let why = format!("entry {number} {why}: expected NAME=VALUE, with commas between");
        Err(invalid(name, HIDDEN, &why))
    };
    for (number, entry) in (1..).zip(value.split_terminator(',')) {
        let Some((header, value)) = entry.split_once('=') else { return wrong(number, "has no \"=\"") };
        if HeaderName::from_bytes(header.trim().as_bytes()).is_err() {
            return wrong(number, &format!("has the invalid name {:?}", header.trim()));
        }
        if value.trim().is_empty() || HeaderValue::from_str(value.trim()).is_err() {
            return wrong(number, "has no value, or one that no header can have");
        }
    }
    Ok(())
}

fn check_attributes((name, value): &Variable) -> Result<(), InvalidSetting> {
    let is_pair = |entry: &str| entry.split_once('=').is_some_and(|(key, _)| !key.trim().is_empty());
    match value.split_terminator(',').find(|entry| !is_pair(entry)) {
        None => Ok(()),
        Some(entry) => {
            let why = format!("{entry:?} is no attribute: expected NAME=VALUE, with commas between");
            Err(invalid(name, value, &why))
        }
    }
}

fn number((name, value): &Variable) -> Result<u64, InvalidSetting> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| invalid(name, value, "expected a whole number, at least 1"))
}

fn is_json(protocol: Option<Variable>) -> Result<bool, InvalidSetting> {
    let Some((name, value)) = protocol else { return Ok(false) };
    match value.as_str() {
        "http/protobuf" => Ok(false),
        "http/json" => Ok(true),
        _ => {
            let why = "expected \"http/protobuf\" or \"http/json\", which collectors take on port 4318";
            Err(invalid(&name, &value, why))
        }
    }
}

fn invalid(name: &str, value: &str, why: &str) -> InvalidSetting {
    InvalidSetting { name: name.to_owned(), value: value.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, Vec<InvalidSetting>> {
        Settings::read(|name| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    #[test]
    fn nothing_is_exported_without_an_endpoint_or_if_that_is_said() {
        let is_off = |variables: &[_]| read(variables).unwrap().is_none();
        assert!(is_off(&[]) && is_off(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]));
        assert!(is_off(&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")]));
        assert!(is_off(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]));
        assert!(!is_off(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/v1/traces")]));
    }

    #[test]
    fn the_defaults_are_those_of_the_specification() {
        let settings = read(&[ENDPOINT]).unwrap().unwrap();
        assert_eq!((settings.is_json, settings.timeout, settings.queue), (false, TIMEOUT, QUEUE));
        assert_eq!(settings.sampling, Sampling { follows_parent: true, ratio: 1.0 });
        assert!(settings.certificates.is_empty());
    }

    #[test]
    fn a_variable_for_traces_goes_before_the_common_one() {
        let common = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json");
        assert!(read(&[ENDPOINT, common, own]).unwrap().unwrap().is_json);
        assert!(!read(&[ENDPOINT, common]).unwrap().unwrap().is_json);
    }

    #[test]
    fn samplers_are_read() {
        let sampling = |sampler, argument| {
            let settings =
                read(&[ENDPOINT, ("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)]);
            settings.unwrap().unwrap().sampling
        };
        assert_eq!(sampling("always_off", ""), Sampling { follows_parent: false, ratio: 0.0 });
        assert_eq!(sampling("traceidratio", "0.25"), Sampling { follows_parent: false, ratio: 0.25 });
        assert_eq!(sampling("parentbased_traceidratio", ""), Sampling { follows_parent: true, ratio: 1.0 });
    }

    #[test]
    fn values_that_cannot_be_used_are_refused_together_each_with_what_is_expected() {
        let wrong = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318", "http://HOST:PORT"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "port 4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0", "at least 1"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "unset it"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent", "No such file"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b", "\"b\" is no attribute"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "at least 1"),
            ("OTEL_BSP_SCHEDULE_DELAY", "5s", "a whole number"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "\"otlp\" or \"none\""),
            ("OTEL_TRACES_SAMPLER", "xray", "always_on"),
        ];
        let problems = read(&wrong.map(|(name, value, _)| (name, value))).unwrap_err();
        assert_eq!(problems.len(), wrong.len(), "{problems:?}");
        for (name, value, expected) in wrong {
            let problem = problems.iter().find(|problem| problem.name == name).unwrap();
            assert!(problem.value == value && problem.why.contains(expected), "{problem}");
        }
        let sampler = ("OTEL_TRACES_SAMPLER", "traceidratio");
        assert!(read(&[ENDPOINT, sampler, ("OTEL_TRACES_SAMPLER_ARG", "2")]).is_err());
        for url in ["ftp://127.0.0.1", "collector", "http://"] {
            assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", url)]).is_err(), "{url}");
        }
    }

    #[test]
    fn headers_are_checked_and_their_values_not_shown() {
        let name = "OTEL_EXPORTER_OTLP_HEADERS";
        assert!(read(&[ENDPOINT, (name, "authorization=Bearer%20secret,x=1")]).is_ok());
        for (value, says) in [("x=1,secret", "entry 2 has no"), ("a b=secret", "\"a b\""), ("x=", "no value")]
        {
            let problem = read(&[ENDPOINT, (name, value)]).unwrap_err().remove(0).to_string();
            assert!(problem.contains(says) && !problem.contains("secret"), "{problem}");
        }
    }
}
