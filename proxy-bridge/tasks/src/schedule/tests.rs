use jiff::civil::DateTime;
use jiff::tz::AmbiguousOffset;
use proptest::prelude::*;
use switchyard_contract::task::CatchUp;

use super::*;

const ZONES: [&str; 3] = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"];

fn trigger(schedules: &[&str], zone: &str) -> CronTrigger {
    CronTrigger {
        schedules: schedules.iter().map(|text| (*text).to_owned()).collect(),
        zone: zone.to_owned(),
        sunday_is_one: false,
        catch_up: CatchUp::One,
        jitter_ms: 0,
    }
}

fn schedule(expression: &str, zone: &str) -> Schedule {
    Schedule::parse(&trigger(&[expression], zone)).unwrap()
}

fn refusal(expression: &str) -> String {
    Schedule::parse(&trigger(&[expression], "UTC")).unwrap_err().to_string()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The due times of two days, as UTC without the year.
fn due(expression: &str, zone: &str, from: &str) -> Vec<String> {
    let from = at(from);
    let due = schedule(expression, zone).between(from, later(from, SignedDuration::from_hours(48)), 500);
    due.iter().map(|due| due.strftime("%d %H:%M:%S").to_string()).collect()
}

#[test]
fn times_are_those_of_clocks_in_the_zone() {
    let from = at("2026-11-29T06:59:00Z");
    assert_eq!(schedule("0 8 * * *", "Europe/Berlin").next_after(from), Some(at("2026-11-29T07:00:00Z")));
    assert_eq!(schedule("0 8 * * *", "UTC").next_after(from), Some(at("2026-11-29T08:00:00Z")));
    // The day after is a Monday.
    assert_eq!(schedule("0 8 * * 1-5", "UTC").next_after(from), Some(at("2026-11-30T08:00:00Z")));
    assert_eq!(schedule("*/10 * * * * *", "UTC").next_after(from), Some(at("2026-11-29T06:59:10Z")));
    assert_eq!(schedule("@daily", "Asia/Tokyo").next_after(from), Some(at("2026-11-29T15:00:00Z")));
    assert_eq!(schedule("@Midnight", "UTC").next_after(from), Some(at("2026-11-30T00:00:00Z")));
}

#[test]
fn a_due_time_is_after_the_given_one_even_within_a_second() {
    let minutely = schedule("* * * * *", "UTC");
    assert_eq!(minutely.next_after(at("2026-11-29T06:59:59.999Z")), Some(at("2026-11-29T07:00:00Z")));
    assert_eq!(minutely.next_after(at("2026-11-29T07:00:00Z")), Some(at("2026-11-29T07:01:00Z")));
    assert_eq!(minutely.next_after(at("2026-11-29T07:00:00.001Z")), Some(at("2026-11-29T07:01:00Z")));
}

#[test]
fn a_time_that_clocks_leave_out_is_due_at_the_end_of_the_gap() {
    assert_eq!(due("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z"), ["29 01:00:00", "30 00:30:00"]);
    // The hours of a list are fixed times as well, and fall together at the end.
    assert_eq!(
        due("0,30 2,3 * * *", "America/New_York", "2026-03-07T12:00:00Z"),
        ["08 07:00:00", "08 07:30:00", "09 06:00:00", "09 06:30:00", "09 07:00:00", "09 07:30:00"]
    );
    // Lord Howe Island sets its clocks by half an hour.
    assert_eq!(
        due("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T18:00:00Z"),
        ["03 15:30:00", "04 15:15:00"]
    );
}

#[test]
fn a_time_that_clocks_show_twice_is_due_at_the_first() {
    assert_eq!(due("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z"), ["25 00:30:00", "26 01:30:00"]);
    assert_eq!(due("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z"), ["01 05:30:00", "02 06:30:00"]);
    assert_eq!(
        due("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z"),
        ["04 14:45:00", "05 15:15:00"]
    );
    // Also if one starts to count between the two.
    let berlin = schedule("30 2 * * *", "Europe/Berlin");
    assert_eq!(berlin.next_after(at("2026-10-25T01:10:00Z")), Some(at("2026-10-26T01:30:00Z")));
}

#[test]
fn a_wildcard_counts_on_over_both_changes() {
    let spring = due("*/30 * * * *", "Europe/Berlin", "2026-03-28T12:00:00Z");
    let autumn = due("*/30 * * * *", "Europe/Berlin", "2026-10-24T12:00:00Z");
    assert_eq!((spring.len(), autumn.len()), (96, 96));
    assert_eq!(due("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z"), ["30 00:00:00", "30 00:30:00"]);
    assert_eq!(
        due("*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z"),
        ["25 00:00:00", "25 00:30:00", "25 01:00:00", "25 01:30:00", "26 01:00:00", "26 01:30:00"]
    );
}

#[test]
fn a_wildcard_that_is_due_in_years_only_is_found() {
    let leap = schedule("*/30 2 29 2 *", "Europe/Berlin");
    assert_eq!(leap.next_after(at("2026-10-25T00:10:00Z")), Some(at("2028-02-29T01:00:00Z")));
    assert_eq!(leap.last_before(at("2026-10-25T00:10:00Z"), at("2000-01-01T00:00:00Z")), {
        Some(at("2024-02-29T01:30:00Z"))
    });
}

#[test]
fn several_expressions_are_one_schedule_without_doubles() {
    let both = Schedule::parse(&trigger(&["0 8 * * *", "0 8,20 * * *"], "UTC")).unwrap();
    assert_eq!(
        both.between(at("2026-11-29T00:00:00Z"), at("2026-11-29T20:00:00Z"), 10),
        [at("2026-11-29T08:00:00Z"), at("2026-11-29T20:00:00Z")]
    );
    assert_eq!(both.to_string(), "0 8 * * *, 0 8,20 * * * (UTC)");
}

#[test]
fn weekdays_are_counted_from_0_or_7_or_as_deno_does_from_1() {
    // 29 November 2026 is a Sunday.
    let from = at("2026-11-28T12:00:00Z");
    for sunday in ["0", "7", "SUN", "sun"] {
        let next = schedule(&format!("0 0 * * {sunday}"), "UTC").next_after(from);
        assert_eq!(next, Some(at("2026-11-29T00:00:00Z")), "{sunday}");
    }
    let denos = |weekday: &str| {
        let trigger = CronTrigger { sunday_is_one: true, ..trigger(&[&format!("0 0 * * {weekday}")], "UTC") };
        Schedule::parse(&trigger).map(|schedule| schedule.next_after(from))
    };
    assert_eq!(denos("1"), Ok(Some(at("2026-11-29T00:00:00Z"))));
    assert_eq!(denos("MON"), Ok(Some(at("2026-11-30T00:00:00Z"))));
    assert_eq!(denos("7"), Ok(Some(at("2026-12-05T00:00:00Z"))));
    assert_eq!(denos("2-6"), Ok(Some(at("2026-11-30T00:00:00Z"))));
    for no_day in ["0", "8", "1-8"] {
        let error = denos(no_day).unwrap_err().to_string();
        assert!(error.contains("expected 1 for Sunday to 7"), "{error}");
    }
}

#[test]
fn a_mistake_is_named_with_its_field_and_what_is_expected() {
    assert_eq!(
        refusal("0 25 * * *"),
        "the hour of the cron expression \"0 25 * * *\" is \"25\": expected 0 to 23, *, a range, a list or a \
         step, as in \"9-17\""
    );
    assert!(refusal("* * * FOO *").contains("the month of"), "{}", refusal("* * * FOO *"));
    assert!(refusal("* * 0 * *").contains("the day of the month of"));
    assert!(refusal("* * * * 8").contains("0 or 7 for Sunday to 6"));
    assert!(refusal("* * * *").contains("has 4 fields: expected minute, hour,"));
    assert!(refusal("0 0 0 1 1 * 2027").contains("has 7 fields"));
    assert!(refusal("").contains("has 0 fields"));
    assert!(refusal("@dayly").ends_with("did you mean \"@daily\"?"), "{}", refusal("@dayly"));
    assert!(refusal("@reboot").contains("unknown schedule \"@reboot\""));
    assert!(refusal("0 0 30 2 *").ends_with("is never due: no month that it names has such a day"));
    assert!(refusal(&"1,".repeat(200)).contains("longer than 256 bytes"));
    let count = |count| Schedule::parse(&trigger(&vec!["* * * * *"; count], "UTC")).unwrap_err();
    assert_eq!(count(0), InvalidSchedule::Empty);
    assert_eq!(count(11), InvalidSchedule::TooMany { count: 11 });
}

#[test]
fn an_unknown_zone_gets_a_suggestion() {
    let zone = |name| Schedule::parse(&trigger(&["* * * * *"], name)).unwrap_err().to_string();
    assert!(zone("Europe/Berln").ends_with("did you mean \"Europe/Berlin\"?"), "{}", zone("Europe/Berln"));
    for unknown in ["", "Etc/Unknown", "../etc/passwd"] {
        assert!(zone(unknown).contains("unknown time zone"), "{unknown}");
    }
}

#[test]
fn the_latest_of_many_missed_times_are_returned_oldest_first() {
    let every_second = schedule("* * * * * *", "UTC");
    let (from, until) = (at("2020-01-01T00:00:00Z"), at("2026-11-29T00:00:00Z"));
    let due = every_second.between(from, until, 1000);
    assert_eq!((due.len(), due.last()), (1000, Some(&until)));
    assert!(due.is_sorted());
    assert_eq!(due[0], at("2026-11-28T23:43:21Z"));
    assert!(every_second.between(until, until, 10).is_empty());
    assert!(every_second.between(until, from, 10).is_empty());
    assert!(every_second.between(from, until, 0).is_empty());
}

#[test]
fn the_last_due_time_is_before_the_given_one_and_not_before_the_bound() {
    let daily = schedule("0 8 * * *", "UTC");
    let eight = at("2026-11-29T08:00:00Z");
    assert_eq!(daily.last_before(at("2026-11-29T08:00:01Z"), eight), Some(eight));
    assert_eq!(daily.last_before(at("2026-11-30T08:00:00Z"), eight), Some(eight));
    assert_eq!(daily.last_before(eight, eight), None);
    assert_eq!(daily.last_before(eight, Timestamp::MIN), Some(at("2026-11-28T08:00:00Z")));
    assert_eq!(daily.last_before(at("2026-11-30T07:59:00Z"), at("2026-11-29T08:00:00.5Z")), None);
}

/// A field of a generated expression: its text, and the numbers that it stands for.
#[derive(Debug, Clone)]
struct Field(String, Vec<i8>);

fn field(numbers: std::ops::Range<i8>) -> impl Strategy<Value = Field> {
    let all: Vec<i8> = numbers.clone().collect();
    let every = Just(Field("*".to_owned(), all.clone()));
    let step = (2_i8..20).prop_map(move |step| {
        Field(format!("*/{step}"), all.iter().copied().filter(|n| (n - all[0]) % step == 0).collect())
    });
    let list = prop::collection::btree_set(numbers.clone(), 1..4).prop_map(|list| {
        let texts: Vec<_> = list.iter().map(i8::to_string).collect();
        Field(texts.join(","), list.into_iter().collect())
    });
    let range = (numbers.clone(), numbers).prop_map(|(a, b)| {
        let (a, b) = (a.min(b), a.max(b));
        Field(format!("{a}-{b}"), (a..=b).collect())
    });
    prop_oneof![every, step, list, range]
}

/// All due times of a period, found by looking at each minute of clocks or of time.
fn walk(fields: &[Field; 3], zone: &TimeZone, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let [minutes, hours, weekdays] = fields;
    let minute = SignedDuration::from_mins(1);
    let fits = |clock: DateTime| {
        let weekday = clock.weekday().to_sunday_zero_offset();
        clock.second() == 0
            && minutes.1.contains(&clock.minute())
            && hours.1.contains(&clock.hour())
            && weekdays.1.contains(&weekday)
    };
    let mut due = Vec::new();
    if minutes.0.contains('*') || hours.0.contains('*') {
        let mut time = later(from, minute);
        while time <= until {
            if fits(zone.to_datetime(time)) {
                due.push(time);
            }
            time = later(time, minute);
        }
        return due;
    }
    let mut clock = zone.to_datetime(from).checked_sub(SignedDuration::from_hours(3)).unwrap();
    let end = zone.to_datetime(until).checked_add(SignedDuration::from_hours(3)).unwrap();
    while clock <= end {
        if fits(clock) {
            due.push(match zone.to_ambiguous_timestamp(clock).offset() {
                AmbiguousOffset::Gap { before, after } => {
                    let gap = after.duration_since(before);
                    let earliest = after.to_timestamp(clock).unwrap();
                    // The end of the gap, minute by minute.
                    let steps = (0..=gap.as_mins()).map(|steps| later(earliest, minute * steps as i32));
                    steps.into_iter().find(|time| zone.to_offset(*time) == after).unwrap()
                }
                AmbiguousOffset::Fold { before, .. } => before.to_timestamp(clock).unwrap(),
                AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(clock).unwrap(),
            });
        }
        clock = clock.checked_add(minute).unwrap();
    }
    due.dedup();
    due.retain(|due| *due > from && *due <= until);
    due
}

/// Times shortly before both changes of the clock in 2026, in each zone.
const CHANGES: [(usize, &str); 6] = [
    (0, "2026-03-28T12:00:00Z"),
    (0, "2026-10-24T12:00:00Z"),
    (1, "2026-03-07T12:00:00Z"),
    (1, "2026-10-31T12:00:00Z"),
    (2, "2026-04-04T00:00:00Z"),
    (2, "2026-10-03T00:00:00Z"),
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn all_ways_to_look_agree_with_a_walk_over_each_minute(
        minute in field(0..60),
        hour in field(0..24),
        weekday in field(0..7),
        change in 0..CHANGES.len(),
        start in 0_i64..1440,
    ) {
        let (zone_index, from) = CHANGES[change];
        let zone = TimeZone::get(ZONES[zone_index]).unwrap();
        let from = later(at(from), SignedDuration::from_mins(start));
        let until = later(from, SignedDuration::from_hours(48));
        let expression = format!("{} {} * * {}", minute.0, hour.0, weekday.0);
        let schedule = schedule(&expression, ZONES[zone_index]);
        let expected = walk(&[minute, hour, weekday], &zone, from, until);

        let mut forward = Vec::new();
        let mut time = from;
        while let Some(due) = schedule.next_after(time).filter(|due| *due <= until) {
            forward.push(due);
            time = due;
        }
        prop_assert_eq!(&forward, &expected, "{}", &expression);
        prop_assert_eq!(&schedule.between(from, until, usize::MAX), &expected, "{}", &expression);
        let last = schedule.last_before(later(until, NANOSECOND), later(from, NANOSECOND));
        prop_assert_eq!(last.as_ref(), expected.last(), "{}", &expression);
    }
}

#[test]
fn a_day_that_comes_every_28_years_is_a_schedule() {
    let due = schedule("0 0 29 2 +MON", "UTC").next_after(at("2026-11-29T00:00:00Z"));
    assert_eq!(due, Some(at("2044-02-29T00:00:00Z")));
}
