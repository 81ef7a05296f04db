//! The cell's end of the control socket: a thread of its own reads it, so that the router's death and `Drain` are
//! noticed while JavaScript spins.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchyard_protocol::{FromCell, Limit, Start, ToCell};
use tokio::sync::{oneshot, watch};

use crate::disk;
use crate::process::exit_now;

/// How long the project's exit handlers may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// What the main thread holds of it.
pub(crate) struct Control {
    voice: Voice,
    start: Option<oneshot::Receiver<Start>>,
    draining: Draining,
}

/// Tells when the router has sent `Drain`.
#[derive(Clone)]
pub(crate) struct Draining(watch::Receiver<bool>);

impl Draining {
    /// Returns when it has.
    pub(crate) async fn begun(&self) {
        let _ = self.0.clone().wait_for(|begun| *begun).await;
    }
}

/// What any thread may say to the router.
#[derive(Clone)]
pub(crate) struct Voice(Arc<UnixStream>);

impl Voice {
    /// A cell whose router cannot be told anything has no purpose: the reader ends it.
    fn send(&self, message: &FromCell) {
        let mut line = serde_json::to_vec(message).expect("a message has string keys only");
        line.push(b'\n');
        let _ = self.0.as_ref().write_all(&line);
    }

    /// Asks for a count of what is in the project's folders.
    pub(crate) fn out_of_room(&self) {
        self.send(&FromCell::OutOfRoom);
    }

    /// Says so, and ends the process.
    pub(crate) fn exceed(&self, limit: Limit) -> ! {
        self.send(&FromCell::Exceeded(limit));
        exit_now(70)
    }
}

impl Control {
    pub(crate) fn listen(socket: UnixStream) -> io::Result<Self> {
        let socket = Arc::new(socket);
        let heard = Arc::clone(&socket);
        let (start_sender, start) = oneshot::channel();
        let (drain, draining) = watch::channel(false);
        std::thread::Builder::new()
            .name("control".into())
            .stack_size(128 * 1024)
            .spawn(move || read(BufReader::new(&heard), start_sender, &drain))?;
        Ok(Self { voice: Voice(socket), start: Some(start), draining: Draining(draining) })
    }

    pub(crate) fn send(&self, message: &FromCell) {
        self.voice.send(message);
    }

    pub(crate) fn voice(&self) -> Voice {
        self.voice.clone()
    }

    /// The version that this cell is to run. Asked once.
    pub(crate) async fn start(&mut self) -> Start {
        let start = self.start.take().expect("a cell is started once");
        match start.await {
            Ok(start) => start,
            // The reader is gone, and with it the process.
            Err(_) => std::future::pending().await,
        }
    }

    pub(crate) fn draining(&self) -> &Draining {
        &self.draining
    }
}

fn read(mut reader: BufReader<&UnixStream>, start: oneshot::Sender<Start>, drain: &watch::Sender<bool>) -> ! {
    let mut start = Some(start);
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => exit_now(0),
            Ok(_) => {}
        }
        match serde_json::from_str(&line) {
            Ok(ToCell::Start(version)) => match start.take() {
                Some(start) => _ = start.send(*version),
                None => refuse("a second start"),
            },
            Ok(ToCell::Room { bytes, files, is_answer }) => disk::renew(bytes, files, is_answer),
            Ok(ToCell::Drain) if start.is_some() => exit_now(0),
            Ok(ToCell::Drain) => {
                drain.send_replace(true);
                exit_after_goodbye(reader);
            }
            Err(_) => refuse("a line that is no message"),
        }
    }
}

/// The main thread exits when the project has said goodbye, which it does not when it spins.
fn exit_after_goodbye(mut reader: BufReader<&UnixStream>) -> ! {
    let end = Instant::now() + GOODBYE;
    let mut rest = String::new();
    loop {
        // The socket takes no time of zero.
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let _ = reader.get_ref().set_read_timeout(Some(left));
        rest.clear();
        // Counts of the project's folders may come until then.
        if !reader.read_line(&mut rest).is_ok_and(|read| read > 0) {
            exit_now(0)
        }
    }
}

fn refuse(what: &str) -> ! {
    let _ = writeln!(io::stderr(), "switchyard-cell: the router sent {what}");
    exit_now(70)
}
