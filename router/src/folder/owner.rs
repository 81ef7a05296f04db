//! Owners and modes of folders in the state folder: changed through descriptors, one level at a
//! time, whatever a project has made in them. No link is followed.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat, fchmod, fchown, fstat,
    openat, statat,
};
use rustix::io::Errno;
use switchyard_contract::bounds::COUNTED_DEPTH;

/// Maximum depth: that of a project's folder in its checkout, and one level to notice that there
/// are more.
const MAX_LEVELS: usize = COUNTED_DEPTH + 2;

/// Mode of a folder of the router that no other user may enter yet, with contents that others may
/// read. Folders made by earlier versions have another mode, and contents of any umask.
pub(crate) const NOT_SHARED: u32 = 0o710;

/// Mode of a folder that one group may enter.
const SHARED: u32 = 0o750;
const PRIVATE: u32 = 0o700;
const READABLE: u32 = 0o755;
const READABLE_FILE: u32 = 0o644;

/// Gives a folder to user `uid` and group `gid`, with all entries that belong to the folder's
/// present owner, so that no other user can enter it. The folder itself is changed last, so that an
/// interrupted change is repeated.
///
/// # Errors
/// An entry cannot be given away, or lies too deep.
pub(crate) fn claim(folder: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let top = openat(CWD, folder, flags(), Mode::empty())?;
    let status = fstat(&top)?;
    if (status.st_uid, status.st_gid) == (uid, gid) {
        return Ok(());
    }
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let before = status.st_uid;
    for_each_below(top.as_fd(), |at, name, status| {
        if status.st_uid == before {
            chownat(at, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    })?;
    fchmod(&top, Mode::from_raw_mode(PRIVATE))?;
    Ok(fchown(&top, uid, gid)?)
}

/// Lets `group`, and no other group, enter a folder of the router. With `any_umask`, folders in it
/// are made readable if an earlier version may have made them.
///
/// # Errors
/// The group or mode of the folder, or of a folder in it, cannot be changed.
pub(crate) fn share(folder: &Path, group: u32, any_umask: bool) -> io::Result<()> {
    let top = openat(CWD, folder, flags(), Mode::empty())?;
    let status = fstat(&top)?;
    let mode = status.st_mode & 0o7777;
    if (status.st_gid, mode) == (group, SHARED) {
        return Ok(());
    }
    if any_umask && mode != NOT_SHARED && mode != SHARED {
        for_each_below(top.as_fd(), |at, name, status| {
            if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
                fchmod(openat(at, name, flags(), Mode::empty())?, Mode::from_raw_mode(READABLE))?;
            }
            Ok(())
        })?;
    }
    fchown(&top, None, Some(Gid::from_raw(group)))?;
    Ok(fchmod(&top, Mode::from_raw_mode(SHARED))?)
}

/// Gives a folder and everything in it to the router, readable for all, whatever owners and modes
/// its entries have. No other user can enter the folder before the change is complete, or after an
/// error.
///
/// # Errors
/// The owner or mode of an entry cannot be changed, or an entry lies too deep.
pub(crate) fn take_over(folder: &Path) -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let top = openat(CWD, folder, flags(), Mode::empty())?;
    let change = |at: BorrowedFd<'_>, name: &CStr, status: &Stat| {
        if (status.st_uid, status.st_gid) != (uid.as_raw(), gid.as_raw()) {
            chownat(at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        let mode = match FileType::from_raw_mode(status.st_mode) {
            FileType::Symlink => return Ok(()),
            FileType::Directory => READABLE,
            _ => READABLE_FILE,
        };
        Ok(chmodat(at, name, Mode::from_raw_mode(mode), AtFlags::empty())?)
    };
    fchown(&top, Some(uid), Some(gid))?;
    fchmod(&top, Mode::from_raw_mode(PRIVATE))?;
    // Each folder belongs to the router before its entries are read, so that no other user can
    // exchange them.
    for_each_below(top.as_fd(), change)?;
    Ok(fchmod(&top, Mode::from_raw_mode(READABLE))?)
}

fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Calls `entry` for each entry below `top`, with its folder, its name and its status. Entries that
/// vanish meanwhile are left out.
fn for_each_below(
    top: BorrowedFd<'_>,
    mut entry: impl FnMut(BorrowedFd<'_>, &CStr, &Stat) -> io::Result<()>,
) -> io::Result<()> {
    let mut levels = vec![Dir::read_from(top)?];
    while let Some(level) = levels.last_mut() {
        let Some(found) = level.next() else {
            levels.pop();
            continue;
        };
        let found = found?;
        let name = found.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let at = level.fd()?;
        let status = match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            status => status?,
        };
        entry(at, name, &status)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::Directory {
            continue;
        }
        let below = Dir::new(openat(at, name, flags(), Mode::empty())?)?;
        if levels.len() >= MAX_LEVELS {
            return Err(io::Error::other(format!("its folders are nested more than {COUNTED_DEPTH} deep")));
        }
        levels.push(below);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
    use std::path::PathBuf;

    use super::*;

    const TENANT: u32 = 200_001;

    /// Returns `true` for root, which alone can give files away.
    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    fn owner(path: &Path) -> (u32, u32) {
        let metadata = path.symlink_metadata().unwrap();
        (metadata.uid(), metadata.gid())
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    /// Makes a folder with a file three levels down, a link to a file beside it, and another user's
    /// file.
    fn folder(dir: &Path) -> PathBuf {
        let folder = dir.join("a");
        fs::create_dir_all(folder.join("b/c")).unwrap();
        for path in ["a/b/c/file", "outside", "a/theirs"] {
            fs::write(dir.join(path), "").unwrap();
        }
        symlink("../outside", folder.join("link")).unwrap();
        folder
    }

    #[test]
    fn a_folder_is_claimed_with_all_its_owners_entries_and_no_target_of_a_link() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        lchown(folder.join("theirs"), Some(77), Some(77)).unwrap();
        // An earlier claim that was interrupted.
        lchown(folder.join("b"), Some(TENANT), Some(TENANT)).unwrap();
        claim(&folder, TENANT, TENANT).unwrap();
        for path in ["a", "a/b", "a/b/c", "a/b/c/file", "a/link"] {
            assert_eq!(owner(&dir.path().join(path)), (TENANT, TENANT), "{path}");
        }
        assert_eq!(owner(&dir.path().join("outside")), (0, 0));
        assert_eq!(owner(&folder.join("theirs")), (77, 77));
        assert_eq!(mode(&folder), 0o700);
        symlink("a", dir.path().join("link")).unwrap();
        assert!(claim(&dir.path().join("link"), 7, 7).is_err());
    }

    #[test]
    fn a_folder_is_taken_over_whatever_owners_and_modes_its_entries_have_and_no_target_of_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        let own = owner(&folder);
        if is_root() {
            for path in ["", "theirs", "b/c/file", "link"] {
                lchown(folder.join(path), Some(TENANT), Some(TENANT)).unwrap();
            }
        }
        for (path, mode) in [("b/c/file", 0o6777), ("theirs", 0), ("b/c", 0), ("b", 0o7777), ("", 0o700)] {
            fs::set_permissions(folder.join(path), Permissions::from_mode(mode)).unwrap();
        }
        let outside = mode(&dir.path().join("outside"));
        take_over(&folder).unwrap();
        for (path, expected) in
            [("", 0o755), ("b", 0o755), ("b/c", 0o755), ("b/c/file", 0o644), ("theirs", 0o644)]
        {
            assert_eq!((owner(&folder.join(path)), mode(&folder.join(path))), (own, expected), "{path}");
        }
        assert_eq!(owner(&folder.join("link")), own);
        assert_eq!(mode(&dir.path().join("outside")), outside);
        symlink("a", dir.path().join("link")).unwrap();
        assert!(take_over(&dir.path().join("link")).is_err());
    }

    #[test]
    fn a_folder_that_nests_without_end_is_not_taken_over_and_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("a");
        fs::create_dir_all((0..=MAX_LEVELS).fold(top.clone(), |path, _| path.join("a"))).unwrap();
        assert!(take_over(&top).unwrap_err().to_string().contains("128 deep"));
        assert_eq!(mode(&top), PRIVATE);
    }

    #[test]
    fn a_folder_that_nests_without_end_is_an_error_and_stays_its_owners() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("a");
        fs::create_dir_all((0..=MAX_LEVELS).fold(top.clone(), |path, _| path.join("a"))).unwrap();
        assert!(claim(&top, TENANT, TENANT).unwrap_err().to_string().contains("128 deep"));
        assert_eq!(owner(&top), (0, 0));
    }

    #[test]
    fn a_folder_is_shared_with_a_group_however_it_was_made() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        fs::set_permissions(folder.join("b"), Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        share(&folder, 5001, true).unwrap();
        assert_eq!((owner(&folder), mode(&folder)), ((0, 5001), 0o750));
        assert_eq!(mode(&folder.join("b")), 0o755);
        share(&folder, 5002, true).unwrap();
        assert_eq!(owner(&folder), (0, 5002));
    }
}
