//! File systems that do not report every change by a file event.

use std::path::Path;

/// Magic numbers of `statfs(2)` and linux/magic.h, and the names of these file systems in messages.
const WITHOUT_EVENTS: [(u64, &str); 8] = [
    (0x6969, "NFS"),
    (0x0102_1997, "9p"),
    (0x794c_7630, "overlayfs"),
    (0x6573_5546, "FUSE"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x00c3_6400, "CephFS"),
    (0x786f_4256, "a VirtualBox share"),
];

/// Returns the name of the file system that `path` is on if changes made elsewhere (on another
/// host, in the layer below) cause no event.
pub(super) fn without_events(path: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    name_of(u64::try_from(kind).ok()?)
}

fn name_of(kind: u64) -> Option<&'static str> {
    WITHOUT_EVENTS.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_and_layered_file_systems_are_recognized() {
        assert_eq!(name_of(0x6969), Some("NFS"));
        assert_eq!(name_of(0xef53), None, "ext4 reports everything");
    }
}
