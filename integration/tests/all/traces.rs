//! Traces of requests, deploys and runs, as a collector gets them by OTLP.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;
use switchyard_integration::client::{request, with_header};
use switchyard_integration::collector::{Collector, Span};
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{self, Router};
use switchyard_integration::runs::{RunsApi, TaskProject};
use switchyard_integration::serve::{self, Serve};
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

/// Answers with the `traceparent` that it was sent.
const SHOWS: &str = "export default { fetch: (request) => {
    const seen = request.headers.get('traceparent');
    if (new URL(request.url).pathname === '/fail') return new Response(seen, { status: 500 });
    return new Response(seen);
} };";

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn router(volume: &Volume, collector: &Collector) -> router::Builder {
    Router::builder(volume)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint)
        .env("OTEL_BSP_SCHEDULE_DELAY", "20")
}

fn serve(volume: &Volume, collector: &Collector) -> serve::Builder {
    Serve::builder(volume)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint)
        .env("OTEL_BSP_SCHEDULE_DELAY", "20")
}

fn is_server(span: &Span) -> bool {
    span.kind == SpanKind::Server
}

#[tokio::test]
async fn a_requests_span_is_the_parent_of_its_projects_spans_and_continues_the_clients_trace() {
    let (volume, collector) = (Volume::with("a", SHOWS), Collector::start().await);
    let resource = "deployment.environment=test";
    let router = router(&volume, &collector).env("OTEL_RESOURCE_ATTRIBUTES", resource).start().await;
    let sent =
        with_header(with_header(request("/a/x?secret=1"), "traceparent", PARENT), "tracestate", "vendor=1");
    let seen = router.public.send(sent).await.text();
    let [_, trace, id, flags] = seen.split('-').collect::<Vec<_>>()[..] else { panic!("{seen}") };
    assert_eq!((trace, flags), ("0af7651916cd43dd8448eb211c80319c", "01"));

    let of_request = |span: &Span| span.trace == trace && is_server(span);
    let own = collector.span("the router's span", |span| of_request(span) && span.id == id).await;
    assert_eq!((own.service.as_str(), own.name.as_str()), ("switchyard-router", "GET"));
    assert_eq!((own.parent.as_str(), own.tracestate.as_str()), ("b7ad6b7169203331", "vendor=1"));
    let version = router.admin.project("a").await.live.expect("it is live").version;
    for (name, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/a/x"),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("switchyard.project", "a"),
        ("switchyard.version", version.as_str()),
        ("deployment.environment", "test"),
    ] {
        assert_eq!(own.attribute(name), value, "{name} of {own:#?}");
    }
    assert!(!own.is_error && own.began_ns < own.ended_ns);
    let child = collector.span("the project's span", |span| of_request(span) && span.parent == id).await;
    assert_eq!(
        (child.attribute("switchyard.project"), child.attribute("switchyard.version")),
        ("a", &*version)
    );
    assert!(own.began_ns <= child.began_ns, "{own:#?} {child:#?}");
    assert!(child.attribute("url.full").ends_with("/x") && child.count("url.query") == 0, "{child:#?}");

    // Without a trace of the client's, each request begins one.
    router.public.get("/a/fail").await;
    let failed =
        |span: &Span| is_server(span) && span.parent.is_empty() && span.attribute("url.path") == "/a/fail";
    let failed = collector.span("a span of its own trace", failed).await;
    assert_eq!((failed.is_error, failed.attribute("error.type")), (true, "500"));
    router.public.get("/nowhere/").await;
    let unknown = |span: &Span| span.attribute("http.response.status_code") == "404";
    assert_eq!(collector.span("a span without a project", unknown).await.attribute("switchyard.project"), "");
    eventually("the exported spans are counted", || async {
        router.admin.metric("switchyard_spans_exported_total", "").await >= Some(4.0)
    })
    .await;
    // The last spans are exported before the end.
    router.public.get("/a/last").await;
    router.stop().await;
    assert!(collector.spans().iter().any(|span| span.attribute("url.path") == "/a/last"));
}

#[tokio::test]
async fn what_the_client_did_not_sample_is_not_exported_by_router_or_project() {
    let (volume, collector) = (Volume::with("a", SHOWS), Collector::start().await);
    let router = router(&volume, &collector).env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json").start().await;
    let unsampled = PARENT.replace("-01", "-00");
    let seen = router.public.send(with_header(request("/a/quiet"), "traceparent", &unsampled)).await.text();
    assert!(seen.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && seen.ends_with("-00"), "{seen}");
    assert!(!seen.contains("b7ad6b7169203331"), "the parent is the router's span: {seen}");
    // In the order of their ends.
    router.public.get("/a/loud").await;
    collector
        .span("the project's span of the second request", |span| is_server(span) && !span.parent.is_empty())
        .await;
    router.stop().await;
    assert!(collector.spans().iter().all(|span| span.trace != "0af7651916cd43dd8448eb211c80319c"));
    assert!(collector.headers().iter().all(|headers| headers["content-type"] == "application/json"));
}

#[tokio::test]
async fn a_router_that_trusts_no_client_begins_a_trace_for_each_request() {
    let (volume, collector) = (Volume::with("a", SHOWS), Collector::start().await);
    let router = router(&volume, &collector).flag("ignore-traceparent", "").start().await;
    let seen = router.public.send(with_header(request("/a/"), "traceparent", PARENT)).await.text();
    assert!(!seen.contains("0af7651916cd43dd8448eb211c80319c"), "{seen}");
    collector.span("a span of its own trace", |span| is_server(span) && span.parent.is_empty()).await;
}

#[tokio::test]
async fn a_deploy_is_a_trace_of_its_phases_and_of_the_routers_builds() {
    let (volume, collector) = (Volume::new(), Collector::start().await);
    let serve = serve(&volume, &collector).start().await;
    let record = serve.deploy_live("a", &Upload::main(hello("one"))).await;
    let id = record.deploy.clone();
    let root = collector.span("the deploy", |span| span.attribute("switchyard.deploy") == id).await;
    assert_eq!((root.service.as_str(), root.name.as_str()), ("switchyard-bridge", "deploy"));
    assert_eq!((root.attribute("switchyard.outcome"), root.attribute("switchyard.project")), ("live", "a"));
    assert!(root.parent.is_empty() && !root.is_error);
    let phase = collector.span("its build", |span| span.parent == root.id && span.name == "build").await;
    assert!(root.began_ns <= phase.began_ns && phase.ended_ns <= root.ended_ns, "{root:#?} {phase:#?}");
    let built = collector.span("the build at a router", |span| span.parent == phase.id).await;
    assert!(built.attribute("switchyard.version").starts_with("a@"), "{built:#?}");
    serve
        .api
        .send(Upload::main("export default {").to("/deploy/a"))
        .await
        .assert_problem(422, "build-failed");
    collector.span("the deploy that failed", |span| span.name == "deploy" && span.is_error).await;
}

#[tokio::test]
async fn a_run_is_a_trace_of_bridge_router_and_task() {
    let (volume, collector) = (Volume::new(), Collector::start().await);
    let task = "const { trace } = globalThis[Symbol.for('opentelemetry.js.api.1')];
        export default () => trace.getTracer('own').startActiveSpan('work', (span) => {
            span.setAttribute('switchyard.project', 'forged');
            span.end();
            return 'done';
        });";
    TaskProject::new("blog").task("digest", json!({}), task).write(&volume);
    let serve = serve(&volume, &collector).start().await;
    let known = || async { serve.api.get("/tasks/blog:digest").await.status == 200 };
    eventually("the task is known", known).await;
    RunsApi::new(&serve.api).result("blog:digest").await;
    let work = collector.span("the task's own span", |span| span.name == "work").await;
    let attempt = collector.span("the attempt", |span| span.id == work.parent).await;
    let run = collector.span("the run", |span| span.id == attempt.parent).await;
    assert_eq!([&work.trace, &attempt.trace], [&run.trace; 2]);
    assert_eq!((run.service.as_str(), attempt.service.as_str()), ("switchyard-bridge", "switchyard-router"));
    assert_eq!(
        (run.attribute("switchyard.task"), run.attribute("switchyard.state")),
        ("blog:digest", "succeeded")
    );
    // A project cannot claim to be another one.
    assert_eq!((work.attribute("switchyard.project"), work.count("switchyard.project")), ("blog", 1));
}

#[tokio::test]
async fn a_collector_that_is_away_disturbs_nothing_and_is_counted() {
    let volume = Volume::with("a", SHOWS);
    let away = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let endpoint = format!("http://{}", away.local_addr().expect("it is bound"));
    drop(away);
    let router = Router::builder(&volume)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
        .env("OTEL_BSP_SCHEDULE_DELAY", "20")
        .start()
        .await;
    for _ in 0..10 {
        assert_eq!(router.public.get("/a/").await.status, 200);
    }
    eventually("the dropped spans are counted", || async {
        router.admin.metric("switchyard_spans_dropped_total", "failed").await >= Some(20.0)
    })
    .await;
    let logged = router.log.wait_for(|record| {
        record["message"].as_str().is_some_and(|message| message.starts_with("spans are not exported"))
    });
    let record = within("it is logged", logged).await.expect("the log goes on");
    let message = record["message"].as_str().unwrap_or_default();
    assert!(message.contains(&format!("POST {endpoint}/v1/traces: ")), "{message}");
}

#[tokio::test]
async fn variables_that_cannot_be_used_are_refused_at_the_start() {
    let (volume, collector) = (Volume::new(), Collector::start().await);
    let builder = router(&volume, &collector).env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let exit = builder.env("OTEL_BSP_MAX_QUEUE_SIZE", "0").run_to_end().await;
    assert_eq!(exit.status.code(), Some(64));
    for wrong in ["invalid OTEL_EXPORTER_OTLP_PROTOCOL \"grpc\"", "invalid OTEL_BSP_MAX_QUEUE_SIZE \"0\""] {
        assert!(exit.log.text().contains(wrong), "{}", exit.log.text());
    }
}
