use super::active::Phase;
use super::command::Done;
use super::*;
use switchyard_contract::admin::{StepAsk, StepRequest};
use switchyard_contract::run::RunState;
use switchyard_contract::task::TaskName;

/// Takes results of the control's work until one of its runs is as it should be. Returns that run.
async fn until(control: &mut Control, is_so: impl Fn(&active::Active) -> bool) -> RunId {
    let found = async {
        loop {
            control.dispatch();
            if let Some(active) = control.active.iter().find(|active| is_so(active)) {
                return active.run().id;
            }
            let done = control.work.join_next().await.expect("something is done").unwrap();
            control.done(done);
        }
    };
    timeout(LONG, found).await.expect("it is so in time")
}

fn is_recorded(active: &active::Active) -> bool {
    active.run().step.is_some() && matches!(active.phase(), Phase::Accepting(_))
}

#[tokio::test]
async fn a_step_that_cannot_be_recorded_fails_and_its_pipeline_does_not_wait_for_it() {
    let set = json!({ "tasks": [task("collect", json!({}))], "pipelines": [pipeline("seed", &["collect"])] });
    let scene = Scene::new(set).await;
    let mut control = scene.control().await;
    control.start(by_hand("work:seed"), None, None);
    let step = until(&mut control, is_recorded).await;
    let parent = control.active.get(step).unwrap().run().parent.unwrap();
    control.done(Done::Accepted(step, Err(LedgerError::Full)));
    assert!(control.active.get(step).is_none());
    let pipeline = control.active.get(parent).unwrap();
    assert!(matches!(pipeline.phase(), Phase::Ending));
    let (state, error) = (pipeline.run().state, pipeline.run().error.clone().unwrap());
    assert_eq!((state, error.reason.as_str()), (RunState::Failed, "history"));
    assert!(error.message.starts_with("the step collect failed"), "{}", error.message);
    let steps = timeout(LONG, async {
        loop {
            let steps = scene.shared.ledger.steps(parent).await.unwrap();
            if steps.iter().any(|step| step.state == RunState::Failed) {
                return steps;
            }
            control.work.join_next().await.expect("the step is kept").unwrap();
        }
    });
    assert_eq!(steps.await.expect("the step is kept in time").len(), 1);
}

#[tokio::test]
async fn a_step_in_code_whose_run_cannot_be_recorded_is_answered_with_the_reason() {
    let set = json!({ "tasks": [task("order", json!({})), task("charge", json!({}))] });
    let mut scene = Scene::new(set).await;
    let mut control = scene.control().await;
    control.start(by_hand("work:order"), None, None);
    let id = until(&mut control, |active| {
        matches!(active.phase(), Phase::Queued { .. }) || active.router().is_some()
    })
    .await;
    let router = scene.shared.routers.list()[0].clone();
    control.follow(id, router, 0);
    let ask = StepAsk::Task { task: TaskName::parse("charge").unwrap(), input: Value::Null };
    control.step(id, StepRequest { number: 0, name: "charge".to_owned(), ask });
    let step = until(&mut control, is_recorded).await;
    control.done(Done::Accepted(step, Err(LedgerError::Full)));
    assert!(control.active.get(step).is_none());
    while control.work.join_next().await.is_some() {}
    let reply = scene.call(&format!("POST /_runs/{id}/steps")).await;
    assert_eq!(reply["error"]["reason"], "history", "{reply}");
}
