//! A user's access to a path, by the modes of the path and of all folders above it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::User;

/// The access that a process needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    /// Reading and writing.
    Write,
}

/// A path with a mode that denies a user an access.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DeniedPath {
    path: PathBuf,
    /// `None` for a folder above the path, which only has to be entered.
    access: Option<Access>,
}

impl DeniedPath {
    /// Returns the denied action with its path, as in "may not read /a".
    pub(super) fn action(&self) -> String {
        let verb = match self.access {
            None => "enter",
            Some(Access::Read) => "read",
            Some(Access::Write) => "write to",
        };
        format!("{verb} {}", self.path.display())
    }

    /// Returns the command that grants the access, and no more.
    pub(super) fn fix(&self) -> String {
        let mode = match self.access {
            None => "o+x",
            Some(Access::Read) => "-R o+rX",
            Some(Access::Write) => "-R o+rwX",
        };
        format!("chmod {mode} {}", self.path.display())
    }
}

/// Returns the first folder above `path`, or `path` itself, that denies `user` this access by its
/// mode. Access control lists are not read, as they can only grant more. A path that does not exist
/// denies nothing.
pub(super) fn find_denied(path: &Path, user: User, access: Access) -> Option<DeniedPath> {
    let metadata = path.metadata().ok()?;
    let mut above: Vec<_> = path.ancestors().skip(1).collect();
    above.reverse();
    let is_denied = |folder: &&Path| folder.metadata().is_ok_and(|metadata| !allows(&metadata, user, 0o1));
    if let Some(folder) = above.into_iter().find(is_denied) {
        return Some(DeniedPath { path: folder.to_owned(), access: None });
    }
    let bits = match (metadata.is_dir(), access) {
        (true, Access::Read) => 0o5,
        (true, Access::Write) => 0o7,
        (false, Access::Read) => 0o4,
        (false, Access::Write) => 0o6,
    };
    (!allows(&metadata, user, bits)).then(|| DeniedPath { path: path.to_owned(), access: Some(access) })
}

/// Returns `true` if the mode grants `user` all of `bits`, which are those for others.
fn allows(metadata: &Metadata, user: User, bits: u32) -> bool {
    let shift = if metadata.uid() == user.uid {
        6
    } else if metadata.gid() == user.gid {
        3
    } else {
        0
    };
    (metadata.mode() >> shift) & bits == bits
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const STRANGER: User = User { uid: 4_000_000, gid: 4_000_000 };

    #[test]
    fn the_first_path_that_denies_access_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("a"), dir.path().join("a/b"));
        fs::create_dir(&folder).unwrap();
        fs::write(&file, "").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        set(dir.path(), 0o700);
        let fix = |path: &Path, access| find_denied(path, STRANGER, access).map(|denied| denied.fix());
        let of = |mode, path: &Path| Some(format!("chmod {mode} {}", path.display()));
        assert_eq!(fix(&file, Access::Read), of("o+x", dir.path()), "its other files stay closed");
        assert_eq!(fix(&folder, Access::Write), of("o+x", dir.path()));
        set(dir.path(), 0o711);
        set(&folder, 0o755);
        set(&file, 0o640);
        assert_eq!(find_denied(&folder, STRANGER, Access::Read), None);
        assert_eq!(fix(&folder, Access::Write), of("-R o+rwX", &folder));
        assert_eq!(fix(&file, Access::Read), of("-R o+rX", &file));
        set(&file, 0o604);
        assert_eq!(find_denied(&file, STRANGER, Access::Read), None);
        assert_eq!(find_denied(&folder.join("gone"), STRANGER, Access::Write), None);
        assert_eq!(find_denied(&folder, User::own(), Access::Write), None);
    }
}
