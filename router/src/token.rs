//! The tokens that Supabase's gateway requires in requests to functions: JSON Web Tokens (RFC 7519), signed with the
//! project's shared secret (HS256).

use std::collections::BTreeMap;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::Sha256;
use switchyard_contract::event::Diagnostic;
use switchyard_contract::project::ProjectName;

use crate::project::diagnostic;

/// The variables of the policy that hold the secret: the name in the self-hosted stack, and that of Supabase's tools.
const SECRETS: [&str; 2] = ["JWT_SECRET", "SUPABASE_JWT_SECRET"];

/// The variable of the self-hosted stack that turns verification on.
const VERIFY: &str = "VERIFY_JWT";

/// The verifier of tokens in requests to one project.
#[derive(Clone)]
pub(crate) struct TokenVerifier(Hmac<Sha256>);

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenVerifier")
    }
}

#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    /// Extensions that a verifier must support (RFC 7515, 4.1.11). None is supported here.
    crit: Option<IgnoredAny>,
}

/// The claims of a token. Times are in seconds since 1970.
#[derive(Deserialize)]
struct TokenClaims {
    exp: Option<f64>,
    nbf: Option<f64>,
}

/// The reason why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unauthorized {
    Missing,
    Invalid,
    Expired,
}

impl TokenVerifier {
    /// Returns the verifier of a function. `configured` is its `verify_jwt`, `before` that of the live version, `env` its
    /// variables in the policy. `None`: requests need no token.
    ///
    /// # Errors
    /// Tokens have to be verified and there is no secret, or the configuration that required them is gone.
    pub(crate) fn of(
        project: &ProjectName,
        configured: Option<bool>,
        before: Option<bool>,
        env: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, Diagnostic> {
        if configured.is_none() && before == Some(true) && !env.contains_key(VERIFY) {
            return Err(diagnostic(format!(
                "Supabase's config.toml required a token for this function and does not exist any more: restore it with the \
                 intended verify_jwt in [functions.{project}], or set {VERIFY} to \"true\" or \
                 \"false\" in [projects.{project}.env] or [defaults.env] of the policy"
            )));
        }
        let by_environment = || env.get(VERIFY).is_some_and(|value| value == "true");
        if !configured.unwrap_or_else(by_environment) {
            return Ok(None);
        }
        let secret = SECRETS.iter().find_map(|name| env.get(*name)).filter(|secret| !secret.is_empty());
        let secret = secret.ok_or_else(|| {
            diagnostic(format!(
                "requests to this function need a token (verify_jwt of [functions.{project}] in Supabase's config.toml, true \
                 by default), and the policy has no secret to verify it with: set {} in \
                 [projects.{project}.env] or [defaults.env] of the policy, or verify_jwt = false",
                SECRETS[0]
            ))
        })?;
        Ok(Some(Self(Hmac::new_from_slice(secret.as_bytes()).expect("a key of any length is taken"))))
    }

    /// Checks the token of a request. A preflight request (OPTIONS) needs none.
    ///
    /// # Errors
    /// The request has no token that is valid now.
    pub(crate) fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Unauthorized> {
        if method == Method::OPTIONS {
            return Ok(());
        }
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(Unauthorized::Missing)?;
        if values.next().is_some() {
            // The function could read another token than the one verified here.
            return Err(Unauthorized::Invalid);
        }
        let value = value.to_str().map_err(|_| Unauthorized::Invalid)?;
        let (scheme, token) = value.split_once(' ').ok_or(Unauthorized::Invalid)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Unauthorized::Invalid);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.verify(token.trim(), now)
    }

    /// Verifies a token at `now`, in seconds since 1970.
    fn verify(&self, token: &str, now: f64) -> Result<(), Unauthorized> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Unauthorized::Invalid)?;
        let (header, claims) = signed.split_once('.').ok_or(Unauthorized::Invalid)?;
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| Unauthorized::Invalid);
        let header: TokenHeader =
            serde_json::from_slice(&decode(header)?).map_err(|_| Unauthorized::Invalid)?;
        if header.alg != "HS256" || header.crit.is_some() {
            return Err(Unauthorized::Invalid);
        }
        let mac = self.0.clone().chain_update(signed);
        // Compares in constant time.
        mac.verify_slice(&decode(signature)?).map_err(|_| Unauthorized::Invalid)?;
        let claims: TokenClaims =
            serde_json::from_slice(&decode(claims)?).map_err(|_| Unauthorized::Invalid)?;
        if claims.exp.is_some_and(|end| end <= now) {
            return Err(Unauthorized::Expired);
        }
        if claims.nbf.is_some_and(|begin| begin > now) {
            return Err(Unauthorized::Invalid);
        }
        Ok(())
    }
}

impl Unauthorized {
    /// Returns the reason as text.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::Missing => "the request has no token: send the header Authorization: Bearer TOKEN",
            Self::Invalid => {
                "the token in the header Authorization is not a JSON Web Token (HS256) that was signed with the \
                 project's secret, or it is not valid yet"
            }
            Self::Expired => "the token in the header Authorization has expired",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first example of RFC 7515 (A.1) with its key, whose token is valid until 1300819380.
    const TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const KEY: &str =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

    fn verifier() -> TokenVerifier {
        let key = BASE64_URL_SAFE_NO_PAD.decode(KEY).unwrap();
        TokenVerifier(Hmac::new_from_slice(&key).unwrap())
    }

    #[test]
    fn the_example_of_the_standard_is_valid_until_it_expires() {
        assert_eq!(verifier().verify(TOKEN, 1_300_819_379.0), Ok(()));
        assert_eq!(verifier().verify(TOKEN, 1_300_819_380.0), Err(Unauthorized::Expired));
    }

    #[test]
    fn a_token_with_another_signature_is_refused() {
        let (signed, signature) = TOKEN.rsplit_once('.').unwrap();
        let none = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let (_, claims) = signed.split_once('.').unwrap();
        for token in [
            "",
            ".",
            "..",
            signed,
            &format!("{signed}."),
            &format!("{none}.{claims}."),
            &format!("{none}.{claims}.{signature}"),
            &format!("{signed}.{}", signature.replace('d', "e")),
            &format!("{signed}x.{signature}"),
        ] {
            assert_eq!(verifier().verify(token, 0.0), Err(Unauthorized::Invalid), "{token}");
        }
    }

    #[test]
    fn a_secret_is_required_where_tokens_are_verified() {
        let name = ProjectName::parse("hello").unwrap();
        let env = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let of = |configured, pairs: &[(&str, &str)]| {
            TokenVerifier::of(&name, configured, None, &env(pairs)).map(|verifier| verifier.is_some())
        };
        assert_eq!(of(None, &[]), Ok(false));
        assert_eq!(of(None, &[("VERIFY_JWT", "true"), ("JWT_SECRET", "x")]), Ok(true));
        assert_eq!(of(Some(false), &[("VERIFY_JWT", "true")]), Ok(false));
        assert_eq!(of(Some(true), &[("SUPABASE_JWT_SECRET", "x")]), Ok(true));
        let error = of(Some(true), &[("JWT_SECRET", "")]).unwrap_err().message;
        assert!(error.contains("verify_jwt") && error.contains("[projects.hello.env]"), "{error}");
    }

    #[test]
    fn tokens_stay_required_when_the_configuration_that_required_them_is_gone() {
        let name = ProjectName::parse("hello").unwrap();
        let of = |before, pairs: &[(&str, &str)]| {
            let env = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            TokenVerifier::of(&name, None, before, &env).map(|verifier| verifier.is_some())
        };
        assert!(of(Some(true), &[("JWT_SECRET", "x")]).unwrap_err().message.contains("VERIFY_JWT"));
        assert_eq!(of(Some(true), &[("VERIFY_JWT", "true"), ("JWT_SECRET", "x")]), Ok(true));
        assert_eq!(of(Some(true), &[("VERIFY_JWT", "false")]), Ok(false));
        assert_eq!(of(Some(false), &[]), Ok(false));
    }

    #[test]
    fn only_questions_of_browsers_need_no_token() {
        let none = HeaderMap::new();
        assert_eq!(verifier().check(&Method::OPTIONS, &none), Ok(()));
        assert_eq!(verifier().check(&Method::GET, &none), Err(Unauthorized::Missing));
        for value in ["Basic eDp5", "Bearer", "Bearer x"] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            assert_eq!(verifier().check(&Method::GET, &headers), Err(Unauthorized::Invalid), "{value}");
        }
        let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("bearer {TOKEN}").parse().unwrap())]);
        assert_eq!(verifier().check(&Method::GET, &headers), Err(Unauthorized::Expired));
        let mut twice = headers.clone();
        twice.append(AUTHORIZATION, "Bearer x".parse().unwrap());
        assert_eq!(verifier().check(&Method::GET, &twice), Err(Unauthorized::Invalid));
    }
}
