//! The inspector: WebSockets that speak Chrome's DevTools protocol, on a socket that only the
//! router can reach. It has a thread of its own, as the JavaScript thread stops at a breakpoint.

use std::future::ready;
use std::io;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};
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

use crate::kernel::control::DrainSignal;
use crate::kernel::watchdog::Pulse;

/// Debuggers at once. Further ones wait.
const MAX_SESSIONS: usize = 8;

/// The largest message of a debugger in bytes, such as the text of a changed script.
const MAX_MESSAGE: usize = 16 << 20;

/// Messages of a debugger that V8 has not read: it reads none while JavaScript never returns.
const MAX_INCOMING: usize = 4096;

/// Messages that a debugger has not read. The scripts of a large project are thousands, a profile
/// of its heap more.
const MAX_OUTGOING: usize = 1 << 16;

/// The time for sending the reason of a disconnection.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// The stack of the thread, in bytes.
const STACK: usize = 256 * 1024;

/// Status codes of RFC 6455, 7.4.1.
const GOING_AWAY: u16 = 1001;
const VIOLATION: u16 = 1008;

/// The thread that listens for debuggers.
pub(crate) struct Inspector {
    /// Closed when the last debugger has been disconnected.
    ended: oneshot::Receiver<()>,
}

/// Accepts debuggers and connects them with V8.
#[derive(Clone)]
struct DebuggerService {
    version: Arc<str>,
    /// Sends sessions to V8's inspector.
    sessions: UnboundedSender<InspectorSessionProxy>,
    pulse: Pulse,
    draining: DrainSignal,
}

/// The status code and the text of a disconnection.
type CloseReason = (u16, String);

impl Inspector {
    /// Listens for debuggers of `version` until it is drained.
    ///
    /// # Errors
    /// The thread or its runtime cannot be started.
    pub(crate) fn listen(
        listener: UnixListener,
        version: &str,
        sessions: UnboundedSender<InspectorSessionProxy>,
        pulse: Pulse,
        draining: DrainSignal,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let service = DebuggerService { version: version.into(), sessions, pulse, draining };
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("inspector".into()).stack_size(STACK).spawn(move || {
            let _end = end;
            runtime.block_on(service.run(listener))
        })?;
        Ok(Self { ended })
    }

    /// Returns when every debugger has been disconnected, which a drain of the version does.
    pub(crate) async fn ended(&mut self) {
        let _ = (&mut self.ended).await;
    }
}

impl DebuggerService {
    async fn run(self, listener: UnixListener) -> io::Result<()> {
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let mut sessions = JoinSet::new();
        loop {
            let service = self.clone();
            tokio::select! {
                _ = self.draining.started() => break,
                Ok((stream, _)) = listener.accept(), if sessions.len() < MAX_SESSIONS => {
                    sessions.spawn(service.serve_connection(stream));
                }
                Some(_) = sessions.join_next() => {}
            }
        }
        while sessions.join_next().await.is_some() {}
        Ok(())
    }

    /// Serves one connection of the router.
    async fn serve_connection(self, stream: UnixStream) {
        let switched = Arc::new(Mutex::new(None::<UpgradeFut>));
        let switch = service_fn(|mut request: hyper::Request<Incoming>| {
            ready(upgrade(&mut request).map(|(answer, websocket)| {
                *switched.lock().unwrap_or_else(PoisonError::into_inner) = Some(websocket);
                answer
            }))
        });
        // A connection that does not become a WebSocket is closed.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), switch).with_upgrades().await;
        let websocket = switched.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(websocket) = websocket else { return };
        if let Ok(websocket) = websocket.await {
            let (reading, writing) = websocket.split(tokio::io::split);
            self.debug(reading, writing).await;
        }
    }

    /// Connects one debugger with V8 until either of them ends.
    async fn debug(
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
        let (frames, unsent) = mpsc::channel(MAX_OUTGOING);
        let mut sent = std::pin::pin!(send(unsent, writing));
        // The end of this drops V8's channel, and stopped JavaScript continues.
        let reason = tokio::select! {
            biased;
            () = &mut sent => return,
            _ = self.draining.started() => Some((GOING_AWAY, format!("{} is retired", self.version))),
            reason = forward_to_v8(reading, to_v8, frames.clone()) => reason,
            reason = forward_to_debugger(from_v8, frames.clone()) => Some(reason),
        };
        if let Some((code, reason)) = reason {
            let _ = frames.try_send(Frame::close(code, reason.as_bytes()));
        }
        drop(frames);
        let _ = timeout(CLOSE_TIMEOUT, sent).await;
    }
}

/// Forwards the debugger's messages to V8. Ends when the debugger disconnects.
async fn forward_to_v8(
    reading: WebSocketRead<impl AsyncRead + Unpin>,
    to_v8: UnboundedSender<String>,
    frames: mpsc::Sender<Frame<'static>>,
) -> Option<CloseReason> {
    let mut reading = FragmentCollectorRead::new(reading);
    let mut answer = |frame| ready(frames.try_send(frame).map_err(|_| io::ErrorKind::BrokenPipe.into()));
    loop {
        let frame = reading.read_frame::<_, io::Error>(&mut answer).await.ok()?;
        match frame.opcode {
            OpCode::Text => {
                let message = String::from_utf8_lossy(&frame.payload).into_owned();
                if to_v8.len() >= MAX_INCOMING {
                    return Some((VIOLATION, "too many messages that V8 has not read".to_owned()));
                }
                // Fails only if V8, and so the process, has ended.
                let _ = to_v8.unbounded_send(message);
            }
            OpCode::Close => return None,
            _ => {}
        }
    }
}

/// Queues V8's messages for the debugger.
async fn forward_to_debugger(
    mut from_v8: UnboundedReceiver<InspectorMsg>,
    frames: mpsc::Sender<Frame<'static>>,
) -> CloseReason {
    while let Some(message) = from_v8.next().await {
        let frame = Frame::text(message.content.into_bytes().into());
        if frames.try_send(frame).is_err() {
            return (VIOLATION, "too many messages that the debugger has not read".to_owned());
        }
        // The same thread sends the queued messages.
        coop::consume_budget().await;
    }
    (GOING_AWAY, "the version has ended".to_owned())
}

/// Sends queued frames until the queue is closed or the debugger has disconnected.
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
