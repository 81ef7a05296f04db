use super::*;
use crate::routers::state::version_of;
use switchyard_contract::incarnation::Incarnation;

fn version(text: &str) -> Version {
    Some(text.to_owned())
}

fn digest(text: &str) -> ServedVersion {
    ServedVersion::Version(text.to_owned())
}

/// Marks r1 and blog.
fn mark(behind: &BehindMarks, published: Version, serves: ServedVersion) {
    behind.mark("r1", "blog", published, serves, []);
}

fn is_behind_with(behind: &BehindMarks, serves: ServedVersion) -> bool {
    behind.settle("r1", "blog", serves, &[]);
    behind.has("r1", "blog")
}

#[test]
fn a_router_is_behind_until_it_serves_another_version_than_before() {
    for newer in [digest("new"), digest("newer still"), ServedVersion::Nothing] {
        let behind = BehindMarks::default();
        mark(&behind, version("new"), digest("old"));
        assert!(is_behind_with(&behind, digest("old")));
        assert!(is_behind_with(&behind, ServedVersion::Unknown), "as after a restart");
        assert!(is_behind_with(&behind, digest("old")));
        assert_eq!(behind.of("r1"), ["blog"]);
        assert!(!is_behind_with(&behind, newer));
        assert!(behind.projects().is_empty());
    }
}

#[test]
fn a_router_that_serves_what_was_published_is_not_behind() {
    let behind = BehindMarks::default();
    mark(&behind, version("new"), digest("new"));
    mark(&behind, None, ServedVersion::Nothing);
    assert!(behind.projects().is_empty());
}

#[test]
fn a_router_is_behind_in_a_project_that_is_new_or_deleted_too() {
    let behind = BehindMarks::default();
    mark(&behind, version("new"), ServedVersion::Nothing);
    assert!(is_behind_with(&behind, ServedVersion::Nothing));
    assert!(!is_behind_with(&behind, digest("new")));
    mark(&behind, None, digest("old"));
    assert!(is_behind_with(&behind, digest("old")));
    assert!(!is_behind_with(&behind, ServedVersion::Nothing));
}

#[test]
fn the_first_report_of_a_router_is_older_unless_it_names_the_published_version() {
    let behind = BehindMarks::default();
    mark(&behind, version("new"), ServedVersion::Unknown);
    assert!(is_behind_with(&behind, digest("old")));
    assert!(!is_behind_with(&behind, digest("newer")));
    mark(&behind, version("new"), ServedVersion::Unknown);
    assert!(!is_behind_with(&behind, digest("new")));
}

#[test]
fn the_absence_of_a_new_project_is_no_newer_version_even_if_others_report_the_same() {
    let behind = BehindMarks::default();
    mark(&behind, version("new"), ServedVersion::Unknown);
    behind.settle("r1", "blog", ServedVersion::Nothing, &[ServedVersion::Nothing]);
    assert!(behind.has("r1", "blog"));
    behind.settle("r1", "blog", digest("new"), &[ServedVersion::Nothing]);
    assert!(!behind.has("r1", "blog"));
}

#[test]
fn versions_of_earlier_deploys_are_older_too() {
    let behind = BehindMarks::default();
    mark(&behind, version("2"), digest("1"));
    mark(&behind, version("3"), digest("1"));
    assert!(is_behind_with(&behind, digest("2")));
    // The third deploy is the first version again.
    mark(&behind, version("1"), digest("2"));
    assert!(is_behind_with(&behind, digest("3")));
    assert!(!is_behind_with(&behind, digest("1")));
}

#[test]
fn versions_that_other_routers_served_are_older_too() {
    let behind = BehindMarks::default();
    for serves in [digest("1"), ServedVersion::Unknown] {
        behind.mark("r1", "blog", version("3"), serves, [digest("2"), digest("3"), ServedVersion::Unknown]);
        assert!(is_behind_with(&behind, digest("1")));
        assert!(is_behind_with(&behind, digest("2")), "reported late");
        assert!(!is_behind_with(&behind, digest("3")));
    }
}

#[test]
fn a_router_that_serves_the_version_of_routers_that_are_not_behind_has_caught_up() {
    let behind = BehindMarks::default();
    mark(&behind, version("new"), ServedVersion::Unknown);
    // The files on the volume were edited since.
    behind.settle("r1", "blog", digest("edited"), &[digest("edited")]);
    assert!(!behind.has("r1", "blog"));
    mark(&behind, version("new"), digest("old"));
    behind.settle("r1", "blog", digest("old"), &[digest("old")]);
    assert!(behind.has("r1", "blog"), "the other one's own report is late");
    mark(&behind, version("new"), ServedVersion::Unknown);
    behind.settle("r1", "blog", ServedVersion::Unknown, &[ServedVersion::Unknown]);
    assert!(behind.has("r1", "blog"));
}

#[test]
fn of_a_router_that_misses_many_deploys_the_version_before_them_and_the_last_ones_are_remembered() {
    let behind = BehindMarks::default();
    for deploy in 0..1000 {
        mark(&behind, version(&deploy.to_string()), digest("before"));
    }
    assert_eq!(behind.read()["blog"]["r1"].older.len(), MAX_OLDER);
    for older in ["before", "998", "997"] {
        assert!(is_behind_with(&behind, digest(older)), "{older}");
    }
    assert!(!is_behind_with(&behind, digest("999")));
}

#[test]
fn a_router_that_missed_a_removal_and_the_next_deploy_of_the_same_files_is_behind() {
    let behind = BehindMarks::default();
    let later = Incarnation::from_number(1);
    mark(&behind, None, digest("files"));
    let next = version_of("files", later);
    mark(&behind, Some(next.clone()), digest("files"));
    assert!(is_behind_with(&behind, digest("files")), "it is the removed project's");
    assert!(is_behind_with(&behind, ServedVersion::Nothing), "it has read the removal alone");
    assert!(!is_behind_with(&behind, ServedVersion::Version(next)));
    // The removed project is back: the router never served anything else.
    mark(&behind, None, digest("files"));
    mark(&behind, version("files"), digest("files"));
    assert!(behind.projects().is_empty());
}

fn open(folder: &std::path::Path) -> BehindMarks {
    BehindMarks::open(folder.to_owned(), |_| true).unwrap()
}

fn files(folder: &std::path::Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn saved_marks_outlive_the_process_and_their_files_go_when_the_routers_have_caught_up() {
    let dir = tempfile::tempdir().unwrap();
    let behind = open(dir.path());
    mark(&behind, version("new"), digest("old"));
    behind.mark("r2", "shop", None, ServedVersion::Unknown, [digest("1")]);
    behind.save().await.unwrap();
    assert_eq!(files(dir.path()), ["blog.json", "shop.json"]);

    let behind = open(dir.path());
    assert!(is_behind_with(&behind, digest("old")));
    behind.settle("r2", "shop", digest("first"), &[]);
    behind.save().await.unwrap();

    let behind = open(dir.path());
    assert!(is_behind_with(&behind, digest("old")));
    behind.settle("r2", "shop", digest("first"), &[]);
    assert!(behind.has("r2", "shop"), "its first report is remembered too");
    assert!(!is_behind_with(&behind, digest("new")));
    behind.settle("r2", "shop", ServedVersion::Nothing, &[]);
    behind.save().await.unwrap();
    assert_eq!(files(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn marks_of_routers_that_are_not_configured_any_more_and_unfinished_files_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let behind = open(dir.path());
    mark(&behind, version("new"), digest("old"));
    behind.mark("r2", "shop", version("new"), digest("old"), []);
    behind.save().await.unwrap();
    for (name, text) in [("blog.new", "{"), ("broken.json", "{"), ("No Name.json", "{}")] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let behind = BehindMarks::open(dir.path().to_owned(), |router| router == "r1").unwrap();
    assert_eq!((behind.of("r1"), behind.of("r2")), (vec!["blog".to_owned()], vec![]));
    behind.save().await.unwrap();
    assert_eq!(files(dir.path()), ["blog.json"]);
}

#[tokio::test]
async fn marks_that_could_not_be_written_are_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("behind");
    let behind = open(&folder);
    std::fs::remove_dir(&folder).unwrap();
    mark(&behind, version("new"), digest("old"));
    behind.save().await.unwrap_err();
    std::fs::create_dir(&folder).unwrap();
    behind.save().await.unwrap();
    assert!(open(&folder).has("r1", "blog"));
}
