//! The order and the bounds of the queues, with a clock that only the test moves.

use super::*;
use crate::event::tests::live;

const RETRY: RetryPolicy = RetryPolicy {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(8),
    attempts: 3,
    total: Duration::from_secs(60),
    jitter: false,
};

fn outbox(per_project: usize, total: usize) -> Outbox {
    Outbox::new(QueueLimits { per_project, total }, RETRY)
}

fn label(event: &Event) -> String {
    format!("{}{}", event.data.project, event.data.sequence)
}

/// Pushes `a1`, `b1`, …; returns the dropped ones.
fn push(outbox: &mut Outbox, labels: &str) -> Vec<String> {
    let push_one = |label_: &str| outbox.push(live(&label_[..1], label_[1..].parse().unwrap()));
    labels.split(' ').filter_map(push_one).map(|event| label(&event)).collect()
}

fn take(outbox: &mut Outbox, now: Instant) -> Option<String> {
    outbox.take(now).map(|attempt| label(&attempt.event))
}

fn failed() -> DeliveryResult {
    DeliveryResult::Failed { retry_after: None }
}

#[test]
fn an_event_is_sent_only_after_the_one_before_it_of_its_project() {
    let (mut outbox, now) = (outbox(9, 9), Instant::now());
    push(&mut outbox, "a1 a2");
    assert_eq!(take(&mut outbox, now).as_deref(), Some("a1"));
    assert_eq!(take(&mut outbox, now), None);
    assert_eq!(outbox.settle("a", DeliveryResult::Delivered, now), Settlement::Delivered);
    assert_eq!(take(&mut outbox, now).as_deref(), Some("a2"));
    assert_eq!(outbox.settle("a", DeliveryResult::Refused, now), Settlement::GivenUp);
    assert_eq!((take(&mut outbox, now), outbox.held()), (None, 0));
}

#[test]
fn projects_take_turns() {
    let (mut outbox, now) = (outbox(9, 9), Instant::now());
    push(&mut outbox, "a1 a2 b1 c1");
    for expected in ["a1", "b1", "c1"] {
        assert_eq!(take(&mut outbox, now).as_deref(), Some(expected));
    }
    for project in ["c", "a", "b"] {
        outbox.settle(project, DeliveryResult::Delivered, now);
    }
    assert_eq!(take(&mut outbox, now).as_deref(), Some("a2"));
}

#[test]
fn a_failed_try_rests_and_holds_up_its_own_project_only() {
    let (mut outbox, now) = (outbox(9, 9), Instant::now());
    push(&mut outbox, "a1 a2 b1");
    take(&mut outbox, now);
    let pause = Duration::from_secs(1);
    assert_eq!(outbox.settle("a", failed(), now), Settlement::WillRetry(pause));
    assert_eq!(take(&mut outbox, now).as_deref(), Some("b1"));
    assert_eq!(take(&mut outbox, now), None);
    assert_eq!(outbox.next_due(), Some(now + pause));
    let again = outbox.take(now + pause).unwrap();
    assert_eq!((label(&again.event).as_str(), again.number), ("a1", 2));
}

#[test]
fn after_the_last_try_the_next_event_gets_its_turn() {
    let (mut outbox, mut now) = (outbox(9, 9), Instant::now());
    push(&mut outbox, "a1 a2");
    for _ in 0..2 {
        assert_eq!(take(&mut outbox, now).as_deref(), Some("a1"));
        assert!(matches!(outbox.settle("a", failed(), now), Settlement::WillRetry(_)));
        now = outbox.next_due().unwrap();
    }
    assert_eq!(take(&mut outbox, now).as_deref(), Some("a1"));
    assert_eq!(outbox.settle("a", failed(), now), Settlement::GivenUp);
    assert_eq!(take(&mut outbox, now).as_deref(), Some("a2"));
}

#[test]
fn a_full_project_drops_its_oldest_unsent_event_and_keeps_the_one_being_sent() {
    let (mut outbox, now) = (outbox(2, 99), Instant::now());
    push(&mut outbox, "a1");
    take(&mut outbox, now);
    assert_eq!(push(&mut outbox, "a2 a3 a4 a5"), ["a2", "a3"]);
    assert_eq!(outbox.held(), 3);
    outbox.settle("a", DeliveryResult::Delivered, now);
    assert_eq!(take(&mut outbox, now).as_deref(), Some("a4"));
}

#[test]
fn when_all_is_full_the_project_with_the_most_waiting_pays() {
    let mut outbox = outbox(9, 4);
    assert_eq!(push(&mut outbox, "a1 a2 a3 b1 c1 c2"), ["a1", "a2"]);
    assert_eq!(outbox.held(), 4);
}

#[test]
fn when_all_is_full_of_events_already_sent_the_new_one_is_dropped() {
    let (mut outbox, now) = (outbox(9, 2), Instant::now());
    push(&mut outbox, "a1 b1");
    take(&mut outbox, now);
    take(&mut outbox, now);
    assert_eq!(push(&mut outbox, "a2 c1"), ["a2", "c1"]);
    assert_eq!(outbox.held(), 2);
}

#[test]
fn a_project_whose_events_were_all_dropped_does_not_stop_the_others() {
    let (mut outbox, now) = (outbox(9, 1), Instant::now());
    assert_eq!(push(&mut outbox, "a1 b1"), ["a1"]);
    assert_eq!(take(&mut outbox, now).as_deref(), Some("b1"));
    assert_eq!(take(&mut outbox, now), None);
    outbox.settle("b", DeliveryResult::Delivered, now);
    assert_eq!(push(&mut outbox, "a2"), Vec::<String>::new());
    assert_eq!(take(&mut outbox, now).as_deref(), Some("a2"));
}
