//! A projects folder, and the ways in which people and programs change one.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

/// A file system in memory.
const MEMORY: &str = "/dev/shm";

/// Paths are relative to the volume: `blog/main.ts`.
#[derive(Debug)]
pub struct Volume {
    root: PathBuf,
    _around: TempDir,
}

/// The files of a project to be written.
#[derive(Debug)]
pub struct Project<'a> {
    volume: &'a Volume,
    name: String,
    files: Vec<(String, String)>,
}

impl Volume {
    pub fn new() -> Self {
        Self::default()
    }

    /// A volume in a folder of this name.
    pub fn called(name: &str) -> Self {
        let volume = Self::new();
        let root = volume.root.join(name);
        fs::create_dir(&root).expect("a folder can be made");
        Self { root, ..volume }
    }

    /// A volume in memory, if this machine has a folder there. On a disk the removal of a folder can
    /// take milliseconds, which is too long for very many of them.
    pub fn in_memory() -> Self {
        tempfile::tempdir_in(MEMORY).map(Self::from).unwrap_or_default()
    }

    /// A volume with one project that has one file, `main.ts`.
    pub fn with(project: &str, main: impl Into<String>) -> Self {
        let volume = Self::new();
        volume.project(project).file("main.ts", main).write();
        volume
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub fn project(&self, name: &str) -> Project<'_> {
        Project { volume: self, name: name.to_owned(), files: Vec::new() }
    }

    /// Writes in place, as `cp` and most programs do.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
    }

    /// Writes beside and renames, as editors do.
    pub fn replace(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        let name = path.file_name().expect("a file has a name").to_string_lossy();
        let beside = path.with_file_name(format!("{name}~"));
        fs::write(&beside, text).expect("a file can be written");
        fs::rename(beside, path).expect("a file can be renamed");
    }

    /// Writes in chunks, with a pause after each but the last, as a slow upload does.
    pub async fn write_slowly(&self, path: &str, text: &str, chunks: usize, pause: Duration) {
        let mut file = File::create(self.path(path)).expect("a file can be written");
        let length = text.len().div_ceil(chunks);
        for (index, chunk) in text.as_bytes().chunks(length).enumerate() {
            if index > 0 {
                tokio::time::sleep(pause).await;
            }
            file.write_all(chunk).expect("a file can be written");
        }
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).expect("a file can be read")
    }

    /// Removes a file, a link, or a folder with all that is in it.
    pub fn remove(&self, path: &str) {
        let path = self.path(path);
        let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        let removed = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.expect("it can be removed");
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("it can be renamed");
    }

    /// Exchanges two folders, in one step.
    pub fn exchange(&self, one: &str, other: &str) {
        let (one, other) = (self.path(one), self.path(other));
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).expect("they can be exchanged");
    }

    /// Makes a symbolic link at `at`, or points an existing one elsewhere in one step.
    pub fn link(&self, target: impl AsRef<Path>, at: &str) {
        let at = self.path(at);
        fs::create_dir_all(at.parent().expect("a link has a folder")).expect("a folder can be made");
        let beside = at.with_file_name("_link");
        symlink(target, &beside).expect("a link can be made");
        fs::rename(beside, at).expect("a link can be renamed");
    }

    /// Copies a folder with all that is in it.
    pub fn copy_in(&self, from: &Path, to: &str) {
        copy(from, &self.path(to));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be read") {
        let entry = entry.expect("a folder can be read");
        let to = to.join(entry.file_name());
        let kind = entry.file_type().expect("a kind can be read");
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path()).expect("a link can be read"), to)
                .expect("a link can be made");
        } else {
            fs::copy(entry.path(), to).expect("a file can be copied");
        }
    }
}

impl Default for Volume {
    fn default() -> Self {
        tempfile::tempdir().expect("a temporary folder can be made").into()
    }
}

impl From<TempDir> for Volume {
    fn from(around: TempDir) -> Self {
        Self { root: around.path().to_owned(), _around: around }
    }
}

impl Project<'_> {
    pub fn file(mut self, path: &str, text: impl Into<String>) -> Self {
        self.files.push((path.to_owned(), text.into()));
        self
    }

    /// Writes file by file into the project's folder, as an upload does.
    pub fn write(self) {
        for (path, text) in &self.files {
            self.volume.write(&format!("{}/{path}", self.name), text);
        }
    }

    /// Writes into a folder that is not a project and renames it, so that the project appears at
    /// once.
    pub fn move_in(self) {
        let staging = format!("_staging-{}", self.name);
        for (path, text) in &self.files {
            self.volume.write(&format!("{staging}/{path}"), text);
        }
        self.volume.rename(&staging, &self.name);
    }
}
