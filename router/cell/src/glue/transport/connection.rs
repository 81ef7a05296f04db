//! The writing half of a connection, and the table of its streams. Responses are written by whoever
//! makes them, and by the connection's task once the socket takes no more.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, BytesMut};
use rustc_hash::FxHashMap;
use tokio::net::unix::OwnedWriteHalf;

use super::Transport;
use super::server::Server;

/// Bytes of a buffer that an idle connection keeps at most.
const BUFFER: usize = 16 << 10;

/// Responses that are written together. Not all of a turn: the router works on the first ones while
/// the handlers of others run.
const BATCH: u32 = 4;

/// Bytes that wait to be written, from which on bodies wait instead of being added to them.
const FULL: usize = 256 << 10;

/// One connection, with the exchanges `E` of its open streams.
pub(super) struct Connection<E> {
    server: Rc<Server>,
    transport: Weak<Transport>,
    /// `None`: nothing can be written any more.
    socket: RefCell<Option<OwnedWriteHalf>>,
    output: RefCell<BytesMut>,
    /// Responses in `output`.
    batch: Cell<u32>,
    /// `true`: the transport flushes it at the end of its turn.
    pub(super) is_unsent: Cell<bool>,
    /// Bodies that wait until `output` is no longer full.
    waiting: RefCell<Vec<Waker>>,
    /// Open streams.
    pub(super) streams: RefCell<FxHashMap<u32, Rc<E>>>,
    /// The highest stream that was opened.
    pub(super) last_stream: Cell<u32>,
    task: RefCell<Waker>,
}

impl<E> Connection<E> {
    /// Returns a connection that has `socket` for its writing half.
    pub(super) fn new(server: Rc<Server>, transport: &Rc<Transport>, socket: OwnedWriteHalf) -> Self {
        Self {
            server,
            transport: Rc::downgrade(transport),
            socket: RefCell::new(Some(socket)),
            output: RefCell::default(),
            batch: Cell::new(0),
            is_unsent: Cell::new(false),
            waiting: RefCell::default(),
            streams: RefCell::default(),
            last_stream: Cell::new(0),
            task: RefCell::new(Waker::noop().clone()),
        }
    }

    /// The isolate's transport. `None` once the isolate ends.
    pub(super) fn transport(&self) -> Option<Rc<Transport>> {
        self.transport.upgrade()
    }

    /// The server that its requests are for.
    pub(super) fn server(&self) -> &Rc<Server> {
        &self.server
    }

    /// Returns `true` if nothing can be written any more.
    pub(super) fn is_lost(&self) -> bool {
        self.socket.borrow().is_none()
    }

    /// Has `waker` woken when there is something to write.
    pub(super) fn set_task(&self, waker: &Waker) {
        self.task.borrow_mut().clone_from(waker);
    }

    /// Has the task run, which writes what is there.
    pub(super) fn wake(&self) {
        self.task.borrow().wake_by_ref();
    }

    /// Calls `append` with the buffer of what is to be written.
    pub(super) fn append<T>(&self, append: impl FnOnce(&mut BytesMut) -> T) -> T {
        append(&mut self.output.borrow_mut())
    }

    /// Counts a response that was written, and sends it with others.
    pub(super) fn note_response(&self) {
        let batch = self.batch.get() + 1;
        self.batch.set(batch);
        if batch >= BATCH {
            self.flush();
        }
    }

    /// Returns once bodies need not wait for what is to be written before them.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.output.borrow().len() < FULL || self.is_lost() {
            return Poll::Ready(());
        }
        self.waiting.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }

    /// Forgets a stream. Further frames for it are ignored.
    pub(super) fn forget(&self, stream: u32) {
        self.streams.borrow_mut().remove(&stream);
    }

    /// Writes as much as the socket takes. The task writes the rest.
    pub(super) fn flush(&self) {
        self.is_unsent.set(false);
        self.batch.set(0);
        if !self.write_out() {
            self.wake();
        }
    }

    /// Writes what waits, and `body` behind it without a copy as far as the socket takes it.
    pub(super) fn flush_with(&self, body: &[u8]) {
        let mut output = self.output.borrow_mut();
        let mut left = body;
        let parts = [IoSlice::new(&output), IoSlice::new(body)];
        // An error is that of the next write.
        if let Some(Ok(written)) =
            self.socket.borrow().as_ref().map(|socket| socket.try_write_vectored(&parts))
        {
            let waiting = output.len();
            output.advance(written.min(waiting));
            left = &body[written.saturating_sub(waiting)..];
        }
        output.extend_from_slice(left);
        drop(output);
        self.flush();
    }

    /// Returns `false` if the socket takes no more for now.
    fn write_out(&self) -> bool {
        let (mut output, mut socket) = (self.output.borrow_mut(), self.socket.borrow_mut());
        while let Some(open) = &*socket
            && !output.is_empty()
        {
            match open.try_write(&output) {
                Ok(written) if written > 0 => output.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => *socket = None,
            }
        }
        if socket.is_none() || output.capacity() > BUFFER {
            *output = BytesMut::new();
        } else {
            output.clear();
        }
        drop((output, socket));
        self.waiting.take().into_iter().for_each(Waker::wake);
        true
    }

    /// Writes all that there is.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.is_unsent.set(false);
        self.batch.set(0);
        while !self.write_out() {
            if let Some(socket) = &*self.socket.borrow() {
                // An error is that of the next write.
                _ = std::task::ready!(socket.as_ref().poll_write_ready(cx));
            }
        }
        Poll::Ready(())
    }

    /// Gives up what is to be written, and closes the socket: the connection is broken. Bodies that
    /// JavaScript holds may keep `self` for long.
    pub(super) fn lose(&self) {
        self.socket.take();
        self.write_out();
    }
}
