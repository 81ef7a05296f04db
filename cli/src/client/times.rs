//! Times and lengths of time, for people.

use jiff::{SignedDuration, Timestamp};

/// The time since `at`, or until it, in its largest unit: `5m ago`, `in 25s`.
pub(super) fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs();
    let length = seconds.unsigned_abs();
    let text = match length {
        0..60 => format!("{length}s"),
        60..3_600 => format!("{}m", length / 60),
        3_600..86_400 => format!("{}h", length / 3_600),
        _ => format!("{}d", length / 86_400),
    };
    if seconds < 0 { format!("in {text}") } else { format!("{text} ago") }
}

/// A length of time to three digits: `12 ms`, `1.25 s`, `3m 20s`.
pub(super) fn length(span: SignedDuration) -> String {
    let (seconds, millis) = (span.as_secs().max(0), span.subsec_millis().max(0));
    match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!("{seconds}.{:02} s", millis / 10),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_age_has_its_largest_unit() {
        let now = at("2026-03-01T12:00:00Z");
        for (then, expected) in [
            ("2026-03-01T12:00:00Z", "0s ago"),
            ("2026-03-01T11:59:01Z", "59s ago"),
            ("2026-03-01T11:59:00Z", "1m ago"),
            ("2026-03-01T11:00:00Z", "1h ago"),
            ("2026-02-20T12:00:00Z", "9d ago"),
            ("2026-03-01T12:00:25Z", "in 25s"),
        ] {
            assert_eq!(age(at(then), now), expected);
        }
    }

    #[test]
    fn a_length_has_three_digits_or_two_units() {
        for (millis, expected) in [
            (7, "7 ms"),
            (1_250, "1.25 s"),
            (59_999, "59.99 s"),
            (200_000, "3m 20s"),
            (7_260_000, "2h 1m"),
            (-5, "0 ms"),
        ] {
            assert_eq!(length(SignedDuration::from_millis(millis)), expected);
        }
    }
}
