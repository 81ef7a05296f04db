//! Pipelines whose steps are declared: their order, their results, their code, their ends, and going on
//! with them.

use serde_json::{Value, json};
use switchyard_contract::run::{ResumeRun, RunDetail, RunId, RunState, Step};
use switchyard_integration::runs::{RunsApi, Served, TaskProject, held, opens, returns};
use switchyard_integration::volume::Volume;

/// A task that notes its name in DATA_DIR, and returns it after what it gets.
pub(crate) fn noted(name: &str, label: &str) -> String {
    format!(
        "import {{ helper }} from './helper.ts';\n\
         const file = `${{Deno.env.get('DATA_DIR')}}/done`;\n\
         export default async ({{ input }}) => {{\n\
           await Deno.writeTextFile(file, '{name}\\n', {{ append: true }});\n\
           return [input ?? null, `{name} {label} ${{helper}}`].flat().filter(Boolean);\n\
         }};\n"
    )
}

/// The same, which waits for a gate before it ends.
pub(crate) fn noted_held(name: &str, label: &str) -> String {
    format!(
        "import wait from './wait.ts';\nimport task from './{name}_work.ts';\n\
         export default async (ctx) => {{ await wait(ctx); return await task(ctx); }};\n// {label}\n"
    )
}

/// A task that returns the names that were noted.
const DONE: &str = "export default async () => (await Deno.readTextFile(`${Deno.env.get('DATA_DIR')}/done`))\
                    .trim().split('\\n');\n";

pub(crate) async fn done(api: &RunsApi, project: &str) -> Value {
    api.result(&format!("{project}:done")).await
}

/// Four steps, the second of which is held.
pub(crate) fn four(label: &str) -> TaskProject {
    TaskProject::new("shop")
        .file("helper.ts", format!("export const helper = {label:?};\n"))
        .file("wait.ts", held("wait", "gate"))
        .task("one", json!({}), noted("one", label))
        .task("two", json!({}), noted_held("two", label))
        .file("two_work.ts", noted("two", label))
        .task("three", json!({}), noted("three", label))
        .task("four", json!({}), noted("four", label))
        .task("open", json!({}), opens("gate"))
        .task("done", json!({}), DONE)
        .pipeline("all", json!({ "tasks": ["one", "two", "three", "four"] }))
}

/// The step of this name.
pub(crate) fn step<'d>(detail: &'d RunDetail, name: &str) -> &'d Step {
    detail.steps.iter().find(|step| step.name == name).unwrap_or_else(|| panic!("{name} in {detail:#?}"))
}

/// Waits until a step has printed a text. Returns its run.
pub(crate) async fn step_printed(api: &RunsApi, id: RunId, name: &str, text: &str) -> RunId {
    let has_run =
        |detail: &RunDetail| detail.steps.iter().any(|step| step.name == name && step.run.is_some());
    let detail = api.run_becomes(id, &format!("its step {name} has begun"), has_run).await;
    let run = step(&detail, name).run.expect("it has a run");
    api.printed(run, text).await;
    run
}

/// The digests that the steps used, in the pipeline's order.
pub(crate) fn digests(detail: &RunDetail) -> Vec<String> {
    let digest = |step: &Step| step.version.as_ref().map(|version| version.digest.to_string());
    detail.steps.iter().map(|step| digest(step).unwrap_or_else(|| panic!("{step:#?}"))).collect()
}

/// Changes the code and the helper of all steps while the second one is under way.
async fn changed_during_the_second(rule: &str) -> RunDetail {
    let volume = Volume::new();
    four("old").write(&volume);
    let served = Served::start(&volume).await;
    let api = &served.api;
    let old = api.knows("shop:all").await.overview.version;
    let id = api.start_pipeline("shop:all").consistency(rule).begun().await.run.id;
    step_printed(api, id, "two", "held wait").await;
    four("new").write(&volume);
    api.becomes("shop:all", "the changed version is live", |detail| detail.overview.version != old).await;
    api.result("shop:open").await;
    let ended = api.ended(id).await;
    assert_eq!(ended.run.state, RunState::Succeeded, "{ended:#?}");
    for step in &ended.steps {
        let version = step.version.as_ref().unwrap_or_else(|| panic!("{step:#?}"));
        assert_eq!((step.state, version.spec.is_empty()), (RunState::Succeeded, false), "{step:#?}");
    }
    assert_eq!(done(api, "shop").await, json!(["one", "two", "three", "four"]));
    ended
}

#[tokio::test]
async fn all_steps_of_a_run_use_the_version_that_was_live_when_it_began() {
    let ended = changed_during_the_second("run").await;
    let all = ["one", "two", "three", "four"].map(|name| format!("{name} old old"));
    assert_eq!(ended.run.result, Some(json!(all)));
    let digests = digests(&ended);
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[tokio::test]
async fn each_step_takes_the_newest_code_and_helpers_if_the_pipeline_says_so() {
    let ended = changed_during_the_second("step").await;
    let all = ["one old old", "two old old", "three new new", "four new new"];
    assert_eq!(ended.run.result, Some(json!(all)));
    let digests = digests(&ended);
    assert!(digests[0] == digests[1] && digests[2] == digests[3] && digests[1] != digests[2], "{digests:?}");
}

#[tokio::test]
async fn steps_begin_when_what_they_need_is_there_and_get_it_by_name() {
    let volume = Volume::new();
    let pass = "export default ({ input }) => input;\n";
    TaskProject::new("shop")
        .task("left", json!({}), held("left", "gate"))
        .task("right", json!({}), held("right", "gate"))
        .task("join", json!({}), pass)
        .task("after", json!({}), pass)
        .task("open", json!({}), opens("gate"))
        .pipeline(
            "graph",
            json!({ "steps": [
                { "name": "left", "needs": [] },
                { "name": "right", "needs": [] },
                { "name": "join", "needs": ["left", "right"] },
                { "name": "after", "needs": ["left"] },
            ] }),
        )
        .write(&volume);
    let served = Served::start(&volume).await;
    let api = &served.api;
    api.knows("shop:graph").await;
    let id = api.start_pipeline("shop:graph").begun().await.run.id;
    for side in ["left", "right"] {
        step_printed(api, id, side, &format!("held {side}")).await;
    }
    let under_way = api.run(id).await;
    assert_eq!(under_way.steps.len(), 2, "{under_way:#?}");
    api.result("shop:open").await;
    let ended = api.ended(id).await;
    let expected = json!({ "join": { "left": "left", "right": "right" }, "after": "left" });
    assert_eq!((ended.run.state, ended.run.result.clone()), (RunState::Succeeded, Some(expected)));
    let names: Vec<_> = ended.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["left", "right", "join", "after"]);
}

/// Fails until it was called this often.
fn fails_at_first(times: u32) -> String {
    format!(
        "const file = `${{Deno.env.get('DATA_DIR')}}/calls`;\n\
         export default async () => {{\n\
           await Deno.writeTextFile(file, 'x', {{ append: true }});\n\
           const calls = (await Deno.readTextFile(file)).length;\n\
           if (calls <= {times}) throw new Error(`call ${{calls}} fails`);\n\
           return calls;\n\
         }};\n"
    )
}

#[tokio::test]
async fn a_step_is_tried_again_as_its_retry_says_and_its_pipeline_goes_on() {
    let volume = Volume::new();
    TaskProject::new("shop")
        .task("weak", json!({}), fails_at_first(2))
        .task("last", json!({}), "export default ({ input }) => `after ${input}`;\n")
        .pipeline(
            "retried",
            json!({ "steps": [
                { "name": "weak", "retry": { "attempts": 3, "backoff": "1ms" } },
                "last",
            ] }),
        )
        .write(&volume);
    let served = Served::start(&volume).await;
    served.api.knows("shop:retried").await;
    let ended = served.api.start_pipeline("shop:retried").ended().await;
    assert_eq!(ended.run.result, Some(json!("after 3")), "{ended:#?}");
    let weak = step(&ended, "weak").run.expect("it has a run");
    assert_eq!(served.api.run(weak).await.run.attempt, 3);
}

#[tokio::test]
async fn a_step_that_fails_ends_its_pipeline_and_the_steps_beside_it() {
    let volume = Volume::new();
    TaskProject::new("shop")
        .task("held", json!({}), held("beside", "gate"))
        .task("bad", json!({}), held("bad", "go"))
        .task("throws", json!({}), "export default () => { throw new Error('no stock'); };\n")
        .task("go", json!({}), opens("go"))
        .task("never", json!({}), returns("never"))
        .pipeline(
            "fails",
            json!({ "steps": [
                { "name": "held", "needs": [] },
                { "name": "bad", "needs": [] },
                { "name": "throws", "needs": ["bad"] },
                { "name": "never", "needs": ["throws", "held"] },
            ] }),
        )
        .write(&volume);
    let served = Served::start(&volume).await;
    let api = &served.api;
    api.knows("shop:fails").await;
    let id = api.start_pipeline("shop:fails").begun().await.run.id;
    let beside = step_printed(api, id, "held", "held beside").await;
    step_printed(api, id, "bad", "held bad").await;
    api.result("shop:go").await;
    let ended = api.ended(id).await;
    let error = ended.run.error.as_ref().expect("it has failed");
    assert_eq!(ended.run.state, RunState::Failed);
    assert!(error.message.contains("throws") && error.message.contains("no stock"), "{error:#?}");
    assert!(!ended.steps.iter().any(|step| step.name == "never"), "{ended:#?}");
    assert_eq!(api.ended(beside).await.run.state, RunState::Cancelled);
}

#[tokio::test]
async fn a_cancelled_pipeline_ends_its_steps_first() {
    let volume = Volume::new();
    four("old").write(&volume);
    let served = Served::start(&volume).await;
    let api = &served.api;
    api.knows("shop:all").await;
    let id = api.start_pipeline("shop:all").begun().await.run.id;
    let second = step_printed(api, id, "two", "held wait").await;
    let ended = api.cancel(id).await;
    assert_eq!(ended.run.state, RunState::Cancelled, "{ended:#?}");
    assert_eq!(api.run(second).await.run.state, RunState::Cancelled);
    assert_eq!(done(api, "shop").await, json!(["one"]));
}

/// Three steps, the last of which fails unless it is fixed.
fn three(last: &str) -> TaskProject {
    TaskProject::new("shop")
        .file("helper.ts", "export const helper = 'h';\n")
        .task("one", json!({}), noted("one", last))
        .task("two", json!({}), noted("two", last))
        .task(
            "three",
            json!({}),
            match last {
                "broken" => "export default () => { throw new Error('broken'); };\n".to_owned(),
                label => noted("three", label),
            },
        )
        .task("done", json!({}), DONE)
        .pipeline("all", json!({ "tasks": ["one", "two", "three"] }))
}

/// A pipeline that has failed at its third step, for which other code is live now.
async fn failed_at_the_third(now: TaskProject) -> (Volume, Served, RunId) {
    let volume = Volume::new();
    three("broken").write(&volume);
    let served = Served::start(&volume).await;
    let api = &served.api;
    let old = api.knows("shop:all").await.overview.version;
    let failed = api.start_pipeline("shop:all").ended().await;
    assert_eq!(failed.run.state, RunState::Failed, "{failed:#?}");
    now.write(&volume);
    api.becomes("shop:all", "the changed version is live", |detail| detail.overview.version != old).await;
    (volume, served, failed.run.id)
}

fn resumed(from_step: Option<&str>, latest: bool) -> ResumeRun {
    ResumeRun { from_step: from_step.map(str::to_owned), latest }
}

#[tokio::test]
async fn a_resumed_pipeline_does_no_finished_step_again_on_old_code_and_on_new() {
    let (_volume, served, id) = failed_at_the_third(three("fixed")).await;
    let api = &served.api;
    let again = api.resume(id, &resumed(None, false)).await;
    assert_eq!(again.run.state, RunState::Failed, "the old code fails again: {again:#?}");
    assert_eq!(done(api, "shop").await, json!(["one", "two"]));
    let fixed = api.resume(again.run.id, &resumed(None, true)).await;
    let all = json!(["one broken h", "two broken h", "three fixed h"]);
    assert_eq!((fixed.run.state, fixed.run.result.clone()), (RunState::Succeeded, Some(all)));
    assert_eq!(done(api, "shop").await, json!(["one", "two", "three"]));
    let digests = digests(&fixed);
    assert!(digests[0] == digests[1] && digests[1] != digests[2], "{digests:?}");
}

#[tokio::test]
async fn a_pipeline_goes_on_from_a_step_that_is_named() {
    let (_volume, served, id) = failed_at_the_third(three("fixed")).await;
    let api = &served.api;
    let ended = api.resume(id, &resumed(Some("two"), true)).await;
    let all = json!(["one broken h", "two fixed h", "three fixed h"]);
    assert_eq!(ended.run.result, Some(all), "{ended:#?}");
    assert_eq!(done(api, "shop").await, json!(["one", "two", "two", "three"]));
    // A run that succeeded can be gone on with, too.
    let ended = api.resume(ended.run.id, &resumed(Some("three"), false)).await;
    assert_eq!(ended.run.state, RunState::Succeeded, "{ended:#?}");
    assert_eq!(done(api, "shop").await, json!(["one", "two", "two", "three", "three"]));
    let unknown = api.post(id, "resume", &resumed(Some("ten"), true)).await;
    unknown.assert_problem(422, "unknown-step");
}

#[tokio::test]
async fn finished_steps_that_the_new_code_does_not_have_are_told_before_anything_runs() {
    let now = three("fixed").pipeline("all", json!({ "tasks": ["one", "three"] }));
    let (_volume, served, id) = failed_at_the_third(now).await;
    let api = &served.api;
    let before = api.runs("project=shop").await.len();
    let problem = api.post(id, "resume", &resumed(None, true)).await;
    let problem = problem.assert_problem(409, "steps-without-match");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("two")), "{problem}");
    assert_eq!(api.runs("project=shop").await.len(), before);
}
