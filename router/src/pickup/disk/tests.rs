use std::ffi::CString;
use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::*;

fn data() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn has(place: &Place, name: &str) -> bool {
    place.has(&CString::new(name).unwrap())
}

#[test]
fn a_file_goes_through_the_folders_of_its_run() {
    let dir = data();
    let place = Place::open(dir.path(), "a/pending").unwrap();
    fs::write(dir.path().join("a/pending/x.json"), r#"{"n": 1}"#).unwrap();
    let run = RunId::new_now();
    assert!(!is_picked(dir.path(), "a/pending", run, "x.json"));
    assert!(has(&place, "x.json") && place.pick(run, "x.json").unwrap());
    assert!(!has(&place, "x.json") && !place.pick(RunId::new_now(), "x.json").unwrap(), "once");
    assert!(is_picked(dir.path(), "a/pending", run, "x.json"));
    assert_eq!(read(dir.path(), "a/pending", run, "x.json"), json!({"n": 1}));
    move_on(dir.path(), "a/pending", run, FileOutcome::Succeeded).unwrap();
    assert!(dir.path().join(format!("a/complete/{run}/x.json")).is_file());
    move_on(dir.path(), "a/pending", run, FileOutcome::Failed).unwrap();
    assert!(!dir.path().join("a/rejected").exists(), "it is moved already");
}

#[test]
fn a_file_that_is_not_there_leaves_no_folder() {
    let dir = data();
    let place = Place::open(dir.path(), "").unwrap();
    let run = RunId::new_now();
    assert!(!place.pick(run, "x.json").unwrap());
    assert_eq!(fs::read_dir(dir.path().join("current")).unwrap().count(), 0);
    fs::create_dir(dir.path().join(format!("current/{run}"))).unwrap();
    assert!(!is_picked(dir.path(), "", run, "x.json"), "a move that was interrupted");
    assert_eq!(fs::read_dir(dir.path().join("current")).unwrap().count(), 0);
}

#[test]
fn links_pipes_folders_and_files_with_two_names_are_left_alone() {
    let dir = data();
    let outside = data();
    fs::write(outside.path().join("secret.json"), r#""secret""#).unwrap();
    let pending = dir.path().join("pending");
    let place = Place::open(dir.path(), "pending").unwrap();
    symlink(outside.path().join("secret.json"), pending.join("link.json")).unwrap();
    fs::create_dir(pending.join("folder.json")).unwrap();
    fs::write(pending.join("one.json"), "1").unwrap();
    fs::hard_link(pending.join("one.json"), pending.join("two.json")).unwrap();
    let pipe = rustix::fs::mknodat(CWD, pending.join("pipe.json"), FileType::Fifo, Mode::RUSR, 0);
    pipe.unwrap();
    for name in ["link.json", "folder.json", "one.json", "pipe.json"] {
        assert!(!has(&place, name), "{name}");
    }
    let listing = place.list(|_| true).unwrap();
    assert_eq!(listing, Listing::default());
}

#[test]
fn a_link_in_place_of_a_file_or_a_folder_leads_nowhere() {
    let dir = data();
    let outside = data();
    fs::write(outside.path().join("x.json"), "1").unwrap();
    let run = RunId::new_now();
    symlink(outside.path(), dir.path().join("pending")).unwrap();
    assert!(Place::open(dir.path(), "pending").is_err());
    assert!(Place::open(dir.path(), "pending/deeper").is_err());
    fs::create_dir_all(dir.path().join(format!("current/{run}"))).unwrap();
    symlink(outside.path().join("x.json"), dir.path().join(format!("current/{run}/x.json"))).unwrap();
    assert_eq!(read(dir.path(), "in", run, "x.json"), Value::Null);
    symlink(outside.path(), dir.path().join("complete")).unwrap();
    let error = move_on(dir.path(), "in", run, FileOutcome::Succeeded).unwrap_err();
    assert!(!may_pass(&error), "{error}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_may_still_be_written_is_listed_later() {
    let dir = data();
    let place = Place::open(dir.path(), "pending").unwrap();
    fs::write(dir.path().join("pending/x.json"), "1").unwrap();
    let listing = place.list(|name| name.ends_with(".json")).unwrap();
    assert!(listing.files.is_empty() && listing.again.is_some_and(|again| again <= SETTLED), "{listing:?}");
    assert_eq!(place.list(|_| false).unwrap(), Listing::default());
    let second = 1_000_000_000;
    assert_eq!((rest(second), rest(second * 60), rest(-second)), (None, None, None));
    assert_eq!(rest(second / 4), Some(Duration::from_millis(750)));
}

#[test]
fn content_is_json_within_its_limits_or_null() {
    assert_eq!(parse(br#"{"a": [1, null]}"#), json!({"a": [1, null]}));
    assert_eq!(parse(b"name,age\n"), Value::Null);
    assert_eq!(parse(&[b' '; FILE_CONTENT + 1]), Value::Null);
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_ne!(parse(nested(MAX_LEVELS).as_bytes()), Value::Null);
    assert_eq!(parse(nested(MAX_LEVELS + 1).as_bytes()), Value::Null);
    let long_when_written = format!("[{}1e15]", "1e15,".repeat(150_000));
    assert_eq!(parse(long_when_written.as_bytes()), Value::Null, "it would not fit into a message");
}

#[test]
fn names_that_no_task_can_have_are_counted_and_left_alone() {
    use std::os::unix::ffi::OsStrExt as _;
    let dir = data();
    let place = Place::open(dir.path(), "pending").unwrap();
    for name in [&b"b\n.json"[..], b"a\xff.json", b"other.txt\xff"] {
        fs::write(dir.path().join("pending").join(std::ffi::OsStr::from_bytes(name)), "1").unwrap();
    }
    let listing = place.list(|name| name.ends_with(".json")).unwrap();
    assert_eq!(listing.files, Vec::<String>::new());
    assert_eq!(listing.unusable, Some(("a\u{fffd}.json".to_owned(), 2)));
}
