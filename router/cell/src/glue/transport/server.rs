//! The state of a server that takes requests as frames, until it is closed and its requests are
//! answered.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use deno_core::v8;

use super::Transport;

/// A server.
pub(super) struct Server {
    id: u32,
    /// The path on which it answers HTTP/1.1.
    socket: PathBuf,
    /// Called with the id of each request.
    handler: v8::Global<v8::Function>,
    /// `true`: it compresses responses.
    compresses: bool,
    /// Requests whose responses have not been sent in full.
    open: Cell<usize>,
    is_closed: Cell<bool>,
    /// Called once the server is closed and no request is open.
    on_end: RefCell<Vec<v8::Global<v8::Function>>>,
}

impl Server {
    pub(super) fn new(id: u32, socket: &Path, handler: v8::Global<v8::Function>, compresses: bool) -> Self {
        let socket = socket.to_owned();
        let (open, is_closed) = (Cell::new(0), Cell::new(false));
        Self { id, socket, handler, compresses, open, is_closed, on_end: RefCell::default() }
    }

    /// The function that gives a request to the handler.
    pub(super) fn handler(&self) -> &v8::Global<v8::Function> {
        &self.handler
    }

    /// The path on which the same server answers HTTP/1.1.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns `true` if it compresses responses.
    pub(super) fn compresses(&self) -> bool {
        self.compresses
    }

    /// Returns `true` if it takes no new requests.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// Takes no new requests. Returns `false` if it took none before.
    pub(super) fn close(&self) -> bool {
        !self.is_closed.replace(true)
    }

    /// Has `function` called once no request is open, or soon if this is `forced`.
    pub(super) fn on_end(
        &self,
        function: v8::Global<v8::Function>,
        is_forced: bool,
        transport: &Rc<Transport>,
    ) {
        self.on_end.borrow_mut().push(function);
        if self.open.get() == 0 || is_forced {
            self.end(transport);
        }
    }

    /// Counts a request.
    pub(super) fn begin(&self) {
        self.open.set(self.open.get() + 1);
    }

    /// Counts the end of a request.
    pub(super) fn finish(&self, transport: Option<Rc<Transport>>) {
        self.open.set(self.open.get() - 1);
        if let Some(transport) = transport.filter(|_| self.open.get() == 0 && self.is_closed()) {
            self.end(&transport);
        }
    }

    fn end(&self, transport: &Rc<Transport>) {
        transport.forget(self.id);
        for function in self.on_end.take() {
            transport.call(function);
        }
    }
}
