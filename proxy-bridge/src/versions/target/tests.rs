//! Targets of rollbacks, found in records and at a router in the test's hands.

use serde_json::json;
use switchyard_contract::digest::Digest;
use switchyard_contract::incarnation::DataFate;

use super::*;
use crate::records::tests::record;
use crate::routers::testing::{FakeRouter, digest, following};

const FIRST: Incarnation = Incarnation::FIRST;

fn blog() -> ProjectName {
    ProjectName::parse("blog").unwrap()
}

fn commit(id: &str) -> CommitInfo {
    CommitInfo { source: "shop".into(), commit: format!("{id:0<40}"), ref_name: None }
}

/// A deploy of the version whose digest is `byte` again and again.
fn deployed(at: i64, byte: u8, from: Option<&str>) -> DeployRecord {
    let mut record = record(&format!("d{at}"), at);
    record.commit = from.map(commit);
    record.projects[0].digest = Some(Digest::from([byte; 32]));
    record.projects[0].version = Some(format!("blog@{}", Digest::from([byte; 32]).short()));
    record
}

fn wanted(text: &str) -> Wanted {
    Wanted::parse(&blog(), text).unwrap()
}

async fn find(text: &str, records: &[DeployRecord]) -> Result<RollbackTarget, Problem> {
    wanted_target(&blog(), &wanted(text), FIRST, records, &[]).await
}

#[test]
fn a_version_a_digest_and_a_commit_can_be_named_and_nothing_else() {
    for good in ["abcdef0", "abababababab", "blog@abababababab", &"0".repeat(40), &"f".repeat(64)] {
        Wanted::parse(&blog(), good).unwrap();
    }
    for bad in ["", "abcdef", "blog@abcdef0", "main", "ABCDEF0", &"0".repeat(65), "abcdef0\n"] {
        let problem = Wanted::parse(&blog(), bad).unwrap_err();
        assert_eq!(problem.status, StatusCode::BAD_REQUEST, "{bad:?}");
        assert!(problem.detail().contains("7 digits of a commit"), "{}", problem.detail());
    }
}

#[tokio::test]
async fn a_commit_leads_to_the_newest_version_that_was_deployed_from_it() {
    let records = [
        deployed(4, 4, None),
        deployed(3, 3, Some("abcdef01")),
        deployed(2, 2, Some("abcdef01")),
        deployed(1, 1, Some("0123456")),
    ];
    for text in ["abcdef0", "abcdef01", &format!("{:0<40}", "abcdef01")] {
        let found = find(text, &records).await.unwrap();
        assert_eq!((found.digits, found.commit), ("03".repeat(32), Some(commit("abcdef01"))), "{text}");
    }
    assert_eq!(find("0123456", &records).await.unwrap().digits, "01".repeat(32));
}

#[tokio::test]
async fn deploys_that_failed_or_are_of_another_incarnation_do_not_count() {
    let mut failed = deployed(2, 2, Some("abcdef0"));
    failed.outcome = Some(switchyard_contract::deploy::DeployOutcome::Failed);
    let mut other = deployed(1, 1, Some("abcdef0"));
    other.projects[0].incarnation = Incarnation::from_number(7);
    let problem = find("abcdef0", &[failed, other]).await.unwrap_err();
    assert_eq!(problem.status, StatusCode::NOT_FOUND);
    assert!(problem.detail().contains("a commit that begins with abcdef0"), "{}", problem.detail());
}

#[tokio::test]
async fn digits_of_two_commits_are_refused_with_both() {
    let records = [deployed(2, 2, Some("abcdef01")), deployed(1, 1, Some("abcdef02"))];
    let problem = find("abcdef0", &records).await.unwrap_err();
    assert_eq!(problem.status, StatusCode::BAD_REQUEST);
    for id in ["abcdef01", "abcdef02"] {
        assert!(problem.detail().contains(&commit(id).commit), "{}", problem.detail());
    }
    assert_eq!(find("abcdef02", &records).await.unwrap().digits, "01".repeat(32));
}

#[tokio::test]
async fn a_digest_goes_before_a_commit_with_the_same_digits() {
    let same = "02".repeat(6);
    let records = [deployed(3, 3, Some(&same)), deployed(2, 2, Some("abcdef0"))];
    let found = find(&same, &records).await.unwrap();
    assert_eq!((found.digits.as_str(), found.commit), (same.as_str(), Some(commit("abcdef0"))));
    let named = find(&format!("blog@{same}"), &records).await.unwrap();
    assert_eq!(named.digits, same);
    assert_eq!(find(&same[..11], &records).await.unwrap().digits, "03".repeat(32), "too short for a digest");
}

#[tokio::test]
async fn a_version_that_only_a_router_keeps_goes_before_a_commit() {
    let fake = FakeRouter::start("r1").await;
    let routers = following(&[&fake]);
    let kept = json!({"checkouts": [{"version": "blog@aaaaaaaaaaaa", "short": "aaaaaaaaaaaa",
        "at": "2026-03-01T12:00:00Z", "live": false}]});
    fake.script("GET /projects/blog/checkouts?incarnation=first", 200, &kept.to_string());
    let records = [deployed(1, 1, Some("aaaaaaaaaaaa")), deployed(2, 2, Some("bbbbbbbbbbbb"))];
    let find =
        async |text: &str| wanted_target(&blog(), &wanted(text), FIRST, &records, &routers.all()).await;
    let found = find(&digest('a')).await.unwrap();
    assert_eq!((found.digits, found.commit), (digest('a'), None));
    assert_eq!(find("bbbbbbbbbbbb").await.unwrap().digits, "02".repeat(32));
    let problem = find(&digest('c')).await.unwrap_err();
    assert!(problem.detail().contains("a digest or a commit that begins with cccc"), "{}", problem.detail());
}

#[tokio::test]
async fn a_removed_project_is_brought_back_by_its_commit() {
    let fake = FakeRouter::start("r1").await;
    let routers = following(&[&fake]);
    let kept = json!({"checkouts": [{"version": "blog@010101010101", "short": "010101010101",
        "at": "2026-03-01T12:00:00Z", "live": false}]});
    fake.script("GET /projects/blog/checkouts?incarnation=first", 200, &kept.to_string());
    let at = jiff::Timestamp::UNIX_EPOCH;
    let ended = EndedIncarnation {
        incarnation: FIRST,
        deploy: "d3".into(),
        at,
        until: at,
        version: None,
        data: DataFate::Keep,
    };
    let records = [deployed(2, 2, Some("abcdef02")), deployed(1, 1, Some("abcdef01"))];
    let all = routers.all();
    let find = async |text: &str| {
        let found = Found { records: &records, routers: &all, is_source: &|_| false };
        removed_target(&blog(), Some(&wanted(text)), &[&ended], found).await
    };
    let found = find("abcdef01").await.unwrap();
    assert_eq!((found.digits, found.commit), ("01".repeat(32), Some(commit("abcdef01"))));
    let problem = find("abcdef02").await.unwrap_err();
    assert!(problem.detail().contains("digest or commit abcdef02"), "{}", problem.detail());
    assert_eq!(find("abcdef0").await.unwrap_err().status, StatusCode::BAD_REQUEST);

    // Its source can make it again.
    let live = EndedIncarnation { version: Some("blog@020202020202".into()), ..ended.clone() };
    let found = Found { records: &records, routers: &all, is_source: &|name| name == "shop" };
    for (wanted, ended) in [(Some(wanted("abcdef02")), &ended), (None, &live)] {
        let target = removed_target(&blog(), wanted.as_ref(), &[ended], found).await.unwrap();
        assert!("02".repeat(32).starts_with(&target.digits), "{target:?}");
        assert_eq!(target.commit, Some(commit("abcdef02")));
    }
}

#[test]
fn the_commits_of_a_version_come_with_the_digest_of_the_files_that_were_deployed() {
    let mut with_includes = deployed(3, 2, Some("abcdef03"));
    with_includes.projects[0].own_digest = Some(Digest::from([9; 32]));
    let records =
        [with_includes, deployed(2, 2, None), deployed(1, 2, Some("abcdef01")), deployed(0, 1, Some("0"))];
    let name = blog();
    let found: Vec<_> = origins(&name, FIRST, "020202020202", &records).collect();
    let expected =
        [(&commit("abcdef03"), Digest::from([9; 32])), (&commit("abcdef01"), Digest::from([2; 32]))];
    assert_eq!(found, expected);
    assert_eq!(origins(&name, Incarnation::from_number(7), "02", &records).count(), 0);
}

/// A rollback to the version whose digest is `byte` again and again, from the one with `from`.
fn rolled_back(at: i64, byte: u8, from: u8) -> DeployRecord {
    let mut record = deployed(at, byte, None);
    record.action = Action::Rollback;
    record.projects[0].previous = Some(name(from));
    record
}

fn name(byte: u8) -> String {
    format!("blog@{}", Digest::from([byte; 32]).short())
}

/// The way back after these deploys and rollbacks, the oldest first: versions that are kept, and those that are left.
fn history(records: Vec<DeployRecord>) -> (Vec<String>, Vec<String>) {
    let newest_first: Vec<_> = records.into_iter().rev().collect();
    let history = History::of(&blog(), FIRST, &newest_first);
    (history.kept, history.left.into_keys().collect())
}

#[test]
fn a_rollback_walks_back_and_never_to_a_version_that_was_left() {
    let all = || vec![deployed(1, 1, None), deployed(2, 2, None), deployed(3, 3, None)];
    let names = |bytes: &[u8]| bytes.iter().map(|byte| name(*byte)).collect::<Vec<_>>();
    assert_eq!(history(all()), (names(&[1, 2, 3]), vec![]));
    let mut once = all();
    once.push(rolled_back(4, 2, 3));
    assert_eq!(history(once.clone()), (names(&[1, 2]), names(&[3])));
    let mut twice = once.clone();
    twice.push(rolled_back(5, 1, 2));
    assert_eq!(history(twice), (names(&[1]), names(&[2, 3])));
    let mut forward = once.clone();
    forward.push(rolled_back(5, 3, 2));
    assert_eq!(
        history(forward),
        (names(&[1, 2, 3]), vec![]),
        "a version that is named may be one that was left"
    );
    once.push(deployed(5, 4, None));
    assert_eq!(history(once), (names(&[1, 2, 4]), names(&[3])));
}

#[test]
fn versions_without_a_record_are_left_too() {
    let names = |bytes: &[u8]| bytes.iter().map(|byte| name(*byte)).collect::<Vec<_>>();
    let saved = vec![deployed(1, 1, None), rolled_back(2, 1, 9)];
    assert_eq!(history(saved), (names(&[1]), names(&[9])));
    let old = vec![deployed(1, 2, None), rolled_back(2, 1, 2)];
    assert_eq!(history(old), (names(&[1]), names(&[2])));
}
