//! The times of the week at which nothing is deployed, as `Fri 16:00 - Mon 06:00` in a time zone.
//!
//! A window is local time of its zone. A time that daylight saving skips counts as the moment of
//! the jump's other side, and one that comes twice as its first, so that no window is lost.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{self, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};

/// A time of the week or of the day at which nothing is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    denied: Denied,
    zone: TimeZone,
}

/// The denied time, without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Denied {
    Daily { from: civil::Time, to: civil::Time },
    Weekly { from: (Weekday, civil::Time), to: (Weekday, civil::Time) },
}

/// A window that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWindow {
    /// The text has another form.
    #[error(
        "invalid window {0:?}: expected days and times as \"Fri 16:00 - Mon 06:00\", or times of each day \
         as \"22:00 - 06:00\""
    )]
    Form(String),
    /// Only one of the two ends has a day.
    #[error(
        "invalid window {0:?}: name the day at both ends, as \"Fri 16:00 - Mon 06:00\", or at none, as \
         \"22:00 - 06:00\""
    )]
    OneDay(String),
    /// The window has no length.
    #[error("invalid window {0:?}: it ends when it begins; to deny always, freeze the source")]
    Empty(String),
    /// The time zone is not known here.
    #[error(
        "unknown time zone {0:?}: expected an IANA name as \"Europe/Berlin\" or \"UTC\"; a system without \
         time zones needs the package tzdata"
    )]
    Zone(String),
}

impl Window {
    /// Parses a window. `zone` is an IANA name.
    ///
    /// # Errors
    /// The text is no window, or the zone is not known to this system.
    pub fn parse(deny: &str, zone: &str) -> Result<Self, InvalidWindow> {
        let zone = match zone {
            "UTC" => TimeZone::UTC,
            named => TimeZone::get(named).map_err(|_| InvalidWindow::Zone(named.to_owned()))?,
        };
        Ok(Self { denied: deny.parse()?, zone })
    }

    /// Returns the end of the window, if `now` is in it. The end itself is outside.
    pub fn is_denied(&self, now: Timestamp) -> Option<Timestamp> {
        let today = now.to_zoned(self.zone.clone()).date();
        // The window of this day, and those that may have begun up to a week ago. The longest one
        // is a week without a minute, so one more day covers a change of the clocks.
        (0..=8).filter_map(|days| self.begun(today, days)).find_map(|(from, to)| {
            let is_within = from.timestamp() <= now && now < to.timestamp();
            is_within.then(|| to.timestamp())
        })
    }

    /// The window that begins `days` before `today`, if one does.
    fn begun(&self, today: civil::Date, days: i32) -> Option<(Zoned, Zoned)> {
        let begin = today.checked_sub(days.days()).ok()?;
        let (from, to, length) = match self.denied {
            Denied::Daily { from, to } => (from, to, i32::from(to <= from)),
            Denied::Weekly { from: (day, from), to: (end, to) } => {
                if begin.weekday() != day {
                    return None;
                }
                let length = i32::from(day.until(end));
                (from, to, if length == 0 && to <= from { 7 } else { length })
            }
        };
        let end = begin.checked_add(length.days()).ok()?;
        let at = |date: civil::Date, time| date.to_datetime(time).to_zoned(self.zone.clone()).ok();
        Some((at(begin, from)?, at(end, to)?))
    }
}

/// Returns the time at which the last of the windows that deny `now` ends; `None`: none does.
/// Windows that follow one another without a gap count as one, up to 14 of them.
pub fn denied_until(windows: &[Window], now: Timestamp) -> Option<Timestamp> {
    let last = |at| windows.iter().filter_map(|window| window.is_denied(at)).max();
    let first = last(now)?;
    let ends = std::iter::successors(Some(first), |end| last(*end));
    ends.take(14).last()
}

impl FromStr for Denied {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        let form = || InvalidWindow::Form(text.to_owned());
        let (from, to) = text.split_once('-').ok_or_else(form)?;
        let (from, to) = (moment(from).ok_or_else(form)?, moment(to).ok_or_else(form)?);
        if from == to {
            return Err(InvalidWindow::Empty(text.to_owned()));
        }
        match (from, to) {
            ((None, from), (None, to)) => Ok(Self::Daily { from, to }),
            ((Some(day), from), (Some(end), to)) => Ok(Self::Weekly { from: (day, from), to: (end, to) }),
            _ => Err(InvalidWindow::OneDay(text.to_owned())),
        }
    }
}

/// Reads `Fri 16:00` or `16:00`.
fn moment(text: &str) -> Option<(Option<Weekday>, civil::Time)> {
    let mut words = text.split_whitespace();
    let (first, second) = (words.next()?, words.next());
    if words.next().is_some() {
        return None;
    }
    match second {
        Some(time) => Some((Some(weekday(first)?), clock(time)?)),
        None => Some((None, clock(first)?)),
    }
}

fn weekday(text: &str) -> Option<Weekday> {
    let days = [
        ("monday", Weekday::Monday),
        ("tuesday", Weekday::Tuesday),
        ("wednesday", Weekday::Wednesday),
        ("thursday", Weekday::Thursday),
        ("friday", Weekday::Friday),
        ("saturday", Weekday::Saturday),
        ("sunday", Weekday::Sunday),
    ];
    let text = text.to_ascii_lowercase();
    days.into_iter().find(|(name, _)| *name == text || name[..3] == text).map(|(_, day)| day)
}

/// Reads `HH:MM`, 00:00 to 23:59.
fn clock(text: &str) -> Option<civil::Time> {
    let (hour, minute) = text.split_once(':')?;
    let is_number = |part: &str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number(hour) || !is_number(minute) {
        return None;
    }
    civil::Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

impl fmt::Display for Window {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denied {
            Denied::Daily { from, to } => {
                write!(out, "{} - {}", from.strftime("%H:%M"), to.strftime("%H:%M"))?;
            }
            Denied::Weekly { from: (day, from), to: (end, to) } => write!(
                out,
                "{} {} - {} {}",
                abbreviated(day),
                from.strftime("%H:%M"),
                abbreviated(end),
                to.strftime("%H:%M")
            )?,
        }
        write!(out, " ({})", self.zone.iana_name().unwrap_or("UTC"))
    }
}

fn abbreviated(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Mon",
        Weekday::Tuesday => "Tue",
        Weekday::Wednesday => "Wed",
        Weekday::Thursday => "Thu",
        Weekday::Friday => "Fri",
        Weekday::Saturday => "Sat",
        Weekday::Sunday => "Sun",
    }
}

#[cfg(test)]
mod tests;
