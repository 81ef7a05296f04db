//! Files that the settings name, secrets among them. They are checked, and read when they are used.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{self, Path, PathBuf};

use super::reader::{Field, Reader};

/// Users of the machine besides the file's owner and group that may read it.
const OTHERS_READ: u32 = 0o004;

impl Reader<'_> {
    /// Returns the file of a secret, which is written as `{ from_file = "PATH" }`.
    pub(super) fn secret(&mut self, field: &Field<'_>) -> Option<PathBuf> {
        const SHAPE: &str = "must be { from_file = \"PATH\" }: a secret is not written in this file";
        if !field.value.get_ref().is_table() {
            self.wrong(field, SHAPE);
            return None;
        }
        let table = self.table(field, &["from_file"], SHAPE)?;
        let Some(from_file) = table.get("from_file") else {
            self.wrong(field, SHAPE);
            return None;
        };
        let path = self.file(&from_file)?;
        warn_of_readers(&path);
        Some(path)
    }

    /// Returns the file of a private key.
    pub(super) fn private_file(&mut self, field: &Field<'_>) -> Option<PathBuf> {
        let path = self.file(field)?;
        warn_of_readers(&path);
        Some(path)
    }

    /// Returns a file that exists and is not empty. A relative path begins at this file's folder.
    pub(super) fn file(&mut self, field: &Field<'_>) -> Option<PathBuf> {
        let text = self.string(field)?;
        if text.is_empty() || text.contains('\0') {
            self.wrong(field, "must be the path of a file");
            return None;
        }
        let path = self.file.parent().unwrap_or(Path::new("")).join(text);
        let path = path::absolute(&path).unwrap_or(path);
        let shown = path.display();
        let wrong = match length(&path) {
            Ok(0) => format!("{shown} is empty: put the value into it"),
            Ok(_) => return Some(path),
            Err(error) => format!("{shown} cannot be read: {error}"),
        };
        self.wrong(field, wrong);
        None
    }
}

fn warn_of_readers(path: &Path) {
    if path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & OTHERS_READ != 0) {
        let shown = path.display();
        tracing::warn!(
            "{shown} holds a secret and every user of this machine can read it: fix it with chmod o-r"
        );
    }
}

/// Returns the length of a plain file that can be read. Opening a pipe could block forever.
fn length(path: &Path) -> io::Result<u64> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file"));
    }
    File::open(path)?.metadata().map(|metadata| metadata.len())
}
