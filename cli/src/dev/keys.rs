//! The keys of a terminal, one at a time and not shown. The terminal is as before once [`Terminal`] is
//! dropped.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::PipeFlags;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::sync::mpsc;

/// Keys that are read at once.
const AT_ONCE: usize = 16;

/// The begin of the sequence that a terminal sends for a key without a character.
const ESCAPE: u8 = 0x1b;

/// A terminal that gives its keys one at a time. Ctrl-C and Ctrl-Z stay signals.
#[derive(Debug)]
pub(super) struct Terminal {
    input: OwnedFd,
    before: Termios,
}

/// The keys of a terminal.
#[derive(Debug)]
pub(super) struct Keys(OwnedFd);

/// The keys, read by a thread of their own. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct KeyReader {
    keys: mpsc::Receiver<char>,
    /// The thread waits for the other end too.
    _open: OwnedFd,
}

impl Terminal {
    /// Prepares standard input. `None`: it is no terminal, or not this process's just now.
    pub(super) fn prepare() -> Option<Self> {
        let stdin = io::stdin();
        let input: BorrowedFd<'_> = stdin.as_fd();
        // A process in the background would be stopped for changing the terminal.
        if tcgetpgrp(input).ok()? != rustix::process::getpgrp() {
            return None;
        }
        let before = tcgetattr(input).ok()?;
        let input = input.try_clone_to_owned().ok()?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(&input, OptionalActions::Now, &modes).ok()?;
        Some(Self { input, before })
    }

    /// Returns the keys.
    ///
    /// # Errors
    /// There are too many open files.
    pub(super) fn keys(&self) -> Result<Keys> {
        self.input.try_clone().map(Keys).context("open the terminal")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.input, OptionalActions::Now, &self.before);
    }
}

impl Keys {
    /// Begins to read.
    ///
    /// # Errors
    /// There are no resources for a thread.
    pub(super) fn reader(self) -> io::Result<KeyReader> {
        let (closed, open) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (sender, keys) = mpsc::channel(AT_ONCE);
        let read = move || read(&self.0, &closed, &sender);
        std::thread::Builder::new().name("keys".to_owned()).spawn(read)?;
        Ok(KeyReader { keys, _open: open })
    }
}

/// Sends the keys of `input` until it ends, or `closed` does.
fn read(input: &OwnedFd, closed: &OwnedFd, to: &mpsc::Sender<char>) {
    loop {
        let mut waits = [PollFd::new(input, PollFlags::IN), PollFd::new(closed, PollFlags::IN)];
        if poll(&mut waits, None).is_err_and(|error| error != rustix::io::Errno::INTR) {
            return;
        }
        if !waits[1].revents().is_empty() {
            return;
        }
        if waits[0].revents().is_empty() {
            continue;
        }
        let mut keys = [0; AT_ONCE];
        let Some(count) = rustix::io::read(input, &mut keys).ok().filter(|count| *count > 0) else { return };
        // An arrow and its like are a sequence behind an escape: one key that does nothing here.
        let keys = if keys[0] == ESCAPE { &keys[..1] } else { &keys[..count] };
        for key in keys {
            if to.blocking_send(char::from(*key)).is_err() {
                return;
            }
        }
    }
}

impl KeyReader {
    /// Resolves with the next key. `None`: the terminal is gone.
    pub(super) async fn next(&mut self) -> Option<char> {
        self.keys.recv().await
    }
}
