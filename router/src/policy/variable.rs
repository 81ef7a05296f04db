//! The names and values of environment variables, and the names that are reserved.

use std::fmt;
use std::str::FromStr;

use super::error::InvalidValue;

/// Bytes of a value or of a secret's file: more than programs get in practice, and little enough for hundreds of cells.
pub(super) const MAX_VALUE: usize = 64 << 10;

/// The variables that the router sets for every cell.
pub(super) const PROVIDED: [&str; 6] =
    ["DATA_DIR", "NODE_ENV", "PORT", "SWITCHYARD_PROJECT", "SWITCHYARD_VERSION", "TMPDIR"];

/// Variables of the router, of Deno and of Node, and those that the C library itself ignores in a program with more
/// rights than its caller (glibc, `unsecvars.h`).
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

/// Variables of Deno that affect only the project's own program (docs/deno.md).
const NOT_RESERVED: [&str; 7] = [
    "DENO_CERT",
    "DENO_COMPAT",
    "DENO_CONDITIONS",
    "DENO_DEPLOYMENT_ID",
    "DENO_KV_ACCESS_TOKEN",
    "DENO_REGION",
    "DENO_SERVE_AUTOMATIC_COMPRESSION",
];

/// One name, or all names with a prefix (`AWS_*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VariablePattern {
    name: String,
    is_prefix: bool,
}

impl VariablePattern {
    pub(super) fn covers(&self, name: &str) -> bool {
        if self.is_prefix { name.starts_with(&self.name) } else { name == self.name }
    }

    /// Returns the name if the pattern is not a prefix.
    pub(super) fn exact(&self) -> Option<&str> {
        (!self.is_prefix).then_some(&self.name)
    }
}

impl FromStr for VariablePattern {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (name, is_prefix) = text.strip_suffix('*').map_or((text, false), |prefix| (prefix, true));
        let is_right = if is_prefix { name.is_empty() || is_name(name) } else { is_name(name) };
        if !is_right {
            return Err(InvalidValue::new(format_args!(
                "invalid variable {text:?}: expected a name (LOG_LEVEL) or a prefix (AWS_*)"
            )));
        }
        Ok(Self { name: name.to_owned(), is_prefix })
    }
}

impl fmt::Display for VariablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.is_prefix { "*" } else { "" })
    }
}

/// Returns true for a name that shells accept.
fn is_name(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    !text.is_empty() && text.bytes().all(plain) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Returns true if only the router may set the variable.
pub(super) fn is_reserved(name: &str) -> bool {
    let begins_so = RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    RESERVED.contains(&name) || begins_so && !NOT_RESERVED.contains(&name)
}

/// Checks the name of a variable.
///
/// # Errors
/// The name is invalid.
pub(super) fn check_name(name: &str) -> Result<(), InvalidValue> {
    if is_name(name) {
        return Ok(());
    }
    Err(InvalidValue::new(format_args!(
        "invalid variable name {name:?}: expected letters, digits and _, not beginning with a digit"
    )))
}

/// Checks the value of a variable.
///
/// # Errors
/// The value contains NUL or is too long. The error never shows the value.
pub(super) fn check_value(value: &str) -> Result<(), InvalidValue> {
    if value.contains('\0') {
        return Err(InvalidValue::new("contains NUL, which no variable can hold"));
    }
    if value.len() > MAX_VALUE {
        return Err(InvalidValue::new(format_args!(
            "is too large: {} bytes, and a variable holds at most {MAX_VALUE}",
            value.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_or_all_that_begin_alike() {
        let names: VariablePattern = "AWS_*".parse().unwrap();
        assert!(names.covers("AWS_KEY") && !names.covers("AWSX") && names.exact().is_none());
        let name: VariablePattern = "KEY".parse().unwrap();
        assert!(name.covers("KEY") && !name.covers("KEYS"));
        assert!("*".parse::<VariablePattern>().unwrap().covers("X"));
        for text in ["", "1A", "A-B", "A=B", "A*B", "*A"] {
            assert!(text.parse::<VariablePattern>().is_err(), "{text}");
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
