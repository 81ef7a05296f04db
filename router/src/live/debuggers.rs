//! The debuggers that are attached to a project's processes. Time limits for such a process are
//! suspended meanwhile, because at a breakpoint it stands still.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::pin;
use tokio::sync::watch;
use tokio::time::timeout;

/// The number of debuggers of one project, whichever of its versions they are attached to. Made by the
/// first one that needs it, as hardly any project is debugged.
#[derive(Debug, Default)]
pub(crate) struct Debuggers(OnceLock<watch::Sender<usize>>);

/// An attached debugger, until it is dropped.
#[derive(Debug)]
pub(crate) struct DebugSession(Arc<Debuggers>);

impl Debuggers {
    pub(crate) fn attach(self: &Arc<Self>) -> DebugSession {
        self.count().send_modify(|count| *count += 1);
        DebugSession(self.clone())
    }

    fn count(&self) -> &watch::Sender<usize> {
        self.0.get_or_init(|| watch::Sender::new(0))
    }

    /// The output of `future`, if it comes within `time`. When that is over, `left` may grant more
    /// time. While a debugger is attached the time does not end; it begins anew when the last one
    /// detaches.
    pub(crate) async fn within<F: Future>(
        &self,
        time: Duration,
        left: impl Fn() -> Option<Duration>,
        future: F,
    ) -> Option<F::Output> {
        pin!(future);
        let mut wait = time;
        loop {
            if let Ok(output) = timeout(wait, future.as_mut()).await {
                return Some(output);
            }
            if let Some(left) = left() {
                wait = left;
                continue;
            }
            wait = time;
            let mut attached = self.count().subscribe();
            if *attached.borrow() == 0 {
                return None;
            }
            tokio::select! {
                output = future.as_mut() => return Some(output),
                _ = attached.wait_for(|count| *count == 0) => {}
            }
        }
    }
}

impl Drop for DebugSession {
    fn drop(&mut self) {
        self.0.count().send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn time_runs_out_when_no_debugger_is_attached() {
        assert_eq!(Debuggers::default().within(SHORT, || None, std::future::pending::<()>()).await, None);
        assert_eq!(Debuggers::default().within(SHORT, || None, async { 1 }).await, Some(1));
    }

    #[tokio::test]
    async fn it_does_not_while_a_debugger_is_attached() {
        let debuggers = Arc::new(Debuggers::default());
        let attached = debuggers.attach();
        let (answer, answered) = oneshot::channel();
        let waiting = tokio::spawn({
            let debuggers = debuggers.clone();
            async move { debuggers.within(SHORT, || None, answered).await }
        });
        tokio::time::sleep(10 * SHORT).await;
        answer.send(1).unwrap();
        assert_eq!(waiting.await.unwrap(), Some(Ok(1)));
        let waiting =
            tokio::spawn(async move { debuggers.within(SHORT, || None, std::future::pending::<()>()).await });
        tokio::time::sleep(10 * SHORT).await;
        assert!(!waiting.is_finished());
        drop(attached);
        assert_eq!(waiting.await.unwrap(), None);
    }
}
