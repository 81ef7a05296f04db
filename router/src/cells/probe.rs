//! The router's own question to cells that have not given a good answer for a while. The cell's
//! glue answers it, by a server like the project's and without the project's handler: a project may
//! answer 500 for as long as it likes, but one that has broken JavaScript under itself, so that no
//! answer can be made any more, is given another process. Never asked on the way of a request.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::process::Cell;

/// So many answers in a row that are errors (4xx: Node's parser of requests can be broken too) or
/// never came make a cell suspect. It is asked, and nothing else: a probe costs it as much as a
/// request.
const SUSPECT: u32 = 3;

/// Twice a second, as for memory: a look is one number of each cell.
const LOOKS: Duration = Duration::from_millis(500);

/// One that answered is not asked again for so long, whatever its handler answers.
const REST: Duration = Duration::from_secs(5);

/// So many probes in a row without an answer end a cell.
const PROBES: u32 = 2;

/// A cell may take as long for an answer as for its longest turn, and so much more.
const PATIENCE: Duration = Duration::from_secs(2);

/// With what the glue looks at in each request.
const QUESTION: &[u8] =
    b"GET / HTTP/1.1\r\nhost: probe\r\nx-deno-client-address: 127.0.0.1:1\r\nconnection: close\r\n\r\n";
const ANSWER: &[u8; 12] = b"HTTP/1.1 200";

/// The answers of one cell. On the path of every request: a relaxed load.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// How many in a row were errors or never came.
    bad: AtomicU32,
    is_asked: AtomicBool,
}

/// A request that is in the cell. Dropped without an answer, for whatever reason, it counts as one
/// that never came.
pub(crate) struct Awaited<'a>(Option<&'a Answers>);

impl Answers {
    /// Counts what becomes of a request.
    pub(crate) fn awaited(&self) -> Awaited<'_> {
        Awaited(Some(self))
    }

    fn good(&self) {
        if self.bad.load(Relaxed) != 0 {
            self.bad.store(0, Relaxed);
        }
    }

    fn are_suspect(&self) -> bool {
        self.bad.load(Relaxed) >= SUSPECT
    }
}

impl Awaited<'_> {
    /// The cell has answered.
    pub(crate) fn answered(mut self, status: http::StatusCode) {
        if !status.is_client_error()
            && !status.is_server_error()
            && let Some(answers) = self.0.take()
        {
            answers.good();
        }
    }

    /// The cell did not get it.
    pub(crate) fn not_sent(mut self) {
        self.0 = None;
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if let Some(answers) = self.0 {
            answers.bad.fetch_add(1, Relaxed);
        }
    }
}

/// Asks the cells that are suspect.
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
        // At most one for each cell.
        let mut probes = JoinSet::new();
        loop {
            tokio::select! {
                _ = looks.tick() => for cell in self.suspects() {
                    probes.spawn(examine(Arc::downgrade(&cell)));
                },
                // A panic is logged; that cell is not asked again.
                Some(_) = probes.join_next() => {}
            }
        }
    }

    /// The cells that are to be asked now. A debugger may hold one for as long as it likes.
    fn suspects(&self) -> Vec<Arc<Cell>> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.retain(|cell| cell.upgrade().is_some_and(|cell| !cell.has_exited()));
        let suspect = |cell: &Arc<Cell>| {
            cell.answers().are_suspect()
                && cell.inspector().is_none()
                && !cell.answers().is_asked.swap(true, Relaxed)
        };
        cells.iter().filter_map(Weak::upgrade).filter(suspect).collect()
    }
}

/// Asks a cell, ends it if it does not answer, and leaves it alone for a while if it does.
async fn examine(cell: Weak<Cell>) {
    let mut wrong = None;
    for _ in 0..PROBES {
        let Some((probe, patience)) = cell.upgrade().map(|cell| (cell.probe(), patience(&cell))) else {
            return;
        };
        wrong = match timeout(patience, ask(&probe)).await {
            Ok(Ok(())) => None,
            Ok(Err(wrong)) => Some(wrong),
            Err(_) => Some(format!("no answer within {} ms", patience.as_millis())),
        };
        if wrong.is_none() {
            break;
        }
        sleep(LOOKS).await;
    }
    match (wrong, cell.upgrade()) {
        (Some(wrong), Some(cell)) => cell.end_as_unhealthy(wrong),
        (None, Some(cell)) => cell.answers().good(),
        (_, None) => return,
    }
    sleep(REST).await;
    if let Some(cell) = cell.upgrade() {
        cell.answers().is_asked.store(false, Relaxed);
    }
}

fn patience(cell: &Cell) -> Duration {
    let turn = cell.limits().map_or(0, |limits| limits.event_loop_ms);
    Duration::from_millis(turn) + PATIENCE
}

/// A cell whose probe nobody listens for has no server any more, or could not make another one: no
/// verdict.
async fn ask(probe: &Path) -> Result<(), String> {
    let Ok(mut stream) = UnixStream::connect(probe).await else { return Ok(()) };
    let mut answer = [0; ANSWER.len()];
    let exchange = async {
        stream.write_all(QUESTION).await?;
        stream.read_exact(&mut answer).await
    };
    match exchange.await {
        Ok(_) if answer == *ANSWER => Ok(()),
        Ok(_) => Err(format!("answered {:?}", String::from_utf8_lossy(&answer))),
        Err(error) => Err(format!("no answer: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use tokio::net::UnixListener;

    use super::*;

    fn after(outcomes: &[Option<u16>]) -> bool {
        let answers = Answers::default();
        for outcome in outcomes {
            let awaited = answers.awaited();
            if let Some(status) = outcome {
                awaited.answered(StatusCode::from_u16(*status).unwrap());
            }
        }
        answers.awaited().not_sent();
        answers.are_suspect()
    }

    #[test]
    fn three_bad_answers_in_a_row_make_a_cell_suspect_and_a_good_one_clears_it() {
        assert!(!after(&[]) && !after(&[Some(500), None]));
        assert!(after(&[Some(500), None, Some(400)]));
        assert!(!after(&[Some(500), None, Some(503), Some(302)]));
        assert!(!after(&[Some(500), Some(200), None, Some(500)]));
    }

    #[tokio::test]
    async fn a_probe_is_answered_with_200_and_with_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ping");
        assert_eq!(ask(&path).await, Ok(()), "nobody listens");
        let listener = UnixListener::bind(&path).unwrap();
        for (text, is_good) in [("HTTP/1.1 200 OK\r\n", true), ("HTTP/1.1 500 No\r\n", false), ("", false)] {
            let served = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut question = vec![0; QUESTION.len()];
                stream.read_exact(&mut question).await.unwrap();
                stream.write_all(text.as_bytes()).await.unwrap();
            };
            let (answer, ()) = tokio::join!(ask(&path), served);
            assert_eq!(answer.is_ok(), is_good, "{answer:?}");
        }
    }
}
