//! Cron expressions, and the times that they are due.

mod error;
mod expression;

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use switchyard_contract::suggest::did_you_mean;
use switchyard_contract::task::CronTrigger;

pub use self::error::InvalidSchedule;
use self::expression::Expression;

/// The largest number of cron expressions of one schedule.
pub const MAX_EXPRESSIONS: usize = 10;

/// The shortest time that a point in time differs by.
const NANOSECOND: SignedDuration = SignedDuration::from_nanos(1);

/// The first step of a search backwards.
const FIRST_STEP: SignedDuration = SignedDuration::from_secs(1);

/// A parsed schedule: the due times of a few cron expressions in one time zone.
///
/// When the zone's clock changes, an expression follows the rules of cron. One with a wildcard or a
/// step in its time of day (`*/15 * * * *`) counts on: it is due at each matching time that clocks
/// show, twice in an hour that they show twice, never in one that they leave out. Another one (`30
/// 2 * * *`) is due once: at the first of two matching times, and at the end of the gap if clocks
/// leave its time out.
#[derive(Debug, Clone)]
pub struct Schedule {
    zone: TimeZone,
    expressions: Vec<Expression>,
}

impl Schedule {
    /// Parses the expressions and the zone of a trigger.
    ///
    /// # Errors There is no expression or too many, one is not valid or is never due, or the zone
    /// is unknown.
    pub fn parse(trigger: &CronTrigger) -> Result<Self, InvalidSchedule> {
        let zone = find_zone(&trigger.zone)?;
        match trigger.schedules.len() {
            0 => return Err(InvalidSchedule::Empty),
            1..=MAX_EXPRESSIONS => {}
            count => return Err(InvalidSchedule::TooMany { count }),
        }
        let parse = |text: &String| Expression::parse(text, trigger.sunday_is_one);
        let expressions = trigger.schedules.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { zone, expressions })
    }

    /// Returns the first due time after `after`. `None`: there is none before the year 5000.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.expressions.iter().filter_map(|expression| expression.next_after(after, &self.zone)).min()
    }

    /// Returns the last due time before `before`, but none before `not_before`.
    pub fn last_before(&self, before: Timestamp, not_before: Timestamp) -> Option<Timestamp> {
        self.previous(before, earlier(not_before, NANOSECOND), FIRST_STEP)
    }

    /// Returns the due times after `after` up to and including `until`, oldest first: the latest
    /// `most` of them.
    pub fn between(&self, after: Timestamp, until: Timestamp, most: usize) -> Vec<Timestamp> {
        let (mut before, mut step) = (later(until, NANOSECOND), FIRST_STEP);
        let mut due = Vec::new();
        while due.len() < most {
            let Some(found) = self.previous(before, after, step) else { break };
            due.push(found);
            // Times are often equally far apart, and are then found at once.
            step = before.duration_since(found) + NANOSECOND;
            before = found;
        }
        due.reverse();
        due
    }

    /// The last due time before `before` and after `after`. It is looked for in steps that begin
    /// with `step` and double, and then by halving, so that it never differs from what
    /// [`next_after`](Self::next_after) gives.
    fn previous(&self, before: Timestamp, after: Timestamp, mut step: SignedDuration) -> Option<Timestamp> {
        let due_after = |from| self.next_after(from).filter(|due| *due < before);
        // Nothing is due after `high` and before `before`.
        let mut high = before;
        let mut low = loop {
            if high <= after {
                return None;
            }
            let from = earlier(before, step).max(after);
            match due_after(from) {
                Some(due) => break due,
                None => high = from,
            }
            step = step.saturating_add(step);
        };
        while let Some(next) = due_after(low) {
            low = next;
            let middle = later(low, high.duration_since(low) / 2);
            match due_after(middle) {
                Some(due) => low = due,
                None => high = middle,
            }
        }
        Some(low)
    }
}

impl fmt::Display for Schedule {
    /// Writes the expressions and the zone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, expression) in self.expressions.iter().enumerate() {
            write!(f, "{}{expression}", if index == 0 { "" } else { ", " })?;
        }
        write!(f, " ({})", self.zone.iana_name().unwrap_or("UTC"))
    }
}

fn find_zone(name: &str) -> Result<TimeZone, InvalidSchedule> {
    // `Etc/Unknown` is a name, but of no zone.
    let found = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown());
    found.ok_or_else(|| {
        let known: Vec<_> = jiff::tz::db().available().collect();
        let known: Vec<_> = known.iter().map(|name| name.as_str()).collect();
        InvalidSchedule::Zone { zone: name.to_owned(), hint: did_you_mean(name, &known) }
    })
}

fn earlier(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
