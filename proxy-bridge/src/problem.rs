//! The errors that the bridge answers: RFC 9457, each with a stable `type`.

use http::StatusCode;
use serde_json::{Map, Value, json};

use switchyard_edge::connections::Busy;
use switchyard_edge::gate::Refusal;
use switchyard_edge::refusal;

/// What went wrong, and how to mend it.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    pub status: StatusCode,
    slug: &'static str,
    detail: String,
    /// Boxed, because a problem is the rare half of many results.
    more: Box<Map<String, Value>>,
}

impl Problem {
    /// `slug` is the end of the `type`; `detail` a sentence that ends with the mend.
    pub fn new(status: StatusCode, slug: &'static str, detail: impl Into<String>) -> Self {
        Self { status, slug, detail: detail.into(), more: Box::default() }
    }

    /// With one member more.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// A member that was added, where it is text.
    pub fn member(&self, name: &str) -> Option<&str> {
        self.more.get(name)?.as_str()
    }

    /// `application/problem+json`
    pub fn document(&self) -> Value {
        let mut document = json!({
            "type": format!("urn:switchyard:problem:{}", self.slug),
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Value::Object(members) = &mut document {
            members.extend((*self.more).clone());
        }
        document
    }

    pub fn slug(&self) -> &'static str {
        self.slug
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<Busy> for Problem {
    fn from(busy: Busy) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", busy.to_string())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status(), refusal.slug(), refusal.to_string()).with("field", refusal.field())
    }
}

impl From<refusal::Refusal> for Problem {
    fn from(refusal: refusal::Refusal) -> Self {
        Self::new(refusal.status(), refusal.slug(), refusal.rule())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_a_document_with_a_stable_type() {
        let problem =
            Problem::new(StatusCode::CONFLICT, "deploy-under-way", "wait for it").with("deploy", "d1");
        assert_eq!(
            problem.document(),
            json!({
                "type": "urn:switchyard:problem:deploy-under-way", "title": "Conflict", "status": 409,
                "detail": "wait for it", "deploy": "d1"
            })
        );
    }
}
