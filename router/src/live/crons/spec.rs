//! Crons as tasks: their names, triggers and further attempts.

use std::collections::BTreeSet;

use switchyard_contract::task::{
    CatchUp, CronTrigger, Overlap, Retry, TaskCode, TaskName, TaskSpec, TaskTrigger,
};
use switchyard_protocol::CronRegistration;
use switchyard_tasks::schedule::{InvalidSchedule, Schedule};

use super::expression::plain;

/// Deno's pauses, in milliseconds, of a cron that names none.
const DEFAULT_PAUSES: [u32; 5] = [100, 1_000, 5_000, 30_000, 60_000];

/// The name of a cron whose own name is blank.
const UNNAMED: &str = "unnamed";

/// The tasks that crons are, sorted by name.
pub(super) fn specs(crons: &[CronRegistration], entry: &str) -> Vec<TaskSpec> {
    let mut specs: Vec<_> = names(crons).into_iter().map(|(name, cron)| spec(name, cron, entry)).collect();
    specs.sort_by(|one, other| one.name.cmp(&other.name));
    specs
}

/// The names of the tasks that crons are. Names that differ in their spaces alone are numbered.
pub(super) fn names(crons: &[CronRegistration]) -> Vec<(TaskName, &CronRegistration)> {
    let mut taken = BTreeSet::new();
    let named = crons.iter().filter_map(|cron| {
        let words: Vec<_> = cron.name.split_ascii_whitespace().collect();
        let plain = if words.is_empty() { UNNAMED.to_owned() } else { words.join(" ") };
        let numbered = (2..=crons.len() + 1).map(|number| format!("cron/{plain} {number}"));
        let mut names = std::iter::once(format!("cron/{plain}")).chain(numbered);
        let name = names.find(|name| taken.insert(name.clone()))?;
        Some((TaskName::parse(&name).ok()?, cron))
    });
    named.collect()
}

fn spec(name: TaskName, cron: &CronRegistration, entry: &str) -> TaskSpec {
    TaskSpec {
        name,
        description: None,
        declared_in: entry.to_owned(),
        code: TaskCode::Cron { name: cron.name.clone() },
        triggers: vec![TaskTrigger::Cron(cron_trigger(cron))],
        timeout_ms: None,
        overlap: Overlap::Skip,
        retry: retry(cron),
        params: Vec::new(),
        version: Default::default(),
        permissions: None,
        enabled: true,
        keep_inputs: false,
    }
}

/// The schedule of a cron.
pub(crate) fn cron_trigger(cron: &CronRegistration) -> CronTrigger {
    CronTrigger {
        schedules: vec![plain(&cron.schedule)],
        zone: "UTC".to_owned(),
        sunday_is_one: true,
        catch_up: CatchUp::One,
        jitter_ms: 0,
    }
}

/// The pauses, in milliseconds, before each further attempt.
pub(crate) fn pauses(cron: &CronRegistration) -> &[u32] {
    cron.backoff_ms.as_deref().unwrap_or(&DEFAULT_PAUSES)
}

/// Checks that a schedule that Deno takes has due times here.
pub(super) fn check(cron: &CronRegistration) -> Result<(), InvalidSchedule> {
    Schedule::parse(&cron_trigger(cron)).map(|_| ())
}

/// As many attempts as the cron has, with pauses that double and that last as long in all.
fn retry(cron: &CronRegistration) -> Retry {
    let pauses = pauses(cron);
    let attempts = u32::try_from(pauses.len()).unwrap_or_default();
    let total: u64 = pauses.iter().copied().map(u64::from).sum();
    let parts = 2_u64.saturating_pow(attempts).saturating_sub(1).max(1);
    Retry { attempts: attempts + 1, backoff_ms: total / parts }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(name: &str, schedule: &str) -> CronRegistration {
        CronRegistration { name: name.to_owned(), schedule: schedule.to_owned(), backoff_ms: None }
    }

    #[test]
    fn each_cron_is_a_task_of_its_own_name() {
        let crons = ["b", " a  b\n", "a b", "", "a b 2"].map(|name| cron(name, "* * * * *"));
        let names: Vec<_> = specs(&crons, "main.ts").iter().map(|spec| spec.name.to_string()).collect();
        assert_eq!(names, ["cron/a b", "cron/a b 2", "cron/a b 2 2", "cron/b", "cron/unnamed"]);
        let task = &specs(&crons, "main.ts")[0];
        assert_eq!(task.code, TaskCode::Cron { name: " a  b\n".to_owned() });
        assert_eq!(task.declared_in, "main.ts");
    }

    #[test]
    fn a_cron_has_the_attempts_that_deno_gives_it() {
        let backoff = |backoff_ms| retry(&CronRegistration { backoff_ms, ..cron("a", "* * * * *") });
        assert_eq!(backoff(None), Retry { attempts: 6, backoff_ms: 3_100 });
        assert_eq!(backoff(Some(vec![])), Retry { attempts: 1, backoff_ms: 0 });
        assert_eq!(backoff(Some(vec![500])), Retry { attempts: 2, backoff_ms: 500 });
        assert_eq!(backoff(Some(vec![1_000, 2_000])), Retry { attempts: 3, backoff_ms: 1_000 });
    }

    #[test]
    fn schedules_that_deno_takes_have_due_times() {
        for schedule in [
            "* * * * *",
            "0-30/5 1,2,3 1/3 jan-mar mon-fri",
            "5/10 8-18 * * *",
            "0 0 L * *",
            "0 0 LW * *",
            "0 0 1W * *",
            "0 0 * * 7L",
            "0 0 * * MON#2",
            "0 9 * * 2-6",
            "0 0 * * L",
            "59-0 23-0 31-1 12-1 *",
            "0 0 29 2 *",
            "0 0 * 2 FRI#5",
        ] {
            assert!(check(&cron("a", schedule)).is_ok(), "{schedule}: {:?}", check(&cron("a", schedule)));
        }
    }
}
