//! Tests of the times of files in checkouts.

use std::time::Duration;

use super::*;

#[test]
fn times_of_unchanged_files_are_those_of_the_volume_in_each_version_and_those_that_changed_are_new() {
    let volume = Volume::new();
    volume.write("same.ts", "same");
    volume.write("main.ts", "1");
    let touch = |path: &str, seconds: u64| {
        let file = fs::File::options().write(true).open(volume.dir.path().join("blog").join(path)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    };
    let seconds = |checkout: &Checkout, path: &str| checkout.dir.join(path).metadata().unwrap().mtime();
    touch("same.ts", 1000);
    touch("main.ts", 1000);
    let (version, first) = volume.take(None);
    assert_eq!((seconds(&first, "same.ts"), seconds(&first, "main.ts")), (1000, 1000));
    volume.write("main.ts", "2");
    touch("main.ts", 2000);
    let (next, second) = volume.take(Some(&version));
    assert_eq!((seconds(&second, "same.ts"), seconds(&second, "main.ts")), (1000, 2000));
    // Touched: the versions share the file, and its time.
    touch("same.ts", 3000);
    let snapshot = volume.snapshot().unwrap();
    volume.store.update_times(&next, &snapshot);
    assert_eq!((seconds(&second, "same.ts"), seconds(&second, "main.ts")), (3000, 2000));
    touch("same.ts", 1000);
    volume.write("main.ts", "1");
    touch("main.ts", 1000);
    let (_, again) = volume.take(Some(&next));
    assert_eq!((seconds(&again, "same.ts"), seconds(&again, "main.ts")), (1000, 1000));
}
