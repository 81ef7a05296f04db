//! A value in a file of its own: `{ from_file = "/run/secrets/api-key" }`.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::InvalidValue;
use super::variable::{MAX_VALUE, check_value};

/// Reads the value, without one final newline.
///
/// # Errors
/// The file cannot be read, or its content cannot be the value of a variable. The error names the file and never shows
/// its content.
pub(super) fn read(file: &Path) -> Result<String, InvalidValue> {
    let shown = file.display();
    let unreadable = |error| InvalidValue::new(format_args!("{shown} cannot be read: {error}"));
    let metadata = file.metadata().map_err(unreadable)?;
    // Opening a pipe could block forever.
    if !metadata.is_file() {
        return Err(InvalidValue::new(format_args!("{shown} is not a file")));
    }
    if metadata.permissions().mode() & 0o004 != 0 {
        tracing::warn!(
            "{shown} holds a secret and every user of this machine can read it: fix it with chmod o-r"
        );
    }
    let mut bytes = Vec::new();
    let most = MAX_VALUE as u64 + 2;
    File::open(file).and_then(|opened| opened.take(most).read_to_end(&mut bytes)).map_err(unreadable)?;
    let mut value =
        String::from_utf8(bytes).map_err(|_| InvalidValue::new(format_args!("{shown} is not UTF-8")))?;
    if value.ends_with('\n') {
        value.pop();
    }
    check_value(&value).map_err(|error| InvalidValue::new(format_args!("{shown} {error}")))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(content: &[u8]) -> Result<String, InvalidValue> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), content).unwrap();
        read(&dir.path().join("secret"))
    }

    #[test]
    fn one_newline_at_the_end_is_no_part_of_it() {
        assert_eq!(read_back(b"key\n").unwrap(), "key");
        assert_eq!(read_back(b"key\n\n").unwrap(), "key\n");
        assert_eq!(read_back(b"").unwrap(), "");
        let most = vec![b'x'; MAX_VALUE];
        assert_eq!(read_back(&[&most[..], b"\n"].concat()).unwrap().len(), MAX_VALUE);
    }

    #[test]
    fn an_invalid_value_is_refused_and_not_shown() {
        for (content, says) in [
            (&b"hunter2\xff"[..], "is not UTF-8"),
            (b"hunter2\0", "NUL"),
            (&[b"hunter2", &[b'x'; MAX_VALUE][..]].concat(), "too large"),
        ] {
            let error = read_back(content).unwrap_err().to_string();
            assert!(
                error.contains(says) && error.contains("/secret ") && !error.contains("hunter2"),
                "{error}"
            );
        }
        let refused = |path: &str| read(Path::new(path)).unwrap_err().to_string();
        assert!(refused("/nowhere/key").starts_with("/nowhere/key cannot be read"));
        assert!(refused("/dev").ends_with("is not a file"));
    }
}
