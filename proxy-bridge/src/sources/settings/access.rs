//! The parts of a source that have to do with trust: credential, webhook, signers, other
//! repositories.

use std::path::PathBuf;

use super::WebhookSettings;
use super::reader::{Reader, Table};
use crate::git::{Credential, GitUrl, Scheme};

const SHAPE: &str = "a table, as in { username = \"…\", password = { from_file = \"PATH\" } }";

const CREDENTIAL_KEYS: [&str; 4] = ["username", "password", "ssh_key", "known_hosts"];

const EITHER: &str = "give either username and password, or ssh_key and known_hosts";

const FOR_SSH: &str = "an ssh URL needs credential = { ssh_key = \"PATH\", known_hosts = \"PATH\" }";
const FOR_HTTPS: &str =
    "an https URL needs credential = { username = \"…\", password = { from_file = \"PATH\" } }";

/// The fixes of keys that are missing.
const SECRET: &str = "it is { from_file = \"PATH\" }";
const USERS: &str = "x-access-token for GitHub, oauth2 for GitLab, else the token's user";
const KINDS: &str = "one of github, gitlab, gitea, forgejo, bitbucket, azure, standard";
const HOST_KEYS: &str = "name a file with the server's key, as `ssh-keyscan HOST` prints it, and compare it \
                         with the one that the server's operator publishes";

/// Longest user name, in bytes.
const MAX_USER: usize = 256;

/// The fix of a path that ssh would read otherwise than it is written.
const SPECIAL: &str = "ssh cannot be given a path with spaces, quotes, %, ~, $ or \\: move the file";

fn is_special(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '%' | '~' | '$' | '\\')
}

impl Reader<'_> {
    pub(super) fn credential(&mut self, table: &Table<'_>, url: Option<&GitUrl>) -> Option<Credential> {
        let scheme = url.map(GitUrl::scheme);
        let Some(field) = table.get("credential") else {
            if scheme == Some(Scheme::Ssh) {
                self.missing(table, "credential", FOR_SSH);
            }
            return None;
        };
        let table = self.table(&field, &CREDENTIAL_KEYS, SHAPE)?;
        let has = |keys: [&str; 2]| keys.iter().any(|key| table.get(key).is_some());
        match (has(["username", "password"]), has(["ssh_key", "known_hosts"]), scheme) {
            (_, _, Some(Scheme::File | Scheme::Git)) => {
                self.wrong(&field, "the transport of the URL takes no credential: take it out");
            }
            (_, true, Some(Scheme::Https | Scheme::Http)) => self.wrong(&field, FOR_HTTPS),
            (true, _, Some(Scheme::Ssh)) => self.wrong(&field, FOR_SSH),
            (true, true, _) => self.wrong(&field, EITHER),
            (false, true, _) => return self.key(&table),
            (true, false, _) => return self.password(&table),
            (false, false, _) => self.wrong(&field, "is empty: take it out, or fill it in"),
        }
        None
    }

    fn password(&mut self, table: &Table<'_>) -> Option<Credential> {
        let username = self.required(table, "username", USERS, |reader, field| {
            reader.parsed(field, |text| {
                let valid = (1..=MAX_USER).contains(&text.len()) && !text.contains([':', '\n', '\r', '\0']);
                let wrong = "must have 1 to 256 characters, and no colon or line break";
                valid.then(|| text.to_owned()).ok_or(wrong)
            })
        });
        let file = self.required(table, "password", SECRET, Self::secret);
        Some(Credential::Password { username: username?, file: file? })
    }

    fn key(&mut self, table: &Table<'_>) -> Option<Credential> {
        let key = self.required(table, "ssh_key", "name the file of the private key", Self::private_file);
        let known_hosts = self.required(table, "known_hosts", HOST_KEYS, Self::file);
        for (name, path) in [("ssh_key", &key), ("known_hosts", &known_hosts)] {
            let is_plain = |path: &PathBuf| path.to_str().is_some_and(|path| !path.contains(is_special));
            if let (Some(field), Some(path)) = (table.get(name), path)
                && !is_plain(path)
            {
                self.wrong(&field, SPECIAL);
            }
        }
        Some(Credential::SshKey { key: key?, known_hosts: known_hosts? })
    }

    pub(super) fn webhook(&mut self, table: &Table<'_>) -> Option<WebhookSettings> {
        let field = table.get("webhook")?;
        let shape = "a table, as in { kind = \"github\", secret = { from_file = \"PATH\" } }";
        let table = self.table(&field, &["kind", "secret"], shape)?;
        let kind = self.required(&table, "kind", KINDS, |reader, field| reader.parsed(field, str::parse));
        let secret = self.required(&table, "secret", SECRET, Self::secret);
        Some(WebhookSettings { kind: kind?, secret: secret? })
    }

    pub(super) fn verify(&mut self, table: &Table<'_>) -> Option<PathBuf> {
        let field = table.get("verify")?;
        let table = self.table(&field, &["signers"], "a table, as in { signers = \"PATH\" }")?;
        self.required(&table, "signers", "name the file of allowed signers (ssh-keygen(1))", Self::file)
    }

    /// Reads the repositories that this one may lead to: URLs, or their beginning before `/*`.
    pub(super) fn allow(&mut self, table: &Table<'_>, insecure: bool) -> Vec<String> {
        let Some(field) = table.get("allow") else { return Vec::new() };
        let mut allow = Vec::new();
        for field in self.list(&field, "a list of URLs, as in [\"https://github.com/acme/*\"]") {
            let Some(text) = self.string(&field) else { continue };
            let folder = text.strip_suffix('*');
            if folder.is_some_and(|folder| !folder.ends_with('/')) || folder.unwrap_or(text).contains('*') {
                self.wrong(
                    &field,
                    "may have one *, at its end and after a /, as in \"https://github.com/acme/*\"",
                );
                continue;
            }
            match self.repository(text, insecure) {
                Ok(_) => allow.push(text.to_owned()),
                Err(error) => self.wrong(&field, error),
            }
        }
        allow
    }
}
