//! `POST /_hooks/verify`: the check of a webhook's proof. The secrets are in the router's policy
//! and do not leave it.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use switchyard_contract::admin::HookCheck;
use switchyard_contract::bounds::RUN_INPUT;
use switchyard_edge::api::answer::no_content;
use switchyard_edge::api::body::BodyLimits;
use switchyard_edge::problem::Problem;
use switchyard_edge::webhook::{ForgeKind, InvalidSecret, Refused, UnknownForge, Verifier, WebhookSecret};

use super::{AdminState, HOOK};
use crate::live::Command;

/// The limits on a check: a body in base64, and headers that may be escaped.
const LIMITS: BodyLimits =
    BodyLimits { bytes: RUN_INPUT / 3 * 4 + 256 * 1024, time: Duration::from_secs(10) };

/// Checks whether a webhook proves that its sender knows the project's secret
#[utoipa::path(post, path = "/_hooks/verify", tag = "hooks", request_body = HookCheck, responses(
    (status = 204, description = "It does"),
    (status = 401, description = "wrong-proof: it does not, or it is too old"),
    (status = 404, description = "no-secret: the policy gives the project no such variable, or it is no secret of \
        this kind of webhook"),
))]
pub(super) async fn verify(State(admin): AdminState, body: Body) -> Result<Response, Problem> {
    let check = Check::parse(&LIMITS.read(body).await?)?;
    let (project, name) = (check.asked.project.clone(), check.asked.secret.clone());
    let text = admin.command(|answer| Command::Variable { project, name, answer }).await?;
    let text = text.ok_or_else(|| {
        let HookCheck { project, secret, .. } = &check.asked;
        no_secret(format!("the policy gives the project {project} no variable {secret:?}: add it to its env"))
    })?;
    // The hash of the largest body takes milliseconds.
    admin.blocking(move |_| check.run(&text)).await??;
    Ok(no_content())
}

/// A check whose headers and body are decoded.
struct Check {
    asked: HookCheck,
    kind: ForgeKind,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Check {
    fn parse(text: &[u8]) -> Result<Self, Problem> {
        let asked: HookCheck = serde_json::from_slice(text).map_err(|error| {
            Problem::bad_request(format!("the body does not describe a check: {error}; send {HOOK}"))
        })?;
        let kind =
            asked.kind.parse().map_err(|error: UnknownForge| Problem::bad_request(error.to_string()))?;
        let body = STANDARD.decode(&asked.body);
        let body = body.map_err(|error| Problem::bad_request(format!("body is not base64: {error}")))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &asked.headers {
            let header = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
            let (header, value) =
                header.ok_or_else(|| Problem::bad_request(format!("headers: {name:?} is no header")))?;
            headers
                .try_append(header, value)
                .map_err(|_| Problem::bad_request("headers: there are too many"))?;
        }
        Ok(Self { asked, kind, headers, body })
    }

    /// Checks the proof. Each line of `text` is a secret, so that one can be replaced by another.
    fn run(&self, text: &str) -> Result<(), Problem> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let webhook = WebhookSecret::new(self.kind, lines).map_err(|error: InvalidSecret| {
            let HookCheck { project, secret, .. } = &self.asked;
            no_secret(format!("the variable {secret:?} of the project {project}: {error}"))
        })?;
        self.proves(&webhook)
            .map_err(|why| Problem::new(StatusCode::UNAUTHORIZED, "wrong-proof", why.to_string()))
    }

    fn proves(&self, webhook: &WebhookSecret) -> Result<(), Refused> {
        let mut verifier = Verifier::new(webhook, &self.headers, Timestamp::now())?;
        verifier.update(&self.body);
        verifier.finish()
    }
}

fn no_secret(detail: String) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-secret", detail)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use switchyard_edge::webhook::testing::Delivery;

    use super::*;

    const SECRET: &str = "It's a Secret to Everybody";

    fn check(delivery: &Delivery) -> Value {
        let headers: Vec<_> =
            delivery.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        json!({
            "project": "shop", "secret": "HOOK_SECRET", "kind": delivery.kind.as_str(),
            "headers": headers, "body": STANDARD.encode(&delivery.body),
        })
    }

    fn run(delivery: &Delivery, secret: &str) -> Result<(), StatusCode> {
        let check = Check::parse(check(delivery).to_string().as_bytes()).unwrap();
        check.run(secret).map_err(|problem| {
            assert!(secret.is_empty() || !format!("{problem:?}").contains(secret));
            problem.status
        })
    }

    fn signed(kind: ForgeKind) -> Delivery {
        Delivery::new(kind, &[], [0xff, 0, b'x']).signed(SECRET, Timestamp::now().as_second())
    }

    #[test]
    fn a_webhook_that_is_signed_with_the_secret_is_accepted_and_another_is_not() {
        for kind in ["github", "gitlab", "gitea", "bitbucket", "azure", "standard"] {
            let delivery = signed(kind.parse().unwrap());
            assert_eq!(run(&delivery, SECRET), Ok(()), "{kind}");
            assert_eq!(run(&delivery, &format!("new one\n\n{SECRET}\n")), Ok(()), "{kind}");
            assert_eq!(run(&delivery, "another"), Err(StatusCode::UNAUTHORIZED), "{kind}");
        }
        let unsigned = Delivery::new(ForgeKind::Github, &[], "{}");
        assert_eq!(run(&unsigned, SECRET), Err(StatusCode::UNAUTHORIZED));
    }

    #[test]
    fn a_variable_that_is_no_secret_is_as_good_as_none() {
        assert_eq!(run(&signed(ForgeKind::Github), ""), Err(StatusCode::NOT_FOUND));
        assert_eq!(run(&signed(ForgeKind::Standard), "whsec_???"), Err(StatusCode::NOT_FOUND));
    }

    #[test]
    fn a_check_that_cannot_be_read_is_refused_with_the_field() {
        let refused = |field: &str, value: Value| {
            let mut check = check(&signed(ForgeKind::Github));
            check[field] = value;
            let Err(problem) = Check::parse(check.to_string().as_bytes()) else { panic!("{check}") };
            assert_eq!(problem.status, StatusCode::BAD_REQUEST);
            problem.detail().to_owned()
        };
        assert!(refused("kind", json!("githab")).contains("did you mean"));
        assert!(refused("body", json!("?")).starts_with("body is not base64"));
        assert!(refused("headers", json!([["a b", ""]])).contains("\"a b\" is no header"));
        assert!(refused("project", json!("..")).contains("does not describe a check"));
    }
}
