use super::*;

const WEEKEND: &str = "Fri 16:00 - Mon 06:00";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn window(deny: &str, zone: &str) -> Window {
    Window::parse(deny, zone).unwrap()
}

/// Checks rows of zone, moment and expected end, both as text with an offset.
fn check(deny: &str, rows: &[(&str, &str, Option<&str>)]) {
    for (zone, now, until) in rows {
        let found = window(deny, zone).is_denied(at(now));
        assert_eq!(found, until.map(at), "{deny} in {zone} at {now}");
    }
}

#[test]
fn a_weekly_window_holds_over_the_end_of_the_week_in_each_zone() {
    check(
        WEEKEND,
        &[
            ("Europe/Berlin", "2026-06-12T15:59:59+02:00", None),
            ("Europe/Berlin", "2026-06-12T16:00:00+02:00", Some("2026-06-15T06:00:00+02:00")),
            ("Europe/Berlin", "2026-06-14T23:59:59+02:00", Some("2026-06-15T06:00:00+02:00")),
            ("Europe/Berlin", "2026-06-15T05:59:59+02:00", Some("2026-06-15T06:00:00+02:00")),
            ("Europe/Berlin", "2026-06-15T06:00:00+02:00", None),
            ("America/New_York", "2026-06-12T16:00:00+02:00", None),
            ("America/New_York", "2026-06-12T16:00:00-04:00", Some("2026-06-15T06:00:00-04:00")),
            ("Asia/Kolkata", "2026-06-12T10:29:59Z", None),
            ("Asia/Kolkata", "2026-06-12T10:30:00Z", Some("2026-06-15T00:30:00Z")),
            ("UTC", "2027-01-01T16:00:00Z", Some("2027-01-04T06:00:00Z")),
        ],
    );
}

#[test]
fn the_clocks_change_within_a_weekend_and_the_window_keeps_its_local_end() {
    check(
        WEEKEND,
        &[
            ("Europe/Berlin", "2026-03-27T16:00:00+01:00", Some("2026-03-30T06:00:00+02:00")),
            ("Europe/Berlin", "2026-03-30T05:30:00+02:00", Some("2026-03-30T06:00:00+02:00")),
            ("Europe/Berlin", "2026-10-23T16:00:00+02:00", Some("2026-10-26T06:00:00+01:00")),
            ("Europe/Berlin", "2026-10-26T05:30:00+01:00", Some("2026-10-26T06:00:00+01:00")),
            ("America/New_York", "2026-03-08T12:00:00-04:00", Some("2026-03-09T06:00:00-04:00")),
            ("America/New_York", "2026-11-01T12:00:00-05:00", Some("2026-11-02T06:00:00-05:00")),
            ("Australia/Lord_Howe", "2026-04-05T12:00:00+10:30", Some("2026-04-06T06:00:00+10:30")),
        ],
    );
}

#[test]
fn a_time_that_is_skipped_or_comes_twice_still_begins_a_window() {
    check(
        "02:30 - 04:00",
        &[
            // 02:00 to 03:00 is skipped: 02:30 is 03:30 by the clock.
            ("Europe/Berlin", "2026-03-29T03:29:59+02:00", None),
            ("Europe/Berlin", "2026-03-29T03:30:00+02:00", Some("2026-03-29T04:00:00+02:00")),
            // 02:30 comes twice: the first one counts.
            ("Europe/Berlin", "2026-10-25T02:30:00+02:00", Some("2026-10-25T04:00:00+01:00")),
            ("Europe/Berlin", "2026-10-25T02:15:00+01:00", Some("2026-10-25T04:00:00+01:00")),
            ("America/New_York", "2026-11-01T01:59:00-05:00", None),
            ("America/New_York", "2026-11-01T02:30:00-05:00", Some("2026-11-01T04:00:00-05:00")),
        ],
    );
}

#[test]
fn a_daily_window_may_go_over_midnight() {
    check(
        "22:00 - 06:00",
        &[
            ("Europe/Berlin", "2026-06-12T21:59:59+02:00", None),
            ("Europe/Berlin", "2026-06-12T22:00:00+02:00", Some("2026-06-13T06:00:00+02:00")),
            ("Europe/Berlin", "2026-06-13T05:59:59+02:00", Some("2026-06-13T06:00:00+02:00")),
            ("Europe/Berlin", "2026-06-13T06:00:00+02:00", None),
            ("Europe/Berlin", "2026-03-28T23:00:00+01:00", Some("2026-03-29T06:00:00+02:00")),
            ("America/New_York", "2026-12-31T23:00:00-05:00", Some("2027-01-01T06:00:00-05:00")),
            ("Asia/Kolkata", "2026-06-12T16:30:00Z", Some("2026-06-13T00:30:00Z")),
        ],
    );
    check(
        "09:00 - 17:00",
        &[
            ("Asia/Kolkata", "2026-06-12T12:00:00+05:30", Some("2026-06-12T17:00:00+05:30")),
            ("Asia/Kolkata", "2026-06-12T08:59:59+05:30", None),
        ],
    );
}

#[test]
fn a_window_may_be_all_of_the_week_but_some_minutes() {
    check(
        "Tue 10:30 - Tue 10:00",
        &[
            ("Europe/Berlin", "2026-06-16T10:15:00+02:00", None),
            ("Europe/Berlin", "2026-06-16T10:30:00+02:00", Some("2026-06-23T10:00:00+02:00")),
            ("Europe/Berlin", "2026-06-23T09:59:59+02:00", Some("2026-06-23T10:00:00+02:00")),
            ("Europe/Berlin", "2026-10-27T09:59:59+01:00", Some("2026-10-27T10:00:00+01:00")),
        ],
    );
    check(
        "Tue 10:00 - Tue 10:30",
        &[
            ("UTC", "2026-06-16T10:15:00Z", Some("2026-06-16T10:30:00Z")),
            ("UTC", "2026-06-17T10:15:00Z", None),
        ],
    );
}

#[test]
fn windows_that_meet_are_one() {
    let windows = [window("Fri 16:00 - Mon 06:00", "UTC"), window("Mon 06:00 - Mon 12:00", "UTC")];
    assert_eq!(denied_until(&windows, at("2026-06-13T00:00:00Z")), Some(at("2026-06-15T12:00:00Z")));
    assert_eq!(denied_until(&windows, at("2026-06-15T12:00:00Z")), None);
    assert_eq!(denied_until(&[], at("2026-06-15T12:00:00Z")), None);
    let always = [window("00:00 - 12:00", "UTC"), window("12:00 - 00:00", "UTC")];
    assert!(denied_until(&always, at("2026-06-15T12:00:00Z")).is_some(), "it ends");
}

#[test]
fn the_spelling_of_days_and_spaces_is_free() {
    for text in ["fri 16:00-mon 06:00", "Friday 16:00 - MONDAY 06:00", "  Fri  16:00  -  Mon 06:00 "] {
        assert_eq!(window(text, "Europe/Berlin").to_string(), "Fri 16:00 - Mon 06:00 (Europe/Berlin)");
    }
    assert_eq!(window("22:00-06:00", "UTC").to_string(), "22:00 - 06:00 (UTC)");
}

#[test]
fn an_invalid_window_is_told_the_form() {
    for text in [
        "",
        "Fri 16:00",
        "Fri - Mon",
        "Fry 16:00 - Mon 06:00",
        "Fri 4:00 - Mon 06:00",
        "24:00 - 06:00",
        "22:60 - 06:00",
        "22:00 - 06:00 - 07:00",
        "Fri 16:00 to Mon 06:00",
        "Fri 16:00 x - Mon 06:00",
        "+2:00 - 06:00",
        "Fri16:00 - Mon 06:00",
        "Frühling 16:00 - Mon 06:00",
    ] {
        let error = Window::parse(text, "UTC").unwrap_err();
        assert_eq!(error, InvalidWindow::Form(text.to_owned()), "{text}");
        assert!(error.to_string().contains("\"Fri 16:00 - Mon 06:00\""), "{error}");
    }
    let error = Window::parse("Fri 16:00 - 06:00", "UTC").unwrap_err();
    assert!(error.to_string().contains("name the day at both ends"), "{error}");
    let error = Window::parse("06:00 - 06:00", "UTC").unwrap_err();
    assert!(error.to_string().contains("freeze the source"), "{error}");
    let error = Window::parse("22:00 - 06:00", "Europe/Brlin").unwrap_err();
    assert!(error.to_string().contains("\"Europe/Brlin\": expected an IANA name"), "{error}");
}
