//! Compressors that JavaScript gives one piece of a body after the other, for responses of Node's
//! servers.

use deno_core::v8;
use deno_runtime::deno_http::compressible::is_content_compressible;

use super::Transport;
use super::compress::{Coding, Compressor};
use super::values::{bytes, index};

type Arguments<'a> = v8::FunctionCallbackArguments<'a>;

/// The operation of a compressor after a piece, as in `node_servers/compress.js`.
const FLUSH: u32 = 1;
const END: u32 = 2;

/// Returns the coding of a response with this content type, for a client that accepts these codings.
/// The empty string: the client accepts none. Undefined: compression gains nothing.
pub(super) fn coding_of(
    scope: &mut v8::PinScope<'_, '_>,
    args: Arguments<'_>,
    mut result: v8::ReturnValue<'_>,
) {
    let [kind, accepted] = [0, 1].map(|at| args.get(at).to_rust_string_lossy(scope));
    if !is_content_compressible(&kind) {
        return;
    }
    let name = Coding::accepted(&accepted).map_or("", Coding::name);
    result.set(v8::String::new(scope, name).expect("a name is short").into());
}

/// Makes a compressor of a coding, by its name. Returns its id.
pub(super) fn open(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, mut result: v8::ReturnValue<'_>) {
    let name = args.get(0).to_rust_string_lossy(scope);
    let Some(coding) = Coding::ALL.into_iter().find(|coding| coding.name() == name) else { return };
    let id = Transport::of(scope).compressors.borrow_mut().insert(Compressor::new(coding));
    result.set_uint32(u32::try_from(id).expect("there are not so many responses"));
}

/// Has a compressor, which the first argument names, take a piece, and flush or end. Returns its output.
pub(super) fn run(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, mut result: v8::ReturnValue<'_>) {
    let Some(id) = index(args.get(0)) else { return };
    let operation = args.get(1).uint32_value(scope);
    let mut piece = Vec::new();
    if let Ok(bytes) = v8::Local::<v8::Uint8Array>::try_from(args.get(2)) {
        piece.resize(bytes.byte_length(), 0);
        bytes.copy_contents(&mut piece);
    }
    let transport = Transport::of(scope);
    let output = if operation == Some(END) {
        let compressor = transport.compressors.borrow_mut().try_remove(id);
        compressor.and_then(|mut compressor| {
            compressor.write(&piece).ok()?;
            compressor.finish().ok()
        })
    } else {
        transport.compressors.borrow_mut().get_mut(id).and_then(|compressor| {
            compressor.write(&piece).ok()?;
            if operation == Some(FLUSH) {
                compressor.flush().ok()?;
            }
            Some(compressor.take())
        })
    };
    if let Some(output) = output.and_then(|output| bytes(scope, output)) {
        result.set(output.into());
    }
}

/// Frees a compressor that has not ended: the client is gone.
pub(super) fn close(scope: &mut v8::PinScope<'_, '_>, args: Arguments<'_>, _: v8::ReturnValue<'_>) {
    if let Some(id) = index(args.get(0)) {
        Transport::of(scope).compressors.borrow_mut().try_remove(id);
    }
}
