//! File systems that lack something that a local disk has: events of all changes, or reliable locks.

use std::path::Path;

/// A file system with its limits.
struct FileSystem {
    /// Magic number of `statfs(2)` and linux/magic.h.
    magic: u64,
    /// The name in messages.
    name: &'static str,
    /// False if its locks or its order of writes depend on a server or a program behind it.
    is_safe_for_databases: bool,
}

/// File systems on which changes made elsewhere (on another host, in the layer below) cause no event.
const WITHOUT_EVENTS: [FileSystem; 8] = [
    FileSystem { magic: 0x6969, name: "NFS", is_safe_for_databases: false },
    FileSystem { magic: 0x0102_1997, name: "9p", is_safe_for_databases: true },
    FileSystem { magic: 0x794c_7630, name: "overlayfs", is_safe_for_databases: true },
    FileSystem { magic: 0x6573_5546, name: "FUSE", is_safe_for_databases: false },
    FileSystem { magic: 0xff53_4d42, name: "CIFS", is_safe_for_databases: false },
    FileSystem { magic: 0xfe53_4d42, name: "SMB", is_safe_for_databases: false },
    FileSystem { magic: 0x00c3_6400, name: "CephFS", is_safe_for_databases: true },
    FileSystem { magic: 0x786f_4256, name: "a VirtualBox share", is_safe_for_databases: true },
];

/// Returns the name of the file system that `path` is on if changes made elsewhere (on another
/// host, in the layer below) cause no event.
pub fn without_events(path: &Path) -> Option<&'static str> {
    find(kind_of(path)?).map(|found| found.name)
}

/// Returns the name of the file system that `path` is on if a database in a file may be damaged there.
/// A folder that does not exist yet is on that of the folder it will be made in.
pub fn unsafe_for_databases(path: &Path) -> Option<&'static str> {
    let path = std::path::absolute(path).ok()?;
    let existing = path.ancestors().find(|path| path.exists())?;
    unsafe_kind(kind_of(existing)?)
}

fn kind_of(path: &Path) -> Option<u64> {
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    u64::try_from(kind).ok()
}

fn find(kind: u64) -> Option<&'static FileSystem> {
    WITHOUT_EVENTS.iter().find(|one| one.magic == kind)
}

fn unsafe_kind(kind: u64) -> Option<&'static str> {
    find(kind).filter(|found| !found.is_safe_for_databases).map(|found| found.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_and_layered_file_systems_are_recognized() {
        assert_eq!(find(0x6969).map(|found| found.name), Some("NFS"));
        assert!(find(0xef53).is_none(), "ext4 reports everything");
    }

    #[test]
    fn a_database_is_safe_on_layers_but_not_on_network_file_systems() {
        assert_eq!((unsafe_kind(0x6969), unsafe_kind(0x6573_5546)), (Some("NFS"), Some("FUSE")));
        assert_eq!((unsafe_kind(0x794c_7630), unsafe_kind(0xef53)), (None, None));
    }

    #[test]
    fn a_folder_to_be_is_on_the_file_system_of_its_parent() {
        assert_eq!(unsafe_for_databases(Path::new("/proc/none/at/all")), None);
    }
}
