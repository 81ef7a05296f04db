use super::*;
use jiff::SignedDuration;
use switchyard_contract::run::{Occurrence, OccurrenceOutcome};

/// A task that is due each minute.
fn scheduled(enabled: bool) -> Value {
    let trigger = json!({ "kind": "cron", "schedules": ["* * * * *"], "zone": "UTC" });
    json!({ "tasks": [task("hello", json!({ "triggers": [trigger], "enabled": enabled }))] })
}

#[tokio::test]
async fn a_disabled_task_has_no_next_times() {
    for (enabled, times) in [(true, 5), (false, 0)] {
        let mut scene = Scene::new(scheduled(enabled)).await;
        let runs = scene.run().await;
        let detail = runs.task(&"work:hello".parse().unwrap()).await.unwrap();
        assert_eq!(detail.next_times.len(), times, "{enabled}");
    }
}

#[tokio::test]
async fn times_with_a_record_are_not_among_the_next_ones() {
    let mut scene = Scene::new(scheduled(true)).await;
    let due_at = Timestamp::now() + SignedDuration::from_hours(1);
    let (task, outcome) = ("work:hello".parse().unwrap(), OccurrenceOutcome::Missed);
    let record = Occurrence { task, due_at, outcome, run: None, reason: None };
    scene.shared.ledger.claim(record, None).await.unwrap();
    let runs = scene.run().await;
    let detail = runs.task(&"work:hello".parse().unwrap()).await.unwrap();
    assert!(detail.next_times[0] > due_at, "{:?}", detail.next_times);
}
