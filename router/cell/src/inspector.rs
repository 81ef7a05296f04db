//! The way in for debuggers: WebSockets that speak Chrome's DevTools protocol, on a socket that the router alone can reach. On
//! a thread of its own, as the one that runs JavaScript stands still at a breakpoint.

use std::future::ready;
use std::io;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deno_core::futures::StreamExt as _;
use deno_core::futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use deno_core::{InspectorMsg, InspectorSessionChannels, InspectorSessionKind, InspectorSessionProxy};
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, WebSocketRead, WebSocketWrite};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, coop};
use tokio::time::timeout;

use crate::control::Draining;
use crate::watchdog::Pulse;

/// Debuggers at once; one more is not answered.
const MAX_SESSIONS: usize = 8;

/// The largest message of a debugger, in bytes: the text of a changed script is one.
const MAX_MESSAGE: usize = 16 << 20;

/// Messages of a debugger that V8 has not taken: it takes none while JavaScript spins without end.
const MAX_UNTAKEN: usize = 4096;

/// Messages that a debugger has not read. All scripts of a large project are thousands, a profile of its heap more.
const MAX_UNREAD: usize = 1 << 16;

/// How long a debugger may take to hear why it is sent away.
const GOODBYE: Duration = Duration::from_millis(200);

const STACK: usize = 256 * 1024;

/// Codes of RFC 6455, 7.4.1.
const GOING_AWAY: u16 = 1001;
const VIOLATION: u16 = 1008;

/// The thread that listens.
pub(crate) struct Inspector {
    /// Closed when the last debugger is gone.
    ended: oneshot::Receiver<()>,
}

/// What a debugger is let in with.
#[derive(Clone)]
struct Door {
    version: Arc<str>,
    /// To V8's inspector.
    sessions: UnboundedSender<InspectorSessionProxy>,
    pulse: Pulse,
    draining: Draining,
}

/// Why a debugger is sent away.
type Reason = (u16, String);

impl Inspector {
    /// Listens for debuggers of `version`, until it is drained.
    pub(crate) fn listen(
        listener: UnixListener,
        version: &str,
        sessions: UnboundedSender<InspectorSessionProxy>,
        pulse: Pulse,
        draining: Draining,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let door = Door { version: version.into(), sessions, pulse, draining };
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("inspector".into()).stack_size(STACK).spawn(move || {
            let _end = end;
            runtime.block_on(door.open(listener))
        })?;
        Ok(Self { ended })
    }

    /// Returns when every debugger has been sent away. They are when the version is drained.
    pub(crate) async fn ended(&mut self) {
        let _ = (&mut self.ended).await;
    }
}

impl Door {
    async fn open(self, listener: UnixListener) -> io::Result<()> {
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let mut sessions = JoinSet::new();
        loop {
            let door = self.clone();
            tokio::select! {
                _ = self.draining.begun() => break,
                Ok((stream, _)) = listener.accept(), if sessions.len() < MAX_SESSIONS => {
                    sessions.spawn(door.connected(stream));
                }
                Some(_) = sessions.join_next() => {}
            }
        }
        while sessions.join_next().await.is_some() {}
        Ok(())
    }

    /// Serves one connection of the router.
    async fn connected(self, stream: UnixStream) {
        let switched = Arc::new(Mutex::new(None::<UpgradeFut>));
        let switch = service_fn(|mut request: hyper::Request<Incoming>| {
            ready(upgrade(&mut request).map(|(answer, websocket)| {
                *switched.lock().expect("no panic while it is held") = Some(websocket);
                answer
            }))
        });
        // What is no WebSocket is hung up on.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), switch).with_upgrades().await;
        let websocket = switched.lock().expect("no panic while it is held").take();
        let Some(websocket) = websocket else { return };
        if let Ok(websocket) = websocket.await {
            let (reading, writing) = websocket.split(tokio::io::split);
            self.debugged(reading, writing).await;
        }
    }

    /// One debugger, until it leaves or is sent away.
    async fn debugged(
        self,
        mut reading: WebSocketRead<impl AsyncRead + Unpin>,
        writing: WebSocketWrite<impl AsyncWrite + Unpin>,
    ) {
        reading.set_max_message_size(MAX_MESSAGE);
        let (to_debugger, from_v8) = unbounded();
        let (to_v8, from_debugger) = unbounded();
        let _attached = self.pulse.attach();
        let channels = InspectorSessionChannels::Regular { tx: to_debugger, rx: from_debugger };
        // Nothing of the version waits for a debugger to leave.
        let kind = InspectorSessionKind::NonBlocking { wait_for_disconnect: false };
        let _ = self.sessions.unbounded_send(InspectorSessionProxy { channels, kind });
        let (frames, unsent) = mpsc::channel(MAX_UNREAD);
        let mut sent = std::pin::pin!(send(unsent, writing));
        // What V8 hears from ends with this, and JavaScript that stood still goes on.
        let reason = tokio::select! {
            biased;
            () = &mut sent => return,
            _ = self.draining.begun() => Some((GOING_AWAY, format!("{} is retired", self.version))),
            reason = hear(reading, to_v8, frames.clone()) => reason,
            reason = tell(from_v8, frames.clone()) => Some(reason),
        };
        if let Some((code, reason)) = reason {
            let _ = frames.try_send(Frame::close(code, reason.as_bytes()));
        }
        drop(frames);
        let _ = timeout(GOODBYE, sent).await;
    }
}

/// Hands to V8 what the debugger says. Ends when it leaves.
async fn hear(
    reading: WebSocketRead<impl AsyncRead + Unpin>,
    to_v8: UnboundedSender<String>,
    frames: mpsc::Sender<Frame<'static>>,
) -> Option<Reason> {
    let mut reading = FragmentCollectorRead::new(reading);
    let mut answer = |frame| ready(frames.try_send(frame).map_err(|_| io::ErrorKind::BrokenPipe.into()));
    loop {
        let frame = reading.read_frame::<_, io::Error>(&mut answer).await.ok()?;
        match frame.opcode {
            OpCode::Text => {
                let message = String::from_utf8_lossy(&frame.payload).into_owned();
                if to_v8.len() >= MAX_UNTAKEN {
                    return Some((VIOLATION, "more messages than are taken".to_owned()));
                }
                // It fails for a V8 that has ended, and so has the process.
                let _ = to_v8.unbounded_send(message);
            }
            OpCode::Close => return None,
            _ => {}
        }
    }
}

/// Queues for the debugger what V8 says.
async fn tell(mut from_v8: UnboundedReceiver<InspectorMsg>, frames: mpsc::Sender<Frame<'static>>) -> Reason {
    while let Some(message) = from_v8.next().await {
        let frame = Frame::text(message.content.into_bytes().into());
        if frames.try_send(frame).is_err() {
            return (VIOLATION, "more messages than are read".to_owned());
        }
        // What it queues is sent by the same thread.
        coop::consume_budget().await;
    }
    (GOING_AWAY, "the version has ended".to_owned())
}

/// Sends until nobody queues any more, or the debugger is gone.
async fn send(
    mut unsent: mpsc::Receiver<Frame<'static>>,
    mut writing: WebSocketWrite<impl AsyncWrite + Unpin>,
) {
    while let Some(frame) = unsent.recv().await {
        if writing.write_frame(frame).await.is_err() {
            return;
        }
    }
}
