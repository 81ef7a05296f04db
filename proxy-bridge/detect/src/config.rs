//! Configuration files in JSON: their largest size, their parser, and errors that name them.

use jsonc_parser::parse_to_serde_value;
use serde_json::Value;
use switchyard_contract::event::Diagnostic;

/// Bytes in one configuration file: a thousand times the usual size. The router itself parses it.
pub const MAX_CONFIG: u64 = 1 << 20;

/// Parses the JSON object (with comments) in a configuration file.
///
/// # Errors
/// The text does not parse, or is not an object. The error names file, line and column.
pub fn parse(file: &str, text: &str) -> Result<Value, Diagnostic> {
    match parse_to_serde_value::<Value>(text, &Default::default()) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err(in_file(file, format!("{file} must hold one JSON object"))),
        Err(error) => {
            let mut diagnostic = in_file(file, format!("{file} does not parse: {}", error.kind()));
            diagnostic.line = u32::try_from(error.line_display()).ok();
            diagnostic.column = u32::try_from(error.column_display()).ok();
            Err(diagnostic)
        }
    }
}

/// Returns an error about `file`, without a position in it.
pub fn in_file(file: &str, message: String) -> Diagnostic {
    Diagnostic { file: Some(file.to_owned()), message, ..Diagnostic::default() }
}
