//! The pictures of docs/images: each run draws them into target/screenshots, from where `make pictures` takes
//! them.

use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::browser::{Browser, Theme};
use switchyard_integration::fixtures::hello;
use switchyard_integration::upload::{Part, Upload};
use switchyard_integration::volume::Volume;
use switchyard_integration::within;

const MAIN: &str = "import { total } from './cart/total.ts';\n\
    export default { fetch: () => Response.json({ total: total([{ price: 9 }]) }) };\n";

/// The file with the cart's total, whose last lines are these.
fn total(end: &str) -> String {
    format!(
        "interface Item {{\n  price: number;\n}}\n\nconst rates = new Map([['de', 1.19], ['ch', 1.08]]);\n\n\
         // The price of all items, with the tax of the country.\n\
         export function total(items: Item[], country = 'de') {{\n  const rate = rates.get(country) ?? 1;\n\
         {end}}}\n"
    )
}

fn shop(message: &str, end: &str) -> Upload {
    let parts = [
        Part::field("message", message),
        Part::file("main.ts", MAIN),
        Part::file("cart/total.ts", total(end)),
    ];
    Upload::raw("-----x", &parts)
}

#[tokio::test]
async fn the_pictures_of_the_documentation_are_drawn() {
    let volume = Volume::with("blog", hello("blog"));
    for name in ["api", "docs", "reports"] {
        volume.project(name).file("main.ts", hello(name)).write();
    }
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let sum = "  return items.reduce((sum, { price }) => sum + price * rate, 0);\n";
    bridge.deploy_live("shop", &shop("New checkout", "  return items[0].price * rate;\n")).await;
    bridge.deploy_live("shop", &shop("Free shipping from 40", sum)).await;
    let broken = "  return Math.round(items.reduce((sum, { price }) => sum + price * rate, 0);\n";
    let failed = bridge.client.send(shop("Round totals", broken).to("/deploy/shop?keep=1")).await;
    failed.assert_problem(422, "build-failed");
    let browser = Browser::start().await;
    let url = format!("http://{}/ui/", bridge.client.address);
    let mut overview = browser.open(&url).await;
    let points = "document.querySelector('.spark polyline')?.getAttribute('points').split(' ').length";
    let there = format!("document.querySelectorAll('.spark').length === 4 && {points} > 24");
    within("each project has a line", async {
        while overview.evaluate(&there).await != true {
            for (path, count) in [("/shop/", 9), ("/api/", 5), ("/blog/", 2), ("/docs/", 1)] {
                for _ in 0..count {
                    routers[count % 2].public.get(path).await;
                }
            }
            // The figures come every few seconds, and when the screen is opened.
            for (hash, title) in [("#/routers", "Routers"), ("#/", "Projects")] {
                overview.evaluate(&format!("location.hash = '{hash}'")).await;
                overview.until(&format!("document.title.startsWith('{title} ')")).await;
            }
        }
    })
    .await;
    overview.look(1400, Theme::Light).await;
    overview.picture("page-overview").await;
    let mut versions = browser.open(&format!("{url}#/projects/shop/versions")).await;
    versions.look(1400, Theme::Dark).await;
    versions.until("document.querySelectorAll('.timeline li').length === 3").await;
    versions.picture("page-versions").await;
    for page in [&mut overview, &mut versions] {
        assert_eq!(page.errors().await, [] as [String; 0]);
    }
}
