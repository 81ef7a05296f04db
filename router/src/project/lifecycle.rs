//! The lifecycle options of a project's process: its health check before publishing, and its idle timeout.

use std::time::Duration;

use http::uri::PathAndQuery;
use serde::Deserialize as _;
use serde_json::Value;
use switchyard_contract::event::Diagnostic;
use switchyard_detect::config::in_file;
use switchyard_program::units::Span;

/// The shortest idle timeout: with less, a process would end between the requests of one page.
const SHORTEST_IDLE: Duration = Duration::from_secs(1);

/// The lifecycle options of one configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LifecycleOptions {
    pub(crate) healthcheck: Option<Healthcheck>,
    /// The time without requests after which the process ends until the next request.
    pub(crate) idle: Option<Duration>,
}

/// The request that a new version has to answer with 2xx before it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Healthcheck {
    /// The configuration file that names it.
    pub(crate) file: &'static str,
    pub(crate) path: PathAndQuery,
}

impl LifecycleOptions {
    /// Reads the fields of `switchyard` in the configuration `file`.
    ///
    /// # Errors
    /// A field is invalid.
    pub(crate) fn read(file: &'static str, own: &Value) -> Result<Self, Diagnostic> {
        let invalid = |name: &str, shape: &str| {
            in_file(file, format!("\"switchyard.{name}\" in {file} must be {shape}"))
        };
        let path = own.get("healthcheck").map(|value| {
            path(value).ok_or_else(|| invalid("healthcheck", "a path of the project such as \"/healthz\""))
        });
        let idle = own.get("idle").map(|value| {
            idle(value).ok_or_else(|| {
                invalid("idle", "a time (\"10m\", \"1h 30m\") or a number of seconds, at least one second")
            })
        });
        let healthcheck = path.transpose()?.map(|path| Healthcheck { file, path });
        Ok(Self { healthcheck, idle: idle.transpose()? })
    }
}

fn path(value: &Value) -> Option<PathAndQuery> {
    let text = value.as_str().filter(|text| text.starts_with('/') && !text.contains('#'))?;
    text.parse().ok()
}

fn idle(value: &Value) -> Option<Duration> {
    let Span(time) = Span::deserialize(value).ok()?;
    (time >= SHORTEST_IDLE).then_some(time)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(own: &Value) -> Result<LifecycleOptions, Diagnostic> {
        LifecycleOptions::read("deno.jsonc", own)
    }

    #[test]
    fn times_are_texts_or_seconds() {
        for (value, seconds) in
            [(json!("10m"), 600), (json!("1h 30m"), 5400), (json!("1s"), 1), (json!(90), 90)]
        {
            let lifecycle = read(&json!({ "idle": value })).unwrap();
            assert_eq!(lifecycle.idle, Some(Duration::from_secs(seconds)));
        }
        assert_eq!(read(&json!({})).unwrap(), LifecycleOptions::default());
    }

    #[test]
    fn an_invalid_option_is_reported_with_file_and_field() {
        for (own, field) in [
            (json!({"idle": "soon"}), "idle"),
            (json!({"idle": "-10m"}), "idle"),
            (json!({"idle": 0}), "idle"),
            (json!({"idle": true}), "idle"),
            (json!({"idle": 1e300}), "idle"),
            (json!({"healthcheck": "healthz"}), "healthcheck"),
            (json!({"healthcheck": "http://a/healthz"}), "healthcheck"),
            (json!({"healthcheck": "/a b"}), "healthcheck"),
            (json!({"healthcheck": "/a#b"}), "healthcheck"),
            (json!({"healthcheck": true}), "healthcheck"),
        ] {
            let error = read(&own).unwrap_err();
            assert_eq!(error.file.as_deref(), Some("deno.jsonc"));
            let begin = format!("\"switchyard.{field}\" in deno.jsonc must be ");
            assert!(error.message.starts_with(&begin), "{}", error.message);
        }
    }
}
