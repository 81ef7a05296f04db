//! Pipelines as seed 003 has them: `pipeline.json`, a registry, and modules of stages.

use serde_json::json;
use switchyard_contract::run::{ResumeRun, RunState};
use switchyard_integration::runs::{Served, TaskProject};
use switchyard_integration::volume::Volume;

fn content(tone: &str) -> TaskProject {
    let research = "export default {\n\
                    ingestion: ({ data }) => ({ output: data.seed.topic.toUpperCase(), flags: { found: true } }),\n\
                    inference: ({ output, flags }) => ({ output: `${output} ${flags.found}` }),\n\
                    critique: () => { throw new Error('nothing asked for a refinement'); },\n\
                    };\n";
    let write = format!(
        "import {{ tone }} from '../tone.js';\n\
         export const ingestion = ({{ data }}) => ({{ output: data.research }});\n\
         export const integration = ({{ data, output }}) =>\n\
           ({{ output: `${{tone}}: ${{output}} about ${{data.seed.topic}}` }});\n// {tone}\n"
    );
    TaskProject::new("content")
        .file("pipeline.json", r#"{ "name": "content", "version": "1.0.0", "llm": { "model": "x" }, "tasks": ["research", "write"] }"#)
        .file("tasks/index.js", "export default { research: './research/index.js', write: './write.js' };\n")
        .file("tasks/research/index.js", research)
        .file("tasks/write.js", write)
        .file("tone.js", format!("export const tone = {tone:?};\n"))
}

#[tokio::test]
async fn stages_get_the_seed_and_the_outputs_of_steps_before_and_a_step_is_run_again_with_new_code() {
    let volume = Volume::new();
    content("plain").write(&volume);
    let served = Served::start(&volume).await;
    let api = &served.api;
    let old = api.knows("content:content").await.overview.version;
    let first = api.start_pipeline("content:content").input(json!({ "topic": "tea" })).ended().await;
    let result = |tone: &str| Some(json!(format!("{tone}: TEA true about tea")));
    assert_eq!(
        (first.run.state, first.run.result.clone()),
        (RunState::Succeeded, result("plain")),
        "{first:#?}"
    );
    assert!(first.steps.iter().all(|step| step.registry.is_some()), "{first:#?}");

    content("warm").write(&volume);
    api.becomes("content:content", "new code is live", |detail| detail.overview.version != old).await;
    let from = |latest| ResumeRun { from_step: Some("write".to_owned()), latest };
    let same = api.resume(first.run.id, &from(false)).await;
    assert_eq!(same.run.result, result("plain"), "{same:#?}");
    let newest = api.resume(first.run.id, &from(true)).await;
    assert_eq!(newest.run.result, result("warm"), "{newest:#?}");
    // The step before was not run again.
    assert_eq!(newest.steps[0].run, first.steps[0].run);
}
