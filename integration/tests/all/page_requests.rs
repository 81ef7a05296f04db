//! The requests and metrics of a project in the page.

use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::browser::{Browser, Key};
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

const SHOP: &str = "export default { fetch(request) {\n  const { pathname } = new URL(request.url);\n  \
    console.log('asked for ' + pathname);\n  \
    return new Response('', { status: pathname === '/broken' ? 503 : 200 });\n} };\n";

async fn start() -> (Volume, Replicas, Bridge, Browser) {
    let volume = Volume::with("shop", SHOP);
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    (volume, routers, bridge, Browser::start().await)
}

#[tokio::test]
async fn requests_appear_as_they_end_and_each_leads_to_its_lines_by_keyboard_alone() {
    let (_volume, routers, bridge, browser) = start().await;
    let mut page = browser.open_ui(&bridge, "#/projects/shop/requests").await;
    page.until("document.querySelector('.empty')").await;
    for path in ["/shop/a", "/shop/broken", "/shop/c"] {
        routers[0].public.get(path).await;
    }
    page.until("document.querySelectorAll('tbody tr').length === 3").await;
    page.tab_to("e.innerText === '5xx 1'").await;
    page.press(Key::Enter).await;
    page.until("document.querySelectorAll('tbody tr').length === 1").await;
    assert_eq!(page.evaluate("location.hash").await, "#/projects/shop/requests?status=5xx");
    page.type_text("j").await;
    page.press(Key::Enter).await;
    page.until("document.querySelector('dialog .log')?.innerText.includes('asked for /broken')").await;
    let text = page.evaluate("document.querySelector('dialog').innerText").await;
    assert!(text.as_str().is_some_and(|text| !text.contains("asked for /c")), "{text}");
    page.tab_to("e.innerText === 'Copy as curl'").await;
    page.press(Key::Enter).await;
    page.until("document.activeElement.innerText === 'Copied'").await;
    // The address leads to the same request.
    page.evaluate("window.isBefore = true; location.reload()").await;
    page.until(
        "!window.isBefore && document.querySelector('dialog .log')?.innerText.includes('asked for /broken')",
    )
    .await;
    page.press(Key::Escape).await;
    page.until("!document.querySelector('dialog') && !location.hash.includes('id=')").await;
    let curl = "import('./screens/requests.js').then(({ curl }) => curl('http://h', { method: 'PUT', path: \"/it's \u{1b}\" }))";
    assert_eq!(page.evaluate(curl).await, "curl --include --request 'PUT' 'http://h/it'\\''s%20%1B'");
    assert_eq!(page.errors().await, [] as [String; 0]);
}

#[tokio::test]
async fn metrics_count_the_requests_and_say_what_went_live() {
    let (_volume, routers, bridge, browser) = start().await;
    let version = bridge.deploy_live("shop", &Upload::main(SHOP.to_owned() + "// 2\n")).await;
    let short = version.version().split('@').nth(1).expect("a version has a digest").to_owned();
    for path in ["/shop/a", "/shop/broken", "/shop/c"] {
        routers[0].public.get(path).await;
    }
    let mut page = browser.open_ui(&bridge, "#/projects/shop/metrics").await;
    page.until("document.querySelectorAll('.u-over').length === 4").await;
    page.until(&format!("document.querySelector('.plain').innerText.includes({short:?})")).await;
    page.tab_to("e.tagName === 'SUMMARY'").await;
    page.press(Key::Enter).await;
    let sum = |column: u32| {
        format!(
            "[...document.querySelectorAll('tbody td:nth-child({column})')].reduce((sum, cell) => sum + Number(cell.innerText), 0)"
        )
    };
    page.until(&format!("{} === 3 && {} === 1", sum(2), sum(3))).await;
    let mut overview = browser.open_ui(&bridge, "").await;
    overview.until("document.querySelector('tbody .rate')?.innerText.startsWith('0.0')").await;
    overview
        .until("/^\\d.* \\/ \\d+ MiB$/.test(document.querySelector('tbody td:last-child').innerText)")
        .await;
    for page in [&mut page, &mut overview] {
        assert_eq!(page.errors().await, [] as [String; 0]);
    }
}
