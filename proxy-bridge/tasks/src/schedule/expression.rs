//! One cron expression, and its due times in a time zone.

use std::fmt;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use switchyard_contract::suggest::did_you_mean;

use super::{InvalidSchedule, earlier};

/// The longest expression, in bytes.
const MAX_LENGTH: usize = 256;

/// More than any zone has ever set its clocks by.
const FAR: SignedDuration = SignedDuration::from_hours(72);

/// Years in which every day of the calendar comes on every day of the week.
const YEARS: &str = "2000-2040";

/// Names of frequent expressions.
const NAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * SUN"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The fields of an expression, and the values that they may have.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59, *, a range, a list or a step, as in \"*/10\""),
    ("minute", "0 to 59, *, a range, a list or a step, as in \"*/15\""),
    ("hour", "0 to 23, *, a range, a list or a step, as in \"9-17\""),
    ("day of the month", "1 to 31, *, a range, a list, a step, L for the last day, or 15W"),
    ("month", "1 to 12 or JAN to DEC, *, a range, a list or a step"),
    ("day of the week", "0 or 7 for Sunday to 6, SUN to SAT, *, a range, a list, 1#2, or 5L"),
];

/// The values of the last field where weekdays are counted from 1.
const SUNDAY_IS_ONE: &str = "1 for Sunday to 7, SUN to SAT, *, a range, a list, 1#2, or 5L";

/// A parsed expression.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    text: String,
    cron: Cron,
    /// `true`: the time of day has a wildcard or a step, so it is due at each matching time that
    /// clocks show, also if they show it twice.
    counts_on: bool,
}

impl Expression {
    pub(super) fn parse(text: &str, sunday_is_one: bool) -> Result<Self, InvalidSchedule> {
        if text.len() > MAX_LENGTH {
            return Err(InvalidSchedule::TooLong { most: MAX_LENGTH });
        }
        let fields = fields(text)?;
        let parser = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Optional)
            .alternative_weekdays(sunday_is_one)
            .build();
        let Some(cron) = parse_fields(parser, &fields) else {
            return Err(wrong_field(text, parser, &fields, sunday_is_one));
        };
        let counts_on = fields.iter().take(3).any(|field| field.contains(['*', '/']));
        if !is_ever_due(parser, &fields) {
            return Err(InvalidSchedule::Never { expression: text.to_owned() });
        }
        Ok(Self { text: text.trim().to_owned(), cron, counts_on })
    }

    /// The first due time after `after`.
    pub(super) fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.counts_on { self.next_counted(after, zone) } else { self.next_once(after, zone) }
    }

    /// Looks between one change of the zone's clock and the next, where times of clocks and points
    /// in time have a fixed difference.
    fn next_counted(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let (mut at, mut inclusive) = (after, false);
        loop {
            let offset = zone.to_offset(at);
            let found = self.matching(offset.to_datetime(at), inclusive)?;
            let due = offset.to_timestamp(found).ok()?;
            let change = zone.following(at).next().map(|change| change.timestamp());
            let Some(change) = change.filter(|change| *change <= due) else { return Some(due) };
            // No time of clocks fits before `due`, so changes that are far from both are no matter.
            let is_far = change.duration_since(at) > FAR;
            at = if is_far { change.max(earlier(due, FAR)) } else { change };
            inclusive = true;
        }
    }

    /// Looks at times of clocks, each of which is one point in time.
    fn next_once(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut clock = zone.to_datetime(after);
        loop {
            clock = self.matching(clock, false)?;
            let due = point_in_time(clock, zone)?;
            if due > after {
                return Some(due);
            }
        }
    }

    fn matching(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        self.cron.find_next_occurrence(&from, inclusive).ok()
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The first point in time at which clocks show `clock`, or have left it out.
fn point_in_time(clock: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(clock).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(clock).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(clock).ok(),
        AmbiguousOffset::Gap { after, .. } => {
            let before_gap = after.to_timestamp(clock).ok()?;
            zone.following(before_gap).next().map(|change| change.timestamp())
        }
    }
}

/// Splits an expression into six fields.
fn fields(text: &str) -> Result<[&str; 6], InvalidSchedule> {
    let mut plain = text.trim();
    if plain.starts_with('@') {
        let Some((_, meaning)) = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(plain)) else {
            let hint = did_you_mean(plain, &NAMES.map(|(name, _)| name));
            return Err(InvalidSchedule::Name { expression: text.to_owned(), hint });
        };
        plain = meaning;
    }
    let parts: Vec<_> = plain.split_whitespace().collect();
    match *parts {
        [minute, hour, day, month, weekday] => Ok(["0", minute, hour, day, month, weekday]),
        [second, minute, hour, day, month, weekday] => Ok([second, minute, hour, day, month, weekday]),
        _ => Err(InvalidSchedule::Fields { expression: text.to_owned(), count: parts.len() }),
    }
}

fn parse_fields(parser: CronParser, fields: &[&str; 6]) -> Option<Cron> {
    // Where weekdays are counted from 1, the parser takes 8, which is no day.
    let numbers = fields[5].split(',').flat_map(|part| {
        let range = part.split(['/', '#']).next().unwrap_or_default();
        range.split('-').filter_map(|number| number.parse::<u32>().ok())
    });
    if numbers.into_iter().any(|number| number > 7) {
        return None;
    }
    parser.parse(&fields.join(" ")).ok()
}

/// Looks through a few years only: a search to the end of the calendar takes a tenth of a second.
fn is_ever_due(parser: CronParser, fields: &[&str; 6]) -> bool {
    let cron = parser.parse(&format!("{} {YEARS}", fields.join(" ")));
    let begin = DateTime::constant(2000, 1, 1, 0, 0, 0, 0);
    cron.is_ok_and(|cron| cron.find_next_occurrence(&begin, true).is_ok())
}

/// The first field that is not valid by itself.
fn wrong_field(text: &str, parser: CronParser, fields: &[&str; 6], sunday_is_one: bool) -> InvalidSchedule {
    let is_wrong = |index: usize| {
        let mut alone = ["*"; 6];
        alone[index] = fields[index];
        parse_fields(parser, &alone).is_none()
    };
    let index = (0..FIELDS.len()).find(|index| is_wrong(*index)).unwrap_or_default();
    let (field, expected) = FIELDS[index];
    let expected = if sunday_is_one && index == 5 { SUNDAY_IS_ONE } else { expected };
    InvalidSchedule::Field { expression: text.to_owned(), field, value: fields[index].to_owned(), expected }
}
