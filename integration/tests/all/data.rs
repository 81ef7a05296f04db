//! The data of a project: kept for its next version and across restarts, and private.

use switchyard_integration::fixtures::counting;
use switchyard_integration::router::{Router, State};
use switchyard_integration::volume::Volume;

#[tokio::test]
async fn the_cache_serves_the_next_version_and_survives_a_restart() {
    let (volume, state) = (Volume::with("a", counting(1)), State::new());
    volume.write("b/main.ts", counting(1));
    let router = Router::builder(&volume).state(&state).start().await;
    assert_eq!(router.public.get("/a/").await.text(), "1: 1 1 1 1 1");
    assert_eq!(router.public.get("/a/").await.text(), "1: 2 2 2 2 2");
    volume.replace("a/main.ts", counting(2));
    router.admin.reload("a").await;
    assert_eq!(router.public.get("/a/").await.text(), "2: 3 3 3 3 3");
    assert_eq!(router.public.get("/b/").await.text(), "1: 1 1 1 1 1", "it has its own");
    drop(router);
    let router = Router::builder(&volume).state(&state).start().await;
    assert_eq!(router.public.get("/a/").await.text(), "2: 4 4 4 4 4");
}
