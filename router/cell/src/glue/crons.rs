//! `Deno.cron` without a clock: what the entry registers is reported to the router, which says when
//! a handler runs, and for which run.

mod handler;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use deno_core::{JsRuntime, OpState, unsync, v8};
use deno_cron::CronHandler;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use self::handler::{Handler, Refusal, Slot};
use crate::glue::requests;
use crate::js;
use crate::kernel::control::{JobMessage, Reporter};

/// Least time between two reports of the crons that are registered: one that registers crons in
/// each request does not flood the router.
const PAUSE: Duration = Duration::from_secs(1);

/// The crons of the main thread.
#[derive(Clone)]
pub(crate) struct Crons {
    registry: Rc<Registry>,
    stub: v8::Global<v8::Function>,
}

/// The registered crons, shared with Deno's ops.
struct Registry {
    slots: RefCell<BTreeMap<String, Rc<Slot>>>,
    /// The runs of handlers that have been called, by the crons' names.
    running: RefCell<BTreeMap<String, String>>,
    reporter: Reporter,
    /// `true`: no handler is called any more.
    is_closed: Cell<bool>,
    /// `true`: the router does not know what is registered now.
    is_unreported: Cell<bool>,
    changed: Notify,
}

impl Crons {
    /// Takes over `Deno.cron`. Must be called before any of the project's code runs.
    pub(crate) fn install(runtime: &mut JsRuntime, reporter: Reporter) -> Self {
        let registry = Rc::new(Registry::new(reporter));
        let state = runtime.op_state();
        let mut state = state.borrow_mut();
        state.put::<Rc<dyn CronHandler>>(Rc::new(Handler::new(Rc::clone(&registry))));
        state.put(Rc::clone(&registry));
        drop(state);
        let glue = js::load_function(runtime, "ext:switchyard/crons.js", include_str!("crons.js"));
        deno_core::scope!(scope, runtime);
        let glue = v8::Local::new(scope, glue);
        let natives = [v8::Function::new(scope, begin), v8::Function::new(scope, end)];
        let natives = natives.map(|native| native.expect("V8 has memory at its start").into());
        let this = v8::undefined(scope).into();
        let stub = glue.call(scope, this, &natives).expect("the cell's own code does not throw");
        let stub = v8::Local::<v8::Function>::try_from(stub).expect("the glue returns a function");
        Self { registry, stub: v8::Global::new(scope, stub) }
    }

    /// Follows the router's messages, and reports what is registered.
    pub(crate) fn follow(&self, messages: mpsc::Receiver<JobMessage>) {
        unsync::spawn(Rc::clone(&self.registry).follow(messages));
    }

    /// Reports what is registered, if the router does not know it.
    pub(crate) fn report(&self) {
        self.registry.report();
    }

    /// Calls no handler any more, and no longer keeps the event loop alive for the next due time.
    pub(crate) fn close(&self) {
        self.registry.close();
    }

    /// Returns true if nothing is registered.
    pub(crate) fn is_empty(&self) -> bool {
        self.registry.slots.borrow().is_empty()
    }

    /// Returns exports that answer every request with 404, for an entry that serves nothing.
    pub(crate) fn stub(&self, runtime: &mut JsRuntime) -> Option<v8::Global<v8::Object>> {
        let exports = js::call(runtime, &self.stub);
        deno_core::scope!(scope, runtime);
        let exports = v8::Local::new(scope, exports);
        v8::Local::<v8::Object>::try_from(exports).ok().map(|exports| v8::Global::new(scope, exports))
    }
}

/// Makes `Deno.cron` throw in a web worker: only the entry's thread has crons.
pub(crate) fn refuse(runtime: &JsRuntime) {
    runtime.op_state().borrow_mut().put::<Rc<dyn CronHandler>>(Rc::new(Refusal));
}

impl Registry {
    fn new(reporter: Reporter) -> Self {
        Self {
            slots: RefCell::default(),
            running: RefCell::default(),
            reporter,
            is_closed: Cell::new(false),
            is_unreported: Cell::new(false),
            changed: Notify::new(),
        }
    }

    fn of(state: &OpState) -> Option<Rc<Self>> {
        state.try_borrow::<Rc<Self>>().cloned()
    }

    async fn follow(self: Rc<Self>, mut messages: mpsc::Receiver<JobMessage>) {
        let mut report_at: Option<Instant> = None;
        let mut earliest = Instant::now();
        loop {
            let report_due = async {
                match report_at {
                    Some(at) => sleep_until(at).await,
                    None => self.changed.notified().await,
                }
            };
            tokio::select! {
                message = messages.recv() => match message {
                    Some(JobMessage::RunCron { name, run }) => self.run(&name, run),
                    Some(JobMessage::Cancel { .. } | JobMessage::StepReply(_)) => {}
                    None => return,
                },
                () = report_due => match report_at.take() {
                    Some(_) => {
                        self.report();
                        earliest = Instant::now() + PAUSE;
                    }
                    None => report_at = Some(earliest.max(Instant::now())),
                },
            }
        }
    }

    /// Has the handler of a cron called.
    fn run(&self, name: &str, run: String) {
        let slot = self.slots.borrow().get(name).cloned();
        match slot {
            Some(slot) => slot.start(run),
            // It was removed after the router had looked.
            None => self.ended(name, run, false),
        }
    }

    fn ended(&self, name: &str, run: String, success: bool) {
        self.running.borrow_mut().remove(name);
        // The router reads the streams beside the socket, and may come to them later.
        requests::end_output(&run);
        self.reporter.cron_ended(name.to_owned(), run, success);
    }

    fn report(&self) {
        if !self.is_unreported.replace(false) {
            return;
        }
        let crons = self.slots.borrow().values().map(|slot| slot.registration.clone()).collect();
        self.reporter.crons(crons);
    }

    fn note_change(&self) {
        self.is_unreported.set(true);
        self.changed.notify_one();
    }

    fn close(&self) {
        self.is_closed.set(true);
        self.slots.borrow().values().for_each(|slot| slot.wake());
    }
}

/// Called by the glue when a handler is called. Returns the run's id, which marks its output.
fn begin(
    scope: &mut v8::PinScope<'_, '_>,
    args: v8::FunctionCallbackArguments<'_>,
    mut value: v8::ReturnValue<'_>,
) {
    let name = args.get(0).to_rust_string_lossy(scope);
    let state = JsRuntime::op_state_from(scope);
    let registry = Registry::of(&state.borrow());
    let run = registry.and_then(|registry| registry.running.borrow().get(&name).cloned());
    let run = run.unwrap_or_default();
    if let Some(run) = v8::String::new(scope, &run) {
        value.set(run.into());
    }
}

/// Called by the glue when a handler has ended. Deno prints its error next, and then asks for the
/// next run, which reports the end; but not for a cron that was removed meanwhile.
fn end(scope: &mut v8::PinScope<'_, '_>, args: v8::FunctionCallbackArguments<'_>, _: v8::ReturnValue<'_>) {
    let (name, run) = (args.get(0).to_rust_string_lossy(scope), args.get(1).to_rust_string_lossy(scope));
    let success = args.get(2).is_true();
    let state = JsRuntime::op_state_from(scope);
    let registry = Registry::of(&state.borrow());
    let Some(registry) = registry else { return };
    let is_asked = registry.slots.borrow().get(&name).is_some_and(|slot| slot.is_called_for(&run));
    if !is_asked {
        registry.ended(&name, run, success);
    }
}
