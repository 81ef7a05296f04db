use switchyard_contract::task::CronTrigger;

use super::*;

fn schedule(expression: &str, zone: &str) -> Schedule {
    let trigger = CronTrigger {
        schedules: vec![expression.to_owned()],
        zone: zone.to_owned(),
        sunday_is_one: false,
        catch_up: CatchUp::One,
        jitter_ms: 0,
    };
    Schedule::parse(&trigger).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn ids<const N: usize>() -> [RunId; N] {
    std::array::from_fn(|_| RunId::new_now())
}

#[test]
fn three_hours_away_are_caught_up_by_the_policy() {
    let hourly = schedule("0 * * * *", "UTC");
    let (settled, now) = (at("2026-11-29T06:00:00Z"), at("2026-11-29T09:10:00Z"));
    let due = [7, 8, 9].map(|hour| at(&format!("2026-11-29T0{hour}:00:00Z")));
    let caught_up = |policy| catch_up(&hourly, policy, settled, now);
    assert_eq!(caught_up(CatchUp::None), CaughtUp { run: vec![], missed: due.to_vec() });
    assert_eq!(caught_up(CatchUp::One), CaughtUp { run: vec![due[2]], missed: due[..2].to_vec() });
    assert_eq!(caught_up(CatchUp::All), CaughtUp { run: due.to_vec(), missed: vec![] });
    for policy in [CatchUp::None, CatchUp::One, CatchUp::All] {
        assert_eq!(catch_up(&hourly, policy, now, now), CaughtUp::default());
        assert_eq!(catch_up(&hourly, policy, now, settled), CaughtUp::default());
    }
}

#[test]
fn one_run_is_not_for_a_time_that_is_more_than_a_day_ago() {
    let weekly = schedule("0 8 * * MON", "UTC");
    let settled = at("2026-11-20T00:00:00Z");
    let monday = vec![at("2026-11-23T08:00:00Z")];
    let caught_up = |now| catch_up(&weekly, CatchUp::One, settled, at(now));
    assert_eq!(caught_up("2026-11-24T08:00:00Z"), CaughtUp { run: monday.clone(), missed: vec![] });
    assert_eq!(caught_up("2026-11-24T08:00:01Z"), CaughtUp { run: vec![], missed: monday.clone() });
    let all = catch_up(&weekly, CatchUp::All, settled, at("2026-11-29T08:00:01Z"));
    assert_eq!(all, CaughtUp { run: monday, missed: vec![] });
}

#[test]
fn a_year_away_starts_at_most_a_hundred_runs_and_leaves_at_most_a_thousand_records() {
    let minutely = schedule("* * * * *", "Europe/Berlin");
    let (settled, now) = (at("2025-11-29T06:00:00Z"), at("2026-11-29T06:00:00Z"));
    for (policy, runs) in [(CatchUp::None, 0), (CatchUp::One, 1), (CatchUp::All, 100)] {
        let caught_up = catch_up(&minutely, policy, settled, now);
        assert_eq!((caught_up.run.len(), caught_up.missed.len()), (runs, 1000));
        let all = [caught_up.missed, caught_up.run].concat();
        assert_eq!(all.last(), Some(&now));
        assert!(all.windows(2).all(|two| two[1].duration_since(two[0]) == SignedDuration::from_mins(1)));
    }
}

#[test]
fn a_due_time_starts_a_run_where_none_is_in_the_way() {
    for overlap in [Overlap::Skip, Overlap::Queue, Overlap::Replace, Overlap::Allow] {
        assert_eq!(on_due(overlap, &[], None), Decision::Start, "{overlap:?}");
    }
}

#[test]
fn a_due_time_follows_the_rule_while_a_run_is_under_way() {
    let [first, second, third] = ids();
    let skip = |in_the_way| Decision::Skip { in_the_way };
    assert_eq!(on_due(Overlap::Skip, &[first, second], Some(third)), skip(first));
    assert_eq!(on_due(Overlap::Skip, &[], Some(third)), skip(third));
    assert_eq!(on_due(Overlap::Queue, &[first], None), Decision::Queue);
    assert_eq!(on_due(Overlap::Queue, &[first], Some(third)), skip(third));
    assert_eq!(on_due(Overlap::Queue, &[], Some(third)), skip(third));
    let cancel = vec![first, second, third];
    assert_eq!(on_due(Overlap::Replace, &[first, second], Some(third)), Decision::Replace { cancel });
    assert_eq!(on_due(Overlap::Allow, &[first, second], Some(third)), Decision::Start);
}

#[test]
fn jitter_is_the_same_for_a_due_time_and_spreads_over_tasks_and_times() {
    let most = Duration::from_secs(60);
    let id = |name: &str| format!("shop:{name}").parse::<TaskId>().unwrap();
    let due = at("2026-11-29T08:00:00Z");
    let of = |task: &str| jitter(&id(task), due, most);
    assert_eq!(of("digest"), of("digest"));
    let mut all: Vec<_> = (0..100).map(|n| of(&format!("task-{n}"))).collect();
    assert!(all.iter().all(|jitter| *jitter < most));
    all.sort();
    assert!(all[25] < Duration::from_secs(30) && all[75] > Duration::from_secs(30), "{all:?}");
    assert_ne!(of("digest"), jitter(&id("digest"), due + SignedDuration::from_secs(60), most));
    assert_eq!(jitter(&id("digest"), due, Duration::ZERO), Duration::ZERO);
}
