//! The calls.

use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use switchyard_integration::fixtures::hello;
use switchyard_integration::native;
use switchyard_integration::usage::socket_files;

use crate::attempt::Verdict;
use crate::stage::Stage;
use crate::user::User;

/// A project whose cell is taken over, and its attempts.
struct NativeCell {
    stage: Stage,
    pid: u32,
    victim: u32,
    wrong: Vec<String>,
    refused: usize,
}

impl NativeCell {
    async fn over(user: User) -> Result<Self, Verdict> {
        if !native::is_possible() {
            return Err(Verdict::NotApplicable("calls are injected by root alone".to_owned()));
        }
        let keeps = "Deno.writeTextFileSync(Deno.env.get('DATA_DIR') + '/secret.txt', 'secret');\n";
        let victim = format!("{keeps}{}", hello("victim"));
        let evil = hello("evil");
        let stage = Stage::of(user, &[("evil", &evil), ("victim", &victim)]).await;
        let admin = &stage.router().admin;
        let pid = admin.project("evil").await.pid.expect("it is live");
        let victim = admin.project("victim").await.pid.expect("it is live");
        Ok(Self { stage, pid, victim, wrong: Vec::new(), refused: 0 })
    }

    fn call(&self, number: i64, arguments: [u64; 6]) -> i64 {
        native::call(self.pid, number, arguments)
    }

    fn path(&self, path: &Path) -> u64 {
        native::put(self.pid, &[path.as_os_str().as_bytes(), b"\0"].concat())
    }

    /// Records a call that has to fail.
    fn fails(&mut self, what: &str, answer: i64) {
        if answer >= 0 { self.wrong.push(what.to_owned()) } else { self.refused += 1 }
    }

    async fn finish(self) -> Verdict {
        let held = format!("{} calls were refused", self.refused);
        self.stage.finish(Verdict::of(self.wrong, held)).await
    }
}

/// A file of the caller that no other user may change.
fn own_file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    fs::set_permissions(file.path(), Permissions::from_mode(0o600)).expect("modes can be set");
    file
}

pub(super) async fn files(user: User) -> Verdict {
    let mut native_cell = match NativeCell::over(user).await {
        Ok(native_cell) => native_cell,
        Err(verdict) => return verdict,
    };
    let machines = own_file();
    let state = native_cell.stage.state().to_owned();
    let data =
        fs::canonicalize(format!("/proc/{}/cwd", native_cell.victim)).unwrap_or_else(|_| state.clone());
    let mut paths: Vec<PathBuf> = vec![machines.path().to_owned(), state.clone(), data.join("main.ts"), data];
    paths.extend(files_named(&state, "secret.txt"));
    paths.extend(files_named(&state, "lock"));
    for path in paths.iter().filter(|path| path.exists()) {
        let before = fs::metadata(path).expect("it is there");
        let address = native_cell.path(path);
        let shown = path.display();
        let mode = u64::from(before.mode() ^ 0o022);
        let answer = native_cell.call(libc::SYS_chmod, [address, mode, 0, 0, 0, 0]);
        native_cell.fails(&format!("chmod of {shown}"), answer);
        let answer = native_cell.call(libc::SYS_fchmodat, [libc::AT_FDCWD as u64, address, mode, 0, 0, 0]);
        native_cell.fails(&format!("fchmodat of {shown}"), answer);
        let times = native::put(native_cell.pid, &[1; 32]);
        let answer = native_cell.call(libc::SYS_utimensat, [libc::AT_FDCWD as u64, address, times, 0, 0, 0]);
        native_cell.fails(&format!("utimensat of {shown}"), answer);
        let answer = native_cell.call(libc::SYS_chown, [address, 1, 1, 0, 0, 0]);
        native_cell.fails(&format!("chown of {shown}"), answer);
        let name = native::put(native_cell.pid, b"user.switchyard\0");
        let answer = native_cell.call(libc::SYS_setxattr, [address, name, name, 4, 0, 0]);
        native_cell.fails(&format!("setxattr of {shown}"), answer);
        let after = fs::metadata(path).expect("it is there");
        if after.mode() != before.mode() || after.uid() != before.uid() || after.mtime() != before.mtime() {
            native_cell.wrong.push(format!("{shown} is another"));
        }
        let _ = fs::set_permissions(path, Permissions::from_mode(before.mode()));
        for (what, flags) in [("read", libc::O_RDONLY), ("write", libc::O_WRONLY)] {
            let answer = native_cell.call(libc::SYS_open, [address, flags as u64, 0, 0, 0, 0]);
            native_cell.fails(&format!("open of {shown} to {what}"), answer);
        }
    }
    native_cell.finish().await
}

fn files_named(folder: &Path, name: &str) -> Vec<PathBuf> {
    let output = std::process::Command::new("find").arg(folder).args(["-name", name]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().map(PathBuf::from).collect()
}

pub(super) async fn sockets(user: User) -> Verdict {
    let mut native_cell = match NativeCell::over(user).await {
        Ok(native_cell) => native_cell,
        Err(verdict) => return verdict,
    };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let machines = folder.path().join("machine.sock");
    let _listener = UnixListener::bind(&machines).expect("a socket can be made");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("modes can be set");
    // Like a service's socket for root and its group.
    fs::set_permissions(&machines, Permissions::from_mode(0o660)).expect("modes can be set");
    let mut all = socket_files(native_cell.victim);
    if all.is_empty() {
        native_cell.wrong.push("the victim's sockets are not found".to_owned());
    }
    all.push(machines);
    for path in all {
        let socket =
            native_cell.call(libc::SYS_socket, [libc::AF_UNIX as u64, libc::SOCK_STREAM as u64, 0, 0, 0, 0]);
        if socket < 0 {
            native_cell.refused += 1;
            continue;
        }
        let mut address = vec![libc::AF_UNIX as u8, 0];
        address.extend(path.as_os_str().as_bytes());
        address.push(0);
        let location = native::put(native_cell.pid, &address);
        let answer =
            native_cell.call(libc::SYS_connect, [socket as u64, location, address.len() as u64, 0, 0, 0]);
        native_cell.fails(&format!("connect to {}", path.display()), answer);
        native_cell.call(libc::SYS_close, [socket as u64, 0, 0, 0, 0, 0]);
    }
    native_cell.finish().await
}

pub(super) async fn ports(user: User) -> Verdict {
    let mut native_cell = match NativeCell::over(user).await {
        Ok(native_cell) => native_cell,
        Err(verdict) => return verdict,
    };
    let socket = |native_cell: &NativeCell, family: i32, kind: i32| {
        native_cell.call(libc::SYS_socket, [family as u64, kind as u64, 0, 0, 0, 0])
    };
    let tcp = socket(&native_cell, libc::AF_INET, libc::SOCK_STREAM);
    if tcp >= 0 {
        let answer = native_cell.call(libc::SYS_listen, [tcp as u64, 1, 0, 0, 0, 0]);
        native_cell.fails("listen without bind opens a TCP port", answer);
        let any = native::put(native_cell.pid, &[2, 0, 0x30, 0x39, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let other = socket(&native_cell, libc::AF_INET, libc::SOCK_STREAM);
        let answer = native_cell.call(libc::SYS_bind, [other as u64, any, 16, 0, 0, 0]);
        native_cell.fails("bind to a TCP port", answer);
    }
    // Watches of folders are kept apart by users alone.
    if user == User::Root {
        watches(&mut native_cell);
    }
    let all = native::put(native_cell.pid, &[0xff; 16]);
    let answer = native_cell.call(libc::SYS_prlimit64, [0, u64::from(libc::RLIMIT_DATA), all, 0, 0, 0]);
    native_cell.fails("RLIMIT_DATA is lifted", answer);
    let victim = u64::from(native_cell.victim);
    let router = native_cell.stage.router().pid().as_raw_nonzero().get() as u64;
    for (whose, pid) in [("the victim", victim), ("the router", router)] {
        let answer = native_cell.call(libc::SYS_kill, [pid, libc::SIGCONT as u64, 0, 0, 0, 0]);
        native_cell.fails(&format!("a signal to {whose}"), answer);
        let answer = native_cell.call(libc::SYS_pidfd_open, [pid, 0, 0, 0, 0, 0]);
        native_cell.fails(&format!("a pidfd of {whose}"), answer);
        let answer = native_cell.call(libc::SYS_process_vm_readv, [pid, all, 0, all, 0, 0]);
        native_cell.fails(&format!("memory of {whose}"), answer);
        let answer = native_cell.call(libc::SYS_setpriority, [0, pid, 19, 0, 0, 0]);
        native_cell.fails(&format!("the priority of {whose}"), answer);
    }
    let shell = native_cell.path(Path::new("/bin/sh"));
    let answer = native_cell.call(libc::SYS_execve, [shell, 0, 0, 0, 0, 0]);
    native_cell.fails("a program is run", answer);
    for (what, number) in [
        ("fork", libc::SYS_fork),
        ("unshare", libc::SYS_unshare),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("bpf", libc::SYS_bpf),
        ("ptrace", libc::SYS_ptrace),
        ("mount", libc::SYS_mount),
        ("keyctl", libc::SYS_keyctl),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("perf_event_open", libc::SYS_perf_event_open),
    ] {
        let answer = native_cell.call(number, [0; 6]);
        native_cell.fails(what, answer);
    }
    native_cell.finish().await
}

/// Folders that not every user of the machine may read: the kernel has no other rule for watches.
fn watches(native_cell: &mut NativeCell) {
    let volume = native_cell.stage.volume.root().to_owned();
    fs::set_permissions(&volume, Permissions::from_mode(0o700)).expect("root sets modes");
    let state = native_cell.stage.state().to_owned();
    let mut folders = vec![volume, state.join("data")];
    folders.extend(
        files_named(&state, "secret.txt").iter().filter_map(|file| file.parent()).map(Path::to_owned),
    );
    let watcher = native_cell.call(libc::SYS_inotify_init1, [0; 6]);
    for path in folders {
        let address = native_cell.path(&path);
        let answer = if watcher < 0 {
            watcher
        } else {
            native_cell.call(libc::SYS_inotify_add_watch, [watcher as u64, address, 2, 0, 0, 0])
        };
        native_cell.fails(&format!("a watch of {}", path.display()), answer);
    }
}
