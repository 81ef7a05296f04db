//! The checks of a probe's report.

use super::*;

/// Each word is an answer, 10 ms after the one before: `connection:label@version`.
fn report(words: &str) -> Report {
    let start = Instant::now();
    let parse = |(index, word): (usize, &str)| {
        let (connection, rest) = word.split_once(':').unwrap();
        let (label, version) = rest.split_once('@').unwrap();
        let began = start + Duration::from_millis(10 * index as u64);
        Answer {
            connection: connection.parse().unwrap(),
            began,
            ended: began + Duration::from_millis(5),
            status: Ok(200),
            version: version.to_owned(),
            label: label.to_owned(),
        }
    };
    Report { answers: words.split(' ').enumerate().map(parse).collect() }
}

fn panics(check: impl FnOnce() + std::panic::UnwindSafe) -> bool {
    std::panic::catch_unwind(check).is_err()
}

#[test]
fn going_from_old_to_new_is_monotonic() {
    report("0:old@1 1:old@1 0:new@2 1:new@2").versions_monotonic(&["old", "new"]).none_mixed();
}

#[test]
fn an_old_answer_after_a_new_one_is_caught_also_on_another_connection() {
    assert!(panics(|| _ = report("0:new@2 1:old@1").versions_monotonic(&["old", "new"])));
}

#[test]
fn requests_side_by_side_may_be_answered_by_either() {
    let mut report = report("0:new@2 1:old@1");
    report.answers[1].began = report.answers[0].began;
    report.versions_monotonic(&["old", "new"]);
}

#[test]
fn a_label_that_nobody_expects_is_caught() {
    assert!(panics(|| _ = report("0:old@1 0:torn@2 0:new@3").versions_monotonic(&["old", "new"])));
}

#[test]
fn a_label_from_two_versions_and_a_version_with_two_labels_are_caught() {
    assert!(panics(|| _ = report("0:a@1 0:a@2").none_mixed()));
    assert!(panics(|| _ = report("0:a@1 0:b@1").none_mixed()));
}

#[test]
fn a_failure_is_caught() {
    let mut report = report("0:a@1 0:a@1");
    report.answers[1].status = Ok(502);
    assert!(panics(std::panic::AssertUnwindSafe(|| _ = report.no_failures())));
}
