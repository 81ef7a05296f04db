//! Cron expressions and zones of a declaration, checked one by one.

use switchyard_contract::task::{CatchUp, CronTrigger};

use crate::schedule::Schedule;

use super::{Fields, Kind, Node, Report};

/// Expressions of one schedule.
const MAX_SCHEDULES: usize = 10;

/// Reads cron expressions, one text or a list of them, in the field `key`.
pub(super) fn read(
    fields: &Fields<'_>,
    key: &str,
    rules: &CronTrigger,
    report: &mut Report,
) -> Option<CronTrigger> {
    let node = fields.get(key)?;
    let list = match &node.kind {
        Kind::List(list) => list.iter().collect(),
        _ => vec![node],
    };
    let texts: Option<Vec<_>> = list.iter().copied().map(Node::text).collect();
    let Some(texts) = texts.filter(|texts| (1..=MAX_SCHEDULES).contains(&texts.len())) else {
        let fix = format!("must be a cron expression (\"0 8 * * 1-5\"), or a list of 1 to {MAX_SCHEDULES}");
        fields.wrong(key, fix, report);
        return None;
    };
    let mut is_valid = true;
    for (node, text) in list.into_iter().zip(&texts) {
        let one = CronTrigger { schedules: vec![(*text).to_owned()], ..rules.clone() };
        if let Err(error) = Schedule::parse(&one) {
            report.wrong(&node.place, &fields.path_of(key), format!("is invalid: {error}"));
            is_valid = false;
        }
    }
    let schedules = texts.into_iter().map(str::to_owned).collect();
    is_valid.then(|| CronTrigger { schedules, ..rules.clone() })
}

/// Reads a time zone.
pub(super) fn zone(fields: &Fields<'_>, report: &mut Report) -> Option<String> {
    let zone = fields.text("zone", report)?;
    if jiff::tz::TimeZone::get(zone).is_err() {
        fields.wrong("zone", "must be a time zone such as \"UTC\" or \"Europe/Berlin\"", report);
        return None;
    }
    Some(zone.to_owned())
}

/// The rules of a schedule that names none.
pub(super) fn plain() -> CronTrigger {
    CronTrigger {
        schedules: Vec::new(),
        zone: "UTC".to_owned(),
        sunday_is_one: false,
        catch_up: CatchUp::default(),
        jitter_ms: 0,
    }
}
