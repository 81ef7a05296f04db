use switchyard_contract::bounds::KEPT_REQUESTS;

use super::record::MINUTE_US;
use super::*;

fn record(path: &str, status: u16, began_us: u64, total_us: u64) -> RequestRecord {
    let mut record = RequestRecord::new("GET", "id-1", path);
    (record.status, record.began_us, record.total_us) = (status, began_us, total_us);
    record
}

fn paths(requests: &[RequestInfo]) -> Vec<&str> {
    requests.iter().map(|request| request.path.as_str()).collect()
}

#[test]
fn the_last_requests_are_kept_and_the_newest_comes_first() {
    let requests = EndedRequests::default();
    for n in 0..KEPT_REQUESTS + 5 {
        requests.add(record(&format!("/{n}"), if n % 2 == 0 { 200 } else { 503 }, 0, 1));
    }
    assert_eq!(requests.newest_first("blog").len(), KEPT_REQUESTS);
    let failed: Vec<_> = requests.newest_first("blog").into_iter().skip(1).collect();
    assert_eq!(paths(&failed)[..2], ["/503", "/502"]);
    assert_eq!(
        (failed[0].method.as_str(), failed[0].id.as_str(), failed[0].status),
        ("GET", "id-1", Some(503))
    );
}

#[test]
fn long_paths_and_methods_are_cut_off_between_characters() {
    let long = RequestRecord::new(&"M".repeat(100), "id", &"ä".repeat(200));
    let long = long.info("blog");
    assert_eq!((long.method.len(), long.id.as_str(), long.path), (20, "id", "ä".repeat(128)));
}

#[test]
fn a_minute_has_the_requests_that_ended_in_it() {
    let requests = EndedRequests::default();
    let hour = 100 * 60 * MINUTE_US;
    requests.add(record("/", 200, hour - 2_000, 1_000));
    requests.add(record("/", 200, hour - 1_000, 3_000));
    requests.add(record("/", 500, hour, 3_000));
    requests.add(record("/left", 0, hour, 9_000));
    let mut socket = record("/socket", 101, hour, 9_000);
    socket.is_websocket = true;
    requests.add(socket);
    let samples = requests.samples(hour);
    let counts: Vec<_> = samples.iter().map(|sample| [sample.requests, sample.errors]).collect();
    assert_eq!(counts, [[1, 0], [4, 1]]);
    assert_eq!((samples[1].sum_ms, samples[1].durations.iter().sum::<u64>()), (6.0, 2));
    assert_eq!(requests.samples(hour + 59 * MINUTE_US).len(), 1);
    let classes = requests.durations().unwrap();
    assert_eq!(classes.map(|class| class.sum_us), [0, 4_000, 0, 0, 3_000]);
}

#[test]
fn the_last_minute_takes_its_share_of_the_minute_before() {
    let requests = EndedRequests::default();
    let begin = 1_000 * MINUTE_US;
    for n in 0..60 {
        requests.add(record("/", if n % 6 == 0 { 500 } else { 200 }, begin - 1_000_000, 1_000));
    }
    requests.add(record("/", 200, begin, 1_000));
    let load = requests.load("blog", begin + 45_000_000).unwrap();
    assert_eq!((load.requests, load.errors), (16, 3));
    assert_eq!(requests.load("blog", begin + 2 * MINUTE_US), None);
}

#[test]
fn an_hour_is_kept() {
    let requests = EndedRequests::default();
    for minute in 0..70 {
        requests.add(record("/", 200, minute * MINUTE_US, 1));
    }
    assert_eq!(requests.samples(69 * MINUTE_US).len(), MINUTES);
}

#[tokio::test]
async fn a_reader_gets_what_is_kept_and_what_ends_later() {
    let requests = Arc::new(EndedRequests::default());
    requests.add(record("/before", 200, 0, 1));
    let mut reader = requests.follow();
    assert_eq!(paths(&reader.next_batch("blog").requests), ["/before"]);
    requests.add(record("/after", 200, 0, 1));
    assert!(reader.more().await);
    assert_eq!(paths(&reader.next_batch("blog").requests), ["/after"]);
    for n in 0..KEPT_REQUESTS + 3 {
        requests.add(record(&format!("/{n}"), 200, 0, 1));
    }
    let batch = reader.next_batch("blog");
    assert_eq!((batch.lost, batch.requests.len(), batch.requests[0].path.as_str()), (3, KEPT_REQUESTS, "/3"));
    requests.clear();
    assert!(!reader.more().await, "the project has begun anew");
}
