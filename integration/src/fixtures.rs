//! Tiny projects: as text, or as folders in `fixtures/`.

use std::path::{Path, PathBuf};

/// A project that answers with its request as JSON: `method`, `path`, `query`, `host`, `headers`,
/// `body`, `address`.
pub const ECHO: &str = include_str!("../fixtures/echo.ts");

/// Answers a gigabyte, and at `/made` how much of it was made so far.
pub const UNREAD: &str = include_str!("../fixtures/unread.ts");

/// `/counts` answers how many requests have begun and how many were aborted; `/stream` answers one chunk and
/// no end, `/never` nothing.
pub const ABORTS: &str = include_str!("../fixtures/aborts.ts");

/// `/events` answers one event, and a second one when `/next` was asked; all else the port of who asked.
pub const GATE: &str = include_str!("../fixtures/gate.ts");

/// A folder of `fixtures/`.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The folder with the examples that `make run` serves.
pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/projects")
}

/// Answers every request with the label.
pub fn hello(label: &str) -> String {
    format!("export default {{ fetch: () => new Response({label:?}) }};\n")
}

/// The same project, which takes this many milliseconds to load: long enough for a test to act
/// meanwhile.
pub fn slow(label: &str, ms: u64) -> String {
    format!("await new Promise((done) => setTimeout(done, {ms}));\n{}", hello(label))
}

/// Answers `a:b` from two modules of its own, so that a mix of versions shows in the body.
pub fn pair() -> &'static str {
    "import { a } from './a.ts';\nimport { b } from './b.ts';\n\
     export default { fetch: () => new Response(`${a}:${b}`) };\n"
}

/// A module for [`pair`].
pub fn half(name: &str, label: &str) -> String {
    format!("export const {name} = {label:?};\n")
}

/// A project whose requests last as long as the test wants, since they end with the request's body:
/// `/wait` answers the label when the body has ended, `/echo` streams each chunk back behind `label `,
/// a WebSocket does so with each message. All else is answered with the label.
pub fn lasting(label: &str) -> String {
    include_str!("../fixtures/lasting.ts").replace("LABEL", label)
}

/// Counts its visits in each of the ways to keep something, and says how often it has been asked:
/// `1: 2 2 2 2 2` at the second visit.
pub fn counting(version: u32) -> String {
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
