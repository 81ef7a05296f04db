//! The publisher against a receiver on a real socket.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::event::tests::live;
use crate::secret::Secret;
use crate::verifier::Verifier;
use receiver::{Received, Receiver};

mod receiver;

const SECRET: &[u8] = b"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(20);

fn config(receiver: &Receiver) -> PublisherConfig {
    PublisherConfig {
        request_timeout: LONG,
        retry: RetryPolicy {
            first: Duration::from_millis(1),
            cap: Duration::from_millis(4),
            attempts: 4,
            total: LONG,
            jitter: true,
        },
        ..PublisherConfig::new(receiver.url(), Secret::parse(SECRET).unwrap())
    }
}

fn start(config: PublisherConfig) -> Publisher {
    Publisher::start(config).unwrap().0
}

fn labels(received: &[Received]) -> Vec<String> {
    received.iter().map(|r| format!("{}{}", r.event().data.project, r.event().data.sequence)).collect()
}

#[tokio::test]
async fn an_event_arrives_signed_and_is_believed() {
    let mut receiver = Receiver::answering(|_| 204).await;
    let publisher = start(config(&receiver));
    publisher.publish(live("blog", 1));
    let received = receiver.next().await;
    let verified = Verifier::new([Secret::parse(SECRET).unwrap()]).verify(&received.headers, &received.body);
    assert_eq!(verified.unwrap().event, live("blog", 1));
    assert_eq!(received.headers["content-type"], "application/json");
    let counters = publisher.shutdown(LONG).await;
    assert_eq!(counters, Counters { delivered: 1, ..Counters::default() });
}

#[tokio::test]
async fn an_event_is_tried_again_with_the_same_id_until_it_is_delivered() {
    let answers = [503, 500, 200];
    let tries = AtomicUsize::new(0);
    let mut receiver = Receiver::answering(move |_| answers[tries.fetch_add(1, Ordering::SeqCst)]).await;
    let publisher = start(config(&receiver));
    publisher.publish(live("blog", 1));
    let ids = [receiver.next().await.id(), receiver.next().await.id(), receiver.next().await.id()];
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let counters = publisher.shutdown(LONG).await;
    assert_eq!(counters, Counters { delivered: 1, retried: 2, ..Counters::default() });
}

#[tokio::test]
async fn the_events_of_a_project_keep_their_order_through_failures() {
    let tries = AtomicUsize::new(0);
    let mut receiver =
        Receiver::answering(move |_| if tries.fetch_add(1, Ordering::SeqCst) % 3 == 2 { 200 } else { 503 })
            .await;
    let publisher = start(config(&receiver));
    for sequence in 1..=5 {
        publisher.publish(live("a", sequence));
    }
    assert_eq!(publisher.shutdown(LONG).await.delivered, 5);
    let mut order = labels(&receiver.all());
    order.dedup();
    assert_eq!(order, ["a1", "a2", "a3", "a4", "a5"]);
}

#[tokio::test]
async fn an_unanswered_event_of_one_project_does_not_delay_another() {
    let mut receiver = Receiver::answering(|r| if r.event().data.project == "slow" { 0 } else { 200 }).await;
    let publisher = start(config(&receiver));
    publisher.publish(live("slow", 1));
    assert_eq!(labels(&[receiver.next().await]), ["slow1"]);
    publisher.publish(live("slow", 2));
    for sequence in 1..=3 {
        publisher.publish(live("quick", sequence));
        assert_eq!(labels(&[receiver.next().await]), [format!("quick{sequence}")]);
    }
    let counters = publisher.shutdown(Duration::from_millis(50)).await;
    assert_eq!((counters.delivered, counters.dropped, counters.queued), (3, 2, 0));
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_allowed() {
    let mut receiver = Receiver::answering(|_| 0).await;
    let publisher = start(PublisherConfig { in_flight: 2, ..config(&receiver) });
    for project in ["a", "b", "c"] {
        publisher.publish(live(project, 1));
    }
    receiver.next().await;
    receiver.next().await;
    publisher.shutdown(Duration::from_millis(50)).await;
    assert_eq!(receiver.all().len(), 0);
}

#[tokio::test]
async fn a_refused_event_is_not_tried_again_and_the_next_one_goes_out() {
    let mut receiver = Receiver::answering(|r| if r.event().data.sequence == 1 { 400 } else { 200 }).await;
    let publisher = start(config(&receiver));
    publisher.publish(live("a", 1));
    publisher.publish(live("a", 2));
    let counters = publisher.shutdown(LONG).await;
    assert_eq!(counters, Counters { delivered: 1, given_up: 1, ..Counters::default() });
    assert_eq!(labels(&receiver.all()), ["a1", "a2"]);
}

#[tokio::test]
async fn an_event_is_given_up_after_a_number_of_attempts() {
    let mut receiver = Receiver::answering(|_| 429).await;
    let publisher = start(config(&receiver));
    publisher.publish(live("a", 1));
    let counters = publisher.shutdown(LONG).await;
    assert_eq!(counters, Counters { retried: 3, given_up: 1, ..Counters::default() });
    assert_eq!(receiver.all().len(), 4);
}

#[tokio::test]
async fn a_request_without_an_answer_is_tried_again_after_its_timeout() {
    let tries = AtomicUsize::new(0);
    let receiver =
        Receiver::answering(move |_| if tries.fetch_add(1, Ordering::SeqCst) == 0 { 0 } else { 200 }).await;
    let publisher =
        start(PublisherConfig { request_timeout: Duration::from_millis(200), ..config(&receiver) });
    publisher.publish(live("a", 1));
    let counters = publisher.shutdown(LONG).await;
    assert_eq!(counters, Counters { delivered: 1, retried: 1, ..Counters::default() });
}

#[tokio::test]
async fn without_a_receiver_the_newest_events_are_kept_and_the_rest_is_counted() {
    let receiver = Receiver::answering(|_| 0).await;
    let mut config = config(&receiver);
    config.limits = QueueLimits { per_project: 2, total: 100 };
    let publisher = start(config);
    for sequence in 1..=10 {
        publisher.publish(live("a", sequence));
    }
    // On this single-threaded runtime the task has not run yet: nothing is being sent.
    let counters = publisher.counters();
    assert_eq!((counters.queued, counters.dropped), (2, 8));
    publisher.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn shutdown_is_bounded_and_nothing_is_taken_after_it() {
    let mut receiver = Receiver::answering(|_| 0).await;
    let (publisher, task) = Publisher::start(config(&receiver)).unwrap();
    publisher.publish(live("a", 1));
    receiver.next().await;
    let counters = publisher.shutdown(Duration::from_millis(20)).await;
    assert_eq!(counters, Counters { dropped: 1, ..Counters::default() });
    task.await.unwrap();
    publisher.publish(live("a", 2));
    assert_eq!(publisher.counters().dropped, 2);
}
