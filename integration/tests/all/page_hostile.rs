//! The page against hostile projects and hostile sites.

use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::browser::Browser;
use switchyard_integration::upload::{Part, Upload};
use switchyard_integration::volume::Volume;

/// Markup, a terminal's commands, an override of the direction, and a line of a megabyte.
const HOSTILE: &str = r#"
console.log("<img src=x onerror=window.owned=1><script>window.owned=2</script>");
console.log("\u001b]0;title\u0007\u001b[31mred\u001b[0m \u202egnp.exe");
console.error("y".repeat(1_000_000));
export default { fetch: () => {
  console.log("<img src=x onerror=window.owned=5>");
  return new Response("ok");
} };
"#;

#[tokio::test]
async fn what_projects_print_throw_and_are_called_is_text() {
    let volume = Volume::with("a", HOSTILE);
    let throws = "throw new Error('<img src=x onerror=window.owned=3> \\u001b[2J');\n";
    volume.project("b").file("main.ts", throws).write();
    volume.project("<i>no name").file("main.ts", "").write();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let message = Part::field("message", "<img src=x onerror=window.owned=4>\u{1b}[31m");
    let main = Part::file("main.ts", HOSTILE.to_owned() + "// 2");
    bridge.deploy_live("a", &Upload::raw("-----x", &[message, main])).await;
    routers[0].public.get("/a/\"onerror=window.owned=6{}").await;
    let asked = bridge.client.get("/projects/a/requests").await.json();
    let asked = format!("#/projects/a/requests?id={}", asked["requests"][0]["id"].as_str().unwrap_or("none"));
    let browser = Browser::start().await;
    let url = format!("http://{}/ui/", bridge.client.address);

    let mut page = browser.open(&format!("{url}#/projects/a/logs")).await;
    page.until("document.body.innerText.includes('<script>window.owned=2</script>')").await;
    page.until("document.body.innerText.includes('show all')").await;
    let text = page.text().await;
    assert!(
        text.contains("␛]0;title␇␛[31mred") && text.contains("\\u202egnp.exe"),
        "{}",
        &text[..2000.min(text.len())]
    );
    assert!(text.len() < 100_000, "a long line is cut: {}", text.len());
    let long = "[...document.querySelectorAll('.log .text')].at(-1).innerText.length";
    page.click(".log .link").await;
    page.until(&format!("Math.max(...[...document.querySelectorAll('.log .text')].map((e) => e.innerText.length)) > 60000 || {long} > 60000")).await;

    let mut others = Vec::new();
    for (path, there) in [
        ("#/", "window.owned=3"),
        ("#/projects/b", "window.owned=3"),
        ("#/projects/a/versions", "window.owned=4"),
        ("#/deploys", "window.owned=4"),
        ("#/events", "window.owned=3"),
        ("#/projects/a/requests", "window.owned=6"),
        (&asked, "window.owned=5"),
        ("#/projects/a/metrics", "Requests per second"),
    ] {
        let mut page = browser.open(&format!("{url}{path}")).await;
        page.until(&format!("document.body.innerText.includes({there:?})")).await;
        others.push(page);
    }
    others.push(page);
    for page in &mut others {
        assert_eq!(page.evaluate("typeof window.owned").await, "undefined");
        assert_eq!(
            page.evaluate(
                "document.querySelectorAll('img, #page script, #page i:not(.dot, .mark i)').length"
            )
            .await,
            0
        );
        assert_eq!(page.evaluate("document.body.innerText.includes('\\u001b')").await, false);
        assert_eq!(page.errors().await, [] as [String; 0]);
    }
}

#[tokio::test]
async fn other_sites_get_neither_the_page_nor_what_is_behind_it() {
    let site = "export default { fetch: () => new Response('<h1>evil</h1>', { headers: { 'content-type': 'text/html' } }) };\n";
    let volume = Volume::with("evil", site);
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let browser = Browser::start_with(&["--host-resolver-rules=MAP evil.example 127.0.0.1"]).await;
    let port = bridge.client.address.port();

    // A name that was rebound to this machine: the page is not served under it.
    let mut rebound = browser.open(&format!("http://evil.example:{port}/ui/")).await;
    assert!(rebound.text().await.contains("foreign-host"), "{}", rebound.text().await);

    // A page of another origin on this machine, as every project is.
    let mut other = browser.open(&format!("http://{}/evil/", routers[0].public.address)).await;
    other.until("document.querySelector('h1')").await;
    let base = format!("http://127.0.0.1:{port}");
    for (path, options) in [
        ("/projects", "{}"),
        ("/projects", "{ mode: 'no-cors' }"),
        ("/stream?topics=projects", "{}"),
        ("/projects/evil", "{ method: 'DELETE', mode: 'no-cors' }"),
        ("/ui/main.js", "{}"),
    ] {
        let ask = format!("fetch('{base}{path}', {options}).then((r) => r.text(), () => '')");
        assert_eq!(other.evaluate(&ask).await, "", "{path} {options}");
    }
    // Neither in a frame, nor as a script.
    let frame = format!(
        "new Promise((done) => {{ const f = document.createElement('iframe'); f.onload = () => done(true); f.src = '{base}/ui/'; document.body.append(f); }})"
    );
    other.evaluate(&frame).await;
    assert_eq!(other.evaluate("frames[0].length").await, 0);
    let script = format!(
        "new Promise((done) => {{ const s = document.createElement('script'); s.onload = () => done('ran'); s.onerror = () => done('refused'); s.src = '{base}/ui/theme.js'; document.body.append(s); }})"
    );
    assert_eq!(other.evaluate(&script).await, "refused");
    let mut own = browser.open(&format!("{base}/ui/")).await;
    own.until("document.body.innerText.includes('evil')").await;
    assert_eq!(own.evaluate("(() => { try { document.body.innerHTML = '<b>x</b>'; return 'done'; } catch (e) { return e.name; } })()").await, "TypeError");
}
