//! The tokens that admin requests need: `--admin-token-file`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use switchyard_contract::settings_file::read_text;

/// The shortest token in bytes. A shorter one could be guessed.
const MIN_LENGTH: usize = 16;

/// The tokens of the file when it was last read.
#[derive(Debug)]
pub(crate) struct Tokens {
    file: PathBuf,
    /// SHA-256 of each token, so that the time of a comparison does not depend on a token's length.
    hashes: ArcSwap<Vec<[u8; 32]>>,
    /// Hash of a token that is valid besides those of the file.
    generated: OnceLock<[u8; 32]>,
}

/// The reason why a file of tokens is not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenFileError {
    #[error("{} cannot be read: {source}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error(
        "line {line} of {} is not a token: expected at least {MIN_LENGTH} letters, digits and signs, such as \
         `openssl rand -hex 32` prints", file.display()
    )]
    Invalid { file: PathBuf, line: usize },
    #[error("{} has no token: write one per line", .0.display())]
    Empty(PathBuf),
}

impl Tokens {
    /// Reads `file`: one token per line. Empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// The file cannot be read, has no token, or an invalid one.
    pub(crate) fn read(file: &Path) -> Result<Self, TokenFileError> {
        let hashes = ArcSwap::from_pointee(read(file)?);
        Ok(Self { file: file.to_owned(), hashes, generated: OnceLock::new() })
    }

    /// Accepts `token` too, which this process has generated. Only the first call has an effect.
    pub(crate) fn accept(&self, token: &str) {
        let _ = self.generated.set(hash(token.as_bytes()));
    }

    /// Reads the file again. Returns the number of tokens.
    ///
    /// # Errors
    /// As [`Tokens::read`]. The tokens stay as they were.
    pub(crate) fn read_again(&self) -> Result<usize, TokenFileError> {
        let hashes = read(&self.file)?;
        let count = hashes.len();
        self.hashes.store(hashes.into());
        Ok(count)
    }

    /// Returns true if the request has one of the tokens as bearer token.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|token| self.know(token))
    }

    /// Returns true if the query has one of the tokens: `token=…`.
    pub(crate) fn admit_query(&self, query: &str) -> bool {
        let token = query.split('&').find_map(|pair| pair.strip_prefix("token="));
        token.is_some_and(|token| self.know(&percent_decode_str(token).collect::<Vec<_>>()))
    }

    /// Compares a token with all, in a time that does not depend on it.
    fn know(&self, token: &[u8]) -> bool {
        let sent = hash(token);
        let hashes = self.hashes.load();
        let same = hashes
            .iter()
            .chain(self.generated.get())
            .fold(Choice::from(0), |found, known| found | known.ct_eq(&sent));
        same.into()
    }
}

/// Returns the bearer token (RFC 6750, 2.1). The scheme's case does not matter (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

fn read(file: &Path) -> Result<Vec<[u8; 32]>, TokenFileError> {
    let text =
        read_text(file).map_err(|source| TokenFileError::Unreadable { file: file.to_owned(), source })?;
    let mut hashes = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let token = text.trim();
        if token.is_empty() || token.starts_with('#') {
            continue;
        }
        if token.len() < MIN_LENGTH || !token.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(TokenFileError::Invalid { file: file.to_owned(), line });
        }
        hashes.push(hash(token.as_bytes()));
    }
    if hashes.is_empty() { Err(TokenFileError::Empty(file.to_owned())) } else { Ok(hashes) }
}

fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ONE: &str = "0123456789abcdef";
    const TWO: &str = "fedcba9876543210";

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn every_token_of_the_file_is_admitted_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tokens");
        fs::write(&file, format!("# bridge\n{ONE}\n\n  {TWO}  \n")).unwrap();
        let tokens = Tokens::read(&file).unwrap();
        for good in [format!("Bearer {ONE}"), format!("bearer {TWO}")] {
            assert!(tokens.admit(&headers(&good)), "{good}");
        }
        for bad in ["Bearer", "Bearer ", "Basic x", ONE, "Bearer # bridge", "Bearer 0123456789abcde"] {
            assert!(!tokens.admit(&headers(bad)), "{bad}");
        }
        assert!(!tokens.admit(&HeaderMap::new()));
    }

    #[test]
    fn a_generated_token_is_let_in_besides_those_of_the_file_however_often_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tokens");
        fs::write(&file, ONE).unwrap();
        let tokens = Tokens::read(&file).unwrap();
        tokens.accept(TWO);
        assert_eq!(tokens.read_again().unwrap(), 1);
        assert!([ONE, TWO].iter().all(|token| tokens.admit(&headers(&format!("Bearer {token}")))));
    }

    #[test]
    fn a_token_may_be_in_a_query() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tokens");
        fs::write(&file, "with&a%sign-0123456789\n").unwrap();
        let tokens = Tokens::read(&file).unwrap();
        assert!(tokens.admit_query("x=1&token=with%26a%25sign-0123456789"));
        for bad in ["", "token=", "token=with", "xtoken=with%26a%25sign-0123456789"] {
            assert!(!tokens.admit_query(bad), "{bad}");
        }
    }

    #[test]
    fn a_wrong_file_says_where_and_changes_nothing_when_it_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tokens");
        assert!(Tokens::read(&file).unwrap_err().to_string().contains("cannot be read"));
        fs::write(&file, "# none\n").unwrap();
        assert!(Tokens::read(&file).unwrap_err().to_string().contains("has no token"));
        fs::write(&file, format!("{ONE}\nshort\n")).unwrap();
        assert!(Tokens::read(&file).unwrap_err().to_string().starts_with("line 2 "));
        fs::write(&file, ONE).unwrap();
        let tokens = Tokens::read(&file).unwrap();
        fs::write(&file, "short").unwrap();
        assert!(tokens.read_again().is_err());
        assert!(tokens.admit(&headers(&format!("Bearer {ONE}"))));
        fs::write(&file, TWO).unwrap();
        assert_eq!(tokens.read_again().unwrap(), 1);
        assert!(!tokens.admit(&headers(&format!("Bearer {ONE}"))));
        assert!(tokens.admit(&headers(&format!("Bearer {TWO}"))));
    }
}
