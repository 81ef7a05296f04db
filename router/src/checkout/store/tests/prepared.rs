//! Tests of folders that are made ahead.

use super::*;

/// A volume with a large project, and the version of it that is prepared for.
fn prepared() -> (Volume, Version, Checkout) {
    let volume = Volume::new();
    for n in 0..1000 {
        volume.beside(&format!("blog/lib/{}/{n}.ts", n % 10), "same");
    }
    volume.write("main.ts", "1");
    volume.beside("blog/old/deep/gone.ts", "1");
    volume.write("file", "1");
    volume.beside("blog/folder/file", "1");
    let (version, checkout) = volume.take(None);
    volume.store.prepare(&version);
    (volume, version, checkout)
}

/// The number of folders that are not checkouts.
fn unfinished(volume: &Volume) -> usize {
    let entries = fs::read_dir(volume.dir.path().join("state/checkouts")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(UNFINISHED)).count()
}

#[test]
fn the_version_after_a_prepared_one_has_its_own_files_and_shares_the_others() {
    let (volume, version, first) = prepared();
    assert_eq!(unfinished(&volume), 1);
    let blog = volume.dir.path().join("blog");
    volume.write("main.ts", "2");
    fs::remove_dir_all(blog.join("old")).unwrap();
    fs::remove_file(blog.join("file")).unwrap();
    fs::remove_dir_all(blog.join("folder")).unwrap();
    volume.beside("blog/file/inside", "2");
    volume.write("folder", "2");
    let (next, second) = volume.take(Some(&version));
    assert_eq!(unfinished(&volume), 0, "it was used");
    let found = snapshot(&second.dir, IncludeSource::Checkout, bounds(), &mut HashCache::default()).unwrap();
    assert_eq!(found.digest, next.digest);
    assert!(!second.dir.join("old").exists());
    assert_eq!(inode(&first.dir.join("lib/7/7.ts")), inode(&second.dir.join("lib/7/7.ts")));
    assert_eq!(fs::read_to_string(first.dir.join("main.ts")).unwrap(), "1");
    let found = snapshot(&first.dir, IncludeSource::Checkout, bounds(), &mut HashCache::default()).unwrap();
    assert_eq!(found.digest, version.digest, "the version before is as it was");
}

#[test]
fn a_prepared_folder_is_for_its_version_alone_and_goes_with_it() {
    let (volume, version, _first) = prepared();
    volume.store.prepare(&version);
    assert_eq!(unfinished(&volume), 1, "prepared once");
    volume.write("main.ts", "2");
    let (other, _second) = volume.take(None);
    assert_eq!(unfinished(&volume), 1, "not used for a version after another one");
    volume.store.prune(&volume.name, 5, &HashSet::from([version.digest.short()]));
    assert_eq!(unfinished(&volume), 1);
    volume.store.prepare(&other);
    assert_eq!(unfinished(&volume), 1, "one at most");
    volume.store.prune(&volume.name, 5, &HashSet::from([version.digest.short()]));
    assert_eq!(unfinished(&volume), 0, "its version is not used any more");
}

#[test]
fn a_small_project_is_not_prepared_for() {
    let volume = Volume::new();
    volume.write("main.ts", "1");
    let (version, _checkout) = volume.take(None);
    volume.store.prepare(&version);
    assert_eq!(unfinished(&volume), 0);
}
