//! Rows 11, 13 and 14 of the table: entries in a project's folder that are not plain files.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use switchyard_integration::fixtures::hello;
use tokio::time::{sleep, timeout};

use crate::attempt::{Attempt, Verdict};
use crate::stage::{Stage, put};
use crate::user::User;

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt {
        number: "11",
        severity: "critical",
        deed: "26 folders with two links each to the next: 2^26 paths",
        broken: "another's change is not seen, or a router does not start",
        as_each: false,
        make: |user| Box::pin(links(user, |n| [format!("../d{n}"), format!("../d{n}/")])),
    },
    Attempt {
        number: "11b",
        severity: "critical",
        deed: "the same with links to the parent and to the folder itself",
        broken: "another's change is not seen, or a router does not start",
        as_each: false,
        make: |user| Box::pin(links(user, |_| ["..".to_owned(), ".".to_owned()])),
    },
    Attempt {
        number: "13",
        severity: "high",
        deed: "files of two projects become FIFOs, and files again, while they are read",
        broken: "another's reload waits forever",
        as_each: false,
        make: |user| Box::pin(fifos(user)),
    },
    Attempt {
        number: "14",
        severity: "high",
        deed: "sparse files of 64 GB in two projects",
        broken: "another's change is not live in 10 s, or 2 GB of it are copied",
        as_each: false,
        make: |user| Box::pin(sparse(user)),
    },
];

async fn links(user: User, targets: fn(usize) -> [String; 2]) -> Verdict {
    let mut stage = Stage::of(user, &[]).await;
    let root = stage.path("evil");
    for n in 1..=26 {
        let folder = root.join(format!("d{n}"));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        for (name, target) in ["a", "b"].iter().zip(targets(n + 1)) {
            symlink(target, folder.join(name)).expect("a link can be made");
        }
    }
    put(&stage.volume, "evil", &hello("evil"));
    let mut wrong = Vec::new();
    wrong.extend(stage.change_is_seen().await.err());
    wrong.extend(stage.reload_hangs().await.err());
    let started = stage.starts_again().await;
    let held = started.as_ref().map_or(String::new(), |took| format!("started again in {took:.1?}"));
    wrong.extend(started.err());
    stage.finish(Verdict::of(wrong, held)).await
}

/// Alternates between a FIFO and a file at one path, until it is dropped.
struct Swapping {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Swapping {
    fn start(at: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let thread = std::thread::spawn(move || {
            for n in 0_u64.. {
                let beside = at.with_extension("swp");
                if n % 2 == 0 && !stopping.load(Ordering::SeqCst) {
                    let _ = mknodat(CWD, &beside, FileType::Fifo, Mode::from_raw_mode(0o644), 0);
                } else {
                    let _ = std::fs::write(&beside, n.to_string());
                }
                let _ = std::fs::rename(&beside, &at);
                if n % 2 == 1 && stopping.load(Ordering::SeqCst) {
                    return;
                }
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Swapping {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn fifos(user: User) -> Verdict {
    let evils = ["evil-1", "evil-2", "evil-3"];
    let stage = Stage::of(user, &[]).await;
    let mut swapping = Vec::new();
    for name in evils {
        put(&stage.volume, name, &hello(name));
        for file in 0..20 {
            stage.volume.write(&format!("{name}/a{file}.txt"), "x".repeat(10_000));
        }
        swapping.extend((0..3).map(|n| Swapping::start(stage.path(&format!("{name}/z{n}.txt")))));
    }
    let begun = Instant::now();
    let mut rounds = 0;
    while begun.elapsed() < Duration::from_secs(8) {
        for name in evils {
            stage.volume.write(&format!("{name}/a0.txt"), format!("{rounds}"));
            let client = stage.router().admin.client.clone();
            let _ = timeout(Duration::from_millis(300), client.post(&format!("/_reload/{name}"))).await;
        }
        rounds += 1;
    }
    let wrong: Vec<_> = stage.reload_hangs().await.err().into_iter().collect();
    drop(swapping);
    stage.finish(Verdict::of(wrong, format!("{rounds} rounds"))).await
}

/// Bytes below a folder, on disk.
fn on_disk(folder: &Path) -> u64 {
    let output = Command::new("du").args(["-s", "-B1"]).arg(folder).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

async fn sparse(user: User) -> Verdict {
    let mut stage = Stage::of(user, &[]).await;
    for name in ["evil-1", "evil-2"] {
        put(&stage.volume, name, &hello(name));
        let file =
            std::fs::File::create(stage.path(&format!("{name}/large.bin"))).expect("a file can be made");
        file.set_len(64 << 30).expect("a file can be sparse");
    }
    sleep(Duration::from_millis(300)).await;
    let mut wrong: Vec<_> = stage.change_is_seen().await.err().into_iter().collect();
    // They may not be read to their end: this machine has no room for it.
    for _ in 0..10 {
        sleep(Duration::from_millis(300)).await;
        let copied = on_disk(stage.state());
        if copied > 2 << 30 {
            wrong.push(format!("{} MB were copied", copied >> 20));
            break;
        }
    }
    if !wrong.is_empty() {
        stage.kill().await;
    }
    stage.finish(Verdict::of(wrong, "another's change was live")).await
}
