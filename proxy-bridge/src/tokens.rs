//! Bearer tokens and their permissions, read from a TOML file.
//!
//! ```toml
//! [[token]]
//! name = "ci"                          # shown in records and audit lines
//! token = "4f1c09e2d7b35a86"           # or: sha256 = "<the token's SHA-256 in hex>"
//! projects = ["blog", "shop-*"]
//! actions = ["deploy", "rollback"]     # also: delete, read, sync, publish, run, cancel; "*" for all
//! ```

mod file;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use self::file::{TokenEntry, TokenFault};
use switchyard_contract::deploy::Action;
use switchyard_contract::overview::CallerInfo;
use switchyard_contract::project::ProjectName;
use switchyard_contract::settings_file::read_text;
use switchyard_edge::problem::Problem;
use switchyard_program::settings::InvalidSetting;

/// A shorter token can be guessed.
const MIN_LEN: usize = 16;

/// The sender of a request.
#[derive(Debug, Clone)]
pub struct Caller(Option<Arc<TokenGrant>>);

#[derive(Debug)]
struct TokenGrant {
    name: String,
    /// Hash of the token. The token itself is not kept: hashes have equal lengths, and reveal
    /// nothing if they leak.
    hash: [u8; 32],
    projects: Vec<ProjectPattern>,
    actions: Vec<Action>,
}

/// A project name, or the beginning of one before `*`.
#[derive(Debug, PartialEq, Eq)]
enum ProjectPattern {
    Exactly(String),
    Beginning(String),
}

/// The tokens of a file. Without a file everyone may do everything.
#[derive(Debug)]
pub struct Tokens {
    file: Option<PathBuf>,
    grants: RwLock<Vec<Arc<TokenGrant>>>,
}

impl Tokens {
    /// # Errors
    /// All that is wrong with the file, a line each.
    pub fn open(file: Option<PathBuf>) -> Result<Self, Vec<InvalidSetting>> {
        let grants = file.as_deref().map(read).transpose()?.unwrap_or_default();
        Ok(Self { file, grants: RwLock::new(grants) })
    }

    /// Reads the file again.
    ///
    /// # Errors
    /// All that is wrong with it; the tokens stay as they were.
    pub fn reload(&self) -> Result<usize, Vec<InvalidSetting>> {
        let grants = self.file.as_deref().map(read).transpose()?.unwrap_or_default();
        let count = grants.len();
        *self.grants.write().unwrap_or_else(PoisonError::into_inner) = grants;
        Ok(count)
    }

    /// Returns the sender of a request with these headers.
    ///
    /// # Errors
    /// 401 without a token, or with an unknown one.
    pub fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        if self.file.is_none() {
            return Ok(Caller(None));
        }
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        let given = given.ok_or_else(|| unauthorized("send the header authorization: Bearer <token>"))?;
        let hash: [u8; 32] = Sha256::digest(given).into();
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        // Every token is compared, so that the time does not reveal which one matched.
        let mut found = None;
        for grant in grants.iter() {
            if bool::from(grant.hash.ct_eq(&hash)) {
                found = Some(grant.clone());
            }
        }
        found.map(|grant| Caller(Some(grant))).ok_or_else(|| unauthorized("the token is not known"))
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(detail: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

impl Caller {
    /// The token's name; `None` where there are no tokens.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref().map(|grant| grant.name.as_str())
    }

    /// Returns what the caller may do, and to which projects: all without tokens.
    pub fn info(&self) -> CallerInfo {
        let all = || (vec!["*".to_owned()], Action::ALL.to_vec());
        let granted = |grant: &TokenGrant| {
            (grant.projects.iter().map(ToString::to_string).collect(), grant.actions.clone())
        };
        let (projects, actions) = self.0.as_deref().map_or_else(all, granted);
        CallerInfo { token: self.name().map(str::to_owned), projects, actions }
    }

    /// Returns true if the token allows `action` on `project`.
    pub fn may(&self, action: Action, project: &str) -> bool {
        self.0.as_deref().is_none_or(|grant| {
            grant.actions.contains(&action) && grant.projects.iter().any(|pattern| pattern.covers(project))
        })
    }

    /// Returns true if the token is for `project`, whatever it allows. Others learn no name of it.
    pub fn knows(&self, project: &str) -> bool {
        let covers = |grant: &TokenGrant| grant.projects.iter().any(|pattern| pattern.covers(project));
        self.0.as_deref().is_none_or(covers)
    }

    /// Returns true if the token allows `action` on all projects.
    pub fn may_all(&self, action: Action) -> bool {
        self.0.as_deref().is_none_or(|grant| {
            grant.actions.contains(&action) && grant.projects.iter().any(ProjectPattern::covers_all)
        })
    }

    /// # Errors
    /// 403 when it may not.
    pub fn check_all(&self, action: Action) -> Result<(), Problem> {
        if self.may_all(action) {
            return Ok(());
        }
        let name = self.name().unwrap_or_default();
        let detail = format!(
            "the token {name:?} does not allow {action} of all projects: this needs projects = [\"*\"] in the \
             token file"
        );
        Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail))
    }

    /// # Errors
    /// 403 when it may not.
    pub fn check(&self, action: Action, project: &ProjectName) -> Result<(), Problem> {
        if self.may(action, project.as_str()) {
            return Ok(());
        }
        let name = self.name().unwrap_or_default();
        let detail = format!(
            "the token {name:?} does not allow {action} of {project}: add what is missing to its actions or \
             projects in the token file"
        );
        Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail))
    }
}

impl fmt::Display for ProjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(name) => f.write_str(name),
            Self::Beginning(beginning) => write!(f, "{beginning}*"),
        }
    }
}

impl ProjectPattern {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('*') {
            Some(beginning) => (!beginning.contains('*')).then(|| Self::Beginning(beginning.to_owned())),
            None => ProjectName::parse(text).ok().map(|name| Self::Exactly(name.to_string())),
        }
    }

    fn covers_all(&self) -> bool {
        matches!(self, Self::Beginning(beginning) if beginning.is_empty())
    }

    fn covers(&self, project: &str) -> bool {
        match self {
            Self::Exactly(name) => name == project,
            Self::Beginning(beginning) => project.starts_with(beginning),
        }
    }
}

fn read(path: &Path) -> Result<Vec<Arc<TokenGrant>>, Vec<InvalidSetting>> {
    let text =
        read_text(path).map_err(|error| vec![InvalidSetting(format!("{}: {error}", path.display()))])?;
    let in_file = |faults: Vec<TokenFault>| -> Vec<InvalidSetting> {
        faults.iter().map(|fault| InvalidSetting(format!("{}:{fault}", path.display()))).collect()
    };
    let entries = file::entries(&text).map_err(in_file)?;
    let mut problems = Vec::new();
    if entries.is_empty() {
        problems.push("has no [[token]], so that no request would be allowed: add one".to_owned());
    }
    let mut grants: Vec<Arc<TokenGrant>> = Vec::new();
    for entry in &entries {
        match entry.grant() {
            Ok(grant) if grants.iter().any(|other| other.name == grant.name) => {
                problems.push(format!("token {:?}: another token has the same name", grant.name));
            }
            Ok(grant) if grants.iter().any(|other| other.hash == grant.hash) => {
                problems.push(format!("token {:?}: another token has the same value", grant.name));
            }
            Ok(grant) => grants.push(Arc::new(grant)),
            Err(wrong) => problems.extend(wrong.iter().map(|what| format!("token {:?}: {what}", entry.name))),
        }
    }
    if problems.is_empty() {
        Ok(grants)
    } else {
        Err(problems.iter().map(|what| InvalidSetting(format!("{}: {what}", path.display()))).collect())
    }
}

impl TokenEntry {
    fn grant(&self) -> Result<TokenGrant, Vec<TokenFault>> {
        let mut problems = Vec::new();
        let hash = self.hash().map_err(|fault| problems.push(fault)).ok();
        if self.name.is_empty() || self.name.len() > 64 {
            problems.push(TokenFault("name must have 1 to 64 characters".to_owned()));
        }
        let mut projects = Vec::new();
        for text in &self.projects {
            match ProjectPattern::parse(text) {
                Some(pattern) => projects.push(pattern),
                None => problems.push(TokenFault(format!(
                    "projects: invalid pattern {text:?}: expected a project name, or the beginning \
                     of one and *"
                ))),
            }
        }
        let mut actions = Vec::new();
        for text in &self.actions {
            let known = Action::ALL.into_iter().find(|action| action.as_str() == text);
            match (known, text.as_str()) {
                (Some(action), _) => actions.push(action),
                (None, "*") => actions.extend(Action::ALL),
                (None, _) => problems.push(TokenFault(format!(
                    "actions: invalid action {text:?}: expected deploy, rollback, delete, read, sync, publish, \
                     run, cancel or *"
                ))),
            }
        }
        match hash {
            Some(hash) if problems.is_empty() => {
                Ok(TokenGrant { name: self.name.clone(), hash, projects, actions })
            }
            _ => Err(problems),
        }
    }

    fn hash(&self) -> Result<[u8; 32], TokenFault> {
        match (&self.token, &self.sha256) {
            (Some(token), None) if token.len() < MIN_LEN || !token.bytes().all(|c| c.is_ascii_graphic()) => {
                Err(TokenFault(format!(
                    "token must be at least {MIN_LEN} letters, digits and signs without spaces, as \
                     `openssl rand -hex 32` prints them"
                )))
            }
            (Some(token), None) => Ok(Sha256::digest(token).into()),
            (None, Some(hex)) => hex
                .parse::<switchyard_contract::digest::Digest>()
                .map(|digest| *digest.as_bytes())
                .map_err(|_| TokenFault("sha256 must have 64 lower-case hex digits".to_owned())),
            _ => Err(TokenFault("give either token or sha256".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tokens(text: &str) -> Result<Tokens, Vec<InvalidSetting>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.toml");
        fs::write(&path, text).unwrap();
        Tokens::open(Some(path))
    }

    fn with(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        headers
    }

    const CI: &str = r#"
        [[token]]
        name = "ci"
        token = "correct-horse-battery"
        projects = ["blog", "shop-*"]
        actions = ["deploy", "read"]
    "#;

    #[test]
    fn a_token_is_for_its_projects_and_actions() {
        let caller = tokens(CI).unwrap().caller(&with("correct-horse-battery")).unwrap();
        assert_eq!(caller.name(), Some("ci"));
        assert!(caller.may(Action::Deploy, "blog") && caller.may(Action::Read, "shop-1"));
        assert!(!caller.may(Action::Deploy, "blog2") && !caller.may(Action::Delete, "blog"));
        assert!(caller.knows("blog") && !caller.knows("blog2") && !caller.may_all(Action::Read));
        let refused = caller.check(Action::Delete, &ProjectName::parse("blog").unwrap()).unwrap_err();
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }

    #[test]
    fn no_token_and_an_unknown_one_are_refused() {
        let tokens = tokens(CI).unwrap();
        for headers in [HeaderMap::new(), with("wrong-horse-battery")] {
            assert_eq!(tokens.caller(&headers).unwrap_err().status, StatusCode::UNAUTHORIZED);
        }
    }

    #[test]
    fn a_token_can_be_given_by_its_hash() {
        let hash = switchyard_contract::digest::Digest::from(<[u8; 32]>::from(Sha256::digest(
            "a-secret-of-some-length",
        )));
        let text =
            format!("[[token]]\nname = \"x\"\nsha256 = \"{hash}\"\nprojects = [\"*\"]\nactions = [\"*\"]");
        let caller = tokens(&text).unwrap().caller(&with("a-secret-of-some-length")).unwrap();
        assert!(caller.may(Action::Delete, "anything"));
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        let text = r#"
            [[token]]
            name = "a"
            token = "short"
            projects = ["No Name"]
            actions = ["fly"]
        "#;
        let problems = tokens(text).unwrap_err();
        for what in ["at least 16", "No Name", "fly"] {
            assert!(problems.iter().any(|problem| problem.0.contains(what)), "{what}: {problems:?}");
        }
        assert!(tokens("").unwrap_err()[0].0.contains("[[token]]"));
        assert!(tokens("[[token]]\nnmae = 1").is_err());
    }

    #[test]
    fn a_token_that_the_commands_cannot_send_is_refused() {
        for token in
            ["at least 16 characters", " 0123456789abcdef", "0123456789abcdef\\n", "0123456789abcdé-0123"]
        {
            let text = CI.replace("correct-horse-battery", token);
            let problems = tokens(&text).unwrap_err();
            assert!(problems[0].0.contains("without spaces"), "{token}: {problems:?}");
            assert!(!problems[0].0.contains(token), "a token is shown: {problems:?}");
        }
    }

    #[test]
    fn a_wrong_file_leaves_the_tokens_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.toml");
        fs::write(&path, CI).unwrap();
        let tokens = Tokens::open(Some(path.clone())).unwrap();
        fs::write(&path, "[[token]]").unwrap();
        assert!(tokens.reload().is_err());
        assert!(tokens.caller(&with("correct-horse-battery")).is_ok());
        fs::write(&path, CI.replace("correct", "another")).unwrap();
        assert_eq!(tokens.reload(), Ok(1));
        assert!(tokens.caller(&with("correct-horse-battery")).is_err());
    }
}
