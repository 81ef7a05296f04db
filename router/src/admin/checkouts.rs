//! `GET /projects/{name}/checkouts`: the versions whose files are still there, and those files.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use switchyard_contract::admin::{CheckoutInfo, Checkouts, DIGEST, OWN_DIGEST, VERSION};
use switchyard_contract::incarnation::InvalidIncarnation;
use switchyard_contract::project::ProjectName;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::answer::{Answer, json, problem, streamed};
use super::deploys::{bad_request, busy};
use super::{Admin, unknown};
use crate::version::Tenant;

/// Each holds a thread while it is sent.
pub(super) const MAX_SENDS: usize = 8;

/// What is written to the network at once, and how many of these may wait for it.
const CHUNK: usize = 64 * 1024;
const CHUNKS: usize = 4;

/// A client that takes nothing for so long is cut off.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);

impl Admin {
    pub(super) async fn checkouts(&self, name: &str, query: Option<&str>) -> Answer {
        let tenant = match self.tenant(name, query) {
            Ok(Some(tenant)) => tenant,
            Ok(None) => return unknown(name),
            Err(wrong) => return bad_request(&wrong),
        };
        let (store, asked) = (self.store.clone(), tenant.clone());
        let listed = spawn_blocking(move || store.list(&asked)).await;
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => {
                let detail = format!("the checkouts cannot be listed: {error}");
                return problem(StatusCode::INTERNAL_SERVER_ERROR, "checkouts", &detail);
            }
        };
        if listed.is_empty() && self.board.one(name).is_none() {
            return unknown(name);
        }
        let table = self.live.load();
        let live = table.get(name).and_then(|entry| entry.live.as_ref()).map(|live| &live.version);
        let live = live.filter(|live| live.incarnation == tenant.incarnation);
        let (live, project) = (live.map(|live| live.digest.short()), tenant.project);
        let checkouts = listed.into_iter().map(|(short, made)| CheckoutInfo {
            version: format!("{project}@{short}"),
            at: Timestamp::try_from(made).unwrap_or_default(),
            live: live.as_ref() == Some(&short),
            short,
        });
        json(StatusCode::OK, &Checkouts { checkouts: checkouts.collect() })
    }

    pub(super) async fn checkout(&self, name: &str, short: &str, query: Option<&str>) -> Answer {
        let tenant = match self.tenant(name, query) {
            Ok(Some(tenant)) => tenant,
            Ok(None) => return unknown(name),
            Err(wrong) => return bad_request(&wrong),
        };
        let Ok(permit) = self.sends.clone().try_acquire_owned() else {
            return busy(&format!("{MAX_SENDS} checkouts are being sent"));
        };
        let (store, digits) = (self.store.clone(), short.to_owned());
        let kept = spawn_blocking(move || store.kept(&tenant, &digits)).await;
        let Ok(Some(kept)) = kept else {
            if self.board.one(name).is_none() {
                return unknown(name);
            }
            let detail = format!("there is no checkout {short:?} of {name} (any more)");
            return problem(StatusCode::NOT_FOUND, "unknown-checkout", &detail);
        };
        let (sender, pieces) = mpsc::channel(CHUNKS);
        let (digest, version) = (header(&kept.version.digest), header(&kept.version));
        let own = kept.own().map(|own| header(&own));
        let chunks = Chunks { sender, runtime: Handle::current() };
        spawn_blocking(move || {
            let _permit = permit;
            let mut out = BufWriter::with_capacity(CHUNK, chunks);
            let sent = kept.write_tar(&mut out).and_then(|()| out.get_mut().end());
            if let Err(error) = sent {
                tracing::warn!(project.version = %kept.version, "a checkout was not sent to its end: {error}");
            }
        });
        let mut answer = streamed("application/x-tar", stream::unfold(Some(pieces), next));
        answer.headers_mut().insert(DIGEST, digest);
        answer.headers_mut().insert(VERSION, version);
        if let Some(own) = own {
            answer.headers_mut().insert(OWN_DIGEST, own);
        }
        answer
    }

    /// Returns the owner of the checkouts that are asked for: the incarnation in `query`, or else
    /// the current one. `None` when the name is no project's.
    ///
    /// # Errors
    /// Why the query is wrong.
    fn tenant(&self, name: &str, query: Option<&str>) -> Result<Option<Tenant>, String> {
        let incarnation = match query.filter(|query| !query.is_empty()) {
            None => self.board.one(name).map(|status| status.incarnation).unwrap_or_default(),
            Some(query) => {
                let text = query.strip_prefix("incarnation=");
                let text =
                    text.ok_or_else(|| format!("the query {query:?} is unknown: use incarnation=ID"))?;
                text.parse().map_err(|error: InvalidIncarnation| error.to_string())?
            }
        };
        Ok(ProjectName::parse(name).ok().map(|project| Tenant::new(&project, incarnation)))
    }
}

fn header(value: &impl ToString) -> HeaderValue {
    HeaderValue::from_str(&value.to_string()).expect("project names and digests are visible ASCII")
}

enum Piece {
    Data(Bytes),
    /// Without it what came is not the whole.
    End,
}

type Pieces = mpsc::Receiver<Piece>;

async fn next(pieces: Option<Pieces>) -> Option<(io::Result<Bytes>, Option<Pieces>)> {
    let mut pieces = pieces?;
    match pieces.recv().await {
        Some(Piece::Data(chunk)) => Some((Ok(chunk), Some(pieces))),
        Some(Piece::End) => None,
        None => Some((Err(io::Error::other("the checkout cannot be read to its end")), None)),
    }
}

/// From the thread that reads files to the connection.
struct Chunks {
    sender: mpsc::Sender<Piece>,
    runtime: Handle,
}

impl Chunks {
    fn send(&self, piece: Piece) -> io::Result<()> {
        // Called on a thread that may wait.
        match self.runtime.block_on(timeout(CLIENT_PATIENCE, self.sender.send(piece))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.send(Piece::End)
    }
}

impl Write for Chunks {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send(Piece::Data(Bytes::copy_from_slice(data)))?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
