//! Values of JavaScript: ids and bytes.

use deno_core::v8;

/// Returns the id that JavaScript passes.
pub(super) fn index(id: v8::Local<'_, v8::Value>) -> Option<usize> {
    let id = v8::Local::<v8::Integer>::try_from(id).ok()?;
    usize::try_from(id.value()).ok()
}

/// Returns bytes as JavaScript has them.
pub(super) fn bytes<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    bytes: Vec<u8>,
) -> Option<v8::Local<'s, v8::Uint8Array>> {
    let length = bytes.len();
    let store = v8::ArrayBuffer::new_backing_store_from_vec(bytes).make_shared();
    let buffer = v8::ArrayBuffer::with_backing_store(scope, &store);
    v8::Uint8Array::new(scope, buffer, 0, length)
}
