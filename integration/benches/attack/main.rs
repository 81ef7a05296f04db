//! Attempts to break a router and a bridge, on release binaries, beside a bystander under steady
//! requests. `make attack` runs all, `make attack ONLY="6 10"` some. Prints a table, and fails if
//! an attempt succeeds.
//!
//! As root each attempt is made three times: with the defaults, with `--cell-user nobody`, and with
//! a router of an ordinary user. Other users make it once.

mod attempt;
mod cell;
mod faults;
mod flow;
mod folder;
mod links;
mod native;
mod pages;
mod report;
mod stage;
mod uploads;
mod user;
mod wire;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use attempt::{Attempt, Verdict};
use tokio::time::timeout;
use user::User;

/// Time limit of all attempts together; remaining ones have not been made, which is a failure. They
/// take nine minutes on two busy cores.
const ALL_WITHIN: Duration = Duration::from_secs(15 * 60);

/// Time limit of one attempt: the longest waits a few times for something that takes ten seconds
/// when it hangs, or commits a dozen faults.
const EACH_WITHIN: Duration = Duration::from_secs(120);

fn main() -> Result<ExitCode> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    // The table shows the message of a panic.
    std::panic::set_hook(Box::new(|_| {}));
    tokio::runtime::Runtime::new()?.block_on(run(&wanted))
}

async fn run(wanted: &[String]) -> Result<ExitCode> {
    let (begun, users) = (Instant::now(), User::all());
    let is_wanted =
        |attempt: &&Attempt| wanted.is_empty() || wanted.iter().any(|name| *name == attempt.number);
    let attempts: Vec<_> = all().filter(is_wanted).collect();
    ensure!(!attempts.is_empty(), "no attempt has one of these numbers: {wanted:?}");
    report::begin();
    let mut broke = 0;
    for attempt in attempts {
        let as_whom = if attempt.as_each { &users[..] } else { &users[..1] };
        for user in as_whom {
            let left = ALL_WITHIN.saturating_sub(begun.elapsed());
            let verdict = made(attempt, *user, left).await;
            broke += usize::from(matches!(verdict, Verdict::Broke(_)));
            report::line(attempt, *user, &verdict);
        }
    }
    report::end(broke, begun.elapsed());
    Ok(if broke == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn all() -> impl Iterator<Item = &'static Attempt> {
    let kinds = [
        cell::ATTEMPTS,
        flow::ATTEMPTS,
        folder::ATTEMPTS,
        links::ATTEMPTS,
        pages::ATTEMPTS,
        native::ATTEMPTS,
        faults::ATTEMPTS,
        wire::ATTEMPTS,
        uploads::ATTEMPTS,
    ];
    kinds.into_iter().flatten()
}

/// Makes an attempt. One that panics or does not end has broken something.
async fn made(attempt: &'static Attempt, user: User, left: Duration) -> Verdict {
    if left.is_zero() {
        return Verdict::Broke(format!("not made: all attempts took {} s", ALL_WITHIN.as_secs()));
    }
    let mut task = tokio::spawn((attempt.make)(user));
    match timeout(EACH_WITHIN.min(left), &mut task).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(error)) => Verdict::Broke(attempt::panic_message(error)),
        Err(_) => {
            task.abort();
            let _ = task.await;
            Verdict::Broke(format!("no verdict within {} s", EACH_WITHIN.min(left).as_secs()))
        }
    }
}
