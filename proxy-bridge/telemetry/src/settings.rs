//! The standard variables of OpenTelemetry, as far as no library reads them.

use std::time::Duration;

use opentelemetry_sdk::trace::Sampler;

/// The specification's default of `OTEL_EXPORTER_OTLP_TIMEOUT`.
const TIMEOUT: Duration = Duration::from_secs(10);

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
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) is_json: bool,
    /// The time limit of one export.
    pub(crate) timeout: Duration,
    /// A file with certificates of authorities, besides the system's.
    pub(crate) certificate: Option<String>,
    pub(crate) sampling: Sampling,
}

/// The decision about which traces are exported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampling {
    /// A trace that began elsewhere is exported if its first span is.
    follows_parent: bool,
    /// The share of other traces.
    pub(crate) ratio: f64,
}

impl Settings {
    /// Reads variables. `None`: nothing is exported.
    ///
    /// # Errors
    /// A variable has a value that cannot be used.
    pub(crate) fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, InvalidSetting> {
        let get =
            |name: &str| get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let of_traces = |name: &str| {
            let own = format!("OTEL_EXPORTER_OTLP_TRACES_{name}");
            let common = format!("OTEL_EXPORTER_OTLP_{name}");
            get(&own).map(|value| (own, value)).or_else(|| Some((common.clone(), get(&common)?)))
        };
        let is_disabled = get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if is_disabled || of_traces("ENDPOINT").is_none() {
            return Ok(None);
        }
        match get("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(other) => {
                return Err(invalid("OTEL_TRACES_EXPORTER", other, "expected \"otlp\" or \"none\""));
            }
        }
        let is_json = match of_traces("PROTOCOL") {
            None => false,
            Some((name, value)) => match value.as_str() {
                "http/protobuf" => false,
                "http/json" => true,
                _ => {
                    let why =
                        "expected \"http/protobuf\" or \"http/json\", which collectors take on port 4318";
                    return Err(invalid(&name, &value, why));
                }
            },
        };
        let timeout = match of_traces("TIMEOUT") {
            None => TIMEOUT,
            Some((name, value)) => match value.parse() {
                Ok(milliseconds @ 1..) => Duration::from_millis(milliseconds),
                _ => return Err(invalid(&name, &value, "expected milliseconds, at least 1")),
            },
        };
        let certificate = of_traces("CERTIFICATE").map(|(_, path)| path);
        Ok(Some(Self { is_json, timeout, certificate, sampling: Sampling::read(get)? }))
    }
}

impl Sampling {
    fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSetting> {
        const NAME: &str = "OTEL_TRACES_SAMPLER";
        const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
        let Some(value) = get(NAME) else { return Ok(Self { follows_parent: true, ratio: 1.0 }) };
        let root = value.strip_prefix("parentbased_");
        let ratio = match root.unwrap_or(&value) {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => match get(ARGUMENT) {
                None => 1.0,
                Some(argument) => match argument.parse() {
                    Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
                    _ => return Err(invalid(ARGUMENT, &argument, "expected a share from 0 to 1")),
                },
            },
            _ => {
                let why =
                    "expected always_on, always_off or traceidratio, with or without parentbased_ before it";
                return Err(invalid(NAME, &value, why));
            }
        };
        Ok(Self { follows_parent: root.is_some(), ratio })
    }

    pub(crate) fn sampler(self) -> Sampler {
        let root = Sampler::TraceIdRatioBased(self.ratio);
        if self.follows_parent { Sampler::ParentBased(Box::new(root)) } else { root }
    }
}

fn invalid(name: &str, value: &str, why: &str) -> InvalidSetting {
    InvalidSetting { name: name.to_owned(), value: value.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, InvalidSetting> {
        Settings::read(|name| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    #[test]
    fn nothing_is_exported_without_an_endpoint_or_if_that_is_said() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), Ok(None));
        assert_eq!(read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")]), Ok(None));
        assert_eq!(read(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        assert!(read(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/v1/traces")]).unwrap().is_some());
    }

    #[test]
    fn the_defaults_are_those_of_the_specification() {
        let sampling = Sampling { follows_parent: true, ratio: 1.0 };
        let expected = Settings { is_json: false, timeout: TIMEOUT, certificate: None, sampling };
        assert_eq!(read(&[ENDPOINT]), Ok(Some(expected)));
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
    fn values_that_cannot_be_used_are_refused_with_what_is_expected() {
        for (name, value, expected) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "port 4318"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "milliseconds"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0", "at least 1"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "\"otlp\" or \"none\""),
            ("OTEL_TRACES_SAMPLER", "xray", "always_on"),
        ] {
            let error = read(&[ENDPOINT, (name, value)]).unwrap_err();
            assert_eq!((error.name.as_str(), error.value.as_str()), (name, value));
            assert!(error.to_string().contains(expected), "{error}");
        }
        let sampler = ("OTEL_TRACES_SAMPLER", "traceidratio");
        assert!(read(&[ENDPOINT, sampler, ("OTEL_TRACES_SAMPLER_ARG", "2")]).is_err());
    }
}
