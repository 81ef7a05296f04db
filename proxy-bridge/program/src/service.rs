//! The service manager (systemd) of this process: notifications of its state, and the sockets that
//! were opened for it.
//!
//! Nothing is sent where no `NOTIFY_SOCKET` is set, or before [`start`].

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use sd_notify::NotifyState;

/// Messages that wait for the service manager. There are a few at each change of the state; what it
/// does not take is of no use to it later.
const QUEUE: usize = 64;

/// The notifications of this process.
static NOTIFIER: OnceLock<Notifier> = OnceLock::new();

struct Notifier {
    state: Mutex<State>,
    queue: SyncSender<String>,
}

/// The state of the process, which consists of one part or several.
#[derive(Debug, Default)]
struct State {
    /// The number of parts.
    parts: usize,
    /// The status texts of the parts that are ready.
    ready: BTreeMap<&'static str, String>,
    /// Parts that read their files again.
    reloading: usize,
    is_stopping: bool,
}

/// A part that reads its files again, until this is dropped.
#[must_use]
#[derive(Debug)]
pub struct Reload(());

/// Begins to notify the service manager, if there is one, of the state of this process, which is
/// ready when that many parts of it are.
pub fn start(parts: usize) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else { return };
    let (queue, messages) = sync_channel(QUEUE);
    let send = move || send(&socket, &messages);
    // The thread ends with the process.
    if let Err(error) = thread::Builder::new().name("notify".to_owned()).spawn(send) {
        return tracing::warn!("the service manager is not notified: {error}");
    }
    let state = Mutex::new(State { parts, ..State::default() });
    let _ = NOTIFIER.set(Notifier { state, queue });
}

/// Sends messages in order. Waits for a service manager that is slow. Logs the first of several failures.
fn send(socket: &OsStr, messages: &Receiver<String>) {
    let mut is_failing = false;
    for message in messages {
        let sent = notify(socket, &message);
        let has_failed = std::mem::replace(&mut is_failing, sent.is_err());
        if let Err(error) = sent
            && !has_failed
        {
            let socket = socket.display();
            tracing::warn!("the service manager cannot be notified: NOTIFY_SOCKET={socket}: {error}");
        }
    }
}

/// Sends a message to the socket of a service manager: a path, or an abstract name behind `@`.
fn notify(socket: &OsStr, message: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address).map(drop)
}

/// Reports that a part of the process serves. `status` says what it does, for people.
pub fn ready(part: &'static str, status: String) {
    report(|state| state.ready(part, status));
}

/// Reports that the process reads its files again.
pub fn reload() -> Reload {
    report(State::reload);
    Reload(())
}

impl Drop for Reload {
    fn drop(&mut self) {
        report(State::reloaded);
    }
}

/// Reports that the process stops.
pub fn stopping() {
    report(State::stop);
}

/// Reports that the current runtime does its work, as often as the service manager wants (WatchdogSec=).
/// Returns at once if it does not.
pub async fn keep_alive() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut interval = tokio::time::interval(limit / 2);
    loop {
        interval.tick().await;
        report(|_| Some(NotifyState::Watchdog.to_string()));
    }
}

fn report(change: impl FnOnce(&mut State) -> Option<String>) {
    let Some(notifier) = NOTIFIER.get() else { return };
    let mut state = notifier.state.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(message) = change(&mut state) {
        // Under the lock, which keeps the messages in order. A full queue belongs to a service
        // manager that does not read.
        let _ = notifier.queue.try_send(message);
    }
}

impl State {
    fn is_ready(&self) -> bool {
        self.ready.len() >= self.parts && !self.is_stopping
    }

    fn ready(&mut self, part: &'static str, status: String) -> Option<String> {
        self.ready.insert(part, status);
        let statuses: Vec<_> = self.ready.values().map(String::as_str).collect();
        let status = NotifyState::Status(&statuses.join("; ")).to_string();
        self.is_ready().then(|| format!("{}\n{status}", NotifyState::Ready))
    }

    fn reload(&mut self) -> Option<String> {
        self.reloading += 1;
        let now = NotifyState::monotonic_usec_now().ok()?;
        (self.reloading == 1 && self.is_ready()).then(|| format!("{}\n{now}", NotifyState::Reloading))
    }

    fn reloaded(&mut self) -> Option<String> {
        self.reloading -= 1;
        (self.reloading == 0 && self.is_ready()).then(|| NotifyState::Ready.to_string())
    }

    fn stop(&mut self) -> Option<String> {
        let is_first = !std::mem::replace(&mut self.is_stopping, true);
        let status = NotifyState::Status("what is under way finishes").to_string();
        is_first.then(|| format!("{}\n{status}", NotifyState::Stopping))
    }
}

/// Takes the sockets that the service manager has opened for this process, with their names. Called
/// once.
///
/// # Errors
/// `LISTEN_FDS` or `LISTEN_FDNAMES` is invalid.
pub fn sockets() -> io::Result<Vec<(String, OwnedFd)>> {
    let sockets = sd_notify::listen_fds_with_names()?;
    #[expect(unsafe_code, reason = "the service manager has opened them for this process")]
    let own = |descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) };
    Ok(sockets.map(|(descriptor, name)| (name, own(descriptor))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_is_at_a_path_or_has_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("@switchyard-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name[1..]).unwrap();
        let managers = [UnixDatagram::bind(&path), UnixDatagram::bind_addr(&abstract_name)];
        for (manager, socket) in managers.into_iter().zip([path.as_os_str(), OsStr::new(&name)]) {
            notify(socket, "READY=1").unwrap();
            let mut message = [0; 16];
            let length = manager.unwrap().recv(&mut message).unwrap();
            assert_eq!(&message[..length], b"READY=1");
        }
    }

    #[test]
    fn a_process_is_ready_when_all_its_parts_are_and_reloads_as_one() {
        let mut state = State { parts: 2, ..State::default() };
        assert_eq!(state.ready("a", "A".to_owned()), None);
        assert_eq!(state.ready("b", "B".to_owned()).as_deref(), Some("READY=1\nSTATUS=A; B"));
        let reloading = state.reload().unwrap();
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        assert_eq!((state.reload(), state.reloaded()), (None, None));
        assert_eq!(state.reloaded().as_deref(), Some("READY=1"));
        let stopping = state.stop().unwrap();
        assert!(stopping.starts_with("STOPPING=1\n"), "{stopping}");
        assert_eq!((state.stop(), state.reload(), state.reloaded()), (None, None, None));
    }
}
