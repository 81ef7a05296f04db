//! The instructions of a router, which runs on the simulated processor of callgrind. Its cells run
//! as always.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::on_few_cores;
use crate::process::{is_installed, output, shown};
use crate::router::{Builder, Router};

/// A running count of instructions, of all threads.
#[derive(Debug)]
pub struct InstructionCounter {
    folder: TempDir,
    dumps: usize,
}

impl InstructionCounter {
    /// Has the router's instructions counted from its start on.
    ///
    /// # Panics
    /// valgrind is not installed.
    pub fn of(router: Builder) -> (Builder, Self) {
        assert!(is_installed("valgrind"), "valgrind is not installed: run `make test`, which installs it");
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let counter = Self { folder, dumps: 0 };
        let valgrind = [
            "valgrind".to_owned(),
            "--tool=callgrind".to_owned(),
            "--quiet".to_owned(),
            "--trace-children=no".to_owned(),
            format!("--callgrind-out-file={}", counter.path("dump")),
            counter.pipes(),
        ];
        let router = router.wrapped(on_few_cores().into_iter().chain(valgrind));
        (router, counter)
    }

    /// Returns the number of instructions since the last time, or since the start.
    ///
    /// # Panics
    /// callgrind does not give it.
    pub fn take(&mut self, router: &Router) -> u64 {
        let process = format!("--pid={}", router.pid().as_raw_nonzero());
        output(Command::new("vgdb").args([&self.pipes(), &process, "dump"]));
        self.dumps += 1;
        let dump = self.path(&format!("dump.{}", self.dumps));
        let text = fs::read_to_string(&dump).unwrap_or_else(|error| panic!("{dump}: {error}"));
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let total = total.and_then(|total| total.trim().parse().ok());
        total.unwrap_or_else(|| panic!("{dump} has no number of instructions"))
    }

    /// The folder of valgrind's pipes: those of other users may be in the default one.
    fn pipes(&self) -> String {
        format!("--vgdb-prefix={}", self.path("vgdb"))
    }

    fn path(&self, name: &str) -> String {
        shown(&self.folder.path().join(name))
    }
}
