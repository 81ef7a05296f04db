//! Versions of projects, and the cells that run them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use switchyard_protocol::{FromCell, Start, ToCell};
use tempfile::TempDir;

/// Longer than anything that these tests wait for takes, also on a machine that has other things to
/// do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A version of a project with these files, and what its runs keep.
pub(crate) struct Version {
    top: TempDir,
    entry: String,
}

/// A running cell.
pub(crate) struct Cell {
    process: Child,
    control: UnixStream,
    messages: BufReader<UnixStream>,
}

impl Version {
    /// The first file is the entry.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let top = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = top.path().join("blog").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        for folder in ["own/tmp", "data"] {
            std::fs::create_dir_all(top.path().join(folder)).unwrap();
        }
        std::os::unix::fs::symlink("../data", top.path().join("own/data")).unwrap();
        Self { top, entry: files[0].0.to_owned() }
    }

    /// A path in the cell's own folder.
    pub(crate) fn own(&self, name: &str) -> PathBuf {
        self.top.path().canonicalize().unwrap().join("own").join(name)
    }

    fn start(&self, job: &Value) -> Box<Start> {
        let top = self.top.path().canonicalize().unwrap();
        let at = |path: &str| top.join(path);
        let start = json!({
            "project": "blog", "version": "blog@1", "checkout": at("blog"), "root": at("blog"),
            "node_modules": null, "other_node_modules": {}, "packages": null, "entry": self.entry, "args": [],
            "preload": [], "port": null, "import_map": null, "api": { "type": "plain" },
            "socket": at("own/http"), "transport": at("own/mux"), "probe": at("own/ping"), "inspect": null,
            "env": { "DATA_DIR": at("data"), "TMPDIR": at("own/tmp") }, "tmp": at("own/tmp"),
            "data": at("data"), "cache": null, "identity": null, "job": job,
            "permissions": { "read": [], "write": [], "net": null, "private_net": [], "sys": [] },
            "limits": {
                "memory": 256 << 20, "event_loop_ms": 2000, "workers": 4, "files": 1024,
                "disk": 1 << 30, "disk_files": 1000,
            },
        });
        Box::new(serde_json::from_value(start).unwrap())
    }

    /// Starts a cell with this version. `job`: what it does instead of serving, or null.
    pub(crate) fn cell(&self, job: &Value) -> Cell {
        let (control, theirs) = UnixStream::pair().unwrap();
        control.set_read_timeout(Some(PATIENCE)).unwrap();
        let process = Command::new(Path::new(env!("CARGO_BIN_EXE_switchyard-cell")))
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir(self.own(""))
            .spawn()
            .unwrap();
        let messages = BufReader::new(control.try_clone().unwrap());
        let mut cell = Cell { process, control, messages };
        assert_eq!(cell.next(), Some(FromCell::Ready));
        cell.send(&ToCell::Start(self.start(job)));
        cell
    }
}

impl Cell {
    /// Returns its next message. `None`: it has ended.
    pub(crate) fn next(&mut self) -> Option<FromCell> {
        loop {
            let mut line = String::new();
            if self.messages.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match serde_json::from_str(&line).unwrap() {
                FromCell::OutOfSpace => {
                    self.send(&ToCell::DiskSpace { bytes: 1 << 29, files: 900, is_answer: true });
                }
                message => return Some(message),
            }
        }
    }

    pub(crate) fn send(&mut self, message: &ToCell) {
        // The cell may have ended.
        _ = self.control.write_all(format!("{}\n", json!(message)).as_bytes());
    }

    /// Waits for its end. Returns what it has printed.
    pub(crate) fn end(mut self) -> String {
        while self.next().is_some() {}
        // One that has not ended by itself is stuck.
        _ = self.process.kill();
        let mut printed = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        self.process.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
        printed
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
