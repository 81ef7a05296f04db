use std::sync::Mutex;

use futures_util::future::{BoxFuture, pending};
use tokio::sync::oneshot;

use super::*;
use crate::routers::Router;
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::run::RunState;

/// A maker that does not come to an end. Reports when it begins and when it is dropped.
#[derive(Debug)]
struct Endless(Mutex<Option<(oneshot::Sender<()>, oneshot::Sender<()>)>>);

impl VersionMaker for Endless {
    fn make(&self, _: &ProjectName, _: Digest, _: &Arc<Router>) -> BoxFuture<'static, Result<(), NotMade>> {
        let (begins, dropped) = self.0.lock().unwrap().take().expect("it is made once");
        Box::pin(async move {
            let _dropped = dropped;
            begins.send(()).unwrap();
            pending().await
        })
    }

    fn commit(&self, _: &ProjectName, _: Digest) -> Option<CommitInfo> {
        None
    }
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_its_version_is_made_again_ends_at_once() {
    let ((begins, begun), (drops, dropped)) = (oneshot::channel(), oneshot::channel());
    let maker = Arc::new(Endless(Mutex::new(Some((begins, drops)))));
    let mut scene = Scene::with_maker(json!({ "tasks": [task("hello", json!({}))] }), maker).await;
    let problem = json!({ "type": "urn:switchyard:unknown-version", "detail": "it is not kept" });
    scene.router.script("POST /_runs", 404, &problem.to_string());
    let runs = scene.run().await;
    let version = Some(digest('b').parse().unwrap());
    let run = runs.start(StartRun { version, ..by_hand("work:hello") }).await.unwrap().run.id;
    timeout(LONG, begun).await.expect("the version is made again").unwrap();
    runs.cancel(run, None).await.unwrap();
    let ended = runs.wait(run, LONG).await.unwrap();
    assert_eq!((ended.state, ended.error.unwrap().reason.as_str()), (RunState::Cancelled, "cancelled"));
    let _ = timeout(LONG, dropped).await.expect("what was begun is dropped").unwrap_err();
    scene.router.calls.close();
    while let Some((call, ..)) = scene.router.calls.recv().await {
        assert!(!call.contains(&run.to_string()), "no router has the run: {call}");
    }
}
