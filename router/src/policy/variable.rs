//! Names of variables of the environment: which there may be, and whose they are.

use std::fmt;
use std::str::FromStr;

/// A value, or a secret's file: the most that programs are given in a variable in practice, and little enough for
/// hundreds of cells.
pub(super) const MAX_VALUE: usize = 64 << 10;

/// What every cell is given by the router.
pub(super) const GIVEN: [&str; 6] =
    ["DATA_DIR", "NODE_ENV", "PORT", "SWITCHYARD_PROJECT", "SWITCHYARD_VERSION", "TMPDIR"];

/// The router's, Deno's and Node's own; and what the C library itself does not take from whoever starts a program that has
/// more rights than they (glibc, `unsecvars.h`).
const RESERVED: [&str; 16] = [
    "DATA_DIR",
    "GCONV_PATH",
    "GETCONF_DIR",
    "GLIBC_TUNABLES",
    "HOSTALIASES",
    "LOCALDOMAIN",
    "LOCPATH",
    "MALLOC_TRACE",
    "NIS_PATH",
    "NLSPATH",
    "NODE_CHANNEL_FD",
    "NODE_OPTIONS",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "TMPDIR",
    "TZDIR",
];

const RESERVED_PREFIXES: [&str; 3] = ["DENO_", "LD_", "SWITCHYARD_"];

/// Those of Deno's that change nothing but the project's own program: docs/deno.md says what they do.
const NOT_RESERVED: [&str; 7] = [
    "DENO_CERT",
    "DENO_COMPAT",
    "DENO_CONDITIONS",
    "DENO_DEPLOYMENT_ID",
    "DENO_KV_ACCESS_TOKEN",
    "DENO_REGION",
    "DENO_SERVE_AUTOMATIC_COMPRESSION",
];

/// A name, or all that begin alike (`AWS_*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    name: String,
    is_prefix: bool,
}

impl Names {
    pub(super) fn covers(&self, name: &str) -> bool {
        if self.is_prefix { name.starts_with(&self.name) } else { name == self.name }
    }

    /// The one name that it is.
    pub(super) fn one(&self) -> Option<&str> {
        (!self.is_prefix).then_some(&self.name)
    }
}

impl FromStr for Names {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, is_prefix) = text.strip_suffix('*').map_or((text, false), |prefix| (prefix, true));
        let is_right = if is_prefix { name.is_empty() || is_name(name) } else { is_name(name) };
        if !is_right {
            return Err(format!(
                "{text:?} is no name of a variable: write LOG_LEVEL, or AWS_* for all that begin so"
            ));
        }
        Ok(Self { name: name.to_owned(), is_prefix })
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.is_prefix { "*" } else { "" })
    }
}

/// What shells can name.
fn is_name(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    !text.is_empty() && text.bytes().all(plain) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether nobody but the router may set it.
pub(super) fn is_reserved(name: &str) -> bool {
    let begins_so = RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    RESERVED.contains(&name) || begins_so && !NOT_RESERVED.contains(&name)
}

/// # Errors
/// It is none.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if is_name(name) {
        return Ok(());
    }
    Err(format!("{name:?} is no name of a variable: use letters, digits and _, not beginning with a digit"))
}

/// # Errors
/// No process could have it, or should. Never says what it is.
pub(super) fn check_value(value: &str) -> Result<(), String> {
    if value.contains('\0') {
        return Err("has a NUL in it, which no variable can have".to_owned());
    }
    if value.len() > MAX_VALUE {
        return Err(format!("is too large: {} bytes, and a variable has {MAX_VALUE} at most", value.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_or_all_that_begin_alike() {
        let names: Names = "AWS_*".parse().unwrap();
        assert!(names.covers("AWS_KEY") && !names.covers("AWSX") && names.one().is_none());
        let name: Names = "KEY".parse().unwrap();
        assert!(name.covers("KEY") && !name.covers("KEYS"));
        assert!("*".parse::<Names>().unwrap().covers("X"));
        for text in ["", "1A", "A-B", "A=B", "A*B", "*A"] {
            assert!(text.parse::<Names>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_changes_the_cell_itself_is_reserved() {
        for name in
            ["LD_PRELOAD", "DENO_DIR", "SWITCHYARD_X", "TMPDIR", "DATA_DIR", "NODE_OPTIONS", "GCONV_PATH"]
        {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["PATH", "HOME", "LDAP_URL", "DATA_DIRECTORY", "NODE_ENV", "DENO_CERT"] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
