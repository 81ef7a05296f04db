//! A value that stands in a file of its own: `{ from_file = "/run/secrets/api-key" }`.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::variable::{MAX_VALUE, check_value};

/// Reads it, without one newline at its end.
///
/// # Errors
/// It cannot be read, or is no value of a variable. Names the file, never what is in it.
pub(super) fn read(file: &Path) -> Result<String, String> {
    let shown = file.display();
    let metadata = file.metadata().map_err(|error| format!("{shown} cannot be read: {error}"))?;
    // To open a pipe could take for ever.
    if !metadata.is_file() {
        return Err(format!("{shown} is no file"));
    }
    if metadata.permissions().mode() & 0o004 != 0 {
        tracing::warn!("{shown} holds a secret and everybody on this machine can read it: chmod o-r it");
    }
    let mut bytes = Vec::new();
    let most = MAX_VALUE as u64 + 2;
    File::open(file)
        .and_then(|opened| opened.take(most).read_to_end(&mut bytes))
        .map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let mut value = String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8"))?;
    if value.ends_with('\n') {
        value.pop();
    }
    check_value(&value).map_err(|error| format!("{shown} {error}"))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(content: &[u8]) -> Result<String, String> {
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
    fn what_is_no_value_is_refused_and_not_shown() {
        for (content, says) in [
            (&b"hunter2\xff"[..], "is not UTF-8"),
            (b"hunter2\0", "NUL"),
            (&[b"hunter2", &[b'x'; MAX_VALUE][..]].concat(), "too large"),
        ] {
            let error = read_back(content).unwrap_err();
            assert!(
                error.contains(says) && error.contains("/secret ") && !error.contains("hunter2"),
                "{error}"
            );
        }
        assert!(read(Path::new("/nowhere/key")).unwrap_err().starts_with("/nowhere/key cannot be read"));
        assert!(read(Path::new("/dev")).unwrap_err().ends_with("is no file"));
    }
}
