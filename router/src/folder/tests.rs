//! Tests of folders in the state folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

/// Makes a tree with paths too long for any system call: folders moved into each other.
fn deep(root: &Path, levels: usize) {
    fs::create_dir(root.join("0")).unwrap();
    fs::write(root.join("0/file"), "x").unwrap();
    for level in 1..levels {
        let (inner, outer) = (root.join((level - 1).to_string()), root.join(level.to_string()));
        fs::create_dir(&outer).unwrap();
        fs::rename(inner, outer.join("d")).unwrap();
    }
}

#[test]
fn a_tree_of_any_depth_is_removed_on_a_small_stack() {
    let root = tempfile::tempdir().unwrap();
    deep(root.path(), 5_000);
    let top = root.path().to_owned();
    let small = std::thread::Builder::new().stack_size(64 << 10);
    small.spawn(move || try_remove(&top)).unwrap().join().unwrap().unwrap();
    assert!(!root.path().exists());
}

#[test]
fn a_folder_that_a_project_has_locked_is_removed_and_no_link_is_followed() {
    let root = tempfile::tempdir().unwrap();
    let (gone, stays) = (root.path().join("gone"), root.path().join("stays"));
    fs::create_dir_all(gone.join("a/b/c")).unwrap();
    fs::create_dir(&stays).unwrap();
    fs::write(stays.join("file"), "x").unwrap();
    fs::write(gone.join("a/b/c/file"), "x").unwrap();
    symlink(&stays, gone.join("a/link")).unwrap();
    symlink(&stays, gone.join("link")).unwrap();
    for locked in ["a/b/c", "a/b", "a"] {
        fs::set_permissions(gone.join(locked), fs::Permissions::from_mode(0o000)).unwrap();
    }
    remove(&gone);
    assert!(!gone.exists() && stays.join("file").exists());
    remove(&gone);
    symlink(&stays, &gone).unwrap();
    remove(&gone);
    assert!(gone.symlink_metadata().is_err() && stays.join("file").exists());
}

#[test]
fn names_and_bytes_are_counted_at_every_level() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("a/b")).unwrap();
    fs::write(root.path().join("a/empty"), "").unwrap();
    fs::write(root.path().join("a/b/large"), vec![1; 1 << 20]).unwrap();
    symlink("/", root.path().join("root")).unwrap();
    let usage = measure(root.path());
    assert_eq!((usage.files, usage.is_too_deep), (5, false));
    assert!((1 << 20..2 << 20).contains(&usage.bytes), "{usage:?}");
    assert_eq!(measure(&root.path().join("none")), DiskUsage::default());
}

#[test]
fn entries_too_deep_to_be_counted_are_reported() {
    let root = tempfile::tempdir().unwrap();
    deep(root.path(), COUNTED_DEPTH - 1);
    assert_eq!(measure(root.path()).files, COUNTED_DEPTH as u64);
    assert!(!measure(root.path()).is_too_deep);
    let deeper = tempfile::tempdir().unwrap();
    deep(deeper.path(), COUNTED_DEPTH + 10);
    assert!(measure(deeper.path()).is_too_deep);
}

#[test]
fn a_discarded_folder_is_out_of_the_way_at_once_and_gone_in_the_end() {
    let root = tempfile::tempdir().unwrap();
    let (dir, folder) = (root.path().join("trash"), root.path().join("folder"));
    fs::create_dir_all(dir.join("left behind/a")).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "x").unwrap();
    let trash = Trash::open(&dir).unwrap();
    trash.discard(&folder).unwrap();
    trash.discard(&folder).unwrap();
    assert!(!folder.exists());
    while fs::read_dir(&dir).unwrap().next().is_some() {
        std::thread::yield_now();
    }
}
