//! Bodies and waits of requests about tasks and runs.

use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;

use switchyard_contract::bounds::RUN_INPUT;
use switchyard_contract::suggest::did_you_mean;
use switchyard_contract::task_overview::StartTask;
use switchyard_edge::api::body::BodyLimits;
use switchyard_edge::api::query::{QueryPairs, invalid};
use switchyard_edge::problem::Problem;

/// The longest wait for the end of a run, in seconds.
pub(super) const MAX_WAIT: u64 = 600;

/// A kind of body.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyShape {
    /// A body, as in messages.
    pub(super) example: &'static str,
    /// The names of all members.
    pub(super) fields: &'static [&'static str],
    /// The limits.
    pub(super) limits: BodyLimits,
}

/// The body of a start: parameters and input, each with every byte escaped as six at worst.
pub(super) const START: BodyShape = BodyShape {
    example: r#"{"params": {"name": "x"}, "input": null}"#,
    fields: &["params", "input", "version", "consistency"],
    limits: BodyLimits { bytes: 6 * 2 * RUN_INPUT + 4096, time: Duration::from_secs(60) },
};

/// The body of a retry.
pub(super) const RETRY: BodyShape =
    BodyShape { example: r#"{"version": "latest"}"#, fields: &["version"], limits: SMALL };

/// The body of a resumption.
pub(super) const RESUME: BodyShape = BodyShape {
    example: r#"{"from_step": "parse", "latest": false}"#,
    fields: &["from_step", "latest"],
    limits: SMALL,
};

const SMALL: BodyLimits = BodyLimits { bytes: 16 * 1024, time: Duration::from_secs(10) };

impl BodyShape {
    /// Reads a body. An empty one has no member.
    ///
    /// # Errors
    /// 400 for one of another shape; 408 or 413 beyond the limits.
    pub(super) async fn read<T: DeserializeOwned + Default>(self, body: Body) -> Result<T, Problem> {
        let body = self.limits.read(body).await?;
        if body.trim_ascii().is_empty() {
            return Ok(T::default());
        }
        let value: Value = serde_json::from_slice(&body).map_err(|error| self.unfit(&error))?;
        let Some(members) = value.as_object() else {
            return Err(Problem::bad_request(format!("the body must be an object: send {}", self.example)));
        };
        if let Some(unknown) = members.keys().find(|key| !self.fields.contains(&key.as_str())) {
            let detail = format!(
                "unknown member {unknown:?} in the body: expected {}{}",
                self.fields.join(", "),
                did_you_mean(unknown, self.fields)
            );
            return Err(Problem::bad_request(detail).with("field", unknown.as_str()));
        }
        serde_json::from_value(value).map_err(|error| self.unfit(&error))
    }

    fn unfit(self, error: &serde_json::Error) -> Problem {
        Problem::bad_request(format!("the body is not understood: {error}; send {}", self.example))
    }
}

/// # Errors
/// 400 for parameters that are no object; 413 for parameters or an input beyond the bound.
pub(super) fn check_start(start: &StartTask) -> Result<(), Problem> {
    if !(start.params.is_object() || start.params.is_null()) {
        let detail = format!("params must be an object of names and values: send {}", START.example);
        return Err(Problem::bad_request(detail).with("field", "params"));
    }
    for (field, value) in [("params", &start.params), ("input", &start.input)] {
        let bytes = value.to_string().len();
        if bytes > RUN_INPUT {
            let detail = format!(
                "{field} has {bytes} bytes as JSON, and may have {RUN_INPUT}: store it where the task can \
                 read it, and send its place"
            );
            let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail);
            return Err(problem.with("field", field));
        }
    }
    Ok(())
}

/// Reads the parameter `wait`: whole seconds. `None` without one.
///
/// # Errors
/// 400 for another value.
pub(super) fn wait(pairs: &QueryPairs) -> Result<Option<Duration>, Problem> {
    let Some(text) = pairs.get("wait") else { return Ok(None) };
    let seconds = text.parse().ok().filter(|seconds| *seconds <= MAX_WAIT);
    let expected = "whole seconds, at most 600";
    seconds.map(|seconds| Some(Duration::from_secs(seconds))).ok_or_else(|| invalid("wait", text, expected))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use switchyard_contract::run::{ResumeRun, RetryRun};

    use super::*;

    #[tokio::test]
    async fn a_body_that_is_left_out_has_no_member() {
        for body in ["", " \n", "{}"] {
            assert_eq!(START.read::<StartTask>(Body::from(body)).await.unwrap(), StartTask::default());
        }
    }

    #[tokio::test]
    async fn the_example_of_each_body_is_one() {
        let start: StartTask = START.read(Body::from(START.example)).await.unwrap();
        assert_eq!(start.params, json!({"name": "x"}));
        let retry: RetryRun = RETRY.read(Body::from(RETRY.example)).await.unwrap();
        assert_eq!(retry.version.as_deref(), Some("latest"));
        let resume: ResumeRun = RESUME.read(Body::from(RESUME.example)).await.unwrap();
        assert_eq!(resume.from_step.as_deref(), Some("parse"));
    }

    #[tokio::test]
    async fn a_wrong_body_is_answered_with_the_member_and_one_that_is_right() {
        for (body, says) in [
            ("[]", "send {\"params\""),
            ("{", "send {\"params\""),
            (r#"{"parms": {}}"#, "did you mean \"params\"?"),
            (r#"{"consistency": "never"}"#, "never"),
        ] {
            let problem = START.read::<StartTask>(Body::from(body)).await.unwrap_err();
            assert_eq!(problem.status, StatusCode::BAD_REQUEST, "{body}");
            assert!(problem.detail().contains(says), "{body}: {}", problem.detail());
        }
        let large = format!(r#"{{"version": "{}"}}"#, "x".repeat(SMALL.bytes));
        let problem = RETRY.read::<RetryRun>(Body::from(large)).await.unwrap_err();
        assert_eq!(problem.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn parameters_are_an_object_and_bounded() {
        let with = |params: Value| StartTask { params, ..StartTask::default() };
        assert!(check_start(&with(json!({"a": 1}))).is_ok() && check_start(&StartTask::default()).is_ok());
        assert_eq!(check_start(&with(json!([1]))).unwrap_err().member("field"), Some("params"));
        let large = StartTask { input: "x".repeat(RUN_INPUT).into(), ..StartTask::default() };
        let problem = check_start(&large).unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.member("field")), (413, Some("input")));
    }

    #[test]
    fn a_wait_is_bounded() {
        let wait = |query: &str| wait(&QueryPairs::parse(Some(query)));
        assert_eq!(wait(""), Ok(None));
        assert_eq!(wait("wait=30"), Ok(Some(Duration::from_secs(30))));
        for bad in ["wait", "wait=601", "wait=-1", "wait=1s"] {
            assert_eq!(wait(bad).unwrap_err().member("field"), Some("wait"), "{bad}");
        }
    }
}
