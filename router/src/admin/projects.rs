//! `GET /projects` and `GET /projects/{name}`: what is known of projects, and what has changed.

use http::StatusCode;
use switchyard_contract::admin::Projects;

use super::answer::{Answer, json};
use super::deploys::bad_request;
use super::{Admin, unknown};
use crate::live::BoardChanges;

impl Admin {
    pub(super) fn projects(&self, query: &str) -> Answer {
        let since = match Since::parse(query) {
            Ok(since) => since,
            Err(wrong) => return bad_request(&wrong),
        };
        let router = self.events.router().to_owned();
        let BoardChanges { revision, since, projects, removed } = self.board.changed(since.at(&router));
        let installs = self.installs;
        json(StatusCode::OK, &Projects { router, installs, revision, since, projects, removed })
    }

    pub(super) fn project(&self, name: &str) -> Answer {
        match self.board.one(name) {
            Some(status) => json(StatusCode::OK, &status),
            None => unknown(name),
        }
    }
}

/// `since=17&router=8f0c…`
#[derive(Debug, Default, PartialEq)]
struct Since<'q> {
    revision: Option<u64>,
    router: Option<&'q str>,
}

impl<'q> Since<'q> {
    fn parse(text: &'q str) -> Result<Self, String> {
        let mut since = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("since", value) => {
                    let revision = value.parse().map_err(|_| {
                        format!("since={value} is not a revision: use the \"revision\" of an earlier answer")
                    })?;
                    since.revision = Some(revision);
                }
                ("router", value) => since.router = Some(value),
                (name, _) => return Err(format!("{name:?} is unknown: use since=REVISION and router=ID")),
            }
        }
        match since {
            Self { revision: Some(_), router: None } | Self { revision: None, router: Some(_) } => {
                Err("since and router go together: use both from one earlier answer".to_owned())
            }
            since => Ok(since),
        }
    }

    /// The revision, unless it is another router's.
    fn at(&self, router: &str) -> Option<u64> {
        self.revision.filter(|_| self.router == Some(router))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_counts_only_at_the_router_that_it_came_from() {
        let since = Since::parse("since=17&router=r1").unwrap();
        assert_eq!((since.at("r1"), since.at("r2")), (Some(17), None));
        assert_eq!(Since::parse("").unwrap().at("r1"), None);
    }

    #[test]
    fn a_wrong_question_says_which_field_is_wrong() {
        for (query, says) in [
            ("since=x&router=r1", "since=x is not a revision"),
            ("since=-1&router=r1", "since=-1 is not a revision"),
            ("since=1", "go together"),
            ("router=r1", "go together"),
            ("from=1", "\"from\" is unknown"),
        ] {
            let wrong = Since::parse(query).unwrap_err();
            assert!(wrong.contains(says), "{query}: {wrong}");
        }
    }
}
