//! Disk limits in bytes and in names, for every way in Deno and Node to write: at the limit the
//! call fails as on a full disk, and it works again once there is room.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use switchyard_contract::event::{DeathReason, EventType};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Router, binary};
use switchyard_integration::volume::Volume;

/// `/way?count` repeats one way until it fails, and answers how often it went well and how it failed.
const FILLER: &str = r"
import fs from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { Worker as Thread } from 'node:worker_threads';
import { WASI } from 'node:wasi';
import v8 from 'node:v8';

const data = Deno.env.get('DATA_DIR'), tmp = Deno.env.get('TMPDIR');
const block = new Uint8Array(200_000).fill(1);
const encode = (text) => new TextEncoder().encode(text);
const later = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

// Files that stay open until there is room again.
const kept = [];
const close = (file) => typeof file === 'number' ? fs.closeSync(file) : file.close();
// One file that grows, opened by `open` and written by `write`.
function growing(open, write) {
  let file;
  return async (n) => {
    if (n === 0) kept.push(file = await open());
    await write(file, n);
  };
}
const database = (make, then) => {
  let db;
  return (n) => {
    if (n === 0) {
      kept.push(db = new DatabaseSync(`${data}/db`));
      make(db);
    }
    then(db, n);
  };
};
// (module (import `path_create_directory`) (memory 1) (func (export `_start`) make `d`, trap when it fails))
function wasm(name) {
  const str = (text) => [text.length, ...encode(text)];
  const section = (id, bytes) => [id, bytes.length, ...bytes];
  return new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0,
    ...section(1, [2, 0x60, 3, 0x7f, 0x7f, 0x7f, 1, 0x7f, 0x60, 0, 0]),
    ...section(2, [1, ...str('wasi_snapshot_preview1'), ...str('path_create_directory'), 0, 0]),
    ...section(3, [1, 1]),
    ...section(5, [1, 0, 1]),
    ...section(7, [2, ...str('memory'), 2, 0, ...str('_start'), 0, 1]),
    ...section(10, [1, 14, 0, 0x41, 3, 0x41, 0, 0x41, name.length, 0x10, 0, 0x04, 0x40, 0x00, 0x0b, 0x0b]),
    ...section(11, [1, 0, 0x41, 0, 0x0b, ...str(name)]),
  ]);
}
const inWorker = (code) => async (n, count) => {
  if (n > 0) return 'end';
  const worker = new Worker('data:application/javascript,' + encodeURIComponent(`
    const data = '${data}', block = new Uint8Array(200_000).fill(1);
    let n = 0;
    try {
      for (; n < ${count}; n++) { ${code} }
      postMessage({ made: n });
    } catch (error) {
      postMessage({ made: n, code: error.code, message: error.message });
    }`), { type: 'module' });
  const said = await new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
  worker.terminate();
  return said;
};

const ways = {
  // Names.
  'mkdir-sync': (n) => Deno.mkdirSync(`${data}/${n}`),
  'mkdir': (n) => Deno.mkdir(`${tmp}/${n}`),
  'mkdir-recursive': (n) => Deno.mkdir(`${data}/x/${n}`, { recursive: true }),
  'create-sync': (n) => Deno.createSync(`${data}/${n}`).close(),
  'create': async (n) => (await Deno.create(`${tmp}/${n}`)).close(),
  'open-new': (n) => Deno.openSync(`${data}/${n}`, { write: true, createNew: true }).close(),
  'write-empty': (n) => Deno.writeTextFile(`${data}/${n}`, ''),
  'link': (n) => {
    if (n === 0) Deno.writeTextFileSync(`${data}/first`, '');
    Deno.linkSync(`${data}/first`, `${data}/${n}`);
  },
  'temporary-folder': () => Deno.makeTempDir({ dir: data }),
  'temporary-file': () => Deno.makeTempFileSync({ dir: tmp }),
  'copy-empty': async (n) => {
    if (n === 0) Deno.writeTextFileSync(`${data}/first`, '');
    await Deno.copyFile(`${data}/first`, `${data}/${n}`);
  },
  'node-mkdir-sync': (n) => fs.mkdirSync(`${data}/${n}`),
  'node-mkdir': (n) => fs.promises.mkdir(`${data}/${n}`),
  'node-mkdtemp': () => fs.mkdtempSync(`${data}/t-`),
  'node-open': (n) => fs.closeSync(fs.openSync(`${data}/${n}`, 'w')),
  'node-write-empty': (n) => fs.promises.writeFile(`${data}/${n}`, ''),
  'node-link': (n) => {
    if (n === 0) fs.writeFileSync(`${data}/first`, '');
    fs.linkSync(`${data}/first`, `${data}/${n}`);
  },
  'node-copy': (n) => {
    if (n === 0) fs.writeFileSync(`${data}/first`, '');
    fs.copyFileSync(`${data}/first`, `${data}/${n}`);
  },
  'node-cp': (n) => {
    if (n === 0) fs.writeFileSync(`${data}/first`, '');
    fs.cpSync(`${data}/first`, `${data}/${n}`);
  },
  'wasi': (n) => {
    const wasi = new WASI({ version: 'preview1', preopens: { '/data': data } });
    const module = new WebAssembly.Module(wasm(`${n}`));
    wasi.start(new WebAssembly.Instance(module, wasi.getImportObject()));
  },
  'cache': async (n) => (await caches.open('c')).put(new Request(`http://x.test/${n}`), new Response('')),
  'worker-names': inWorker('Deno.createSync(`${data}/${n}`).close();'),
  'thread-names': async (n, count) => {
    if (n > 0) return 'end';
    const thread = new Thread(`
      const { parentPort } = require('node:worker_threads'), fs = require('node:fs');
      let n = 0;
      try {
        for (; n < ${count}; n++) fs.mkdirSync('${data}/' + n);
        parentPort.postMessage({ made: n });
      } catch (error) {
        parentPort.postMessage({ made: n, code: error.code, message: error.message });
      }`, { eval: true });
    const said = await new Promise((resolve) => thread.on('message', resolve));
    await thread.terminate();
    return said;
  },
  'sqlite-names': (n) => {
    const db = new DatabaseSync(`${data}/${n}`);
    db.exec('create table t (x)');
    db.close();
  },

  // Bytes.
  'files-sync': (n) => Deno.writeFileSync(`${data}/${n}`, block),
  'files': (n) => Deno.writeFile(`${tmp}/${n}`, block),
  'texts': (n) => Deno.writeTextFile(`${data}/text`, 'x'.repeat(200_000), { append: true }),
  'one-file-sync': growing(() => Deno.createSync(`${data}/one`), (file) => file.writeSync(block) < block.length && file.writeSync(block)),
  'one-file': growing(() => Deno.create(`${data}/one`), async (file) => {
    for (let at = 0; at < block.length;) at += await file.write(block.subarray(at));
  }),
  'a-stream': growing(
    async () => {
      const writer = (await Deno.create(`${data}/one`)).writable.getWriter();
      writer.closed.catch(() => {});
      return { write: (bytes) => writer.write(bytes), close: () => writer.abort().catch(() => {}) };
    },
    (file) => file.write(block),
  ),
  'holes': growing(
    () => {
      Deno.writeFileSync(`${data}/first`, new Uint8Array(1_000_000).fill(1));
      const file = Deno.createSync(`${data}/one`);
      file.truncateSync(2_900_000);
      return file;
    },
    (file, n) => { file.seekSync(n % 700 * 4_000, 0); if (file.writeSync(new Uint8Array(4_000)) < 4_000) file.writeSync(block); },
  ),
  'copies': async (n) => {
    if (n === 0) Deno.writeFileSync(`${data}/first`, block);
    await Deno.copyFile(`${data}/first`, `${data}/${n}`);
  },
  'without-a-name': (n) => {
    // Kept open, and no folder shows it.
    const file = Deno.createSync(`${data}/gone`);
    Deno.removeSync(`${data}/gone`);
    kept.push(file);
    for (let at = 0; at < block.length;) at += file.writeSync(block.subarray(at));
  },
  'deep': (n) => {
    // Each folder into the next: no path leads to the first ones.
    const name = (n) => `${data}/${n}-${'d'.repeat(100)}`;
    Deno.mkdirSync(name(n));
    Deno.writeFileSync(`${name(n)}/file`, block.subarray(0, 60_000));
    if (n > 0) Deno.renameSync(name(n - 1), `${name(n)}/${'d'.repeat(100)}`);
  },
  'node-files-sync': (n) => fs.writeFileSync(`${data}/${n}`, block),
  'node-files': (n) => fs.promises.writeFile(`${tmp}/${n}`, block),
  'node-append': () => fs.appendFileSync(`${data}/one`, block),
  'node-positions': growing(() => fs.openSync(`${data}/one`, 'w'), (file, n) => {
    for (let at = 0; at < block.length;) at += fs.writeSync(file, block, at, block.length - at, n * block.length + at);
  }),
  'node-parts': growing(() => fs.openSync(`${data}/one`, 'w'), (file) => {
    if (fs.writevSync(file, [block, block]) < 2 * block.length) fs.writevSync(file, [block, block]);
  }),
  'node-stream': () => new Promise((resolve, reject) => {
    const stream = fs.createWriteStream(`${data}/one`, { flags: 'a' });
    stream.on('error', reject);
    stream.end(block, (error) => error ? reject(error) : resolve());
  }),
  'node-copies': (n) => {
    if (n === 0) fs.writeFileSync(`${data}/first`, block);
    fs.copyFileSync(`${data}/first`, `${data}/${n}`);
  },
  'cached': async (n) => (await caches.open('c')).put(new Request(`http://x.test/${n}`), new Response(block)),
  'worker-bytes': inWorker('Deno.writeFileSync(`${data}/${n}`, block);'),
  'sqlite': database(
    (db) => db.exec('create table t (x)'),
    (db) => db.prepare('insert into t values (?)').run(block),
  ),
  'sqlite-wal': database(
    (db) => db.exec('pragma journal_mode = wal; create table t (x)'),
    (db) => db.prepare('insert into t values (?)').run(block),
  ),
  'kv': growing(() => Deno.openKv(`${data}/kv`), async (kv, n) => {
    for (let m = 0; m < 4; m++) await kv.set([n, m], block.subarray(0, 50_000));
  }),
  // Never more than two thirds of 3 MB and 150 names.
  'churn-sync': (n) => {
    for (let m = 0; m < 10; m++) Deno.writeFileSync(`${data}/${n}-${m}`, block);
    for (let m = 0; m < 10; m++) Deno.removeSync(`${data}/${n}-${m}`);
  },
  'churn': async (n) => {
    const all = Array.from({ length: 100 }, (_, m) => `${tmp}/${n}-${m}`);
    await Promise.all(all.map((folder) => Deno.mkdir(folder)));
    await Promise.all(all.map((folder) => fs.promises.rmdir(folder)));
  },
  'rewrite': async () => {
    await Deno.writeFile(`${data}/rewritten`, new Uint8Array(2_000_000).fill(1));
    fs.writeFileSync(`${data}/rewritten`, block);
  },
  'database': database(
    (db) => db.exec('create table t (x)'),
    (db, n) => {
      db.prepare('insert into t values (?)').run(block);
      if (n > 0) db.exec('delete from t where rowid = (select min(rowid) from t)');
    },
  ),
  // Each of them fits, and not two.
  'at-once': async (n, count) => {
    const large = new Uint8Array(60 << 20).fill(1);
    const all = Array.from({ length: count }, (_, m) => Deno.writeFile(`${data}/${m}`, large));
    const failed = (await Promise.allSettled(all)).filter(({ status }) => status === 'rejected');
    return { made: count - failed.length, code: failed[0]?.reason.code, message: failed[0]?.reason.message };
  },
  'heap-snapshots': (n) => v8.writeHeapSnapshot(`${data}/${n}.heapsnapshot`),
};

async function repeat(way, count) {
  for (let n = 0; n < count; n++) {
    try {
      const said = await ways[way](n, count);
      if (said?.made !== undefined) return said;
    } catch (error) {
      return { made: n, code: error.code, message: `${error.message}` };
    }
    if (n % 100 === 99) await later(0);
  }
  return { made: count };
}
async function free() {
  for (const file of kept.splice(0)) await close(file);
  for (const folder of [data, tmp]) {
    for (const { name } of Deno.readDirSync(folder)) Deno.removeSync(`${folder}/${name}`, { recursive: true });
  }
}
Deno.serve({ onListen() {} }, async (request) => {
  const { pathname, search } = new URL(request.url);
  if (pathname === '/') return new Response('here');
  if (pathname === '/free') return new Response(`${await free()}`);
  if (pathname === '/elsewhere') {
    try {
      const folder = decodeURIComponent(search.slice(1));
      Deno.writeTextFileSync(folder + 'text', 'x'.repeat(10_000));
      Deno.mkdirSync(folder + 'folder', { recursive: true });
      return new Response('written');
    } catch (error) {
      return new Response(`${error}`, { status: 507 });
    }
  }
  if (pathname === '/write') {
    try {
      Deno.writeTextFileSync(`${data}/written`, 'x');
      return new Response('written');
    } catch (error) {
      return new Response(`${error}`, { status: 507 });
    }
  }
  return Response.json(await repeat(pathname.slice(1), Number(search.slice(1))));
});
";

/// The result of one way to write.
#[derive(Debug, Deserialize)]
struct FillResult {
    made: u64,
    code: Option<String>,
    message: Option<String>,
}

/// A project `a` that fills the disk, and a neighbour `b`.
struct Scene {
    router: Router,
    volume: Volume,
}

impl Scene {
    async fn with(limits: &str) -> Self {
        Self::with_policy(&format!("[projects.a.limits]\n{limits}\n"), "{}").await
    }

    async fn with_policy(policy: &str, deno_json: &str) -> Self {
        let volume = Volume::with("a", FILLER);
        volume.write("a/deno.json", deno_json);
        volume.write("b/main.ts", hello("before"));
        volume.write("_policy/policy.toml", policy);
        let policy = volume.path("_policy/policy.toml");
        let router = Router::builder(&volume).flag("policy", policy.display()).start().await;
        Self { router, volume }
    }

    async fn fill(&self, way: &str, count: u32) -> FillResult {
        let answer = self.router.public.get(&format!("/a/{way}?{count}")).await;
        let text = answer.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{way}: {} {text}: {error}", answer.status))
    }

    async fn free(&self) {
        assert_eq!(self.router.public.get("/a/free").await.status, 200);
    }

    async fn writes(&self) -> bool {
        self.router.public.get("/a/write").await.status == 200
    }

    async fn pid(&self) -> Option<u32> {
        self.router.admin.project("a").await.pid
    }

    async fn neighbour_is_fine(&self, text: &str) {
        let mut events = self.router.events().await;
        self.volume.replace("b/main.ts", hello(text));
        while self.router.public.get("/b/").await.text() != text {
            events.wait_for(EventType::ReloadLive, "b").await;
        }
    }

    fn data(&self) -> PathBuf {
        let data = fs::read_dir(self.router.state.path().join("data")).expect("the folder exists").flatten();
        let of_a = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'a');
        data.map(|entry| entry.path()).find(of_a).expect("it has been made")
    }

    /// Bytes and names in all folders that the project may write.
    fn used(&self) -> (u64, u64) {
        let mut used = (0, 0);
        add(&self.data(), &mut used);
        for cell in fs::read_dir(self.router.state.path().join("run")).expect("the folder exists").flatten() {
            add(&cell.path().join("tmp"), &mut used);
        }
        used
    }

    /// One way after the other is used up to its limit, and none of them ends the cell.
    async fn fills_up_to_the_limit(&self, ways: &[&str], count: u32, bytes: u64, names: u64, setting: &str) {
        let cell = self.pid().await;
        for way in ways {
            let filled = self.fill(way, count).await;
            // One snapshot is larger than all may be.
            let is_some = filled.made > 0 || *way == "heap-snapshots";
            assert!(is_some && filled.made < u64::from(count), "{way}: {filled:?}");
            // SQLite and WASI have codes of their own.
            let of_its_own = ["sqlite", "sqlite-wal", "sqlite-names", "kv", "wasi"].contains(way);
            assert!(of_its_own || filled.code.as_deref() == Some("ENOSPC"), "{way}: {filled:?}");
            let message = filled.message.unwrap_or_default();
            assert!(of_its_own || message.to_lowercase().contains("no space left"), "{way}: {message}");
            if ["mkdir-sync", "create", "files-sync", "one-file"].contains(way) {
                assert!(message.contains(setting), "{way}: {message}");
            }
            let used = self.used();
            assert!(used.0 <= bytes && used.1 <= names, "{way}: {used:?}");
            // The call was not merely stopped early.
            let is_nearly_full = used.0 + 300_000 > bytes || used.1 + 3 > names;
            // Databases undo what has failed; a file without a name is not seen here, and a snapshot is large.
            let has_less = ["sqlite", "sqlite-wal", "kv", "without-a-name", "heap-snapshots"].contains(way);
            assert!(is_nearly_full || has_less, "{way}: {used:?}");
            self.free().await;
            assert!(self.writes().await, "{way}: there is room again");
            self.free().await;
        }
        assert_eq!(self.pid().await, cell);
        self.neighbour_is_fine("after").await;
    }
}

/// Paths end at 4096 bytes and folders do not, so each is entered from the one before.
fn add(folder: &Path, used: &mut (u64, u64)) {
    let Ok(opened) = fs::File::open(folder) else { return };
    let folder = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    for entry in fs::read_dir(&folder).expect("the folder exists").flatten() {
        let Ok(metadata) = entry.path().symlink_metadata() else { continue };
        used.0 += metadata.blocks() * 512;
        used.1 += 1;
        if metadata.is_dir() {
            add(&entry.path(), used);
        }
    }
}

#[tokio::test]
async fn each_way_to_create_a_name_fails_at_the_limit_of_names_and_works_again_with_room() {
    let scene = Scene::with("disk_files = 150").await;
    let ways = [
        "mkdir-sync",
        "mkdir",
        "mkdir-recursive",
        "create-sync",
        "create",
        "open-new",
        "write-empty",
        "link",
        "temporary-folder",
        "temporary-file",
        "copy-empty",
        "node-mkdir-sync",
        "node-mkdir",
        "node-mkdtemp",
        "node-open",
        "node-write-empty",
        "node-link",
        "node-copy",
        "node-cp",
        "wasi",
        "cache",
        "worker-names",
        "thread-names",
        "sqlite-names",
    ];
    scene.fills_up_to_the_limit(&ways, 400, u64::MAX - 300_000, 150, "limits.disk_files").await;
}

#[tokio::test]
async fn each_way_to_write_fails_at_the_limit_of_bytes_and_works_again_with_room() {
    let scene = Scene::with("disk = \"3MB\"").await;
    let ways = [
        "files-sync",
        "files",
        "texts",
        "one-file-sync",
        "one-file",
        "a-stream",
        "holes",
        "copies",
        "without-a-name",
        "deep",
        "node-files-sync",
        "node-files",
        "node-append",
        "node-positions",
        "node-parts",
        "node-stream",
        "node-copies",
        "cached",
        "worker-bytes",
        "sqlite",
        "sqlite-wal",
        "kv",
        "heap-snapshots",
    ];
    scene.fills_up_to_the_limit(&ways, 1000, 3_000_000, u64::MAX - 3, "limits.disk").await;
}

#[tokio::test]
async fn large_files_that_are_written_at_once_end_at_the_limit_together() {
    let scene = Scene::with("disk = \"100MB\"\nmemory = \"1GB\"").await;
    let cell = scene.pid().await;
    for _ in 0..3 {
        let filled = scene.fill("at-once", 16).await;
        assert!(filled.made <= 1 && filled.code.as_deref() == Some("ENOSPC"), "{filled:?}");
        let used = scene.used().0;
        assert!((90_000_000..=100_000_000).contains(&used), "{used}");
        scene.free().await;
    }
    assert_eq!(scene.pid().await, cell);
}

#[tokio::test]
async fn removals_from_folders_above_the_limit_free_room_only_below_it() {
    let scene = Scene::with("disk = \"3MB\"").await;
    assert!(scene.writes().await);
    let cell = scene.pid().await;
    fs::write(scene.data().join("restored"), vec![1; 12_000_000]).unwrap();
    eventually("the cell has noticed", || async {
        let filled = scene.fill("files-sync", 1).await;
        filled.code.as_deref() == Some("ENOSPC")
    })
    .await;
    scene.free().await;
    let filled = scene.fill("files-sync", 1000).await;
    let used = scene.used().0;
    assert!(filled.made > 0 && used <= 3_000_000, "{filled:?}, {used}");
    assert_eq!(scene.pid().await, cell);
}

#[tokio::test]
async fn folders_alone_end_at_the_limit_of_bytes() {
    let scene = Scene::with("disk = \"3MB\"").await;
    scene
        .fills_up_to_the_limit(&["mkdir-sync", "mkdir"], 10_000, 3_000_000, u64::MAX - 3, "limits.disk")
        .await;
}

#[tokio::test]
async fn folders_that_grow_by_another_way_end_their_cell() {
    let scene = Scene::with("disk = \"3MB\"\ndisk_files = 150").await;
    let mut events = scene.router.events().await;
    let is_full = |record: &serde_json::Value| {
        record["message"].as_str().is_some_and(|text| text.contains("have reached limits.disk_files"))
    };
    let mut count = 0;
    // Code that bypasses the C library does the same.
    let mut make = |more| {
        for n in count..count + more {
            fs::write(scene.data().join(format!("by-others-{n}")), "").unwrap();
        }
        count += more;
    };
    make(160);
    eventually("nothing is made", || async { scene.fill("mkdir-sync", 1).await.made == 0 }).await;
    scene.router.log.wait_for(is_full).await.expect("it is logged");
    assert_eq!(events.count(EventType::CellDied, "a"), 0);
    make(160);
    let died = events.wait_for(EventType::CellDied, "a").await.data.death.unwrap();
    assert_eq!(died.reason, DeathReason::Disk, "{died:?}");
    eventually("it serves again", || async { scene.router.public.get("/a/").await.status == 200 }).await;
    assert_eq!(scene.router.public.get("/a/write").await.status, 507);
    scene.free().await;
    assert!(scene.writes().await);
    scene.neighbour_is_fine("after").await;
}

#[tokio::test]
async fn cells_that_share_a_folder_share_its_limit() {
    let policy = "[projects.a.limits]\ndisk = \"3MB\"\n";
    let scene = Scene::with_policy(policy, r#"{ "switchyard": { "cells": 2 } }"#).await;
    let events = scene.router.events().await;
    let fills = [scene.fill("files-sync", 1000), scene.fill("one-file", 1000), scene.fill("mkdir", 1000)];
    for filled in futures_util::future::join_all(fills).await {
        assert_eq!(filled.code.as_deref(), Some("ENOSPC"), "{filled:?}");
    }
    // While the folders are counted for one, the other may use up the half that it was given before. Without a common limit
    // each would have written 3 MB.
    assert!(scene.used().0 <= 3_000_000 + 3_000_000 / 2 + 300_000, "{:?}", scene.used());
    scene.router.public.get("/a/").await;
    assert_eq!(events.count(EventType::CellDied, "a"), 0);
}

#[tokio::test]
async fn a_project_near_its_limit_keeps_working_if_it_removes_as_much_as_it_creates() {
    let scene = Scene::with("disk = \"3MB\"\ndisk_files = 150").await;
    for (way, count) in [("churn-sync", 50), ("churn", 10), ("rewrite", 50), ("database", 50)] {
        let filled = scene.fill(way, count).await;
        assert_eq!(filled.made, u64::from(count), "{way}: {filled:?}");
    }
}

#[tokio::test]
async fn folders_that_the_policy_grants_are_not_counted() {
    let granted = tempfile::tempdir().unwrap();
    let folder = granted.path().canonicalize().unwrap();
    let policy = format!(
        "[projects.a.permissions]\nwrite = [{folder:?}]\nread = [{folder:?}]\n\
         [projects.a.limits]\ndisk = \"3MB\"\ndisk_files = 150\n"
    );
    let scene = Scene::with_policy(&policy, "{}").await;
    assert_eq!(scene.fill("mkdir-sync", 400).await.code.as_deref(), Some("ENOSPC"));
    // At the limit, by relative paths and through links too.
    std::os::unix::fs::symlink(&folder, folder.join("link")).unwrap();
    for path in [format!("{}/", folder.display()), format!("{}/link/", folder.display())] {
        let answer = scene.router.public.get(&format!("/a/elsewhere?{path}")).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "written"), "{path}");
    }
    let out = scene.router.public.get(&format!("/a/elsewhere?{}/", scene.data().display())).await;
    assert_eq!(out.status, 507, "{}", out.text());
}

/// The functions of the C library that make a name or enlarge a file, as far as programs import them.
const MAKERS: [&str; 36] = [
    "open",
    "open64",
    "openat",
    "openat64",
    "openat2",
    "creat",
    "creat64",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "mkfifo",
    "mkdtemp",
    "mkdtemp64",
    "mkostemp",
    "mkstemp64",
    "symlink",
    "symlinkat",
    "link",
    "linkat",
    "write",
    "writev",
    "pwrite",
    "pwrite64",
    "pwritev",
    "pwritev64",
    "pwritev2",
    "copy_file_range",
    "sendfile",
    "sendfile64",
    "splice",
    "fallocate",
    "fallocate64",
    "posix_fallocate",
    "posix_fallocate64",
    "freopen64",
];

#[test]
fn no_call_that_makes_or_enlarges_files_is_imported_beside_those_that_are_counted() {
    // The rest (V8's logs and files of the C++ library) cannot be reached from JavaScript.
    let imported = imported(&fs::read(binary("switchyard-cell")).unwrap());
    assert!(imported.iter().any(|name| name == "rename"), "{imported:?}");
    let makers: Vec<_> = imported.iter().filter(|name| MAKERS.contains(&name.as_str())).collect();
    assert!(makers.is_empty(), "router/cell/src/kernel/disk/calls does not count: {makers:?}");
}

/// The names that an ELF file for 64 bits takes from libraries.
fn imported(elf: &[u8]) -> Vec<String> {
    let number = |at: usize, size: usize| {
        elf[at..at + size].iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let (sections, size, count) = (number(0x28, 8), number(0x3a, 2), number(0x3c, 2));
    let section = |index: usize| sections + index * size;
    let place = |index: usize| (number(section(index) + 0x18, 8), number(section(index) + 0x20, 8));
    // The symbols that are looked up when it starts.
    let symbols = (0..count).find(|index| number(section(*index) + 4, 4) == 11).expect("it is dynamic");
    let (names, _) = place(number(section(symbols) + 0x28, 4));
    let (first, length) = place(symbols);
    let undefined = (first..first + length).step_by(24).filter(|symbol| number(symbol + 6, 2) == 0);
    let name = |symbol: usize| {
        let name = &elf[names + number(symbol, 4)..];
        String::from_utf8_lossy(&name[..name.iter().position(|byte| *byte == 0).unwrap_or(0)]).into_owned()
    };
    undefined.map(name).collect()
}
