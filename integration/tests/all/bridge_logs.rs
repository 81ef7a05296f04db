//! `switchyard logs --follow`, open while a project runs.

use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;
use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::cli::Following;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::volume::Volume;

/// Prints its start, and each request.
const TALKS: &str = "console.log('printed at start');\n\
    export default { fetch(request) {\n\
      console.log('asked for ' + new URL(request.url).pathname);\n\
      return new Response('');\n\
    } };\n";

/// Two routers, and a client that follows the project's logs at both.
async fn following() -> (Volume, Replicas, Bridge, Following) {
    let volume = Volume::with("a", TALKS);
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let mut following = Following::start(&bridge, &["logs", "a", "--follow"]);
    following.printed("printed at start").await;
    (volume, routers, bridge, following)
}

#[tokio::test]
async fn a_line_that_is_printed_later_is_followed_with_its_router_until_interrupted() {
    let (_volume, routers, _bridge, mut following) = following().await;
    for (index, router) in routers.iter().enumerate() {
        router.public.get(&format!("/a/{index}")).await;
        let line = following.printed(&format!("asked for /{index}")).await;
        assert!(line.starts_with(&routers.admin_url(index)), "{line}");
    }
    following.signal(Signal::INT);
    // A shell reports it as 130.
    assert_eq!(following.ended().await.0.signal(), Some(Signal::INT.as_raw()));
}

#[tokio::test]
async fn a_follower_goes_on_after_a_router_and_the_bridge_have_restarted() {
    let (_volume, mut routers, bridge, mut following) = following().await;
    routers.kill(0).await;
    routers.start_again(0).await;
    routers.iter().next().expect("a router").public.get("/a/again").await;
    following.printed("asked for /again").await;
    // The follower does not delay its end.
    assert_eq!(bridge.stop().await.status.code(), Some(0));
    let _bridge = routers.start_bridge().await;
    routers.iter().next().expect("a router").public.get("/a/later").await;
    following.printed("asked for /later").await;
    following.signal(Signal::INT);
    let (_, output) = following.ended().await;
    for part in ["; its lines go on when it is back", "it is back", "trying again for", "the bridge is back"]
    {
        assert!(output.contains(part), "{part}: {output}");
    }
}
