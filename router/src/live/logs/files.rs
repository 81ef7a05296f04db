//! The last lines of projects on the disk, for readers after a restart of the router.
//!
//! A thread of its own writes, a moment after the first of several lines. Each tenant has two files:
//! when the newer one is full, it replaces the older one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::mem;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use switchyard_contract::bounds::KEPT_OUTPUT;
use switchyard_contract::digest::Digest;
use switchyard_edge::throttle::LogThrottle;

use super::KeptLine;
use crate::version::{Tenant, Version};

/// Bytes of a file. The two of a tenant have what is kept in memory, with its versions and times.
const FILE: usize = KEPT_OUTPUT;

/// Bytes of lines that wait to be written, of all projects. Lines beyond it are kept in memory alone.
const QUEUE: usize = 4 << 20;

/// Time for which lines are collected: few writes, and few lines that are lost with the machine.
const PAUSE: Duration = Duration::from_millis(200);

/// Time for the last lines when the router stops.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// The extension of the older file. No tenant's name ends with it.
const OLDER: &str = "~";

/// The folder of the files, and the thread that writes them.
#[derive(Debug)]
pub(super) struct LogFiles {
    folder: PathBuf,
    /// Bytes that wait.
    waiting: Arc<AtomicUsize>,
    /// `None`: the thread has been stopped.
    writer: Mutex<Option<(Sender<Message>, JoinHandle<()>)>>,
}

#[derive(Debug)]
enum Message {
    Line(Tenant, String),
    Forget(Tenant),
    Stop,
}

/// A line in a file.
#[derive(Serialize, Deserialize)]
struct FileLine<'a> {
    at: Timestamp,
    digest: Digest,
    pid: u32,
    stream: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    continues: bool,
    text: Cow<'a, str>,
}

impl LogFiles {
    /// Makes the folder, and starts the thread.
    ///
    /// # Errors
    /// The folder cannot be made, or the thread not be started.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let (sender, messages) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let writer =
            Writer { folder: folder.clone(), waiting: waiting.clone(), failures: LogThrottle::default() };
        let thread = thread::Builder::new().name("logs".to_owned()).spawn(move || writer.run(&messages))?;
        Ok(Self { folder, waiting, writer: Mutex::new(Some((sender, thread))) })
    }

    /// Has the text of a line written soon. It is dropped if too many wait.
    pub(super) fn add(&self, tenant: Tenant, line: String) {
        if self.waiting.fetch_add(line.len(), Relaxed) > QUEUE {
            self.waiting.fetch_sub(line.len(), Relaxed);
            return;
        }
        self.send(Message::Line(tenant, line));
    }

    /// Has the lines of a tenant removed.
    pub(super) fn forget(&self, tenant: Tenant) {
        self.send(Message::Forget(tenant));
    }

    fn send(&self, message: Message) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((sender, _)) = &*writer {
            // Fails only if the thread has panicked, which is logged.
            let _ = sender.send(message);
        }
    }

    /// Writes what waits, and ends the thread. Returns after [`LAST_WRITE`] at the latest.
    pub(super) fn stop(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((sender, thread)) = writer else { return };
        let _ = sender.send(Message::Stop);
        let (ended, end) = channel();
        let joining = thread::Builder::new().name("logs-end".to_owned()).spawn(move || {
            let _ = thread.join();
            let _ = ended.send(());
        });
        if joining.is_ok() && end.recv_timeout(LAST_WRITE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the last lines of projects are not on the disk: it is too slow");
        }
    }

    /// Returns the tenants that have files.
    pub(super) fn tenants(&self) -> Vec<Tenant> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| Tenant::of_folder(entry.file_name().to_str()?)).collect()
    }

    /// Returns the lines of a tenant that were printed before `until`, the oldest first. Lines that
    /// were cut off are left out.
    pub(super) fn read(&self, tenant: &Tenant, until: Timestamp) -> Vec<KeptLine> {
        let paths = paths(&self.folder, tenant);
        let texts: Vec<_> = paths.iter().rev().filter_map(|path| read(path).ok()).collect();
        let lines = texts.iter().flat_map(|text| text.lines());
        lines.filter_map(|line| parse(line, tenant)).filter(|line| line.at < until).collect()
    }
}

/// Returns the text of a line in a file.
pub(super) fn encode(line: &KeptLine) -> String {
    let KeptLine { at, version, pid, stream, request, continues, text } = line;
    let line = FileLine {
        at: *at,
        digest: version.digest,
        pid: *pid,
        stream: Cow::Borrowed(stream),
        request: request.as_deref().map(Cow::Borrowed),
        continues: *continues,
        text: Cow::Borrowed(text),
    };
    let mut line = serde_json::to_string(&line).expect("a line is plain data");
    line.push('\n');
    line
}

/// Returns the newer and the older file of a tenant.
fn paths(folder: &Path, tenant: &Tenant) -> [PathBuf; 2] {
    [folder.join(tenant.to_string()), folder.join(format!("{tenant}{OLDER}"))]
}

/// Reads what a file may have: it was written by an earlier router.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(2 * FILE as u64).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse(line: &str, tenant: &Tenant) -> Option<KeptLine> {
    let line: FileLine<'_> = serde_json::from_str(line).ok()?;
    Some(KeptLine {
        at: line.at,
        version: Version::new(tenant, line.digest),
        pid: line.pid,
        stream: ["stdout", "stderr"].into_iter().find(|stream| line.stream == *stream)?,
        request: line.request.as_deref().map(Into::into),
        continues: line.continues,
        text: line.text.into(),
    })
}

/// The thread.
struct Writer {
    folder: PathBuf,
    waiting: Arc<AtomicUsize>,
    failures: LogThrottle,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut lines = BTreeMap::new();
        while let Ok(first) = messages.recv() {
            if matches!(first, Message::Line(..)) {
                thread::sleep(PAUSE);
            }
            let mut is_over = false;
            for message in [first].into_iter().chain(messages.try_iter()) {
                is_over |= self.take(message, &mut lines);
            }
            for (tenant, text) in mem::take(&mut lines) {
                self.write(&tenant, &text);
            }
            if is_over {
                return;
            }
        }
    }

    /// Takes a message. Returns true if it is the last one.
    fn take(&self, message: Message, lines: &mut BTreeMap<Tenant, String>) -> bool {
        match message {
            Message::Line(tenant, line) => {
                self.waiting.fetch_sub(line.len(), Relaxed);
                lines.entry(tenant).or_default().push_str(&line);
            }
            Message::Forget(tenant) => {
                lines.remove(&tenant);
                for path in paths(&self.folder, &tenant) {
                    // Most tenants have none.
                    let _ = fs::remove_file(path);
                }
            }
            Message::Stop => return true,
        }
        false
    }

    fn write(&mut self, tenant: &Tenant, text: &str) {
        // The last lines of more than a file holds.
        let from = text.floor_char_boundary(text.len().saturating_sub(FILE));
        let begin = if from == 0 { 0 } else { text[from..].find('\n').map_or(0, |at| from + at + 1) };
        if let Err(error) = append(&paths(&self.folder, tenant), &text.as_bytes()[begin..])
            && let Some(count) = self.failures.hit()
        {
            tracing::warn!(
                project.name = %tenant.project,
                count,
                "the last lines of projects cannot be kept for a restart ({count} failures): {error}"
            );
        }
    }
}

fn append([newer, older]: &[PathBuf; 2], text: &[u8]) -> io::Result<()> {
    let length = fs::metadata(newer).map_or(0, |found| found.len());
    if length > 0 && length + text.len() as u64 > FILE as u64 {
        fs::rename(newer, older)?;
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(newer)?;
    file.write_all(text)
}

#[cfg(test)]
mod tests {
    use switchyard_contract::project::ProjectName;

    use super::*;

    #[test]
    fn the_last_lines_are_read_again_and_the_files_stay_small() {
        let folder = tempfile::tempdir().unwrap();
        let tenant = Tenant::first(&ProjectName::parse("a").unwrap());
        let version = Version::new(&tenant, Digest::from([1; 32]));
        let line = |text: String| KeptLine {
            at: Timestamp::now(),
            version: version.clone(),
            pid: 7,
            stream: "stderr",
            request: Some("id".into()),
            continues: false,
            text: text.into(),
        };
        for begin in [0, 1000, 2000] {
            let files = LogFiles::open(folder.path().to_owned()).unwrap();
            (begin..begin + 1000)
                .for_each(|n| files.add(tenant.clone(), encode(&line(format!("{n} {}", "x".repeat(200))))));
            files.stop();
        }
        let files = LogFiles::open(folder.path().to_owned()).unwrap();
        assert_eq!(files.tenants(), std::slice::from_ref(&tenant));
        let lines = files.read(&tenant, Timestamp::now());
        assert!(lines.len() > 800 && lines.last().unwrap().text.starts_with("2999 "), "{}", lines.len());
        assert_eq!((lines[0].version.clone(), lines[0].request.as_deref()), (version.clone(), Some("id")));
        let size: u64 =
            paths(folder.path(), &tenant).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(size <= 2 * FILE as u64, "{size}");
        assert!(files.read(&tenant, lines[0].at).is_empty(), "none is older than the first");
        files.forget(tenant.clone());
        files.stop();
        assert!(files.read(&tenant, Timestamp::now()).is_empty());
    }
}
