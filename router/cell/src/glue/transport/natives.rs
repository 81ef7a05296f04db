//! Functions that `transport.js` calls. The first argument of most is the id of a request.

use std::net::SocketAddr;
use std::rc::Rc;

use deno_core::{BufView, JsBuffer, JsRuntime, serde_v8, unsync, v8};
use deno_runtime::deno_http;
use switchyard_protocol::frame::MAX_DATA;

use super::Transport;
use super::compress::{self, Coding};
use super::exchange::Exchange;
use super::head::Head;
use super::listener::Listener;
use super::pieces;
use super::request_body::RequestBody;
use super::response_body::{Body, Sending, Source};
use super::text;
use super::values::{bytes, index};

type Arguments<'a> = v8::FunctionCallbackArguments<'a>;

/// Bytes of a body from which on it is written as it is. A smaller one is copied behind its head:
/// one buffer costs the kernel less.
const LARGE: usize = 16 << 10;

/// Bytes of a body that are compressed at once, in about a millisecond. A longer one is compressed
/// piece by piece, so that other requests have their turn.
const AT_ONCE: usize = 64 << 10;

/// Buffers that are reused for each response.
#[derive(Default)]
pub(super) struct Scratch {
    head: Head,
    /// The body, and what earlier ones have left behind it.
    body: Vec<u8>,
}

/// Returns an object with the functions.
pub(super) fn object<'s>(scope: &mut v8::PinScope<'s, '_>) -> v8::Local<'s, v8::Object> {
    let object = v8::Object::new(scope);
    macro_rules! define {
        ($($name:literal: $function:path,)*) => {$(
            let name = v8::String::new(scope, $name).expect("a name is short");
            let function = v8::Function::new(scope, $function).expect("V8 has memory at its start");
            object.set(scope, name.into(), function.into());
        )*};
    }
    define! {
        "close": close,
        "closeCompressor": pieces::close,
        "codingOf": pieces::coding_of,
        "compress": pieces::run,
        "compressesByDefault": compresses_by_default,
        "hasLegacyAbort": has_legacy_abort,
        "header": header,
        "headers": headers,
        "listen": listen,
        "method": method,
        "onCancel": on_cancel,
        "openBody": open_body,
        "openCompressor": pieces::open,
        "remoteAddress": remote_address,
        "send": send,
        "sendResource": send_resource,
        "takeBody": take_body,
        "takeText": take_text,
        "url": url,
    }
    object
}

impl Transport {
    fn exchange(&self, id: v8::Local<'_, v8::Value>) -> Option<Rc<Exchange>> {
        self.exchanges.borrow().get(index(id)?).cloned()
    }

    /// Returns a request that JavaScript has answered, whose id is free then.
    fn take_exchange(&self, id: v8::Local<'_, v8::Value>) -> Option<Rc<Exchange>> {
        self.exchanges.borrow_mut().try_remove(index(id)?)
    }
}

fn exchange(isolate: &v8::Isolate, args: &Arguments<'_>) -> Option<Rc<Exchange>> {
    Transport::of(isolate).exchange(args.get(0))
}

/// Listens on a path for the server that listens on another one, and has a function called with the
/// id of each request. The last argument is true if responses are compressed. Returns the listener's id, or undefined if the path cannot be used.
fn listen(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, mut result: v8::ReturnValue<'_>) {
    let transport = Transport::of(scope);
    let [path, socket] = [0, 1].map(|at| args.get(at).to_rust_string_lossy(scope));
    let Ok(handler) = v8::Local::<v8::Function>::try_from(args.get(2)) else { return };
    let (paths, handler) = ([path.as_ref(), socket.as_ref()], v8::Global::new(scope, handler));
    match Listener::bind(paths, handler, args.get(3).is_true(), &transport) {
        Ok(id) => result.set_uint32(id),
        Err(error) => log::warn!("requests come one by one: cannot listen on {path}: {error}"),
    }
}

/// Closes a listener. Requests that are under way end normally, or at once if the second argument
/// is true. The third argument is called when they have ended.
fn close(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, _: v8::ReturnValue<'_>) {
    let transport = Transport::of(scope);
    let Ok(on_end) = v8::Local::<v8::Function>::try_from(args.get(2)) else { return };
    let on_end = v8::Global::new(scope, on_end);
    let id = args.get(0).uint32_value(scope);
    let listener = id.and_then(|id| transport.listeners.borrow().get(&id).cloned());
    match listener {
        Some(listener) => listener.close(args.get(1).is_true(), on_end, &transport),
        None => transport.call(on_end),
    }
}

/// Returns `true` if the environment asks servers to compress responses, as Deno reads it.
fn compresses_by_default(_: &mut v8::PinScope<'_, '_>, _: Arguments<'_>, mut result: v8::ReturnValue<'_>) {
    let value = std::env::var("DENO_SERVE_AUTOMATIC_COMPRESSION");
    result.set_bool(value.is_ok_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "0" | "false")));
}

fn has_legacy_abort(scope: &mut v8::PinScope<'_, '_>, _: Arguments<'_>, mut result: v8::ReturnValue<'_>) {
    let state = JsRuntime::op_state_from(scope);
    let is_off =
        state.borrow().try_borrow::<deno_http::Options>().is_some_and(|options| options.no_legacy_abort);
    result.set_bool(!is_off);
}

fn method(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, mut result: v8::ReturnValue<'_>) {
    let Some(exchange) = exchange(scope, &args) else { return };
    let method = exchange.head().method();
    if let Some(method) = v8::String::new_from_one_byte(scope, method, v8::NewStringType::Internalized) {
        result.set(method.into());
    }
}

fn url(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, mut result: v8::ReturnValue<'_>) {
    let Some(exchange) = exchange(scope, &args) else { return };
    let url = text::url(exchange.head(), exchange.connection().server().socket());
    result.set(text::string(scope, &url).into());
}

/// Returns the client's address and port, or undefined.
fn remote_address(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, mut result: v8::ReturnValue<'_>) {
    let Some(exchange) = exchange(scope, &args) else { return };
    let address = exchange.head().header(text::CLIENT).and_then(|address| std::str::from_utf8(address).ok());
    let Some(address) = address.and_then(|address| address.parse::<SocketAddr>().ok()) else { return };
    let host = text::string(scope, address.ip().to_string().as_bytes()).into();
    let port = v8::Integer::new_from_unsigned(scope, address.port().into()).into();
    result.set(v8::Array::new_with_elements(scope, &[host, port]).into());
}

/// Returns the value of a header, whose name is in lower case, or null.
fn header(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, mut result: v8::ReturnValue<'_>) {
    let Some(exchange) = exchange(scope, &args) else { return };
    let name = args.get(1).to_rust_string_lossy(scope).to_ascii_lowercase();
    match text::header(exchange.head(), &name) {
        Some(value) => result.set(text::one_byte(scope, &value).into()),
        None => result.set_null(),
    }
}

/// Returns the names and values of all headers in one array.
fn headers(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, mut result: v8::ReturnValue<'_>) {
    let Some(exchange) = exchange(scope, &args) else { return };
    let head = exchange.head();
    let mut list = Vec::with_capacity(2 * head.count());
    for (name, value) in head.headers().filter(|(name, _)| !text::is_apart(name)) {
        list.push(text::one_byte(scope, name).into());
        list.push(text::one_byte(scope, value).into());
    }
    if let Some(cookies) = text::header(head, text::COOKIE) {
        list.push(text::one_byte(scope, text::COOKIE.as_bytes()).into());
        list.push(text::one_byte(scope, &cookies).into());
    }
    result.set(v8::Array::new_with_elements(scope, &list).into());
}

/// Returns the bytes of the body if it is complete, or null.
fn take_body(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, mut result: v8::ReturnValue<'_>) {
    result.set_null();
    let Some(chunks) = exchange(scope, &args).and_then(|exchange| exchange.take_body()) else { return };
    if let Some(array) = bytes(scope, text::joined(&chunks)) {
        result.set(array.into());
    }
}

/// Returns the text of the body if it is complete, or null.
fn take_text(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, mut result: v8::ReturnValue<'_>) {
    result.set_null();
    let Some(chunks) = exchange(scope, &args).and_then(|exchange| exchange.take_body()) else { return };
    let text = match chunks.as_slices() {
        ([whole], []) => text::string(scope, text::without_mark(whole)),
        _ => text::string(scope, text::without_mark(&text::joined(&chunks))),
    };
    result.set(text.into());
}

/// Returns the id of a resource from which the body is read.
fn open_body(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, mut result: v8::ReturnValue<'_>) {
    let Some(exchange) = exchange(scope, &args) else { return };
    let state = JsRuntime::op_state_from(scope);
    let resource = state.borrow_mut().resource_table.add(RequestBody::open(exchange));
    result.set_uint32(resource);
}

/// Has the second argument called if the request is cancelled.
fn on_cancel(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, _: v8::ReturnValue<'_>) {
    let Some(exchange) = exchange(scope, &args) else { return };
    if let Ok(function) = v8::Local::<v8::Function>::try_from(args.get(1)) {
        exchange.on_cancel(v8::Global::new(scope, function));
    }
}

/// Sends a response: status, headers (see [`Head::read`]) and body: a string, a `Uint8Array` or
/// null.
fn send(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, _: v8::ReturnValue<'_>) {
    let transport = Transport::of(scope);
    let Some(exchange) = transport.take_exchange(args.get(0)) else { return };
    let mut scratch = transport.scratch.borrow_mut();
    let Scratch { head, body } = &mut *scratch;
    if exchange.is_cancelled() || head.read(scope, args.get(1), args.get(2)).is_err() {
        return exchange.fail();
    }
    let (mut length, mut large) = read_body(scope, args.get(3), body);
    let has_body = !args.get(3).is_null();
    let coding = has_body.then(|| compress::choose(&exchange, head, Some(length))).flatten();
    if let Some(coding) = coding {
        if exchange.is_head() {
            return send_whole(&exchange, head, &[]);
        }
        let whole = large.take().unwrap_or_else(|| BufView::from(body[..length].to_vec()));
        if length > AT_ONCE {
            return send_compressed(exchange, std::mem::take(head), whole, coding);
        }
        let Ok(compressed) = compress::compress(coding, &whole) else { return exchange.fail() };
        (length, *body) = (compressed.len(), compressed);
    }
    if exchange.is_head() {
        head.set_length(head.named_length().unwrap_or(length as u64));
        return send_whole(&exchange, head, &[]);
    }
    if large.is_none() && !head.is_chunked() && length <= exchange.first_room() {
        return send_whole(&exchange, head, &body[..length]);
    }
    if !head.is_chunked() {
        head.set_length(length as u64);
    }
    let body = Body::Whole(large.unwrap_or_else(|| BufView::from(body[..length].to_vec())));
    let sending = Sending::new(exchange, std::mem::take(head), body, None);
    drop(unsync::spawn(async move {
        sending.send().await;
    }));
}

/// Compresses a body while it is sent.
fn send_compressed(exchange: Rc<Exchange>, head: Head, input: BufView, coding: Coding) {
    let sending = Sending::new(exchange, head, Body::compressed(input, coding), None);
    drop(unsync::spawn(async move {
        sending.send().await;
    }));
}

/// Sends a response in one frame.
fn send_whole(exchange: &Rc<Exchange>, head: &Head, body: &[u8]) {
    let (connection, stream) = (exchange.connection(), exchange.stream());
    let is_large = body.len() >= LARGE;
    let written = if is_large {
        connection.append(|output| head.append_alone(output, stream, body.len()))
    } else {
        connection.write(|output| head.append(output, stream, body, true))
    };
    if written.is_err() {
        return exchange.fail();
    }
    if is_large {
        connection.flush_with(body);
    }
    exchange.sent(body.len());
    exchange.end();
    if !is_large {
        connection.note_response();
    }
}

/// Copies a body to the beginning of `small`, or returns it if it is larger than a frame. Returns
/// its length as well.
fn read_body(
    scope: &mut v8::PinScope<'_, '_>,
    body: v8::Local<'_, v8::Value>,
    small: &mut Vec<u8>,
) -> (usize, Option<BufView>) {
    if let Ok(string) = v8::Local::<v8::String>::try_from(body) {
        let length = text::read(scope, string, small);
        if length <= MAX_DATA {
            return (length, None);
        }
        let mut large = std::mem::take(small);
        large.truncate(length);
        return (length, Some(BufView::from(large)));
    }
    let Ok(bytes) = v8::Local::<v8::Uint8Array>::try_from(body) else { return (0, None) };
    let length = bytes.byte_length();
    if length > MAX_DATA {
        let bytes = v8::Local::new(scope, body);
        let large = serde_v8::from_v8::<JsBuffer>(scope, bytes).map(BufView::from).ok();
        return (large.as_ref().map_or(0, |large| large.len()), large);
    }
    bytes.copy_contents(text::room(small, length));
    (length, None)
}

/// Sends a response whose body is read from a resource: status, headers, the resource's id, whether
/// it is closed at the end, and the function that is called when it has ended, well or not. Returns `false` if there is no
/// such resource.
fn send_resource(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, mut result: v8::ReturnValue<'_>) {
    let transport = Transport::of(scope);
    let Some(exchange) = transport.exchange(args.get(0)) else { return };
    let rid = args.get(3).uint32_value(scope).unwrap_or(u32::MAX);
    let is_owned = args.get(4).is_true();
    let found = {
        let state = JsRuntime::op_state_from(scope);
        let table = &mut state.borrow_mut().resource_table;
        if is_owned { table.take_any(rid) } else { table.get_any(rid) }
    };
    let (Ok(resource), Ok(on_end)) = (found, v8::Local::<v8::Function>::try_from(args.get(5))) else {
        return;
    };
    result.set_bool(true);
    let on_end = v8::Global::new(scope, on_end);
    let mut head = Head::default();
    let is_valid = head.read(scope, args.get(1), args.get(2)).is_ok();
    let length = head.stream_length();
    let known = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    let coding = if is_valid { compress::choose(&exchange, &mut head, known) } else { None };
    if let Some(length) = length.filter(|_| coding.is_none()) {
        head.set_length(length);
    }
    let id = args.get(0);
    if exchange.is_cancelled() || !is_valid || exchange.is_head() {
        resource.close();
        if is_valid {
            send_whole(&exchange, &head, &[])
        } else {
            exchange.fail()
        }
        transport.take_exchange(id);
        return transport.call(on_end);
    }
    let body = Body::of_resource(Source::new(resource, is_owned), coding, length);
    let length = length.filter(|_| coding.is_none());
    let sending = Sending::new(exchange, head, body, length);
    let (id, transport) = (index(id), Rc::downgrade(&transport));
    drop(unsync::spawn(async move {
        sending.send().await;
        if let Some(transport) = transport.upgrade() {
            id.and_then(|id| transport.exchanges.borrow_mut().try_remove(id));
            transport.call(on_end);
        }
    }));
}
