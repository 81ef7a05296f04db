//! Schedules of `Deno.cron` in the form that cron has: `5/10`, and ranges that run over the end, are
//! written as lists.

/// The fields, in their order.
const FIELDS: [Field; 5] = [
    Field { least: 0, most: 59, names: &[] },
    Field { least: 0, most: 23, names: &[] },
    Field { least: 1, most: 31, names: &[] },
    Field {
        least: 1,
        most: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { least: 1, most: SATURDAY, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

/// The last day of the week, which `L` is in the field of weekdays.
const SATURDAY: u32 = 7;

/// The values of a field. Weekdays count from 1 for Sunday.
struct Field {
    least: u32,
    most: u32,
    /// Names of the values from `least` on.
    names: &'static [&'static str],
}

/// A part of a list in a field.
struct Part {
    values: Vec<u32>,
    /// `true`: cron has no such form.
    is_own: bool,
}

/// Returns a schedule that Deno takes in the form of cron, with the same due times.
pub(super) fn plain(schedule: &str) -> String {
    let fields = schedule.split_ascii_whitespace().zip(&FIELDS).map(|(text, field)| field.plain(text));
    let fields: Vec<_> = fields.collect();
    if fields.len() == FIELDS.len() { fields.join(" ") } else { schedule.to_owned() }
}

impl Field {
    fn plain(&self, text: &str) -> String {
        if text == "L" && self.most == SATURDAY {
            return SATURDAY.to_string();
        }
        let parts: Option<Vec<_>> = text.split(',').map(|part| self.part(part)).collect();
        // Forms such as `L` and `15W` are those of cron.
        let Some(parts) = parts.filter(|parts| parts.iter().any(|part| part.is_own)) else {
            return text.to_owned();
        };
        let mut values: Vec<_> = parts.into_iter().flat_map(|part| part.values).collect();
        values.sort_unstable();
        values.dedup();
        let values: Vec<_> = values.iter().map(u32::to_string).collect();
        values.join(",")
    }

    fn part(&self, text: &str) -> Option<Part> {
        let (base, step) = match text.split_once('/') {
            Some((base, step)) => (base, Some(step.parse::<usize>().ok().filter(|step| *step > 0)?)),
            None => (text, None),
        };
        let (first, last, is_single) = match base.split_once('-') {
            _ if base == "*" => (self.least, self.most, false),
            Some((first, last)) => (self.value(first)?, self.value(last)?, false),
            None => (self.value(base)?, self.value(base)?, true),
        };
        let last = if is_single && step.is_some() { self.most } else { last };
        let is_around = first > last;
        // Deno's ranges over the end begin one value early, unless they have steps.
        let from = if is_around && step.is_none() { first.saturating_sub(1).max(self.least) } else { first };
        let values: Vec<_> = if is_around {
            (from..=self.most).chain(self.least..=last).collect()
        } else {
            (from..=last).collect()
        };
        let values = values.into_iter().step_by(step.unwrap_or(1)).collect();
        Some(Part { values, is_own: is_around || is_single && step.is_some() })
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(index) => self.least + u32::try_from(index).ok()?,
            None => text.parse().ok()?,
        };
        (self.least..=self.most).contains(&value).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_cron_stay_as_they_are() {
        for schedule in ["* * * * *", "*/15 0-8/2 L jan-mar mon-fri", "0 0 15W * 7L", "0 0 * * MON#2", "x"] {
            assert_eq!(plain(schedule), schedule);
        }
    }

    #[test]
    fn forms_of_deno_become_lists() {
        for (schedule, expected) in [
            ("5/20 2/10 * * *", "5,25,45 2,12,22 * * *"),
            ("0 0 30/1 11/1 *", "0 0 30,31 11,12 *"),
            ("0 22-2 * * *", "0 0,1,2,21,22,23 * * *"),
            ("0 22-2/2 * * *", "0 0,2,22 * * *"),
            ("0 9 * * fri-mon", "0 9 * * 1,2,5,6,7"),
            ("0 0 * * L", "0 0 * * 7"),
            ("0 9 * nov-jan 3", "0 9 * 1,10,11,12 3"),
        ] {
            assert_eq!(plain(schedule), expected);
        }
    }
}
