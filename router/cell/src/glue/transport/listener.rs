//! The listener of a server that takes requests as frames.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use deno_core::unsync::{self, JoinHandle};
use deno_core::v8;
use tokio::net::UnixListener;
use tokio::time::sleep;

use super::Transport;
use super::exchange::Connection;
use super::reading;
use super::server::Server;

/// The pause after a connection could not be accepted, such as when no descriptors are left.
const PAUSE: Duration = Duration::from_millis(50);

/// The listener of one server, until that has ended.
pub(super) struct Listener {
    path: PathBuf,
    server: Rc<Server>,
    accepting: RefCell<Option<JoinHandle<()>>>,
    connections: RefCell<Vec<Weak<Connection>>>,
}

impl Listener {
    /// Listens on `path`, in place of a server that was closed. Returns the listener's id. `socket`:
    /// the path on which the same server answers HTTP/1.1.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn bind(
        [path, socket]: [&Path; 2],
        handler: v8::Global<v8::Function>,
        compresses: bool,
        transport: &Rc<Transport>,
    ) -> io::Result<u32> {
        _ = fs::remove_file(path);
        let bound = std::os::unix::net::UnixListener::bind(path)?;
        bound.set_nonblocking(true)?;
        let bound = UnixListener::from_std(bound)?;
        let id = transport.last_listener.get() + 1;
        transport.last_listener.set(id);
        let listener = Rc::new(Self {
            path: path.to_owned(),
            server: Rc::new(Server::new(id, socket, handler, compresses)),
            accepting: RefCell::default(),
            connections: RefCell::default(),
        });
        let accepting = unsync::spawn(accept(bound, Rc::downgrade(&listener), Rc::downgrade(transport)));
        listener.accepting.replace(Some(accepting));
        transport.listeners.borrow_mut().insert(id, listener);
        Ok(id)
    }

    /// Takes no new requests. Those that are open end normally, or at once if this is `forced`.
    pub(super) fn close(&self, is_forced: bool, on_end: v8::Global<v8::Function>, transport: &Rc<Transport>) {
        if self.server.close() {
            self.stop_accepting();
            self.connections().for_each(|connection| connection.go_away());
        }
        if is_forced {
            self.connections().for_each(|connection| connection.reset_all());
        }
        self.server.on_end(on_end, is_forced, transport);
    }

    fn connections(&self) -> impl Iterator<Item = Rc<Connection>> {
        let connections: Vec<_> = self.connections.borrow().iter().filter_map(Weak::upgrade).collect();
        connections.into_iter()
    }

    fn add(&self, connection: &Rc<Connection>) {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|known| known.strong_count() > 0);
        connections.push(Rc::downgrade(connection));
    }

    fn stop_accepting(&self) {
        if let Some(task) = self.accepting.take() {
            task.abort();
            // Deno's listeners remove their names too.
            _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop_accepting();
    }
}

async fn accept(socket: UnixListener, listener: Weak<Listener>, transport: Weak<Transport>) {
    loop {
        let accepted = socket.accept().await;
        let (Some(listener), Some(transport)) = (listener.upgrade(), transport.upgrade()) else { return };
        match accepted {
            Ok((stream, _)) => {
                let (connection, task) = reading::open(stream, Rc::clone(&listener.server), &transport);
                listener.add(&connection);
                // The task ends with the router's end, or with the isolate.
                drop(unsync::spawn(task));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}
