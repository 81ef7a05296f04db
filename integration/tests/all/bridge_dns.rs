//! Routers that are known by one name.

use switchyard_integration::bridge::Builder;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::fixtures::hello;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

#[tokio::test]
async fn a_router_is_found_by_its_name_and_deployed_to() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let (public, admin) = (routers[0].public.address.port(), routers[0].admin.client.address.port());
    let bridge = Builder::for_projects(volume.root())
        .at(&routers.addresses)
        .flag("routers", format!("dns://localhost:{public},{admin}"))
        // If the name has an IPv6 address too, there is no listener.
        .flag("quorum", 1)
        .start()
        .await;
    let record = bridge.deploy_live("a", &Upload::main(hello("one"))).await;
    let entry = record.routers.iter().find(|entry| entry.router == routers.admin_url(0));
    assert!(entry.is_some_and(|entry| entry.error.is_none()), "{record:#?}");
    assert_eq!(routers.texts("/a/").await, ["one"]);
    assert_eq!(bridge.forward.get("/a/").await.text(), "one");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_neither_ends_the_bridge_nor_creates_a_deploy() {
    let volume = Volume::with("a", hello("one"));
    let bridge = Builder::for_projects(volume.root())
        .flag("routers", "dns://routers.invalid:8000,8001")
        .start_unready()
        .await;
    assert_eq!(bridge.client.get("/readyz").await.status, 503);
    let refused = bridge.deploy("a", &Upload::main(hello("two"))).await;
    refused.assert_problem(503, "no-routers");
    assert_eq!(volume.read("a/main.ts"), hello("one"));
    bridge.clean().await;
}
