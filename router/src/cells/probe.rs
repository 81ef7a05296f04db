//! The router's own request to cells that have not given a good answer for a while. The cell's glue
//! answers it, with a server like the project's but without the project's handler. A project may
//! answer 500 for as long as it likes; a project that has broken its JavaScript engine, so that
//! nothing can be answered any more, gets another process. Probes are never part of a client's
//! request.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::process::Cell;

/// Interval between two looks for suspect cells, as for memory: a look reads one number of each
/// cell.
const LOOKS: Duration = Duration::from_millis(500);

/// Pause after an answered probe before the next one, whatever the project's handler answers.
const REST: Duration = Duration::from_secs(5);

/// Number of unanswered probes in a row that end a cell.
const PROBES: u32 = 2;

/// Time for an answer, in addition to the longest turn of the event loop that the cell may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The probe, with the headers that the glue reads in each request.
const PROBE_REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nhost: probe\r\nx-deno-client-address: 127.0.0.1:1\r\nconnection: close\r\n\r\n";
const PROBE_ANSWER: &[u8; 12] = b"HTTP/1.1 200";

/// The reason why a probe failed.
#[derive(Debug, thiserror::Error)]
enum ProbeFailure {
    #[error("answered {0:?}")]
    Answer(String),
    #[error("no answer: {0}")]
    NoAnswer(std::io::Error),
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
}

/// The prober of suspect cells.
#[derive(Debug, Default)]
pub(super) struct Prober(Mutex<Vec<Weak<Cell>>>);

impl Prober {
    pub(super) fn add(&self, cell: &Arc<Cell>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(cell));
    }

    /// Runs until it is dropped.
    pub(super) async fn run(&self) {
        let mut looks = interval(LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // At most one probe a cell.
        let mut probes = JoinSet::new();
        loop {
            tokio::select! {
                _ = looks.tick() => for cell in self.suspects() {
                    probes.spawn(examine(Arc::downgrade(&cell)));
                },
                // A panic is logged; that cell is not probed again.
                Some(_) = probes.join_next() => {}
            }
        }
    }

    /// The cells to probe now. A debugger may stop a cell for any time, so inspectable ones are
    /// left out.
    fn suspects(&self) -> Vec<Arc<Cell>> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.retain(|cell| cell.upgrade().is_some_and(|cell| !cell.has_exited()));
        let suspect = |cell: &Arc<Cell>| {
            cell.answers().is_suspect() && cell.inspector().is_none() && cell.answers().begin_probes()
        };
        cells.iter().filter_map(Weak::upgrade).filter(suspect).collect()
    }
}

/// Probes a cell. Ends it if it does not answer, and leaves it alone for a while if it does.
async fn examine(cell: Weak<Cell>) {
    let mut wrong = None;
    for _ in 0..PROBES {
        let Some((probe, answer_timeout)) = cell.upgrade().map(|cell| (cell.probe(), answer_timeout(&cell)))
        else {
            return;
        };
        wrong = match timeout(answer_timeout, send_probe(&probe)).await {
            Ok(Ok(())) => None,
            Ok(Err(wrong)) => Some(wrong),
            Err(_) => Some(ProbeFailure::Late(answer_timeout)),
        };
        if wrong.is_none() {
            break;
        }
        sleep(LOOKS).await;
    }
    match (wrong, cell.upgrade()) {
        (Some(wrong), Some(cell)) => cell.end_as_unhealthy(wrong.to_string()),
        (None, Some(cell)) => cell.answers().good(),
        (_, None) => return,
    }
    sleep(REST).await;
    if let Some(cell) = cell.upgrade() {
        cell.answers().end_probes();
    }
}

/// The time that a cell has to answer a probe.
fn answer_timeout(cell: &Cell) -> Duration {
    let turn = cell.limits().map_or(0, |limits| limits.event_loop_ms);
    Duration::from_millis(turn) + PATIENCE
}

/// Sends a probe. A cell that does not listen for it has no server any more, or could not make
/// another one: it passes.
async fn send_probe(probe: &Path) -> Result<(), ProbeFailure> {
    let Ok(mut stream) = UnixStream::connect(probe).await else { return Ok(()) };
    let mut answer = [0; PROBE_ANSWER.len()];
    let exchange = async {
        stream.write_all(PROBE_REQUEST).await?;
        stream.read_exact(&mut answer).await
    };
    match exchange.await {
        Ok(_) if answer == *PROBE_ANSWER => Ok(()),
        Ok(_) => Err(ProbeFailure::Answer(String::from_utf8_lossy(&answer).into_owned())),
        Err(error) => Err(ProbeFailure::NoAnswer(error)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn a_probe_is_answered_with_200_and_with_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ping");
        assert!(send_probe(&path).await.is_ok(), "nobody listens");
        let listener = UnixListener::bind(&path).unwrap();
        for (text, is_good) in [("HTTP/1.1 200 OK\r\n", true), ("HTTP/1.1 500 No\r\n", false), ("", false)] {
            let served = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut question = vec![0; PROBE_REQUEST.len()];
                stream.read_exact(&mut question).await.unwrap();
                stream.write_all(text.as_bytes()).await.unwrap();
            };
            let (answer, ()) = tokio::join!(send_probe(&path), served);
            assert_eq!(answer.is_ok(), is_good, "{answer:?}");
        }
    }
}
