//! The code of a module as V8 takes it.

use deno_core::{ModuleSourceCode, ModuleType};

/// The type and the source of a module.
pub(crate) type Code = (ModuleType, ModuleSourceCode);

/// Decodes UTF-8 and drops a byte order mark. Invalid sequences become replacement characters, as
/// in browsers.
pub(crate) fn decode(bytes: Vec<u8>) -> String {
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

/// Returns a source that is text.
pub(crate) fn text(source: String) -> ModuleSourceCode {
    ModuleSourceCode::String(source.into())
}

/// Returns a source that is bytes.
pub(crate) fn bytes(bytes: Vec<u8>) -> ModuleSourceCode {
    ModuleSourceCode::Bytes(bytes.into_boxed_slice().into())
}
