//! Whether a user may use a path, by the modes of all that leads there.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::User;

/// The use that a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Read,
    /// Reading as well.
    Write,
}

/// The first folder on the way to `path`, or `path` itself, whose mode keeps `user` from this use. Access lists are not
/// looked at: they can only make it more. What is not there keeps nobody out.
pub(super) fn closed(path: &Path, user: User, wanted: Wanted) -> Option<PathBuf> {
    let metadata = path.metadata().ok()?;
    let mut above: Vec<_> = path.ancestors().skip(1).collect();
    above.reverse();
    let is_closed = |folder: &&Path| folder.metadata().is_ok_and(|metadata| !allows(&metadata, user, 0o1));
    if let Some(folder) = above.into_iter().find(is_closed) {
        return Some(folder.to_owned());
    }
    let bits = match (metadata.is_dir(), wanted) {
        (true, Wanted::Read) => 0o5,
        (true, Wanted::Write) => 0o7,
        (false, Wanted::Read) => 0o4,
        (false, Wanted::Write) => 0o6,
    };
    (!allows(&metadata, user, bits)).then(|| path.to_owned())
}

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
    fn the_first_that_keeps_a_user_out_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("a"), dir.path().join("a/b"));
        fs::create_dir(&folder).unwrap();
        fs::write(&file, "").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        set(dir.path(), 0o700);
        assert_eq!(closed(&file, STRANGER, Wanted::Read).as_deref(), Some(dir.path()));
        set(dir.path(), 0o711);
        set(&folder, 0o755);
        set(&file, 0o640);
        assert_eq!(closed(&folder, STRANGER, Wanted::Read), None);
        assert_eq!(closed(&folder, STRANGER, Wanted::Write), Some(folder.clone()));
        assert_eq!(closed(&file, STRANGER, Wanted::Read), Some(file.clone()));
        set(&file, 0o604);
        assert_eq!(closed(&file, STRANGER, Wanted::Read), None);
        assert_eq!(closed(&folder.join("gone"), STRANGER, Wanted::Write), None);
        assert_eq!(closed(&folder, User::own(), Wanted::Write), None);
    }
}
