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

/// A path whose mode keeps a user from a use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed {
    path: PathBuf,
    /// Absent for a folder above the path that is used, which has to be entered only.
    wanted: Option<Wanted>,
}

impl Closed {
    /// The use that is refused, with its path, as in "may not …".
    pub(super) fn refused(&self) -> String {
        let verb = match self.wanted {
            None => "enter",
            Some(Wanted::Read) => "read",
            Some(Wanted::Write) => "write to",
        };
        format!("{verb} {}", self.path.display())
    }

    /// The command that opens the path, and nothing that need not be open.
    pub(super) fn fix(&self) -> String {
        let mode = match self.wanted {
            None => "o+x",
            Some(Wanted::Read) => "-R o+rX",
            Some(Wanted::Write) => "-R o+rwX",
        };
        format!("chmod {mode} {}", self.path.display())
    }
}

/// The first folder on the way to `path`, or `path` itself, whose mode keeps `user` from this use. Access lists are not
/// looked at: they can only make it more. What is not there keeps nobody out.
pub(super) fn closed(path: &Path, user: User, wanted: Wanted) -> Option<Closed> {
    let metadata = path.metadata().ok()?;
    let mut above: Vec<_> = path.ancestors().skip(1).collect();
    above.reverse();
    let is_closed = |folder: &&Path| folder.metadata().is_ok_and(|metadata| !allows(&metadata, user, 0o1));
    if let Some(folder) = above.into_iter().find(is_closed) {
        return Some(Closed { path: folder.to_owned(), wanted: None });
    }
    let bits = match (metadata.is_dir(), wanted) {
        (true, Wanted::Read) => 0o5,
        (true, Wanted::Write) => 0o7,
        (false, Wanted::Read) => 0o4,
        (false, Wanted::Write) => 0o6,
    };
    (!allows(&metadata, user, bits)).then(|| Closed { path: path.to_owned(), wanted: Some(wanted) })
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
        let fix = |path: &Path, wanted| closed(path, STRANGER, wanted).map(|closed| closed.fix());
        let of = |mode, path: &Path| Some(format!("chmod {mode} {}", path.display()));
        assert_eq!(fix(&file, Wanted::Read), of("o+x", dir.path()), "its other files stay closed");
        assert_eq!(fix(&folder, Wanted::Write), of("o+x", dir.path()));
        set(dir.path(), 0o711);
        set(&folder, 0o755);
        set(&file, 0o640);
        assert_eq!(closed(&folder, STRANGER, Wanted::Read), None);
        assert_eq!(fix(&folder, Wanted::Write), of("-R o+rwX", &folder));
        assert_eq!(fix(&file, Wanted::Read), of("-R o+rX", &file));
        set(&file, 0o604);
        assert_eq!(closed(&file, STRANGER, Wanted::Read), None);
        assert_eq!(closed(&folder.join("gone"), STRANGER, Wanted::Write), None);
        assert_eq!(closed(&folder, User::own(), Wanted::Write), None);
    }
}
