//! Who may ask the admin listener: the tokens of `--admin-token-file`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use switchyard_contract::settings_file::read_text;

/// A shorter one could be guessed.
const MIN_LENGTH: usize = 16;

/// The tokens as they were when the file was last read.
#[derive(Debug)]
pub(crate) struct Tokens {
    file: PathBuf,
    /// Of hashes, so that comparing tells nothing of a token's length either.
    hashes: ArcSwap<Vec<[u8; 32]>>,
    /// Hash of a token that is valid besides those of the file.
    generated: OnceLock<[u8; 32]>,
}

impl Tokens {
    /// Reads `file`: one token a line; empty lines and those that begin with `#` are none.
    ///
    /// # Errors
    /// It cannot be read, has no token, or one that is too short: says which line.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let hashes = ArcSwap::from_pointee(read(file)?);
        Ok(Self { file: file.to_owned(), hashes, generated: OnceLock::new() })
    }

    /// Accepts `token` too, which this process has generated. Only the first call has an effect.
    pub(crate) fn accept(&self, token: &str) {
        let _ = self.generated.set(hash(token.as_bytes()));
    }

    /// Reads the file again. Returns how many tokens there are.
    ///
    /// # Errors
    /// As for [`Tokens::read`]; the tokens stay as they were.
    pub(crate) fn read_again(&self) -> Result<usize, String> {
        let hashes = read(&self.file)?;
        let count = hashes.len();
        self.hashes.store(hashes.into());
        Ok(count)
    }

    /// Whether the request has one of the tokens.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|token| self.know(token))
    }

    /// The same, of a request whose token may stand in its query: `token=…`.
    pub(crate) fn admit_query(&self, query: &str) -> bool {
        let token = query.split('&').find_map(|pair| pair.strip_prefix("token="));
        token.is_some_and(|token| self.know(&percent_decode_str(token).collect::<Vec<_>>()))
    }

    /// Compares with all, in the same time whatever is sent.
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

/// RFC 6750, 2.1. The scheme's case does not matter (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

fn read(file: &Path) -> Result<Vec<[u8; 32]>, String> {
    let shown = file.display();
    let text = read_text(file).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let mut hashes = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let token = line.trim();
        if token.is_empty() || token.starts_with('#') {
            continue;
        }
        if token.len() < MIN_LENGTH || !token.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(format!(
                "line {number} of {shown} is no token: use at least {MIN_LENGTH} letters, digits and signs, as \
                 of `openssl rand -hex 32`"
            ));
        }
        hashes.push(hash(token.as_bytes()));
    }
    if hashes.is_empty() { Err(format!("{shown} has no token: write one a line")) } else { Ok(hashes) }
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
    fn every_token_of_the_file_is_let_in_and_nothing_else() {
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
        assert_eq!(tokens.read_again(), Ok(1));
        assert!([ONE, TWO].iter().all(|token| tokens.admit(&headers(&format!("Bearer {token}")))));
    }

    #[test]
    fn a_token_may_stand_in_a_query() {
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
        assert!(Tokens::read(&file).unwrap_err().contains("cannot be read"));
        fs::write(&file, "# none\n").unwrap();
        assert!(Tokens::read(&file).unwrap_err().contains("has no token"));
        fs::write(&file, format!("{ONE}\nshort\n")).unwrap();
        assert!(Tokens::read(&file).unwrap_err().starts_with("line 2 "));
        fs::write(&file, ONE).unwrap();
        let tokens = Tokens::read(&file).unwrap();
        fs::write(&file, "short").unwrap();
        assert!(tokens.read_again().is_err());
        assert!(tokens.admit(&headers(&format!("Bearer {ONE}"))));
        fs::write(&file, TWO).unwrap();
        assert_eq!(tokens.read_again(), Ok(1));
        assert!(!tokens.admit(&headers(&format!("Bearer {ONE}"))));
        assert!(tokens.admit(&headers(&format!("Bearer {TWO}"))));
    }
}
