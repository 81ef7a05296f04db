//! What a project keeps: there for its next version and after a restart, and nobody else's.

use switchyard_integration::router::{Router, State};
use switchyard_integration::volume::Volume;

/// Counts its visits in each of the ways to keep something, and says how often it has been asked.
fn counting(version: u32) -> String {
    format!(
        "import {{ DatabaseSync }} from 'node:sqlite';
         const file = Deno.env.get('DATA_DIR') + '/count';
         const kv = await Deno.openKv();
         export default {{ async fetch() {{
             let text = '0';
             try {{ text = Deno.readTextFileSync(file); }} catch {{ /* the first visit */ }}
             const count = Number(text) + 1;
             Deno.writeTextFileSync(file, String(count));
             localStorage.setItem('count', String(Number(localStorage.getItem('count') ?? 0) + 1));
             const stored = await kv.get(['count']);
             await kv.set(['count'], (stored.value ?? 0) + 1);
             const cache = await caches.open('v1');
             const cached = Number(await (await cache.match('http://a/count'))?.text() ?? 0) + 1;
             await cache.put('http://a/count', new Response(String(cached)));
             const db = new DatabaseSync(Deno.env.get('DATA_DIR') + '/db');
             db.exec('create table if not exists visits (at integer); insert into visits values (1)');
             const {{ visits }} = db.prepare('select count(*) as visits from visits').get();
             db.close();
             const all = [count, localStorage.getItem('count'), (await kv.get(['count'])).value, cached, visits];
             return new Response('{version}: ' + all.join(' '));
         }} }};"
    )
}

#[tokio::test]
async fn what_is_kept_is_there_for_the_next_version_and_after_a_restart() {
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
