//! The cell's end of the framed transport: requests that come as frames are given to the handler of
//! the server that is served, and its responses leave as frames. `transport.js` is JavaScript's part.
//!
//! A connection's task ([`reading`]) takes frames, and queues the requests. JavaScript runs in the event loop: [`Transport::run`] gives it the requests one by one,
//! and writes the responses, a few at a time, before the turn ends. Everything of an isolate is on
//! its thread.

mod compress;
mod connection;
mod exchange;
mod head;
mod listener;
mod natives;
mod pieces;
mod reading;
mod request_body;
mod response_body;
mod server;
mod text;
mod values;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use deno_core::{JsRuntime, V8TaskSpawner, v8};
use rustc_hash::FxHashMap;
use slab::Slab;

use self::exchange::{Connection, Exchange};
use self::listener::Listener;
use crate::js;

/// The longest time for which requests are given to JavaScript in one turn of the event loop: other
/// tasks, and the watchdog, get their turn too. Longer than most handlers take.
const TURN: Duration = Duration::from_millis(2);

/// The state of an isolate's transport.
pub(super) struct Transport {
    spawner: V8TaskSpawner,
    /// Listeners of servers that are served or end, by ids that are never used again.
    listeners: RefCell<FxHashMap<u32, Rc<Listener>>>,
    last_listener: Cell<u32>,
    /// Requests that JavaScript has not answered in full, by the ids that it knows them by.
    exchanges: RefCell<Slab<Rc<Exchange>>>,
    queue: RefCell<VecDeque<Event>>,
    /// `true`: the event loop will call [`Self::run`].
    is_scheduled: Cell<bool>,
    /// `true`: it does so now.
    is_running: Cell<bool>,
    /// Connections with responses that leave at the end of the turn.
    unsent: RefCell<Vec<Rc<Connection>>>,
    scratch: RefCell<natives::Scratch>,
    /// The compressors of responses of Node's servers, by the ids that JavaScript knows them by.
    compressors: RefCell<Slab<compress::Compressor>>,
}

/// A call of JavaScript.
enum Event {
    /// A request, for its listener's handler.
    Request(Rc<Exchange>),
    /// A function.
    Call(v8::Global<v8::Function>),
}

/// Loads the JavaScript. Must be called before any of the project's code runs.
pub(super) fn prepare(runtime: &mut JsRuntime) {
    let state = runtime.op_state();
    let spawner = state.borrow().borrow::<V8TaskSpawner>().clone();
    state.borrow_mut().put(Rc::new(Transport::new(spawner)));
    let request = include_str!("transport/request.js");
    js::load_module(runtime, "ext:switchyard/transport/request.js", request);
    let glue = include_str!("transport.js");
    let install = js::load_function(runtime, "ext:switchyard/transport.js", glue);
    deno_core::scope!(scope, runtime);
    let install = v8::Local::new(scope, install);
    let functions = natives::object(scope).into();
    let this = v8::undefined(scope).into();
    install.call(scope, this, &[functions]).expect("the cell's own code does not throw");
}

impl Transport {
    fn new(spawner: V8TaskSpawner) -> Self {
        Self {
            spawner,
            listeners: RefCell::default(),
            last_listener: Cell::new(0),
            exchanges: RefCell::default(),
            queue: RefCell::default(),
            is_scheduled: Cell::new(false),
            is_running: Cell::new(false),
            unsent: RefCell::default(),
            scratch: RefCell::default(),
            compressors: RefCell::default(),
        }
    }

    /// Returns the transport of the isolate.
    fn of(isolate: &v8::Isolate) -> Rc<Self> {
        let state = JsRuntime::op_state_from(isolate);
        Rc::clone(state.borrow().borrow::<Rc<Self>>())
    }

    /// Forgets the listener of a server that has ended.
    fn forget(&self, listener: u32) {
        self.listeners.borrow_mut().remove(&listener);
    }

    /// Queues a request.
    fn receive(self: &Rc<Self>, exchange: Rc<Exchange>) {
        self.queue.borrow_mut().push_back(Event::Request(exchange));
        self.schedule();
    }

    /// Queues the call of a function.
    fn call(self: &Rc<Self>, function: v8::Global<v8::Function>) {
        self.queue.borrow_mut().push_back(Event::Call(function));
        self.schedule();
    }

    /// Has the event loop call [`Self::run`], if there is anything to do.
    fn schedule(self: &Rc<Self>) {
        if self.is_running.get() || self.queue.borrow().is_empty() || self.is_scheduled.replace(true) {
            return;
        }
        let transport: Weak<Self> = Rc::downgrade(self);
        self.spawner.spawn(move |scope| {
            if let Some(transport) = transport.upgrade() {
                transport.run(scope);
            }
        });
    }

    /// Gives what is queued to JavaScript, and sends the responses that are made at once.
    fn run(self: Rc<Self>, scope: &mut v8::PinScope<'_, '_>) {
        self.is_scheduled.set(false);
        self.is_running.set(true);
        let begin = Instant::now();
        let mut last = None;
        while let Some(event) = self.next_event() {
            if let Event::Request(exchange) = &event {
                last = Some(exchange.connection());
            }
            self.handle(event, scope);
            // The handler's promises go on, as after each request in HTTP/1.1.
            scope.perform_microtask_checkpoint();
            if begin.elapsed() > TURN {
                break;
            }
        }
        self.is_running.set(false);
        for connection in self.unsent.take() {
            connection.flush();
        }
        // Not here: tasks beside the event loop would have to wait.
        if !self.queue.borrow().is_empty() {
            match last {
                Some(connection) if !connection.is_lost() => connection.wake(),
                // The task of a lost connection has ended.
                _ => self.schedule(),
            }
        }
    }

    fn next_event(&self) -> Option<Event> {
        self.queue.borrow_mut().pop_front()
    }

    fn handle(&self, event: Event, scope: &mut v8::PinScope<'_, '_>) {
        v8::tc_scope!(let scope, scope);
        let this = v8::undefined(scope).into();
        match event {
            Event::Request(exchange) if exchange.is_cancelled() => exchange.end(),
            Event::Request(exchange) => {
                let id = self.exchanges.borrow_mut().insert(Rc::clone(&exchange));
                let id = u32::try_from(id).expect("requests in memory are fewer");
                let id = v8::Integer::new_from_unsigned(scope, id).into();
                v8::Local::new(scope, exchange.connection().server().handler()).call(scope, this, &[id]);
            }
            Event::Call(function) => {
                v8::Local::new(scope, function).call(scope, this, &[]);
            }
        }
    }

    /// Has the responses of a connection sent at the end of the turn.
    fn send_soon(&self, connection: &Rc<Connection>) {
        if !self.is_running.get() {
            connection.wake();
        } else if !connection.is_unsent.replace(true) {
            self.unsent.borrow_mut().push(Rc::clone(connection));
        }
    }
}
