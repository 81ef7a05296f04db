//! Pruning at the end of a sync: what somebody still uses stays.

use switchyard_integration::client::{Upload, request};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{half, hello};

use super::scene::Scene;

/// Streams each chunk of a request back behind the label, and reads a module and a file of its own
/// only when the request has ended.
const LATE: &str = r"
const label = 'LABEL';
export default {
  async fetch(request) {
    if (request.method !== 'POST') return new Response(label);
    const text = new TextDecoder(), bytes = new TextEncoder();
    const late = new TransformStream({
      transform: (chunk, out) => out.enqueue(bytes.encode(`${label} ${text.decode(chunk)}`)),
      async flush(out) {
        const { a } = await import('./late.ts');
        const data = await Deno.readTextFile(new URL('./data.txt', import.meta.url));
        out.enqueue(bytes.encode(`${a} ${data}`));
      },
    });
    return new Response(request.body.pipeThrough(late));
  },
};
";

#[tokio::test]
async fn a_sync_that_prunes_takes_nothing_from_a_response_that_an_old_version_streams() {
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "");
    let push = async |label: &str| {
        let change = scene.repository.on("main").file("apps/api/main.ts", LATE.replace("LABEL", label));
        let change = change.file("apps/api/late.ts", half("a", label)).file("apps/api/data.txt", label);
        change.commit(label).await
    };
    let mut commit = push("v0").await;
    let shop = scene.start().await;
    shop.follows(&commit).await;
    scene.answers("api", "v0").await;
    let mut connection = scene.routers[0].public.connect().await;
    let (upload, post) = Upload::post("/api/");
    upload.send("1").await;
    let mut stream = connection.stream(post).await;
    assert_eq!(stream.next().await.as_deref(), Some("v0 1"));
    // More than the routers and the bridge keep.
    for version in 1..=6 {
        commit = push(&format!("v{version}")).await;
        shop.syncs_to(&commit).await;
    }
    scene.answers("api", "v6").await;
    upload.send("2").await;
    assert_eq!(stream.next().await.as_deref(), Some("v0 2"));
    upload.end();
    let mut rest = String::new();
    while let Some(chunk) = stream.next().await {
        rest.push_str(&chunk);
    }
    assert_eq!(rest, "v0 v0");
}

#[tokio::test]
async fn a_project_that_left_the_repository_is_pruned_and_its_requests_end_first() {
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "removed = \"remove\"\n");
    let change = scene.repository.on("main").file("apps/api/main.ts", hello("api"));
    let change = change.file("apps/web/main.ts", hello("web")).file("apps/web/late.ts", "");
    let first = change.file("apps/old/main.ts", switchyard_integration::fixtures::lasting("old"));
    let first = first.commit("Three").await;
    let shop = scene.start().await;
    shop.follows(&first).await;
    scene.answers("old", "old").await;
    let mut connection = scene.routers[0].public.connect().await;
    let (upload, post) = Upload::post("/old/echo");
    upload.send("1").await;
    let mut stream = connection.stream(post).await;
    assert_eq!(stream.next().await.as_deref(), Some("old 1"));
    let second = scene.repository.on("main").remove("apps/old").commit("Two").await;
    shop.syncs_to(&second).await;
    eventually("the project is gone", || async {
        scene.routers[0].public.send(request("/old/")).await.status == 404
    })
    .await;
    upload.send("2").await;
    assert_eq!(stream.next().await.as_deref(), Some("old 2"));
    upload.end();
    assert_eq!(stream.next().await, None);
    assert!(!scene.volume.path("old").exists());
    scene.answers("web", "web").await;
}
