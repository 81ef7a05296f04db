//! The token file as text: TOML, walked by hand. No message shows a value, which may be a token.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use switchyard_contract::suggest::did_you_mean;
use switchyard_program::position::line_and_column;

const KEYS: [&str; 5] = ["name", "token", "sha256", "projects", "actions"];

/// One `[[token]]`, as it was written.
#[derive(Debug, Default)]
pub(super) struct TokenEntry {
    pub(super) name: String,
    pub(super) token: Option<String>,
    pub(super) sha256: Option<String>,
    pub(super) projects: Vec<String>,
    pub(super) actions: Vec<String>,
}

/// A fault in the file or in one of its entries. Never shows a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct TokenFault(pub(super) String);

/// The entries in the file's text.
///
/// # Errors
/// All that is wrong with it, each with its line and column.
pub(super) fn entries(text: &str) -> Result<Vec<TokenEntry>, Vec<TokenFault>> {
    let mut reader = Reader { text, problems: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        reader.problem(error.span().unwrap_or_default(), error.message());
    }
    if reader.problems.is_empty() {
        let entries = reader.document(document.get_ref());
        if reader.problems.is_empty() {
            return Ok(entries);
        }
    }
    Err(reader.problems)
}

struct Reader<'a> {
    text: &'a str,
    problems: Vec<TokenFault>,
}

impl Reader<'_> {
    fn document(&mut self, document: &DeTable<'_>) -> Vec<TokenEntry> {
        let mut entries = Vec::new();
        for (key, value) in document.iter() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("token", DeValue::Array(tokens)) => {
                    entries.extend(tokens.iter().map(|token| self.entry(token)));
                }
                ("token", _) => self.problem(value.span(), "token must be a list of tables: [[token]]"),
                (unknown, _) => self.unknown(key.span(), unknown, &["token"]),
            }
        }
        entries
    }

    fn entry(&mut self, token: &Spanned<DeValue<'_>>) -> TokenEntry {
        let mut entry = TokenEntry::default();
        let Some(table) = token.get_ref().as_table() else {
            self.problem(token.span(), "token must be a table: [[token]]");
            return entry;
        };
        for required in ["name", "projects", "actions"] {
            if !table.iter().any(|(key, _)| key.get_ref() == required) {
                self.problem(token.span(), &format!("{required} is missing"));
            }
        }
        for (key, value) in table.iter() {
            match key.get_ref().as_ref() {
                "name" => entry.name = self.string("name", value).unwrap_or_default(),
                "token" => entry.token = self.string("token", value),
                "sha256" => entry.sha256 = self.string("sha256", value),
                "projects" => entry.projects = self.strings("projects", value),
                "actions" => entry.actions = self.strings("actions", value),
                unknown => self.unknown(key.span(), unknown, &KEYS),
            }
        }
        entry
    }

    fn string(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.problem(value.span(), &format!("{key} must be a string"));
        }
        text
    }

    fn strings(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<String> {
        let listed = value.get_ref().as_array().and_then(|listed| {
            listed.iter().map(|one| one.get_ref().as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        if listed.is_none() {
            self.problem(value.span(), &format!("{key} must be a list of strings"));
        }
        listed.unwrap_or_default()
    }

    /// Reports an unknown key. The key is shown only if it is a misspelling: another one may be a
    /// misplaced token.
    fn unknown(&mut self, at: Range<usize>, key: &str, known: &[&str]) {
        let hint = did_you_mean(key, known);
        let shown = if hint.is_empty() { String::new() } else { format!(" {key:?}") };
        self.problem(at, &format!("unknown key{shown}: expected one of {}{hint}", known.join(", ")));
    }

    fn problem(&mut self, at: Range<usize>, what: &str) {
        let (line, column) = line_and_column(self.text, at.start);
        self.problems.push(TokenFault(format!("{line}:{column}: {what}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_values_are_reported_by_location_and_never_shown() {
        for (text, says) in [
            ("[[token]]\nnmae = \"x\"\nname=\"x\"\nprojects=[]\nactions=[]", "2:1: unknown key \"nmae\""),
            ("0123456789SECRET = \"ci\"", "unknown key: expected one of token"),
            ("[[tokens]]\nname = \"x\"", "did you mean \"token\"?"),
            ("[[token]]\nname=\"x\"\nactions=[]", "1:1: projects is missing"),
            ("[[token]]\nname=\"x\"\nprojects=[]\nactions=[]\ntoken = 7070707070707070", "5:9: token must"),
            ("[[token]]\nname=\"x\"\nprojects=\"hunter2\"\nactions=[]", "3:10: projects must be a list"),
            ("[[token]]\ntoken = hunter2", "2:9: "),
            ("token = \"hunter2\"", "must be a list of tables"),
        ] {
            let problems =
                entries(text).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            assert!(problems.contains(says), "{says:?} is not in {problems}");
            for secret in ["hunter2", "7070", "SECRET"] {
                assert!(!problems.contains(secret), "{problems}");
            }
        }
    }
}
