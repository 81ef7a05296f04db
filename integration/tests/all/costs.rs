//! The cost of a request, with bounds. What is counted is the same on a slow machine and beside
//! other work, so a change that costs a tenth more fails here. A change that costs less should lower
//! the bound.
//!
//! Bounds are about a tenth above the largest of ten counts, half of them beside two busy loops.

use switchyard_integration::cost::{self, CallTrace, InstructionCounter, Load};
use switchyard_integration::router::Router;

/// Has hyper read the requests: a header that ends at the router makes them not plain.
const LONG: &str = "connection: keep-alive, x-unknown\r\n";

/// Clients that send at once, in the tests of requests that come together.
const CLIENTS: usize = 64;

/// Asserts that `count` is at most `most` for each request.
#[track_caller]
fn assert_at_most(what: &str, most: f64, count: usize, requests: usize, details: &str) {
    let each = count as f64 / requests as f64;
    assert!(each <= most, "{each:.3} {what} a request, and at most {most} are expected ({details})");
}

#[tokio::test]
async fn a_request_alone_costs_the_router_four_system_calls_and_its_cell_two() {
    let volume = cost::volume();
    let (builder, mut trace) = CallTrace::of(Router::builder(&volume));
    let router = builder.start().await;
    let cell = router.admin.project("a").await.pid.expect("the cell runs");
    for (headers, most) in [("", 4.2), (LONG, 4.2)] {
        let mut load = Load::connect(&router, 1, headers).await;
        load.send(50).await;
        trace.take(&router, cell);
        let requests = load.send(500).await;
        let (of_router, of_cell) = trace.take(&router, cell);
        assert_at_most("calls of the router", most, of_router.all(), requests, &of_router.to_string());
        assert_at_most("calls of the cell", 2.1, of_cell.all(), requests, &of_cell.to_string());
    }
}

#[tokio::test]
async fn requests_that_come_together_share_the_system_calls_between_router_and_cell() {
    let volume = cost::volume();
    let (builder, mut trace) = CallTrace::of(Router::builder(&volume));
    let router = builder.start().await;
    let cell = router.admin.project("a").await.pid.expect("the cell runs");
    for headers in ["", LONG] {
        let mut load = Load::connect(&router, CLIENTS, headers).await;
        load.send(5).await;
        trace.take(&router, cell);
        let requests = load.send(20).await;
        let (of_router, of_cell) = trace.take(&router, cell);
        let others = of_router.all() - of_router.called("sendto") - of_router.called("recvfrom");
        let details = format!("router: {of_router}; cell: {of_cell}");
        assert_at_most("writes of the router", 1.1, of_router.called("sendto"), requests, &details);
        // The cell writes four responses at once, and the router may read before it has the others.
        assert_at_most("reads of the router", 1.38, of_router.called("recvfrom"), requests, &details);
        assert_at_most("other calls of the router", 0.05, others, requests, &details);
        assert_at_most("calls of the cell", 0.32, of_cell.all(), requests, &details);
    }
}

/// For the binaries that `make build` makes: without optimization the router needs several times as
/// many.
#[tokio::test]
async fn a_request_costs_the_router_a_known_number_of_instructions() {
    let volume = cost::volume();
    let (builder, mut counter) = InstructionCounter::of(Router::builder(&volume));
    let router = builder.start().await;
    for (what, headers, most) in [("plain", "", 26_200.0), ("long", LONG, 51_000.0)] {
        let mut load = Load::connect(&router, CLIENTS, headers).await;
        load.send(5).await;
        counter.take(&router);
        let requests = load.send(20).await;
        let count = usize::try_from(counter.take(&router)).expect("a count fits");
        assert_at_most("instructions of the router", most, count, requests, what);
    }
}
