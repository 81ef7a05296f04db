//! The table that is printed.

use std::time::Duration;

use switchyard_contract::visible;

use crate::attempt::{Attempt, Verdict};
use crate::user::User;

/// A diagnostic that broke something may be megabytes long.
const MAX_EVIDENCE: usize = 400;

pub(crate) fn begin() {
    say("| # | severity | what | as | verdict | evidence |");
    say("|---|---|---|---|---|---|");
}

pub(crate) fn line(attempt: &Attempt, user: User, verdict: &Verdict) {
    let Attempt { number, severity, deed, broken, .. } = attempt;
    let evidence: String = verdict.evidence().chars().take(MAX_EVIDENCE).collect();
    let evidence = visible::word(&evidence).replace('|', "\\|");
    let evidence = match verdict {
        Verdict::Broke(_) => format!("{evidence} (broken when {broken})"),
        _ => evidence,
    };
    say(&format!("| {number} | {severity} | {deed} | {} | {} | {evidence} |", user.name(), verdict.name()));
}

pub(crate) fn end(broke: usize, took: Duration) {
    say("");
    say(&format!("{broke} broke, in {} s", took.as_secs()));
}

#[expect(clippy::print_stdout, reason = "the report is printed")]
fn say(line: &str) {
    println!("{line}");
}
