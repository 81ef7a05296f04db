//! Rows 1 to 5 of the table, and messages of a project to the router: with its own code, without a
//! bug in V8.

use std::fs;
use std::future::ready;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use switchyard_integration::client::post;
use tokio::time::timeout;

use crate::attempt::{Attempt, Verdict};
use crate::stage::{HANGS, POLICY, Stage, get, memory, put, until};
use crate::user::User;

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt {
        number: "1",
        severity: "critical",
        deed: "a project adopts descriptors that are not its own, and talks to the router",
        broken: "a write to any of them succeeds, or the router grows with the messages",
        as_each: true,
        make: |user| Box::pin(descriptors(user)),
    },
    Attempt {
        number: "2",
        severity: "critical",
        deed: "nested folders, deeper than the router's stack, are left in TMPDIR",
        broken: "the router ends or does not start again",
        as_each: true,
        make: |user| Box::pin(deep(user)),
    },
    Attempt {
        number: "3",
        severity: "high",
        deed: "a cell that has made many files ends, again and again",
        broken: "the admin listener or another's reload waits for their removal",
        as_each: true,
        make: |user| Box::pin(many_files(user)),
    },
    Attempt {
        number: "4",
        severity: "high",
        deed: "limits.disk: files below PATH_MAX",
        broken: "four times the limit is written",
        as_each: true,
        make: |user| Box::pin(disk_below(user)),
    },
    Attempt {
        number: "4b",
        severity: "high",
        deed: "limits.disk: empty files and folders",
        broken: "three times limits.disk_files are created",
        as_each: true,
        make: |user| Box::pin(disk_names(user)),
    },
    Attempt {
        number: "4c",
        severity: "high",
        deed: "limits.disk: open files that no longer have a name",
        broken: "four times the limit is on disk",
        as_each: true,
        make: |user| Box::pin(disk_unnamed(user)),
    },
    Attempt {
        number: "5",
        severity: "high",
        deed: "builds fail with errors of 30 MB and of 50 KB",
        broken: "the router keeps them, or sends them to a client or the admin listener",
        as_each: true,
        make: |user| Box::pin(large_errors(user)),
    },
    Attempt {
        number: "H15e",
        severity: "medium",
        deed: "a project poisons its own prototypes and answers 500 for good",
        broken: "it is not replaced within 75 s",
        as_each: false,
        make: |user| Box::pin(poisoned(user)),
    },
];

/// A project that runs the action in the path, with helpers for attempts.
fn deeds(deed: &str) -> String {
    format!(
        "import fs from 'node:fs';
         import net from 'node:net';
         import tty from 'node:tty';
         const later = (ms) => new Promise((done) => setTimeout(done, ms));
         const data = Deno.env.get('DATA_DIR'), tmp = Deno.env.get('TMPDIR');
         export default {{ async fetch(request) {{
           if (request.method !== 'POST') return new Response('here');
           {deed}
         }} }};"
    )
}

async fn descriptors(user: User) -> Verdict {
    // The adopted descriptor may be the cell's own connection: the result is recorded before
    // anything ends.
    let deed = deeds(
        "const got = (what) => Deno.writeTextFileSync(`${data}/got.txt`, `${what}\\n`, { append: true });
         globalThis.kept = [];
         const ways = {
           'net.Socket': (fd) => new net.Socket({ fd }),
           'tty.WriteStream': (fd) => new tty.WriteStream(fd),
           'fs.createWriteStream': (fd) => fs.createWriteStream('', { fd, autoClose: false }),
           'fs.writeSync': (fd) => fs.writeSync(fd, LINE) >= 0 && got(`fs.writeSync ${fd}`),
           'fs.readSync': (fd) => fs.readSync(fd, new Uint8Array(1)) >= 0 && got(`fs.readSync ${fd}`),
           'fs.fstatSync': (fd) => got(`fs.fstatSync ${fd} ${fs.fstatSync(fd).ino}`),
         };
         const LINE = '{\"nonsense\": 1}\\n';
         for (const [how, adopt] of Object.entries(ways)) {
           for (let fd = 3; fd < 1024; fd++) {
             try {
               const stream = adopt(fd);
               if (!stream?.write) continue;
               kept.push(stream);
               stream.on('error', () => {});
               stream.write(LINE, (error) => error || got(`${how} ${fd}`));
             } catch { /* it is refused */ }
             if (fd % 100 === 0) await later(0);
           }
           await later(300);
         }
         return new Response('tried');",
    );
    let stage = Stage::of(user, &[("evil", deed.as_str())]).await;
    let answered = stage.asks("/evil/", "").await.map(|reply| reply.status);
    let log = stage.router().log.clone();
    let is_reported =
        until(Duration::from_secs(2), || ready(log.text().contains("sends an invalid message"))).await;
    let mut wrong = if is_reported { vec!["the router received something".to_owned()] } else { vec![] };
    let output = Command::new("find")
        .arg(stage.state())
        .args(["-name", "got.txt", "-exec", "cat", "{}", "+"])
        .output();
    let got = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if !got.is_empty() {
        wrong.push(format!("adopted {}", got.trim().replace('\n', ", ")));
    }
    stage.finish(Verdict::of(wrong, format!("none of 3 to 1023 in 6 ways; answered {answered:?}"))).await
}

async fn deep(user: User) -> Verdict {
    let deed = deeds(
        "const levels = Number(await request.text());
         Deno.mkdirSync(`${tmp}/0`);
         for (let n = 0; n < levels; n++) {
           Deno.mkdirSync(`${tmp}/${n + 1}`);
           Deno.renameSync(`${tmp}/${n}`, `${tmp}/${n + 1}/d`);
           if (n % 500 === 0) await later(0);
         }
         setTimeout(() => Deno.exit(0), 0);
         return new Response('done');",
    );
    let policy = "[projects.evil.limits]\ndisk_files = 1000000\nevent_loop = \"30s\"\n";
    let mut stage = Stage::with(
        user,
        |volume| {
            volume.write(POLICY, policy);
            put(volume, "evil", &deed);
        },
        |builder| builder,
    )
    .await;
    let answered = stage.asks("/evil/", "60000").await.map(|reply| reply.status);
    stage.pass(50).await;
    let aftermath = stage.reload_hangs().await;
    let again = stage.starts_again().await;
    let wrong = [aftermath.err(), again.as_ref().err().cloned()].into_iter().flatten().collect();
    let started = again.map_or(0, |took| took.as_millis());
    stage.finish(Verdict::of(wrong, format!("answered {answered:?}, started again in {started} ms"))).await
}

async fn many_files(user: User) -> Verdict {
    let deed = deeds(
        "for (let n = 0; n < 90_000; n++) {
           Deno.createSync(`${tmp}/${n}`).close();
           if (n % 500 === 0) await later(0);
         }
         setTimeout(() => Deno.exit(0), 0);
         return new Response('done');",
    );
    let stage = Stage::of(user, &[("evil", deed.as_str())]).await;
    let mut wrong = Vec::new();
    for _ in 0..2 {
        stage.asks("/evil/", "").await;
        if timeout(HANGS, stage.router().admin.client.get("/projects")).await.is_err() {
            wrong.push(format!("the admin listener is silent for {} s", HANGS.as_secs()));
        }
        wrong.extend(stage.reload_hangs().await.err());
    }
    stage.finish(Verdict::of(wrong, "twice 90,000 files")).await
}

/// Writes `bytes` below folders that were renamed into each other until no path names them.
async fn disk_below(user: User) -> Verdict {
    let deed = deeds(
        "const name = 'd'.repeat(200), block = new Uint8Array(1 << 20).fill(1);
         let written = 0;
         try {
           for (let tree = 0; tree < 30; tree++) {
             const inner = `${data}/in-${tree}`;
             Deno.mkdirSync(inner);
             for (let n = 0; n < 4; n++) Deno.writeFileSync(`${inner}/${n}`, block);
             written += 4;
             let last = inner;
             for (let level = 0; level < 40; level++) {
               const outer = `${data}/out-${tree}-${level}`;
               Deno.mkdirSync(outer);
               Deno.renameSync(last, `${outer}/${name}`);
               last = outer;
             }
             await later(50);
           }
         } catch (error) { return new Response(`${written} ${error}`); }
         return new Response(`${written}`);",
    );
    let stage = limited(user, &deed, "disk = \"30MB\"\n").await;
    let reply = stage.asks("/evil/", "").await;
    let written = on_disk(&stage);
    let wrong = if written > 120 << 20 {
        vec![format!("{} MB are on disk, limits.disk is 30 MB", written >> 20)]
    } else {
        vec![]
    };
    let answer_text =
        reply.map_or("nothing".to_owned(), |reply| format!("{} {}", reply.status, reply.text()));
    let answer_text: String = answer_text.chars().take(80).collect();
    stage
        .finish(Verdict::of(wrong, format!("{} MB on disk; its last error: {answer_text:?}", written >> 20)))
        .await
}

async fn disk_names(user: User) -> Verdict {
    let deed = deeds(
        "let made = 0;
         try {
           for (let n = 0; n < 30_000; n++) {
             if (n % 2) Deno.mkdirSync(`${data}/${n}`); else Deno.createSync(`${data}/${n}`).close();
             made++;
             if (n % 20 === 0) await later(2);
           }
         } catch (error) { return new Response(`${made} ${error}`); }
         return new Response(`${made}`);",
    );
    let stage = limited(user, &deed, "disk_files = 2000\n").await;
    stage.asks("/evil/", "").await;
    let made = names(&stage.state().join("data"));
    let wrong =
        if made > 6000 { vec![format!("{made} names are there, limits.disk_files is 2000")] } else { vec![] };
    stage.finish(Verdict::of(wrong, format!("{made} names of 30,000"))).await
}

async fn disk_unnamed(user: User) -> Verdict {
    let deed = deeds(
        "const block = new Uint8Array(1 << 20).fill(1);
         globalThis.kept = [];
         let written = 0;
         try {
           for (let n = 0; n < 100; n++) {
             const file = Deno.openSync(`${data}/${n}`, { create: true, write: true });
             Deno.removeSync(`${data}/${n}`);
             kept.push(file);
             for (let m = 0; m < 2; m++) { file.writeSync(block); written++; }
             await later(30);
           }
         } catch (error) { return new Response(`${written} ${error}`); }
         return new Response(`${written}`);",
    );
    let stage = limited(user, &deed, "disk = \"30MB\"\n").await;
    let reply = stage.asks("/evil/", "").await;
    let pid = stage.router().admin.project("evil").await.pid;
    let kept = pid.map_or(0, unnamed);
    let wrong = if kept > 120 << 20 {
        vec![format!("{} MB are on disk, limits.disk is 30 MB", kept >> 20)]
    } else {
        vec![]
    };
    let answer_text: String = reply.map_or_else(String::new, |reply| reply.text().chars().take(80).collect());
    stage
        .finish(Verdict::of(wrong, format!("{} MB on disk; its last error: {answer_text:?}", kept >> 20)))
        .await
}

/// Bytes of the files that a process has open and that have no name.
fn unnamed(pid: u32) -> u64 {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let files = open.filter_map(|entry| fs::metadata(entry.path()).ok());
    files.filter(|file| file.is_file() && file.nlink() == 0).map(|file| file.blocks() * 512).sum()
}

async fn limited(user: User, deed: &str, limits: &str) -> Stage {
    Stage::with(
        user,
        |volume| {
            volume.write(POLICY, format!("[projects.evil.limits]\n{limits}"));
            put(volume, "evil", deed);
        },
        |builder| builder,
    )
    .await
}

/// Bytes of the folders of projects in the state folder.
fn on_disk(stage: &Stage) -> u64 {
    let output = Command::new("du").args(["-s", "-B1"]).arg(stage.state().join("data")).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn names(folder: &Path) -> usize {
    let output = Command::new("find").arg(folder).output();
    output.map(|output| output.stdout.iter().filter(|byte| **byte == b'\n').count()).unwrap_or_default()
}

async fn large_errors(user: User) -> Verdict {
    let stage = Stage::of(user, &[]).await;
    let before = memory(stage.router());
    let mut wrong = Vec::new();
    // The small ones fit on a line of the control socket.
    for (round, length) in [30_000_000, 30_000_000, 30_000_000, 50_000, 50_000].into_iter().enumerate() {
        let main = format!("throw new Error('{round}' + 'x'.repeat({length}));");
        stage.volume.write("evil/main.ts", main);
        let _ = timeout(HANGS * 2, stage.router().admin.client.post("/_reload/evil")).await;
    }
    let grown = memory(stage.router()).saturating_sub(before) >> 20;
    let client = get(stage.router(), "/evil/").await.map_or(0, |reply| reply.body.len());
    let is_reported = timeout(HANGS, stage.router().admin.client.get("/projects/evil")).await;
    let is_reported = is_reported.map_or(0, |reply| reply.body.len());
    for (what, length, most) in [("a client", client, 20_000), ("/projects/evil", is_reported, 1_000_000)] {
        if length > most {
            wrong.push(format!("{what} gets {length} bytes"));
        }
    }
    let held = format!("router +{grown} MB, a client {client} B, /projects/evil {is_reported} B");
    stage.finish(Verdict::of(wrong, held)).await
}

async fn poisoned(user: User) -> Verdict {
    let deed = deeds(
        "if (await request.text() === 'poison') setTimeout(() => {
           Object.defineProperty(Response.prototype, 'status', { get() { throw new Error('poisoned'); } });
           Object.defineProperty(Promise.prototype, 'then', { get() { throw new Error('poisoned'); } });
           Array.prototype[Symbol.iterator] = () => { throw new Error('poisoned'); };
         }, 0);
         return new Response('poisoned');",
    );
    let stage = Stage::of(user, &[("evil", deed.as_str())]).await;
    let pid = |value: &Value| value["pid"].as_u64();
    let before = pid(&stage.router().admin.client.get("/projects/evil").await.json());
    stage.asks("/evil/", "poison").await;
    // Only requests reveal it.
    let well = until(Duration::from_secs(75), || async {
        let mut connection = stage.router().public.connect().await;
        let attempt = connection.try_send(post("/evil/", "again"));
        let reply = timeout(Duration::from_secs(3), attempt).await;
        let is_another = pid(&stage.router().admin.client.get("/projects/evil").await.json()) != before;
        is_another && reply.is_ok_and(|reply| reply.is_ok_and(|reply| reply.status == 200))
    })
    .await;
    let wrong = if well { vec![] } else { vec!["it keeps running".to_owned()] };
    stage.finish(Verdict::of(wrong, "it was replaced, and answers")).await
}
