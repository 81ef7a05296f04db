//! The bridge's view of routers, against routers in the test's hands.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use http::StatusCode;
use serde_json::json;

use super::testing::{FakeRouter, LONG, all_ready, digest, following, until};
use super::*;
use futures_util::StreamExt as _;
use switchyard_contract::admin::{Hold, ReloadOutcome};
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::incarnation::Incarnation;
use switchyard_edge::sse::SseEvent;

mod behind;
mod calls;

/// The version of the project that router number `index` serves: the digest's first digit.
fn serves(routers: &Routers, index: usize, project: &str) -> Option<char> {
    routers.all()[index].status(project)?.live?.digest.chars().next()
}

fn blog() -> ProjectName {
    ProjectName::parse("blog").unwrap()
}

fn posted(id: &str, event: Event) -> Verified {
    Verified { id: id.to_owned(), event }
}

#[tokio::test]
async fn the_state_is_requested_and_events_are_followed() {
    let fake = FakeRouter::start("r1").await;
    fake.put("blog", 'a');
    let routers = following(&[&fake]);
    until(&routers, |routers| serves(routers, 0, "blog") == Some('a')).await;
    fake.live("blog", 'b');
    fake.live("shop", 'c');
    until(&routers, |routers| serves(routers, 0, "blog") == Some('b')).await;
    until(&routers, |routers| serves(routers, 0, "shop") == Some('c')).await;
    fake.remove("shop");
    until(&routers, |routers| routers.all()[0].status("shop").is_none()).await;
    assert_eq!(fake.last_ids(), [Some("0".to_owned())], "one stream brought all of it");
}

#[tokio::test]
async fn after_an_event_the_whole_status_is_requested() {
    let fake = FakeRouter::start("r1").await;
    let routers = following(&[&fake]);
    all_ready(&routers).await;
    fake.routes("blog", &["www.example.com"]);
    fake.live("blog", 'a');
    until(&routers, |routers| routers.find("www.example.com", "/") == Some(blog())).await;
    fake.remove("blog");
    until(&routers, |routers| routers.find("www.example.com", "/").is_none()).await;
}

#[tokio::test]
async fn a_change_that_no_event_reports_is_requested_when_the_router_tells_of_it() {
    let fake = FakeRouter::start("r1").await;
    let routers = following(&[&fake]);
    all_ready(&routers).await;
    // The first one may be part of the answer to another question.
    for digit in ['a', 'b'] {
        fake.put("blog", digit);
        fake.tell_of_statuses();
        let seen = until(&routers, |routers| serves(routers, 0, "blog") == Some(digit));
        tokio::time::timeout(LONG / 2, seen).await.expect("the regular question comes later");
    }
}

#[tokio::test]
async fn names_go_before_claims_and_the_earliest_that_a_router_tells_before_later_ones() {
    let (one, two) = (FakeRouter::start("r1").await, FakeRouter::start("r2").await);
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    one.claims("a-evil", &["/store", "/shop", "shop.example.com", "www.example.com"], at(5));
    one.claims("shop", &["/store"], at(6));
    two.claims("shop", &["/store"], at(4));
    two.claims("a-evil", &["www.example.com"], at(7));
    let routers = following(&[&one, &two]);
    all_ready(&routers).await;
    let found = |host: &str, path: &str| routers.find(host, path).map(|project| project.to_string());
    for (host, path, project) in [
        ("localhost", "/store/x", "shop"),
        ("localhost", "/shop/x", "shop"),
        ("shop.example.com", "/", "shop"),
        ("www.example.com", "/", "a-evil"),
    ] {
        until(&routers, |_| found(host, path).as_deref() == Some(project)).await;
    }
}

#[tokio::test]
async fn the_cost_of_an_event_does_not_grow_with_the_projects() {
    let (one, two) = (FakeRouter::start("r1").await, FakeRouter::start("r2").await);
    for fake in [&one, &two] {
        for n in 0..1000 {
            fake.put(&format!("p{n}"), 'a');
        }
    }
    let routers = following(&[&one, &two]);
    all_ready(&routers).await;
    // A question was under way when the routers said that they are ready.
    let received =
        |routers: &Routers| -> u64 { routers.all().iter().map(|one| one.statuses_received()).sum() };
    assert_eq!(received(&routers), 2000);
    let made = routers.routes_made();
    let pulls = two.pulls();
    for (count, digit) in ['b', 'c', 'd'].into_iter().enumerate() {
        two.routes("p7", &[&format!("/{digit}")]);
        two.live("p7", digit);
        let path = format!("/{digit}/x");
        until(&routers, |routers| routers.find("localhost", &path).is_some()).await;
        assert_eq!(serves(&routers, 1, "p7"), Some(digit));
        let (pulled, received) = (two.pulls() - pulls, received(&routers) - 2000);
        assert!(pulled > count && received <= pulled as u64, "{received} statuses in {pulled} answers");
    }
    // One for each event, and one for each answer to the question that it raised.
    let made = routers.routes_made() - made;
    assert!((3..=6).contains(&made), "{made}");
}

#[tokio::test]
async fn a_router_that_knows_of_no_revisions_tells_all_each_time() {
    let fake = FakeRouter::start("r1").await;
    let routers = following(&[&fake]);
    fake.script("GET /projects", 200, r#"{"router": "r1", "projects": []}"#);
    all_ready(&routers).await;
    fake.unscript("GET /projects");
    fake.live("blog", 'a');
    until(&routers, |routers| serves(routers, 0, "blog") == Some('a')).await;
}

#[tokio::test]
async fn an_answer_older_than_an_event_is_requested_again() {
    let mut fake = FakeRouter::start("r1").await;
    fake.put("blog", 'a');
    let routers = following(&[&fake]);
    all_ready(&routers).await;
    fake.script("GET /projects", 200, r#"{"router": "r1", "revision": 9, "since": 9, "projects": []}"#);
    fake.routes("blog", &["/weblog"]);
    fake.live("blog", 'b');
    assert_eq!(fake.calls.recv().await.unwrap().0, "GET /projects");
    fake.unscript("GET /projects");
    until(&routers, |routers| !routers.all()[0].status("blog").unwrap().routes.is_empty()).await;
    assert_eq!(serves(&routers, 0, "blog"), Some('b'));
}

#[tokio::test]
async fn a_stream_that_broke_off_is_taken_up_where_it_was() {
    let fake = FakeRouter::start("r1").await;
    let routers = following(&[&fake]);
    all_ready(&routers).await;
    fake.live("blog", 'a');
    // An answer may have it before the event is heard.
    let gathered = async {
        while routers.all()[0].state().followed() != Some(1) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, gathered).await.expect("the event is heard");
    fake.hang_up();
    fake.live("shop", 'b');
    until(&routers, |routers| serves(routers, 0, "shop") == Some('b')).await;
    let again = async {
        while fake.last_ids().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, again).await.expect("it is followed again");
    assert_eq!(fake.last_ids(), ["0", "1"].map(|id| Some(id.to_owned())));
}

#[tokio::test]
async fn a_restarted_router_reports_everything_again_from_small_numbers() {
    let fake = FakeRouter::start("r1").await;
    for digit in ['a', 'b', 'c'] {
        fake.put("blog", digit);
        fake.put("gone", digit);
    }
    let routers = following(&[&fake]);
    all_ready(&routers).await;
    assert_eq!(serves(&routers, 0, "blog"), Some('c'));
    fake.restart("r2");
    fake.live("blog", 'd');
    fake.set_ready(true);
    until(&routers, |routers| serves(routers, 0, "blog") == Some('d')).await;
    until(&routers, |routers| routers.all()[0].is_ready()).await;
    assert!(routers.all()[0].status("gone").is_none());
}

#[tokio::test]
async fn readiness_combines_the_routers_report_and_its_reachability() {
    let mut fake = FakeRouter::start("r1").await;
    fake.set_ready(false);
    let routers = following(&[&fake]);
    until(&routers, |routers| routers.all()[0].is_reachable()).await;
    assert!(!routers.all()[0].is_ready());
    fake.set_ready(true);
    all_ready(&routers).await;
    fake.go_away().await;
    until(&routers, |routers| !routers.all()[0].is_reachable()).await;
    assert!(!routers.all()[0].is_ready());
    fake.come_back().await;
    all_ready(&routers).await;
    routers.all()[0].refused();
    assert!(!routers.all()[0].is_ready(), "a connection failed");
    all_ready(&routers).await;
}

#[tokio::test]
async fn a_router_that_is_late_was_ready_until_it_is_away() {
    let fake = FakeRouter::start("r1").await;
    let routers = following(&[&fake]);
    all_ready(&routers).await;
    fake.script("GET /readyz", 0, "never");
    until(&routers, |routers| !routers.all()[0].is_ready() && routers.all()[0].was_ready()).await;
    until(&routers, |routers| !routers.all()[0].is_reachable()).await;
    assert!(!routers.all()[0].was_ready());
}

#[tokio::test]
async fn a_router_that_has_not_reported_its_projects_is_not_ready() {
    let fake = FakeRouter::start("r1").await;
    fake.script("GET /projects", 500, "");
    let routers = following(&[&fake]);
    until(&routers, |routers| routers.all()[0].is_reachable()).await;
    assert!(!routers.all()[0].is_ready());
    fake.script("GET /projects", 200, r#"{"router": "r1", "projects": []}"#);
    all_ready(&routers).await;
}

#[tokio::test]
async fn a_posted_event_counts_once_and_only_from_a_router_that_is_known() {
    let fake = FakeRouter::start("r1").await;
    let routers = following(&[&fake]);
    all_ready(&routers).await;
    let event = fake.put("blog", 'a');
    assert_eq!(routers.take(&posted("evt_1", event.clone())), EventReceipt::Applied);
    assert_eq!(serves(&routers, 0, "blog"), Some('a'));
    assert_eq!(routers.take(&posted("evt_1", event.clone())), EventReceipt::Duplicate);
    let mut foreign = event;
    foreign.data.router = "r9".into();
    assert_eq!(routers.take(&posted("evt_2", foreign)), EventReceipt::UnknownRouter);
}

#[tokio::test]
async fn a_posted_event_that_arrives_late_changes_nothing() {
    let fake = FakeRouter::start("r1").await;
    let routers = following(&[&fake]);
    all_ready(&routers).await;
    let (late, _) = (fake.live("blog", 'a'), fake.live("blog", 'b'));
    until(&routers, |routers| serves(routers, 0, "blog") == Some('b')).await;
    assert_eq!(routers.take(&posted("evt_1", late)), EventReceipt::Applied);
    assert_eq!(serves(&routers, 0, "blog"), Some('b'));
}

#[tokio::test]
async fn a_router_that_hangs_is_away_and_is_back_with_its_first_answer() {
    let fake = FakeRouter::start("r1").await;
    let routers = following(&[&fake]);
    all_ready(&routers).await;
    fake.script("GET /readyz", 0, "");
    until(&routers, |routers| routers.all()[0].presence() == Presence::Away).await;
    assert!(!routers.all()[0].is_reachable());
    assert!(routers.all()[0].why_away().contains("in time"), "{}", routers.all()[0].why_away());
    fake.script("GET /readyz", 503, "");
    until(&routers, |routers| routers.all()[0].presence() == Presence::NotReady).await;
    fake.unscript("GET /readyz");
    all_ready(&routers).await;
    assert_eq!(routers.all()[0].presence(), Presence::Ready);
}

#[tokio::test]
async fn a_project_that_a_router_does_not_report_while_it_still_reads_is_not_removed() {
    let fake = FakeRouter::start("r1").await;
    fake.put("blog", 'a');
    let routers = following(&[&fake]);
    all_ready(&routers).await;
    let router = routers.all()[0].clone();
    routers.mark_behind(&router, &blog(), None);
    let pulls = fake.pulls();
    fake.restart("r2");
    until(&routers, |_| router.status("blog").is_none() && fake.pulls() > pulls).await;
    assert!(router.is_behind("blog"), "it has not reported it yet");
    fake.set_ready(true);
    until(&routers, |_| !router.is_behind("blog")).await;
}

#[tokio::test]
async fn skew_means_that_routers_serve_different_versions() {
    let (one, two) = (FakeRouter::start("r1").await, FakeRouter::start("r2").await);
    for fake in [&one, &two] {
        fake.put("same", 'a');
    }
    one.put("blog", 'a');
    two.put("blog", 'b');
    one.put("new", 'c');
    let routers = following(&[&one, &two]);
    all_ready(&routers).await;
    let skew = routers.skew();
    assert_eq!(skew.keys().collect::<Vec<_>>(), ["blog", "new"]);
    assert_eq!(skew["blog"][&one.name()], Some(digest('a')));
    assert_eq!(skew["new"][&two.name()], None);
}

#[tokio::test]
async fn routers_come_and_go_with_the_addresses_of_their_name() {
    let fake = FakeRouter::start("r1").await;
    let public = fake.address.public().rsplit(':').next().unwrap().parse().unwrap();
    let admin = fake.address.admin().port().unwrap();
    // The fake listens at one of the name's addresses only; the other, if there is one, is not
    // ready.
    let settings = RoutersSettings {
        dns: Some(Dns { name: "localhost".into(), public_port: public, admin_port: admin }),
        ..RoutersSettings::default()
    };
    let (routers, _task) = Routers::start(settings).unwrap();
    assert!(routers.all().is_empty());
    until(&routers, |routers| {
        routers.all().iter().any(|router| router.name() == fake.name() && router.is_ready())
    })
    .await;
}

#[tokio::test]
async fn a_router_that_stays_is_kept_when_others_come_and_go() {
    let (one, two) = (FakeRouter::start("r1").await, FakeRouter::start("r2").await);
    let routers = following(&[]);
    let dns = Dns { name: "routers".into(), public_port: 1, admin_port: 1 };
    let fixed = vec![one.address.clone(), two.address.clone(), one.address.clone()];
    let mut owner = Supervisor::new(routers.shared.clone(), fixed, Some(dns));
    let names =
        |routers: &Routers| routers.all().iter().map(|router| router.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&routers), [one.name(), two.name()]);
    let before = routers.all();
    owner.follow_addresses(&["127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()]);
    assert_eq!(names(&routers)[2..], ["http://127.0.0.2:1", "http://127.0.0.3:1"]);
    let third = routers.all()[3].clone();
    owner.follow_addresses(&["127.0.0.3".parse().unwrap()]);
    assert_eq!(names(&routers)[2..], ["http://127.0.0.3:1"]);
    assert!(Arc::ptr_eq(&routers.all()[0], &before[0]) && Arc::ptr_eq(&routers.all()[2], &third));
}

#[tokio::test]
async fn the_task_ends_with_the_last_of_the_routers() {
    let fake = FakeRouter::start("r1").await;
    let settings = || RoutersSettings { fixed: vec![fake.address.clone()], ..RoutersSettings::default() };
    let (routers, task) = Routers::start(settings()).unwrap();
    drop(routers);
    tokio::time::timeout(LONG, task).await.expect("it ends").unwrap();
    let (routers, task) = Routers::start(settings()).unwrap();
    routers.shutdown();
    tokio::time::timeout(LONG, task).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_token_that_no_header_can_carry_is_refused() {
    let settings = RoutersSettings { admin_token: Some("a\nb".into()), ..RoutersSettings::default() };
    let error = Routers::start(settings).unwrap_err();
    assert!(format!("{error:#}").contains("the admin token has characters"));
}
