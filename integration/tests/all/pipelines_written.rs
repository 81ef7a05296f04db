//! Pipelines that are written with `ctx.step`: results of steps are kept, and later attempts have them.

use serde_json::json;
use switchyard_contract::run::{ResumeRun, RunState};
use switchyard_integration::runs::{Served, TaskProject, returns};
use switchyard_integration::volume::Volume;

use super::pipelines::step;

/// A task of three functions, one of them twice, and a task. Each note is kept in DATA_DIR; `flaky`
/// throws in the first `fails` calls.
fn written(fails: u32) -> String {
    format!(
        "const dir = Deno.env.get('DATA_DIR');\n\
         const note = async (name) => {{\n\
           await Deno.writeTextFile(`${{dir}}/done`, `${{name}}\\n`, {{ append: true }});\n\
           return (await Deno.readTextFile(`${{dir}}/done`)).trim().split('\\n').length;\n\
         }};\n\
         export default async ({{ step, run }}) => {{\n\
           const first = await step('note', () => note('first'));\n\
           const second = await step('note', () => note('second'));\n\
           const helped = await step('help', 'helper', {{ from: 'here' }});\n\
           const flaky = await step('flaky', async () => {{\n\
             await Deno.writeTextFile(`${{dir}}/calls`, 'x', {{ append: true }});\n\
             const calls = (await Deno.readTextFile(`${{dir}}/calls`)).length;\n\
             if (calls <= {fails}) throw new Error(`call ${{calls}}`);\n\
             return calls;\n\
           }});\n\
           return {{ first, second, helped, flaky, attempt: run.attempt }};\n\
         }};\n"
    )
}

fn project(fails: u32, settings: serde_json::Value) -> TaskProject {
    let helper = "export default async ({ input }) => {\n\
                  await Deno.writeTextFile(`${Deno.env.get('DATA_DIR')}/helped`, 'x', { append: true });\n\
                  return (await Deno.readTextFile(`${Deno.env.get('DATA_DIR')}/helped`)).length + input.from;\n\
                  };\n";
    TaskProject::new("shop").task("written", settings, written(fails)).task("helper", json!({}), helper).task(
        "other",
        json!({}),
        returns("other"),
    )
}

#[tokio::test]
async fn a_further_attempt_does_no_finished_step_again_and_a_second_use_of_a_name_is_numbered() {
    let volume = Volume::new();
    project(3, json!({ "retry": { "attempts": 4, "backoff": "1ms" } })).write(&volume);
    let served = Served::start(&volume).await;
    served.api.knows("shop:written").await;
    let ended = served.api.start("shop:written").ended().await;
    let expected = json!({ "first": 1, "second": 2, "helped": "1here", "flaky": 4, "attempt": 4 });
    assert_eq!((ended.run.state, ended.run.result.clone()), (RunState::Succeeded, Some(expected)));
    let names: Vec<_> = ended.steps.iter().map(|step| (step.name.as_str(), step.state)).collect();
    assert_eq!(names, ["note", "note#2", "help", "flaky"].map(|name| (name, RunState::Succeeded)));
    let helped = step(&ended, "help").run.expect("the step is a run");
    assert_eq!(served.api.run(helped).await.run.parent, Some(ended.run.id));
}

#[tokio::test]
async fn a_resumed_run_goes_on_behind_its_finished_steps() {
    let volume = Volume::new();
    project(1, json!({})).write(&volume);
    let served = Served::start(&volume).await;
    let api = &served.api;
    api.knows("shop:written").await;
    let failed = api.start("shop:written").ended().await;
    assert_eq!(failed.run.state, RunState::Failed, "{failed:#?}");
    assert_eq!(step(&failed, "flaky").state, RunState::Failed);
    let resumed = api.resume(failed.run.id, &ResumeRun { from_step: None, latest: false }).await;
    let expected = json!({ "first": 1, "second": 2, "helped": "1here", "flaky": 2, "attempt": 1 });
    assert_eq!((resumed.run.state, resumed.run.result.clone()), (RunState::Succeeded, Some(expected)));
    let from = ResumeRun { from_step: Some("note#2".to_owned()), latest: false };
    let again = api.resume(resumed.run.id, &from).await;
    let expected = json!({ "first": 1, "second": 3, "helped": "2here", "flaky": 3, "attempt": 1 });
    assert_eq!((again.run.state, again.run.result.clone()), (RunState::Succeeded, Some(expected)));
}
