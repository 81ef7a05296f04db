//! A bridge that is killed in the middle of pipelines: they go on, and nothing is done twice.

use serde_json::json;
use switchyard_contract::run::RunState;
use switchyard_integration::bystander::{self, Bystander};
use switchyard_integration::runs::{Routed, TaskProject, held, opens};
use switchyard_integration::volume::Volume;

use super::pipelines::{done, four, step_printed};

#[tokio::test]
async fn a_declared_pipeline_goes_on_when_the_bridge_is_killed_and_no_finished_step_is_done_again() {
    let volume = Volume::new();
    bystander::write(&volume);
    four("old").write(&volume);
    let mut scene = Routed::start(&volume, 1).await;
    let mut bystander = Bystander::start(&scene.routers[0]).await;
    bystander.disturb();
    scene.api.knows("shop:all").await;
    let id = scene.api.start_pipeline("shop:all").begun().await.run.id;
    step_printed(&scene.api, id, "two", "held wait").await;
    scene.restart_bridge().await;
    // Once more, before the restarted one has begun anything.
    scene.restart_bridge().await;
    scene.api.knows("shop:open").await;
    scene.api.result("shop:open").await;
    let ended = scene.api.ended(id).await;
    assert_eq!(ended.run.state, RunState::Succeeded, "{ended:#?}");
    assert!(ended.steps.iter().all(|step| step.state == RunState::Succeeded), "{ended:#?}");
    assert_eq!(done(&scene.api, "shop").await, json!(["one", "two", "three", "four"]));
    bystander.finish(&scene.routers[0]).await;
}

#[tokio::test]
async fn a_written_pipeline_goes_on_when_the_bridge_is_killed_and_no_finished_step_is_done_again() {
    let volume = Volume::new();
    let note = "const note = async (name) => {\n\
                const file = `${Deno.env.get('DATA_DIR')}/done`;\n\
                await Deno.writeTextFile(file, `${name}\\n`, { append: true });\n\
                return name;\n\
                };\n";
    let written = format!(
        "{note}export default async ({{ step }}) => [\n\
           await step('one', () => note('one')),\n\
           await step('two', 'waits'),\n\
           await step('three', () => note('three')),\n\
         ];\n"
    );
    TaskProject::new("shop")
        .task("written", json!({}), written)
        .task("waits", json!({}), held("two", "gate"))
        .task("open", json!({}), opens("gate"))
        .task(
            "done",
            json!({}),
            "export default async () =>\n\
             (await Deno.readTextFile(`${Deno.env.get('DATA_DIR')}/done`)).trim().split('\\n');\n",
        )
        .write(&volume);
    let mut scene = Routed::start(&volume, 1).await;
    scene.api.knows("shop:written").await;
    let id = scene.api.start("shop:written").begun().await.run.id;
    let child = scene.api.counted("task=shop:waits", 1).await[0].id;
    scene.api.printed(child, "held two").await;
    scene.restart_bridge().await;
    scene.api.knows("shop:open").await;
    scene.api.result("shop:open").await;
    let ended = scene.api.ended(id).await;
    assert_eq!(ended.run.result, Some(json!(["one", "two", "three"])), "{ended:#?}");
    assert_eq!((ended.run.attempt, scene.api.runs("task=shop:waits").await.len()), (1, 1));
    let names: Vec<_> = ended.steps.iter().map(|step| (step.name.as_str(), step.state)).collect();
    assert_eq!(names, ["one", "two", "three"].map(|name| (name, RunState::Succeeded)));
    assert_eq!(done(&scene.api, "shop").await, json!(["one", "three"]));
}
