//! Background work: a project continues between requests, as in any Deno process.

use switchyard_integration::fixtures::hello;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

/// Returns when the project has printed the line.
async fn printed(router: &Router, line: &str) {
    let record = router.log.wait_for(|record| record["message"] == line);
    assert!(within(line, record).await.is_some(), "{line:?} is never printed");
}

#[tokio::test]
async fn work_that_a_request_started_continues_after_its_answer() {
    let main = r#"
        export default { fetch(_request, info) {
            queueMicrotask(() => console.log("microtask"));
            setTimeout(() => console.log("timeout"), 20);
            setImmediate(() => console.log("immediate"));
            (async () => {
                for (let n = 0; n < 3; n++) await new Promise((done) => setTimeout(done, 5));
                console.log("promise");
            })();
            info.completed.then(() => setTimeout(() => console.log("completed"), 5));
            return new Response("answered");
        } };
    "#;
    let volume = Volume::with("a", main);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.text(), "answered");
    for line in ["microtask", "timeout", "immediate", "promise", "completed"] {
        printed(&router, line).await;
    }
}

#[tokio::test]
async fn timers_of_a_module_run_between_requests_until_the_version_is_retired() {
    let counting = |label: &str| {
        format!("let ticks = 0;\nsetInterval(() => console.log('{label} ' + ++ticks), 5);\n{}", hello(label))
    };
    let volume = Volume::with("a", counting("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    printed(&router, "one 5").await;
    volume.replace("a/main.ts", counting("two"));
    events.wait_retired("a").await;
    let lines = || {
        router
            .log
            .records()
            .iter()
            .filter(|line| line["message"].as_str().is_some_and(|line| line.starts_with("one ")))
            .count()
    };
    let then = lines();
    printed(&router, "two 50").await;
    assert_eq!(lines(), then, "the old version's timers ended with it");
}

#[tokio::test]
async fn a_job_of_its_own_is_not_ended_by_an_error_that_it_catches() {
    let main = r#"
        addEventListener("unhandledrejection", (event) => { event.preventDefault(); console.log("caught " + event.reason.message); });
        export default { fetch() { Promise.reject(new Error("late")); return new Response("answered"); } };
    "#;
    let volume = Volume::with("a", main);
    let router = Router::start(&volume).await;
    let pid = router.admin.project("a").await.pid;
    assert_eq!(router.public.get("/a/").await.text(), "answered");
    printed(&router, "caught late").await;
    assert_eq!(router.public.get("/a/").await.text(), "answered");
    assert_eq!(router.admin.project("a").await.pid, pid, "it is the same process");
}

#[tokio::test]
async fn a_web_worker_works_for_many_requests_and_on_its_own() {
    let main = r#"
        const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
        const waiting = new Map();
        worker.onmessage = ({ data: { id, sum } }) => { waiting.get(id)(sum); waiting.delete(id); };
        let last = 0;
        export default { async fetch(request) {
            const up_to = Number(new URL(request.url).searchParams.get("n"));
            const sum = await new Promise((done) => { waiting.set(++last, done); worker.postMessage({ id: last, up_to }); });
            return new Response(String(sum));
        } };
    "#;
    let worker = r#"
        import { sum } from "./sum.ts";
        let heard: number = 0;
        self.onmessage = ({ data: { id, up_to } }) => { heard++; self.postMessage({ id, sum: sum(up_to) }); };
        const told = setInterval(() => { if (heard === 3) { console.log("the worker heard three"); clearInterval(told); } }, 5);
    "#;
    let volume = Volume::with("a", main);
    volume.write("a/worker.ts", worker);
    volume.write("a/sum.ts", "export const sum = (n: number): number => n * (n + 1) / 2;\n");
    let router = Router::start(&volume).await;
    for (n, sum) in [(1, "1"), (10, "55"), (100, "5050")] {
        assert_eq!(router.public.get(&format!("/a/?n={n}")).await.text(), sum);
    }
    printed(&router, "the worker heard three").await;
}

#[tokio::test]
async fn a_worker_thread_of_node_works_as_well() {
    let main = r#"
        import { Worker } from "node:worker_threads";
        export default { fetch() {
            return new Promise((answer) => {
                const worker = new Worker(new URL("./worker.mjs", import.meta.url), { workerData: 6 });
                worker.on("message", (product) => answer(new Response(String(product))));
                worker.on("exit", (code) => console.log("the thread ended with " + code));
            });
        } };
    "#;
    let volume = Volume::with("a", main);
    let worker = "import { parentPort, workerData } from 'node:worker_threads';\nparentPort.postMessage(workerData * 7);\n";
    volume.write("a/worker.mjs", worker);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.text(), "42");
    printed(&router, "the thread ended with 0").await;
}

#[tokio::test]
async fn one_worker_beyond_the_limit_fails_and_harms_nothing_else() {
    let main = r#"
        export default { async fetch() {
            const worker = () => new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
            const first = worker();
            await new Promise((ready) => { first.onmessage = ready; });
            let refused = "";
            try {
                const second = worker();
                refused = await new Promise((done) => {
                    second.onerror = (event) => { event.preventDefault(); done("an event"); };
                    second.onmessage = () => done("none");
                });
            } catch { refused = "an exception"; }
            first.terminate();
            return new Response(refused);
        } };
    "#;
    let volume = Volume::with("a", main);
    volume.write("a/worker.js", "postMessage('ready');\n");
    volume.write("_policy.toml", "[projects.a.limits]\nworkers = 1\n");
    let router = Router::builder(&volume).flag("policy", volume.path("_policy.toml").display()).start().await;
    let pid = router.admin.project("a").await.pid;
    let refused = router.public.get("/a/").await.text();
    assert!(["an event", "an exception"].contains(&refused.as_str()), "{refused}");
    eventually("a worker that was ended makes room", || async {
        router.public.get("/a/").await.status == 200
    })
    .await;
    assert_eq!(router.admin.project("a").await.pid, pid, "it is the same process");
}
