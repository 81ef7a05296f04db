//! The handlers that Deno's ops of `Deno.cron` call, in place of Deno's own, which has a clock.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use async_trait::async_trait;
use deno_cron::local::LocalCronHandler;
use deno_cron::{CronError, CronHandle, CronHandler, CronNextResult, CronSpec};
use switchyard_protocol::CronRegistration;
use tokio::sync::Notify;

use super::Registry;

/// Crons of a version, as with Deno.
const MAX_CRONS: usize = 100;

/// Bytes of a schedule. The longest useful ones list some minutes, hours and days.
const MAX_SCHEDULE: usize = 256;

/// The end of the crons of a handle.
const OVER: CronNextResult = CronNextResult { active: false, traceparent: None };

/// The handler of the main thread.
pub(super) struct Handler {
    registry: Rc<Registry>,
    /// Deno's own, which judges what may be registered. Its clock never starts, as nobody waits for
    /// its handles.
    judge: LocalCronHandler,
}

/// The handler of web workers.
pub(super) struct Refusal;

/// One registered cron.
pub(super) struct Slot {
    pub(super) registration: CronRegistration,
    /// The run that waits for the handler to be called.
    next: RefCell<Option<String>>,
    /// The run that the handler was called for.
    current: RefCell<Option<String>>,
    /// `true`: it was removed.
    is_removed: Cell<bool>,
    changed: Notify,
}

/// A registered cron, as Deno's ops have it.
struct Handle {
    slot: Rc<Slot>,
    registry: Rc<Registry>,
    judged: Rc<dyn CronHandle>,
}

impl Handler {
    pub(super) fn new(registry: Rc<Registry>) -> Self {
        Self { registry, judge: LocalCronHandler::new() }
    }
}

impl CronHandler for Handler {
    fn create(&self, spec: CronSpec) -> Result<Rc<dyn CronHandle>, CronError> {
        if spec.cron_schedule.len() > MAX_SCHEDULE {
            return Err(CronError::InvalidCron);
        }
        let is_known = self.registry.slots.borrow().contains_key(&spec.name);
        if !is_known && self.registry.slots.borrow().len() >= MAX_CRONS {
            return Err(CronError::TooManyCrons);
        }
        let judged = self.judge.create(spec.clone())?;
        let slot = Rc::new(Slot::new(spec));
        self.registry.slots.borrow_mut().insert(slot.registration.name.clone(), Rc::clone(&slot));
        self.registry.note_change();
        Ok(Rc::new(Handle { slot, registry: Rc::clone(&self.registry), judged }))
    }
}

#[async_trait(?Send)]
impl CronHandle for Handle {
    /// Reports the end of the run before, and waits for the next one.
    async fn next(&self, success: bool) -> Result<CronNextResult, CronError> {
        let name = &self.slot.registration.name;
        if let Some(run) = self.slot.current.take() {
            self.registry.ended(name, run, success);
        }
        loop {
            if self.slot.is_removed.get() || self.registry.is_closed.get() {
                return Ok(OVER);
            }
            if let Some(run) = self.slot.next.take() {
                self.registry.running.borrow_mut().insert(name.clone(), run.clone());
                self.slot.current.replace(Some(run));
                return Ok(CronNextResult { active: true, traceparent: None });
            }
            self.slot.changed.notified().await;
        }
    }

    fn close(&self) {
        if self.slot.is_removed.replace(true) {
            return;
        }
        self.judged.close();
        self.registry.slots.borrow_mut().remove(&self.slot.registration.name);
        self.slot.wake();
        self.registry.note_change();
        if let Some(run) = self.slot.next.take() {
            self.registry.ended(&self.slot.registration.name, run, false);
        }
    }
}

impl Slot {
    fn new(spec: CronSpec) -> Self {
        let CronSpec { name, cron_schedule, backoff_schedule } = spec;
        Self {
            registration: CronRegistration { name, schedule: cron_schedule, backoff_ms: backoff_schedule },
            next: RefCell::default(),
            current: RefCell::default(),
            is_removed: Cell::new(false),
            changed: Notify::new(),
        }
    }

    /// Has the handler called for a run.
    pub(super) fn start(&self, run: String) {
        self.next.replace(Some(run));
        self.wake();
    }

    /// Returns true if the handler was called for this run, and not asked for since.
    pub(super) fn is_called_for(&self, run: &str) -> bool {
        self.current.borrow().as_deref() == Some(run)
    }

    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }
}

impl CronHandler for Refusal {
    fn create(&self, _: CronSpec) -> Result<Rc<dyn CronHandle>, CronError> {
        let why = "a web worker has no crons: call Deno.cron in the entry, or in a module that it imports";
        Err(CronError::RejectedError(why.to_owned()))
    }
}
