//! Deploys and rollbacks in the page, by mouse and by keyboard alone, and what a token allows there.

use std::fs;

use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::browser::{Browser, Key};
use switchyard_integration::fixtures::hello;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;
use tempfile::NamedTempFile;

const READER: &str = "reader-token-0123456789";
const OWNER: &str = "owner-token-0123456789ab";

async fn start() -> (Volume, Replicas, Bridge, Browser) {
    let volume = Volume::with("shop", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    (volume, routers, bridge, Browser::start().await)
}

#[tokio::test]
async fn a_dropped_folder_is_deployed_without_what_is_secret() {
    let (_volume, routers, bridge, browser) = start().await;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let project = folder.path().join("hello");
    fs::create_dir_all(project.join("lib")).expect("a folder can be made");
    fs::create_dir_all(project.join("node_modules/x")).expect("a folder can be made");
    let main = "import { text } from './lib/text.ts';\nexport default { fetch: () => new Response(text) };\n";
    for (path, text) in [
        ("main.ts", main),
        ("lib/text.ts", "export const text = 'dropped';\n"),
        (".env", "SECRET=1"),
        ("node_modules/x/index.js", ""),
    ] {
        fs::write(project.join(path), text).expect("a file can be written");
    }
    let mut page = browser.open_ui(&bridge, "#/deploys/new").await;
    page.drop_on(".drop", &project).await;
    page.until("document.querySelector('#project')?.value === 'hello'").await;
    let text = page.text().await;
    assert!(text.contains("2 files") && text.contains("lib/text.ts"), "{text}");
    assert!(text.contains("Left out: ") && text.contains(".env") && text.contains("node_modules"), "{text}");
    page.click("#message").await;
    page.type_text("By hand").await;
    page.click("form .btn.p").await;
    page.until("document.body.innerText.includes('hello is live')").await;
    assert_eq!(routers.texts("/hello/").await, ["dropped"]);
    let deploys = bridge.client.get("/deploys").await.json();
    assert_eq!(deploys["deploys"][0]["message"], "By hand");
    assert_eq!(page.errors().await, [] as [String; 0]);
}

#[tokio::test]
async fn a_dropped_archive_that_does_not_build_shows_its_error_and_changes_nothing() {
    let (_volume, routers, bridge, browser) = start().await;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let archive = folder.path().join("shop.zip");
    let broken = switchyard_integration::upload::archive::zip(&[("main.ts", "export default {")]);
    fs::write(&archive, broken).expect("a file can be written");
    let mut page = browser.open_ui(&bridge, "#/deploys/new").await;
    page.drop_on(".drop", &archive).await;
    page.until("document.querySelector('#project')?.value === 'shop'").await;
    page.click("form .btn.p").await;
    page.until("document.querySelector('.banner .frame')?.innerText.includes('main.ts:1')").await;
    assert_eq!(routers.texts("/shop/").await, ["one"]);
    assert_eq!(page.errors().await, [] as [String; 0]);
}

/// The version that a rollback goes to.
async fn before(bridge: &Bridge) -> String {
    let first = bridge.deploy_live("shop", &Upload::main(hello("two"))).await;
    bridge.deploy_live("shop", &Upload::main(hello("three"))).await;
    first.version().to_owned()
}

#[tokio::test]
async fn a_rollback_is_done_by_mouse() {
    let (_volume, routers, bridge, browser) = start().await;
    let version = before(&bridge).await;
    let mut page = browser.open_ui(&bridge, "#/projects/shop/versions").await;
    page.click(&format!("button[aria-label='Roll back to {version}']")).await;
    page.until("document.activeElement.innerText === 'Cancel'").await;
    assert!(page.text().await.contains(&version));
    page.click("dialog .btn.p").await;
    page.until("document.querySelector('dialog')?.innerText.includes('live')").await;
    page.until("document.querySelector('dialog .btn')?.innerText === 'Close'").await;
    assert_eq!(routers.texts("/shop/").await, ["two"]);
    page.click("dialog .btn").await;
    page.until("!document.querySelector('dialog')").await;
    page.until(&format!(
        "document.querySelector('[data-version=\"{version}\"]').innerText.includes('live on')"
    ))
    .await;
    assert_eq!(page.errors().await, [] as [String; 0]);
}

#[tokio::test]
async fn a_rollback_is_done_by_keyboard_alone() {
    let (_volume, routers, bridge, browser) = start().await;
    let version = before(&bridge).await;
    let mut page = browser.open_ui(&bridge, "").await;
    page.until("document.querySelector('tbody tr')").await;
    page.type_text("/sho").await;
    page.press(Key::Escape).await;
    page.type_text("j").await;
    page.press(Key::Enter).await;
    page.until("document.querySelector('h1')?.innerText === 'shop'").await;
    page.tab_to("e.innerText === 'Versions'").await;
    page.press(Key::Enter).await;
    page.until("document.querySelector('.timeline')").await;
    page.tab_to(&format!("e.ariaLabel === 'Roll back to {version}'")).await;
    let ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle").await;
    assert_eq!(ring, "solid", "the focus is seen");
    // The first time it is left alone.
    page.press(Key::Enter).await;
    page.until("document.activeElement.innerText === 'Cancel'").await;
    page.press(Key::Escape).await;
    page.until("!document.querySelector('dialog')").await;
    page.until(&format!("document.activeElement.ariaLabel === 'Roll back to {version}'")).await;
    assert_eq!(routers.texts("/shop/").await, ["three"]);
    page.press(Key::Enter).await;
    page.until("document.querySelector('dialog .added')?.innerText.includes('two')").await;
    page.tab_to("e.id === 'why'").await;
    page.type_text("Three is wrong").await;
    page.tab_to("e.innerText === 'Roll back'").await;
    page.press(Key::Enter).await;
    page.until("document.querySelector('dialog .btn')?.innerText === 'Close'").await;
    assert_eq!(routers.texts("/shop/").await, ["two"]);
    assert_eq!(bridge.client.get("/deploys").await.json()["deploys"][0]["message"], "Three is wrong");
    page.press(Key::Escape).await;
    page.until("!document.querySelector('dialog')").await;
    assert_eq!(page.errors().await, [] as [String; 0]);
}

#[tokio::test]
async fn versions_are_compared_and_a_project_is_locked_by_keyboard_alone() {
    let (_volume, _routers, bridge, browser) = start().await;
    let version = before(&bridge).await;
    let mut page = browser.open_ui(&bridge, "#/projects/shop/versions").await;
    page.until("document.querySelector('.timeline')").await;
    page.tab_to(&format!("e.ariaLabel === 'Diff of {version}'")).await;
    page.press(Key::Enter).await;
    page.until("document.querySelector('dialog .added')?.innerText.includes('two')").await;
    let short = version.split('@').nth(1).expect("a version has a digest");
    page.until(&format!("location.hash.endsWith('&to={short}')")).await;
    page.press(Key::Escape).await;
    page.until("!document.querySelector('dialog')").await;
    page.until(&format!("document.activeElement.ariaLabel === 'Diff of {version}'")).await;
    page.tab_to("e.innerText === 'Lock…'").await;
    page.press(Key::Enter).await;
    page.until("document.activeElement.id === 'reason'").await;
    page.type_text("Sale until Monday").await;
    page.press(Key::Enter).await;
    page.until("document.querySelector('.banner')?.innerText.includes('Locked: Sale until Monday')").await;
    let refused = bridge.client.send(Upload::main(hello("four")).to("/deploy/shop")).await;
    refused.assert_problem(409, "locked");
    let mut overview = browser.open_ui(&bridge, "").await;
    overview.until("document.querySelector('tbody .tag')?.innerText === 'locked'").await;
    page.tab_to("e.innerText === 'Unlock'").await;
    page.press(Key::Enter).await;
    page.until("!document.querySelector('.banner')").await;
    bridge.deploy_live("shop", &Upload::main(hello("four"))).await;
    assert_eq!(page.errors().await, [] as [String; 0]);
}

#[tokio::test]
async fn a_token_opens_the_page_and_its_actions_decide_which_buttons_there_are() {
    let volume = Volume::with("shop", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let tokens = NamedTempFile::new().expect("a temporary file can be made");
    let entry = |name: &str, token: &str, actions: &str| {
        format!(
            "[[token]]\nname = \"{name}\"\ntoken = \"{token}\"\nprojects = [\"*\"]\nactions = [{actions}]\n"
        )
    };
    let text = entry("reader", READER, "\"read\"") + &entry("owner", OWNER, "\"*\"");
    fs::write(tokens.path(), text).expect("a file can be written");
    let bridge = routers.bridge().flag("token-file", tokens.path().display()).start().await;
    let browser = Browser::start().await;
    let mut page = browser.open_ui(&bridge, "").await;
    page.until("document.querySelector('#token')").await;
    page.click("#token").await;
    page.type_text("wrong-token-0123456789").await;
    page.press(Key::Enter).await;
    page.until("document.body.innerText.includes('does not know this token')").await;
    page.click("#token").await;
    page.evaluate("document.querySelector('#token').select()").await;
    page.type_text(READER).await;
    page.press(Key::Enter).await;
    page.until("document.querySelector('tbody tr')").await;
    let text = page.text().await;
    assert!(text.contains("Sign out") && !text.contains("Deploy…"), "{text}");
    // No cookie, which every project on this host would get, and nothing that outlives the tab.
    assert_eq!(page.evaluate("document.cookie + JSON.stringify(localStorage)").await, "{}");
    page.click("header .btn").await;
    page.until("document.querySelector('#token')").await;

    let mut owner = browser.open_ui(&bridge, &format!("#token={OWNER}")).await;
    owner.until("document.body.innerText.includes('Deploy…')").await;
    assert_eq!(owner.evaluate("location.href.includes('token')").await, false);
}
