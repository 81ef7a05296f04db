//! The log's writer: tracing-appender's thread, with a queue that is bounded in bytes.
//!
//! tracing-appender bounds lines, which may be long. This wrapper counts the bytes that wait, drops
//! records beyond the bound, and has the thread report them.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of records that may wait to be written. A reader that is away for a moment misses nothing,
/// and one that is away for good costs no more than this.
const QUEUE_BYTES: usize = 4 << 20;

/// A short record counts as this many bytes, so that the bound in bytes is reached before the one
/// in lines, at which records would be dropped uncounted. Most records are longer.
const LEAST_RECORD: usize = 128;

/// The counters of this process's log.
static COUNTERS: OnceLock<Arc<Counters>> = OnceLock::new();

/// Records that were dropped because the log was not read fast enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Number of records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Returns how much of this process's log was dropped so far.
pub fn lost() -> Lost {
    COUNTERS.get().map(|counters| counters.lost()).unwrap_or_default()
}

#[derive(Debug, Default)]
struct Counters {
    /// Bytes that wait, each record counted as [`charge`] says.
    waiting: AtomicUsize,
    lost_records: AtomicU64,
    lost_bytes: AtomicU64,
}

impl Counters {
    fn lost(&self) -> Lost {
        Lost {
            records: self.lost_records.load(Ordering::Relaxed),
            bytes: self.lost_bytes.load(Ordering::Relaxed),
        }
    }
}

/// Takes whole records and never waits for the reader of the log.
#[derive(Debug, Clone)]
pub(super) struct LogWriter {
    queue: NonBlocking,
    counters: Arc<Counters>,
}

impl LogWriter {
    /// Starts the thread that writes to `out`. Dropping the guard writes the rest of the log, for at
    /// most about a second.
    pub(super) fn start(out: File) -> (Self, WorkerGuard) {
        let (writer, guard) = Self::over(out);
        let _ = COUNTERS.set(writer.counters.clone());
        (writer, guard)
    }

    pub(super) fn over(out: impl Write + Send + 'static) -> (Self, WorkerGuard) {
        let counters = Arc::new(Counters::default());
        let out = Output { out, counters: counters.clone(), reported: Lost::default() };
        let builder = NonBlockingBuilder::default().buffered_lines_limit(QUEUE_BYTES / LEAST_RECORD);
        let (queue, guard) = builder.lossy(true).thread_name("log").finish(out);
        (Self { queue, counters }, guard)
    }
}

/// Bytes of the queue that a record takes.
fn charge(record: &[u8]) -> usize {
    record.len().max(LEAST_RECORD)
}

impl Write for LogWriter {
    /// Queues one whole record, or drops and counts it.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let charge = charge(record);
        let before = self.counters.waiting.fetch_add(charge, Ordering::Relaxed);
        if before + charge > QUEUE_BYTES {
            self.counters.waiting.fetch_sub(charge, Ordering::Relaxed);
            self.counters.lost_records.fetch_add(1, Ordering::Relaxed);
            self.counters.lost_bytes.fetch_add(record.len() as u64, Ordering::Relaxed);
            return Ok(record.len());
        }
        self.queue.write(record)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The thread's end of the queue.
struct Output<W> {
    out: W,
    counters: Arc<Counters>,
    reported: Lost,
}

impl<W> Output<W> {
    /// Logs the number of records lost since the last report, once the queue has room for more than
    /// that.
    fn report(&mut self) {
        let lost = self.counters.lost();
        let records = lost.records - self.reported.records;
        if records == 0 || self.counters.waiting.load(Ordering::Relaxed) > QUEUE_BYTES / 2 {
            return;
        }
        let bytes = lost.bytes - self.reported.bytes;
        self.reported = lost;
        tracing::warn!(
            dropped_records = records,
            dropped_bytes = bytes,
            "the log was not read fast enough: {records} records were dropped before this one"
        );
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        // A closed log is not a reason to fail: a later record may be read again.
        let _ = self.out.write_all(record);
        self.counters.waiting.fetch_sub(charge(record), Ordering::Relaxed);
        self.report();
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Takes a record when the test says so.
    struct Slow(Receiver<()>, Sender<usize>);

    impl Write for Slow {
        fn write(&mut self, record: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(record.len());
            Ok(record.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stalls_costs_records_but_no_time_and_no_more_memory_than_the_queue() {
        let (go, wait) = channel();
        let (sender, written) = channel();
        let (mut writer, guard) = LogWriter::over(Slow(wait, sender));
        let record = vec![b'x'; 1 << 20];
        for _ in 0..8 {
            writer.write_all(&record).unwrap();
        }
        let lost = writer.counters.lost();
        assert_eq!(lost, Lost { records: 4, bytes: 4 << 20 });
        for _ in 0..4 {
            go.send(()).unwrap();
            assert_eq!(written.recv().unwrap(), record.len());
        }
        writer.write_all(b"end").unwrap();
        go.send(()).unwrap();
        drop(guard);
        assert_eq!(written.try_recv().unwrap(), 3);
        assert_eq!(writer.counters.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn short_records_are_dropped_by_their_bytes_before_there_are_too_many_lines() {
        let (_go, wait) = channel();
        let (sender, _written) = channel();
        let (mut writer, guard) = LogWriter::over(Slow(wait, sender));
        for _ in 0..QUEUE_BYTES / LEAST_RECORD + 1000 {
            writer.write_all(b"short").unwrap();
        }
        assert_eq!(writer.queue.error_counter().dropped_lines(), 0);
        assert_eq!(writer.counters.lost().records, 1000);
        // The thread is blocked: its end would be waited for.
        std::mem::forget(guard);
    }
}
