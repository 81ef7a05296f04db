//! A mount namespace in which a test can mount file systems without root, invisible to others.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::process::{output, shown};

/// Clones are the same namespace. It lasts as long as the last of them, or a process in it.
#[derive(Debug, Clone)]
pub struct Mounts(Arc<Holder>);

#[derive(Debug)]
struct Holder(Child);

impl Mounts {
    /// Returns true if a test can make a mount namespace. Containers often forbid it.
    pub fn are_possible() -> bool {
        let mounts = "mount -t tmpfs -o size=4k tmpfs /mnt";
        let status = Command::new("unshare")
            .args(["--user", "--mount", "--map-root-user", "sh", "-c", mounts])
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    }

    #[expect(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--user", "--mount", "--map-root-user", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a namespace can be made");
        // The echo comes from `cat`: it runs, so the namespace exists.
        let stdin = holder.stdin.as_mut().expect("it is piped");
        stdin.write_all(b".").expect("the holder reads");
        let stdout = holder.stdout.as_mut().expect("it is piped");
        stdout.read_exact(&mut [0]).expect("the holder answers");
        Self(Arc::new(Holder(holder)))
    }

    /// A program that is to run in it.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--user", "--mount", "--preserve-credentials", "--target"]);
        command.arg(self.0.0.id().to_string()).arg("--").arg(program);
        command
    }

    /// Mounts a file system in memory with this size (bytes, or `1m`).
    pub fn tmpfs(&self, size: &str, at: &Path) {
        std::fs::create_dir_all(self.seen_from_outside(at)).expect("a folder can be made");
        self.mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", &shown(at)]);
    }

    /// Mounts a folder on itself, so that it can be made read-only.
    pub fn bind(&self, folder: &Path) {
        self.mount(&["--bind", &shown(folder), &shown(folder)]);
    }

    /// Lets what was bound be written to, or no longer.
    pub fn writable(&self, folder: &Path, writable: bool) {
        let how = if writable { "remount,bind,rw" } else { "remount,bind,ro" };
        self.mount(&["-o", how, &shown(folder)]);
    }

    /// The path by which the test itself reaches what is mounted.
    pub fn seen_from_outside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.0.0.id()));
        root.join(path.strip_prefix("/").expect("the path is absolute"))
    }

    fn mount(&self, arguments: &[&str]) {
        output(self.command(Path::new("mount")).args(arguments));
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_is_seen_inside_and_by_the_test_and_by_nobody_else() {
        if !Mounts::are_possible() {
            return; // Containers often forbid it.
        }
        let (mounts, folder) = (Mounts::new(), tempfile::tempdir().unwrap());
        mounts.tmpfs("1m", folder.path());
        let file = folder.path().join("x.txt");
        std::fs::write(mounts.seen_from_outside(&file), "x").unwrap();
        assert_eq!(output(mounts.command(Path::new("cat")).arg(&file)), b"x");
        assert!(!file.exists());
        let full = std::fs::write(mounts.seen_from_outside(&file), vec![0; 2_000_000]);
        assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_folder_becomes_read_only_inside_and_stays_writable_outside() {
        if !Mounts::are_possible() {
            return; // Containers often forbid it.
        }
        let (mounts, folder) = (Mounts::new(), tempfile::tempdir().unwrap());
        mounts.bind(folder.path());
        let file = folder.path().join("x.txt");
        let touch = || mounts.command(Path::new("touch")).arg(&file).stderr(Stdio::null()).status().unwrap();
        assert!(touch().success());
        mounts.writable(folder.path(), false);
        assert!(!touch().success());
        std::fs::write(&file, "x").unwrap();
        mounts.writable(folder.path(), true);
        assert!(touch().success());
    }
}
