//! Parameters in the query: typed, percent-decoded, and known by name.

use std::str::FromStr;

use axum::extract::FromRequestParts;
use http::request::Parts;
use jiff::Timestamp;
use switchyard_contract::admin::{RequestInfo, StatusFilter};
use switchyard_contract::bounds::{KEPT_LINES, KEPT_REQUESTS};
use switchyard_contract::suggest::did_you_mean;
use utoipa::IntoParams;

use crate::problem::Problem;

/// The parameters that an endpoint takes in its query.
pub trait FromQuery: Sized {
    /// The names of all parameters.
    const KEYS: &'static [&'static str];

    /// Reads the parameters.
    ///
    /// # Errors
    /// 400 for a value that is not valid.
    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem>;
}

/// Extracts the parameters `T`. Unknown ones are refused before: see [`super::endpoint`].
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<T: FromQuery, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        T::from_query(&QueryPairs::parse(parts.uri.query())).map(Self)
    }
}

/// The names and values of a query, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryPairs(Vec<(String, String)>);

impl IntoIterator for QueryPairs {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<(String, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl QueryPairs {
    /// Reads a query.
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Reads a switch: `1`, `true` or no value; `0` or `false`. `None` if it is absent.
    ///
    /// # Errors
    /// 400 for another value.
    pub fn switch(&self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some("1" | "true" | "") => Ok(Some(true)),
            Some("0" | "false") => Ok(Some(false)),
            Some(other) => Err(invalid(name, other, "0 or 1")),
        }
    }

    /// Reads a parameter that `expected` describes. `None` if it is absent.
    ///
    /// # Errors
    /// 400 for a value that is not valid.
    pub fn value<T: FromStr>(&self, name: &'static str, expected: &str) -> Result<Option<T>, Problem> {
        let parse = |text: &str| text.parse().map_err(|_| invalid(name, text, expected));
        self.get(name).map(parse).transpose()
    }

    /// Checks that only `known` parameters are in the query.
    ///
    /// # Errors
    /// 400 with the name of the first unknown one, and the known one that was probably meant.
    pub fn check(&self, known: &[&str]) -> Result<(), Problem> {
        let Some((name, _)) = self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) else {
            return Ok(());
        };
        let expected = match known {
            [] => "no parameter is taken here".to_owned(),
            known => format!("expected {}{}", known.join(", "), did_you_mean(name, known)),
        };
        let detail = format!("unknown query parameter {name:?}: {expected}");
        Err(Problem::bad_request(detail).with("field", name.as_str()))
    }
}

/// The problem of a parameter with an invalid value.
pub fn invalid(name: &'static str, value: &str, expected: &str) -> Problem {
    Problem::bad_request(format!("invalid {name} {value:?}: expected {expected}")).with("field", name)
}

/// The parameters of `GET /projects/{name}/logs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// The number of past lines that are sent first. A router keeps 1,000: a larger number means
    /// all of them.
    #[param(required = false, default = 100)]
    pub lines: usize,
    /// If set, new lines follow as they are printed.
    #[param(required = false, default = false)]
    pub follow: bool,
}

impl LogQuery {
    /// A screen or two.
    const DEFAULT_LINES: usize = 100;
}

impl FromQuery for LogQuery {
    const KEYS: &'static [&'static str] = &["lines", "follow"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let lines = pairs.value("lines", "a whole number")?.unwrap_or(Self::DEFAULT_LINES);
        Ok(Self { lines: KEPT_LINES.min(lines), follow: pairs.switch("follow")?.unwrap_or(false) })
    }
}

/// The parameters of `GET /projects/{name}/requests`.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RequestsQuery {
    /// The number of past requests. A router keeps 500 of a project: a larger number means all of them.
    #[param(required = false, default = 100)]
    pub limit: usize,
    /// Requests with this status alone: `404`, or `5xx`.
    #[param(required = false, value_type = String)]
    pub status: Option<StatusFilter>,
    /// Requests with this method alone.
    #[param(required = false)]
    pub method: Option<String>,
    /// Requests from this time on alone.
    #[param(required = false, value_type = String)]
    pub since: Option<Timestamp>,
    /// If set, the answer is a stream of server-sent events: the past requests, and new ones as they
    /// end.
    #[param(required = false, default = false)]
    pub follow: bool,
}

impl RequestsQuery {
    /// A screen or two.
    const DEFAULT_LIMIT: usize = 100;

    /// Returns true for a request that is asked for.
    #[must_use]
    pub fn takes(&self, request: &RequestInfo) -> bool {
        self.status.is_none_or(|status| status.takes(request.status))
            && self.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(&request.method))
            && self.since.is_none_or(|since| request.timestamp >= since)
    }

    /// The query as text, to pass it on.
    #[must_use]
    pub fn to_pairs(&self) -> Vec<(&'static str, String)> {
        let since = self.since.map(|since| ("since", since.to_string()));
        let status = self.status.map(|status| ("status", status.to_string()));
        let method = self.method.clone().map(|method| ("method", method));
        let follow = self.follow.then(|| ("follow", "1".to_owned()));
        let limit = Some(("limit", self.limit.to_string()));
        [limit, status, method, since, follow].into_iter().flatten().collect()
    }
}

impl FromQuery for RequestsQuery {
    const KEYS: &'static [&'static str] = &["limit", "status", "method", "since", "follow"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let limit = pairs.value("limit", "a whole number")?.unwrap_or(Self::DEFAULT_LIMIT);
        Ok(Self {
            limit: KEPT_REQUESTS.min(limit),
            status: pairs.value("status", "a status such as 404, or a class such as 5xx")?,
            method: pairs.get("method").map(str::to_owned),
            since: pairs.value("since", "a time such as 2026-03-01T12:00:00Z")?,
            follow: pairs.switch("follow")?.unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(query: &str) -> Result<LogQuery, Problem> {
        let pairs = QueryPairs::parse(Some(query));
        pairs.check(LogQuery::KEYS)?;
        LogQuery::from_query(&pairs)
    }

    #[test]
    fn a_query_is_read_by_name_and_decoded() {
        let pairs = QueryPairs::parse(Some("wait=0&to=a%20b&keep"));
        assert_eq!(pairs.get("to"), Some("a b"));
        assert_eq!(pairs.get("other"), None);
        assert_eq!(pairs.switch("wait"), Ok(Some(false)));
        assert_eq!(pairs.switch("keep"), Ok(Some(true)));
        assert_eq!(QueryPairs::parse(None).switch("wait"), Ok(None));
        assert!(QueryPairs::parse(Some("wait=maybe")).switch("wait").is_err());
    }

    #[test]
    fn more_lines_than_are_kept_are_all_lines() {
        assert_eq!(logs(""), Ok(LogQuery { lines: 100, follow: false }));
        assert_eq!(logs("lines=5000&follow"), Ok(LogQuery { lines: KEPT_LINES, follow: true }));
    }

    #[test]
    fn a_query_for_requests_is_passed_on_as_it_came() {
        let read = |query: &str| RequestsQuery::from_query(&QueryPairs::parse(Some(query)));
        let query = read("limit=7&status=5xx&method=POST&since=2026-03-01T12:00:00Z&follow").unwrap();
        assert!(query.follow && query.limit == 7);
        let pairs: Vec<_> =
            query.to_pairs().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(read(&pairs.join("&")), Ok(query));
        let problem = read("status=many").unwrap_err();
        assert!(problem.detail().contains("a class such as 5xx"), "{}", problem.detail());
    }

    #[test]
    fn a_wrong_query_names_the_parameter() {
        for (query, field, says) in [
            ("lines=many", "lines", "invalid lines \"many\": expected a whole number"),
            ("lines=-1", "lines", "invalid lines"),
            ("follow=maybe", "follow", "expected 0 or 1"),
            ("folow=1", "folow", "did you mean \"follow\"?"),
            ("tail=1", "tail", "unknown query parameter \"tail\": expected lines, follow"),
        ] {
            let problem = logs(query).unwrap_err();
            assert_eq!(problem.member("field"), Some(field), "{query}");
            assert!(problem.detail().contains(says), "{query}: {}", problem.detail());
        }
        let problem = QueryPairs::parse(Some("x")).check(&[]).unwrap_err();
        assert!(problem.detail().contains("no parameter is taken here"), "{}", problem.detail());
    }
}
