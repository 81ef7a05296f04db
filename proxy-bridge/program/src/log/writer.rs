//! The thread that writes the log, and the queue before it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Bytes of records that wait to be written. A reader that is away for a moment misses nothing, and one that is away for good
/// costs no more than this.
const QUEUE: usize = 4 << 20;

/// How long the end of the process waits for the last records to be written.
const FINISH: Duration = Duration::from_secs(1);

/// The log's writer of this process.
static WRITER: OnceLock<Writer> = OnceLock::new();

/// Records that were dropped because the log was not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    pub records: u64,
    pub bytes: u64,
}

/// What this process has lost of its log so far.
pub fn lost() -> Lost {
    WRITER.get().map(|writer| writer.queue().lost).unwrap_or_default()
}

/// Takes whole records, and never waits.
#[derive(Debug, Clone)]
pub(super) struct Writer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    records: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The thread has taken records that are not written yet.
    is_writing: bool,
    lost: Lost,
    reported: Lost,
}

impl Writer {
    /// Starts the thread, which writes to standard error for as long as the process runs.
    pub(super) fn start() -> io::Result<Self> {
        // A descriptor of its own: who holds the lock of `io::stderr` may be waiting for the reader.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let writer = Self(Arc::default());
        let own = writer.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || own.write_all(stderr))?;
        let _ = WRITER.set(writer.clone());
        Ok(writer)
    }

    /// Waits until all is written, but not for long.
    pub(super) fn finish(&self) {
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.records.is_empty();
        let Self(shared) = self;
        drop(shared.changed.wait_timeout_while(self.queue(), FINISH, is_busy));
    }

    fn push(&self, record: &[u8]) {
        let mut queue = self.queue();
        if queue.bytes + record.len() > QUEUE {
            queue.lost.records += 1;
            queue.lost.bytes += record.len() as u64;
            return;
        }
        queue.bytes += record.len();
        queue.records.push_back(record.to_vec());
        drop(queue);
        self.0.changed.notify_all();
    }

    fn write_all(self, mut out: impl Write) {
        loop {
            let record = self.next();
            // Nobody may be there to read it: that is no reason to end.
            let _ = out.write_all(&record);
            self.report();
        }
    }

    /// Waits for the next record.
    fn next(&self) -> Vec<u8> {
        let mut queue = self.queue();
        queue.is_writing = false;
        self.0.changed.notify_all();
        loop {
            if let Some(record) = queue.records.pop_front() {
                queue.bytes -= record.len();
                queue.is_writing = true;
                return record;
            }
            queue = self.0.changed.wait(queue).expect("no holder of this lock panics");
        }
    }

    /// Logs what was lost since it was reported last, once there is room.
    fn report(&self) {
        let mut queue = self.queue();
        let Lost { records, bytes } = queue.lost;
        let new = Lost { records: records - queue.reported.records, bytes: bytes - queue.reported.bytes };
        if new.records == 0 || queue.bytes > QUEUE / 2 {
            return;
        }
        queue.reported = queue.lost;
        drop(queue);
        tracing::warn!(
            dropped_records = new.records,
            dropped_bytes = new.bytes,
            "the log was not read fast enough: {} records of it were dropped before this one",
            new.records
        );
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().expect("no holder of this lock panics")
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Record<'a>;

    fn make_writer(&'a self) -> Record<'a> {
        Record(self)
    }
}

/// Writes one record, which comes as a whole.
pub(super) struct Record<'a>(&'a Writer);

impl Write for Record<'_> {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.0.push(record);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Takes a record when the test says so.
    struct Slow(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, record: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(record.to_vec());
            Ok(record.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stalls_costs_records_but_no_time_and_no_more_memory_than_the_queue() {
        let writer = Writer(Arc::default());
        let (go, wait) = channel();
        let (sender, written) = channel();
        let own = writer.clone();
        std::thread::spawn(move || own.write_all(Slow(wait, sender)));
        let record = vec![b'x'; 1 << 20];
        for _ in 0..8 {
            writer.push(&record);
        }
        let lost = writer.queue().lost;
        // The thread may have taken one already.
        assert!((3..=4).contains(&lost.records), "{lost:?}");
        assert_eq!(lost.bytes, lost.records << 20);
        assert!(writer.queue().bytes <= QUEUE);
        for _ in 0..8 - lost.records {
            go.send(()).unwrap();
            assert_eq!(written.recv().unwrap().len(), record.len());
        }
        writer.finish();
        writer.push(b"end");
        go.send(()).unwrap();
        assert_eq!(written.recv().unwrap(), b"end");
    }
}
