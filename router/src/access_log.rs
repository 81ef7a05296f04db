//! The access log (`--access-log`): a line about each request, written by a thread of its own.
//!
//! Requests never wait for the log. Those that find its queue full are dropped from it, counted, and
//! reported once a second.

mod line;
mod output;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use switchyard_program::signal::log_reload;

pub(crate) use self::line::{AccessEntry, RequestDetails};
pub(crate) use self::output::Output;
use crate::config::{AccessLogConfig, AccessLogFormat};
use crate::metrics::Metrics;

/// The flag that names the file.
const FLAG: &str = "access-log";

/// Requests that wait to be written: a tenth of a second of a busy router. Each takes up to 2 KB.
const QUEUE: usize = 8_192;

/// Bytes that are written at once.
const PIECE: usize = 64 << 10;

/// Pause between two reports of dropped requests, and the longest time until a file is opened again.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The time for the last lines when the router stops: a disk that hangs does not keep it.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The access log.
#[derive(Debug)]
pub(crate) struct AccessLog {
    queue: SyncSender<Message>,
    state: Arc<State>,
    has_queries: bool,
    /// Notified when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

enum Message {
    Entry(Box<AccessEntry>),
    End,
}

/// The state that the thread shares.
#[derive(Debug, Default)]
struct State {
    /// The file is to be opened again.
    reopen: AtomicBool,
    metrics: Metrics,
}

impl AccessLog {
    /// Starts the thread of an open log.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(output: Output, config: &AccessLogConfig, metrics: Metrics) -> io::Result<Arc<Self>> {
        let state = Arc::new(State { reopen: AtomicBool::new(false), metrics });
        let (queue, messages) = sync_channel(QUEUE);
        let (end, ended) = sync_channel(1);
        let (format, shared) = (config.access_log_format, state.clone());
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            Writer { output, format, state: shared, taken: 0, lines: Vec::new(), error: None }.run(&messages);
            _ = end.send(());
        })?;
        let ended = Mutex::new(ended);
        Ok(Arc::new(Self { queue, state, has_queries: config.access_log_query, ended }))
    }

    /// Returns true if query strings are logged.
    pub(crate) fn has_queries(&self) -> bool {
        self.has_queries
    }

    /// Adds a request that has ended.
    pub(crate) fn add(&self, entry: AccessEntry) {
        if self.queue.try_send(Message::Entry(Box::new(entry))).is_err() {
            self.state.metrics.access_log_dropped.inc();
        }
    }

    /// Has the file opened again, because it was moved away.
    pub(crate) fn reopen(&self) {
        self.state.reopen.store(true, Relaxed);
    }

    /// Writes what waits, and ends. Blocks for two seconds at most.
    pub(crate) fn finish(&self) {
        let until = Instant::now() + LAST_LINES;
        while self.queue.try_send(Message::End).is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        _ = ended.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// The thread's part.
struct Writer {
    output: Output,
    format: AccessLogFormat,
    state: Arc<State>,
    /// The lines that are written next, and their number.
    lines: Vec<u8>,
    taken: u64,
    /// The last failure to write, until it is reported.
    error: Option<io::Error>,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        let (mut reported, mut report_at) = (self.dropped(), Instant::now() + REPORT_EVERY);
        let mut has_ended = false;
        while !has_ended {
            let wait = report_at.saturating_duration_since(Instant::now());
            match messages.recv_timeout(wait) {
                Ok(first) => {
                    has_ended = self.take(first);
                    while !has_ended
                        && self.lines.len() < PIECE
                        && let Ok(next) = messages.try_recv()
                    {
                        has_ended = self.take(next);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => has_ended = true,
            }
            if self.state.reopen.swap(false, Relaxed) {
                self.reopen();
            }
            self.write();
            if Instant::now() >= report_at {
                self.report(&mut reported);
                report_at = Instant::now() + REPORT_EVERY;
            }
        }
    }

    /// Returns true for the last message.
    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Entry(entry) => {
                entry.write(self.format, &mut self.lines);
                self.taken += 1;
                false
            }
            Message::End => true,
        }
    }

    /// Writes the lines that were taken. Those before a reopening belong into the new file.
    fn write(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        if let Err((written, error)) = self.output.write(&self.lines) {
            self.state.metrics.access_log_dropped.inc_by(self.taken.saturating_sub(written));
            self.error = Some(error);
        }
        self.lines.clear();
        self.taken = 0;
    }

    fn dropped(&self) -> u64 {
        self.state.metrics.access_log_dropped.get()
    }

    fn reopen(&mut self) {
        let Some(path) = self.output.path() else { return };
        let opened = Output::open(path);
        let summary = opened.as_ref().map(|_| format!("{} is opened again", path.display()));
        log_reload(FLAG, summary.map_err(|error| vec![format!("{}: {error}", path.display())]));
        if let Ok(output) = opened {
            self.output = output;
        }
    }

    fn report(&mut self, reported: &mut u64) {
        let dropped = self.dropped();
        let count = dropped - *reported;
        if count == 0 {
            return;
        }
        *reported = dropped;
        let error = self.error.take().map(|error| error.to_string());
        let why = error.as_deref().unwrap_or("it is not written fast enough");
        tracing::warn!(count, "{count} requests are missing from the access log: {why}");
    }
}

#[cfg(test)]
mod tests;
