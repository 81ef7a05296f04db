//! The page: each screen at three widths in two themes, and what it looks like to a screen reader.

use serde_json::{Value, json};
use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::browser::{Browser, Key, Page, Theme, WIDTHS};
use switchyard_integration::client::{json_body, post, request, with_header};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::upload::{Part, Upload};
use switchyard_integration::volume::Volume;

/// Projects in several states, each with a history.
struct World {
    _volume: Volume,
    routers: Replicas,
    bridge: Bridge,
    browser: Browser,
    deploy: String,
    run: String,
    /// A request of the blog.
    request: String,
    /// The versions of the shop, the newest first.
    versions: Vec<String>,
}

const TALKS: &str = "console.log('listening');\nexport default { fetch(request) {\n  \
    console.log('asked for ' + new URL(request.url).pathname);\n  console.error('careful');\n  \
    return new Response('ok');\n} };\n";

impl World {
    async fn start() -> Self {
        let volume = Volume::with("blog", TALKS);
        volume.project("shop").file("main.ts", hello("one")).write();
        let tasks = json!({ "switchyard": { "tasks": { "digest": { "entry": "./digest.ts",
            "description": "Counts the rows of the day", "cron": "0 6 * * *" } } } });
        volume
            .project("report")
            .file("deno.json", tasks.to_string())
            .file("main.ts", hello("report"))
            .file("digest.ts", "export default () => { console.log('counting'); return { rows: 3 }; };\n")
            .write();
        let routers = Replicas::start(&volume, 2).await;
        let bridge = routers.start_bridge().await;
        for label in ["two", "three"] {
            let message = Part::field("message", format!("The text is {label}"));
            let main = Part::file("main.ts", hello(label));
            bridge.deploy_live("shop", &Upload::raw("-----x", &[message, main])).await;
        }
        let broken = Upload::main("export default { fetch: () => new Response('four' };\n");
        let failed = bridge.client.send(broken.to("/deploy/shop?keep=1")).await;
        let deploy =
            failed.assert_problem(422, "build-failed")["deploy"].as_str().expect("it has an id").to_owned();
        for _ in 0..3 {
            routers[0].public.get("/blog/a").await;
        }
        eventually("the task is known", || async {
            bridge.client.get("/tasks/report:digest").await.status == 200
        })
        .await;
        let start = json_body(post("/tasks/report:digest/run?wait=30", "{}"));
        let started = bridge.client.send(start).await;
        let run = started.json()["run"]["id"].as_str().map(str::to_owned);
        let run = run.unwrap_or_else(|| panic!("{}", started.text()));
        let requests = bridge.client.get("/projects/blog/requests").await.json();
        let request = requests["requests"][0]["id"].as_str().expect("it is recorded").to_owned();
        let versions = bridge.client.get("/projects/shop/versions").await.json();
        let digest = |version: &Value| version["digest"].as_str().map(|digest| digest[..12].to_owned());
        let versions = versions["versions"].as_array().into_iter().flatten().filter_map(digest).collect();
        let browser = Browser::start().await;
        Self { _volume: volume, routers, bridge, browser, deploy, run, request, versions }
    }

    async fn open(&self, path: &str) -> Page {
        self.browser.open_ui(&self.bridge, path).await
    }
}

/// The screens: name, address, and an element that is there once the data is.
fn screens(world: &World) -> Vec<(&'static str, String, &'static str)> {
    let fixed = [
        ("overview", "#/", "tbody tr"),
        ("overview-filtered", "#/?state=stale", "tbody tr"),
        ("overview-none", "#/?q=nothing", ".empty"),
        ("project-now", "#/projects/shop", ".facts"),
        ("project-versions", "#/projects/shop/versions", ".timeline li"),
        ("project-logs", "#/projects/blog/logs", ".log .l"),
        ("project-requests", "#/projects/blog/requests", "tbody tr"),
        ("project-requests-none", "#/projects/shop/requests?q=nothing", ".empty"),
        ("project-metrics", "#/projects/blog/metrics", ".u-over"),
        ("project-settings", "#/projects/shop/settings", "tbody tr:nth-child(20)"),
        ("project-unknown", "#/projects/none", "h1"),
        ("deploys", "#/deploys", "tbody tr"),
        ("new-deploy", "#/deploys/new", ".drop"),
        ("sources", "#/sources", ".empty"),
        ("tasks", "#/tasks", "tbody tr"),
        ("task", "#/tasks/report%3Adigest", "tbody tr"),
        ("events", "#/events", ".events li"),
        ("routers", "#/routers", "table.wrap tbody tr"),
        ("nowhere", "#/nowhere", "h1"),
    ];
    let mut all: Vec<_> =
        fixed.into_iter().map(|(name, path, there)| (name, path.to_owned(), there)).collect();
    all.push(("deploy", format!("#/deploys/{}", world.deploy), ".progress"));
    let request = format!("#/projects/blog/requests?id={}", world.request);
    all.push(("project-request", request, "dialog .log"));
    let [newest, before, ..] = &world.versions[..] else { panic!("{:?}", world.versions) };
    let compared = format!("#/projects/shop/versions?from={before}&to={newest}");
    all.push(("project-compare", compared, "dialog .diff"));
    all.push(("run", format!("#/runs/{}", world.run), ".log .l"));
    all
}

#[tokio::test]
async fn each_screen_is_whole_at_three_widths_in_two_themes_and_can_be_read_by_all() {
    let world = World::start().await;
    let mut problems = Vec::new();
    for (name, path, there) in screens(&world) {
        let mut page = world.open(&path).await;
        for theme in Theme::ALL {
            for width in WIDTHS {
                page.look(width, theme).await;
                page.until(&format!("document.querySelector({there:?})")).await;
                let at = format!("{name}-{width}-{}", theme.as_str());
                page.screenshot(&at).await;
                if !page.fits().await {
                    problems.push(format!("{at}: wider than the window"));
                }
                problems.extend(page.accessibility().await.iter().map(|found| format!("{at}: {found}")));
            }
        }
        problems.extend(page.errors().await.iter().map(|error| format!("{name}: {error}")));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test]
async fn the_page_shows_what_happens_without_being_asked() {
    let world = World::start().await;
    let mut page = world.open("#/").await;
    page.until("document.querySelectorAll('tbody tr').length === 3").await;
    world.bridge.deploy_live("fresh", &Upload::main(hello("fresh"))).await;
    page.until("document.body.innerText.includes('fresh')").await;
    world.bridge.deploy_live("shop", &Upload::main(hello("five"))).await;
    page.until("!document.body.innerText.includes('stale')").await;
    let mut logs = world.open("#/projects/blog/logs").await;
    logs.until("document.body.innerText.includes('listening')").await;
    world.routers[0].public.get("/blog/now").await;
    logs.until("document.body.innerText.includes('asked for /now')").await;
    let count = "[...document.querySelectorAll('.log .text')].filter((e) => e.innerText.includes('asked for /now')).length";
    assert_eq!(logs.evaluate(count).await, 1, "each line is there once");
    logs.evaluate("location.hash += '?q=' + encodeURIComponent('/asked.+now$/')").await;
    logs.until("document.querySelectorAll('.log .l').length === 1").await;
    assert_eq!(page.errors().await, [] as [String; 0]);
    assert_eq!(logs.errors().await, [] as [String; 0]);
}

#[tokio::test]
async fn keys_the_theme_and_copy_buttons_work() {
    let world = World::start().await;
    let mut page = world.open("#/").await;
    page.until("document.querySelectorAll('tbody tr').length === 3").await;
    page.type_text("?").await;
    page.until("document.querySelector('dialog[open]')").await;
    page.press(Key::Escape).await;
    page.until("!document.querySelector('dialog[open]')").await;
    page.type_text("/shop").await;
    page.until("document.querySelectorAll('tbody tr').length === 1").await;
    assert_eq!(page.evaluate("location.hash").await, "#/?q=shop");
    page.press(Key::Escape).await;
    page.type_text("j").await;
    page.until("document.activeElement.innerText === 'shop'").await;
    page.press(Key::Enter).await;
    page.until(
        "document.querySelector('h1').innerText === 'shop' && document.activeElement.tagName === 'H1'",
    )
    .await;
    page.type_text("gr").await;
    page.until("document.title.startsWith('Routers')").await;
    let background = "getComputedStyle(document.body).backgroundColor";
    page.look(1400, Theme::Light).await;
    let light = page.evaluate(background).await;
    page.evaluate("(e => { e.value = 'dark'; e.dispatchEvent(new Event('change', { bubbles: true })); })(document.querySelector('select.theme'))").await;
    page.until(&format!("{background} !== {light}")).await;
    page.evaluate("location.reload()").await;
    page.until(&format!("document.querySelector('tbody tr') && {background} !== {light}")).await;
    page.click("button[aria-label^='Copy address']").await;
    page.until("[...document.querySelectorAll('[role=status]')].some((e) => e.innerText === 'Copied')").await;
    assert_eq!(page.errors().await, [] as [String; 0]);
}

#[tokio::test]
async fn a_thousand_projects_are_painted_once_the_page_has_them() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let browser = Browser::start().await;
    // The answer is made up, and the time is taken from when the page has it until the frame with its rows.
    let script = "const ask = fetch; window.fetch = async (url, ...rest) => {\
        if (new URL(url).pathname !== '/projects') return ask(url, ...rest);\
        const one = await (await ask(url, ...rest)).json();\
        const make = (_, i) => ({ ...one.projects[0], project: 'project-' + i });\
        one.projects = Array.from({ length: 1000 }, make);\
        return { ok: true, json: async () => { window.since ??= performance.now(); return one; } };\
      };\
      new MutationObserver((_, it) => { if (!document.querySelector('tbody tr')) return; it.disconnect();\
        requestAnimationFrame(() => setTimeout(() => window.painted = performance.now() - since)); })\
        .observe(document, { childList: true, subtree: true });";
    let mut times = Vec::new();
    for _ in 0..3 {
        let mut page = browser.open_after(script, &format!("http://{}/ui/", bridge.client.address)).await;
        page.until("window.painted !== undefined").await;
        page.until("document.body.innerText.includes('All 1000')").await;
        times.push(page.evaluate("painted").await.as_f64().expect("it is a number"));
    }
    // The goal is 200 ms. Ten times as much allows for slow machines and for other tests beside this
    // one, and is still far from a page whose work grows with the square of its rows.
    let best = times.iter().copied().fold(f64::MAX, f64::min);
    assert!(best <= 2000.0, "{times:?} ms");
}

#[tokio::test]
async fn browsers_are_sent_to_the_page_and_programs_are_not() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let browser = with_header(request("/"), "accept", "text/html,*/*;q=0.8");
    let sent = bridge.client.send(browser).await;
    assert_eq!((sent.status, sent.header("location")), (303, Some("ui/")));
    bridge.client.get("/").await.assert_problem(404, "unknown-path");
    let index = bridge.client.get("/ui/").await;
    assert_eq!(index.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = index.header("content-security-policy").expect("there is a policy");
    for part in ["default-src 'none'", "script-src 'self'", "trusted-types 'none'", "frame-ancestors 'none'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    let again = with_header(request("/ui/"), "if-none-match", index.header("etag").expect("it has a tag"));
    assert_eq!(bridge.client.send(again).await.status, 304);
    bridge.client.get("/ui/none.js").await.assert_problem(404, "unknown-path");
    let record = bridge.deploy_live("a", &Upload::main(hello("two"))).await;
    assert_eq!(
        Record::of(&bridge.client.get(&format!("/deploys/{}", record.deploy)).await).deploy,
        record.deploy
    );
}
