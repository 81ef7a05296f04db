//! Jobs of a cell.

use serde_json::{Value, json};
use switchyard_protocol::{FromCell, JobStepReply, ToCell};

use crate::version::Version;

const RUN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// A cell that has ended.
#[derive(Debug)]
struct Ended {
    /// Its messages, without those that any cell sends.
    said: Vec<FromCell>,
    printed: String,
}

impl Version {
    /// Does a job. `answer` answers the cell's messages.
    fn work(&self, job: &Value, answer: impl Fn(&FromCell) -> Option<ToCell>) -> Ended {
        let mut cell = self.cell(job);
        let mut said = Vec::new();
        while let Some(message) = cell.next() {
            answer(&message).iter().for_each(|reply| cell.send(reply));
            said.push(message);
        }
        Ended { said, printed: cell.end() }
    }

    fn call(&self, with: &Value) -> Ended {
        self.work(&call(with), |_| None)
    }
}

fn call(with: &Value) -> Value {
    let mut call = json!({
        "kind": "call", "handler": { "kind": "task" }, "params": {}, "input": null, "config": null,
        "journal": [], "max_result": 1 << 20,
        "run": { "id": RUN, "task": "t", "attempt": 1, "trigger": "manual", "version": "blog@1" },
    });
    for (name, value) in with.as_object().unwrap() {
        call[name] = value.clone();
    }
    call
}

fn handler(code: &str) -> Version {
    Version::new(&[("a.ts", code)])
}

impl Ended {
    fn result(&self) -> &Value {
        match self.said.last() {
            Some(FromCell::Returned { result }) => result,
            _ => panic!("{self:?}"),
        }
    }

    /// The reason and the message of its error.
    fn error(&self) -> (&str, &str) {
        match self.said.last() {
            Some(FromCell::Threw(error)) => (&error.reason, &error.message),
            _ => panic!("{self:?}"),
        }
    }

    /// The file and the line of its failure, and the message.
    fn failure(&self) -> (&str, Option<u32>, &str) {
        let diagnostic = match self.said.last() {
            Some(FromCell::Failed(diagnostic)) => diagnostic,
            Some(FromCell::Threw(error)) => error.diagnostic.as_ref().unwrap(),
            _ => panic!("{self:?}"),
        };
        (diagnostic.file.as_deref().unwrap(), diagnostic.line, &diagnostic.message)
    }
}

#[test]
fn modules_are_linked_and_not_evaluated() {
    let version = Version::new(&[
        (
            "a.ts",
            "import type { X } from '../../sdk.ts'; import { y } from './b.ts'; throw y; export type Z = X;",
        ),
        ("b.ts", "export const y: number = 1;"),
        ("c.ts", "import { z } from './b.ts';\nconsole.log(z);"),
        ("d.ts", "let x = = 1;"),
    ]);
    let link = |modules: &[&str]| version.work(&json!({ "kind": "link", "modules": modules }), |_| None);
    assert_eq!(link(&["a.ts", "b.ts"]).said, [FromCell::Linked]);
    assert_eq!(link(&["a.ts", "c.ts"]).failure().0, "c.ts");
    assert_eq!(link(&["d.ts"]).failure(), ("d.ts", Some(1), "SyntaxError: Expression expected"));
}

#[test]
fn a_handler_gets_its_context_and_its_lines_have_the_mark_of_the_run() {
    let code = "export default async function ({ params, input, config, run, log }: any) {
        log.info('one\\ntwo');
        return [params.x, await params.get('x'), await params.get('toString'), { ...params }, input, config,
            run.id];
    }";
    let ended = handler(code).call(&json!({ "params": { "x": 3 }, "input": [1], "config": { "k": 1 } }));
    assert_eq!(ended.said[0], FromCell::Running);
    assert_eq!(*ended.result(), json!([3, 3, null, { "x": 3 }, [1], { "k": 1 }, RUN]));
    assert_eq!(ended.printed, format!("\u{1e}{RUN}\u{1f}one\n\u{1e}{RUN}\u{1f}two\n"));
    assert_eq!(*handler("export const main = () => import.meta.main").call(&json!({})).result(), false);
    let ended = handler("export const x = 1").call(&json!({}));
    assert!(ended.failure().2.starts_with("No handler"), "{ended:?}");
}

#[test]
fn what_a_handler_throws_is_located_and_printed() {
    let ended = handler("export default async () => {\n  throw new Error('bad');\n}").call(&json!({}));
    assert_eq!((ended.error().0, ended.failure()), ("threw", ("a.ts", Some(2), "Error: bad")));
    assert!(ended.printed.contains("error: Uncaught (in promise) Error: bad"), "{}", ended.printed);
    for (code, message) in [
        ("export default () => { Promise.reject(new Error('lost')) }", "Error: lost"),
        (
            "export default () => new Promise(() => setTimeout(() => { throw new Error('timer') }))",
            "Error: timer",
        ),
    ] {
        assert_eq!(handler(code).call(&json!({})).error(), ("threw", message));
    }
    let ended = handler("export default () => 1;\nthrow new Error('top')").call(&json!({}));
    assert_eq!(ended.failure(), ("a.ts", Some(2), "Error: top"));
}

#[test]
fn a_handler_that_cannot_end_well_ends_the_run() {
    for (code, reason, message) in [
        ("new Promise(() => {})", "threw", "never settles"),
        ("Deno.exit(3)", "exit", "Deno.exit(3)"),
        ("1n", "result", "BigInt"),
        ("() => 1", "result", "a function"),
        ("'x'.repeat(2000)", "result", "run_result"),
        ("Array(400).fill().reduce((all) => [all], 1)", "result", "nested"),
    ] {
        let ended = handler(&format!("export default () => {code}")).call(&json!({ "max_result": 1000 }));
        let (is, says) = ended.error();
        assert!(is == reason && says.contains(message), "{code}: {ended:?}");
    }
    let ended = handler("export default () => { for (;;); }").call(&json!({}));
    assert_eq!(ended.said[1], FromCell::Exceeded(switchyard_protocol::Limit::EventLoop));
}

#[test]
fn steps_are_asked_for_in_their_order_and_finished_ones_are_not_done_again() {
    let version = handler(
        "export default async ({ step }) => {
            const a = await step('a', () => { throw new Error('again') });
            const b = await step('a', (x) => x + 1, 1);
            const c = await step('c', 'other', { in: 1 });
            const d = await step('d', () => { throw new Error('no') }).catch((error) => error.message);
            const e = await step('e', '../x').catch((error) => error.message);
            return [a, b, c, d, e];
        }",
    );
    let answer = |message: &FromCell| {
        let FromCell::Step(step) = message else { return None };
        let reply = JobStepReply { number: step.number, result: json!("done"), error: None };
        Some(ToCell::StepReply(reply))
    };
    let ended = version.work(&call(&json!({ "journal": [{ "step": "a", "result": { "old": 1 } }] })), answer);
    let result = ended.result().as_array().unwrap();
    assert_eq!(result[..4], [json!({ "old": 1 }), json!(2), json!("done"), json!("no")]);
    assert!(result[4].as_str().unwrap().contains("invalid task name"), "{result:?}");
    let asked: Vec<_> = ended.said.iter().map(|said| json!(said)).collect();
    let asked = asked.iter().filter(|said| said["type"] == "step");
    let asked: Vec<_> =
        asked.map(|said| format!("{} {}", said["name"], said["ask"]["kind"]).replace('"', "")).collect();
    assert_eq!(asked, ["a#2 begin", "a#2 keep", "c task", "d begin", "d failed"]);
}

#[test]
fn a_cancelled_handler_hears_it_and_its_error_has_the_reason() {
    let cancel = |message: &FromCell| {
        let is_under_way = matches!(message, FromCell::Running);
        is_under_way.then(|| ToCell::Cancel { reason: "replaced".into() })
    };
    let code = "export default ({ signal }) =>
        new Promise((resolve) => signal.addEventListener('abort', () => resolve(signal.reason.message)))";
    let ended = handler(code).work(&call(&json!({})), cancel);
    assert_eq!(*ended.result(), "The run is ended: replaced");
    let ended = handler("export default ({ step }) => step('x', 'other')").work(&call(&json!({})), cancel);
    assert_eq!(ended.error().0, "replaced");
}

#[test]
fn values_of_a_task_stay_for_its_next_run() {
    let version = handler(
        "export default async ({ kv }) => {
            const n = await kv.get('n') ?? 0;
            await kv.set('n', n + 1);
            await kv.set(['a', 1], { x: 1 });
            return [n, await kv.list(['a']), await kv.list(), await kv.get('none')];
        }",
    );
    for n in 0..2 {
        let ended = version.call(&json!({}));
        assert_eq!(*ended.result(), json!([n, { "[\"a\",1]": { "x": 1 } }, { "n": n + 1 }, null]));
    }
}

#[test]
fn stages_are_called_in_their_order_with_what_the_ones_before_have_returned() {
    let version = handler(
        "export const integration = ({ data, flags }) => ({ output: [data, flags] });
        export const critique = () => { throw new Error('skipped') };
        export const ingestion = async ({ data: { seed }, io }) => {
            await io.writeArtifact('a.json', seed.topic);
            return { output: await io.readArtifact('a.json'), flags: { isRead: true } };
        };",
    );
    let ended = version.call(&json!({ "input": { "topic": "T" } }));
    let data = json!({ "seed": { "topic": "T" }, "ingestion": "T" });
    assert_eq!(*ended.result(), json!([data, { "isRead": true }]));
}

#[test]
fn a_scheduled_handler_is_awaited_with_what_it_waits_for() {
    let code = "export default { fetch() {}, scheduled({ cron, scheduledTime }, env, ctx) {
        ctx.waitUntil(new Promise((resolve) => setTimeout(resolve)).then(() => console.log('late')));
        return [cron, scheduledTime, typeof env.DATA_DIR, ctx.run.task];
    } }";
    let with = json!({ "handler": { "kind": "scheduled", "cron": "0 8 * * *", "at_ms": 1000 } });
    let ended = handler(code).call(&with);
    assert_eq!(*ended.result(), json!(["0 8 * * *", 1000, "string", "t"]));
    assert!(ended.printed.contains("late"));
}

#[test]
fn paths_of_a_registry_are_returned_relative_to_the_project() {
    let read = |code: &str| {
        Version::new(&[("tasks/index.js", code)])
            .work(&json!({ "kind": "registry", "max_result": 1000 }), |_| None)
    };
    let ended = read("export default { a: './a.js', b: '../lib/b.ts' }");
    assert_eq!(*ended.result(), json!({ "a": "tasks/a.js", "b": "lib/b.ts" }));
    for code in ["export default { a: 3 }", "export default { a: '../../a.js' }", "export const x = 1"] {
        assert_eq!(read(code).failure().0, "tasks/index.js");
    }
}
