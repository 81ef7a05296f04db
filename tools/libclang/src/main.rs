//! Loads libclang and parses three lines of C with it, as bindgen does when SQLite's bindings are
//! generated. Prints the library and its version; exits with status 1 and the reason otherwise.

use std::ffi::{CStr, CString};
use std::process::ExitCode;

use clang_sys::*;

/// Both headers are needed by SQLite: one comes with the compiler, one with the C library.
const SOURCE: &CStr = c"#include <stdarg.h>\n#include <stdio.h>\nint probe(FILE *file, va_list list);\n";

const FILE: &CStr = c"probe.c";

fn main() -> ExitCode {
    match try_libclang() {
        Ok(version) => {
            println!("{version}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the library's path and version once it has parsed [`SOURCE`] without an error.
fn try_libclang() -> Result<String, String> {
    load()?;
    let library = get_library().ok_or("libclang was loaded and is gone")?;
    // bindgen reads the same variable.
    let arguments = std::env::var("BINDGEN_EXTRA_CLANG_ARGS").unwrap_or_default();
    let arguments: Vec<CString> =
        arguments.split_whitespace().filter_map(|argument| CString::new(argument).ok()).collect();
    // SAFETY: the functions were loaded above; each pointer lives until the last call that uses it.
    unsafe {
        parse(&arguments)?;
        Ok(format!("{}: {}", library.path().display(), text(clang_getClangVersion())))
    }
}

unsafe fn parse(arguments: &[CString]) -> Result<(), String> {
    let pointers: Vec<_> = arguments.iter().map(|argument| argument.as_ptr()).collect();
    let mut source = CXUnsavedFile {
        Filename: FILE.as_ptr(),
        Contents: SOURCE.as_ptr(),
        Length: SOURCE.count_bytes() as _,
    };
    // SAFETY: as the caller's; `pointers` and `source` outlive the unit.
    unsafe {
        let index = clang_createIndex(0, 0);
        let unit = clang_parseTranslationUnit(
            index,
            FILE.as_ptr(),
            pointers.as_ptr(),
            pointers.len() as _,
            &mut source,
            1,
            CXTranslationUnit_None,
        );
        if unit.is_null() {
            return Err("libclang cannot parse C".into());
        }
        let errors: Vec<String> = (0..clang_getNumDiagnostics(unit))
            .map(|number| clang_getDiagnostic(unit, number))
            .filter(|diagnostic| clang_getDiagnosticSeverity(*diagnostic) >= CXDiagnostic_Error)
            .map(|diagnostic| text(clang_getDiagnosticSpelling(diagnostic)))
            .collect();
        clang_disposeTranslationUnit(unit);
        clang_disposeIndex(index);
        if errors.is_empty() { Ok(()) } else { Err(format!("libclang cannot parse C: {}", errors.join("; "))) }
    }
}

unsafe fn text(string: CXString) -> String {
    // SAFETY: libclang returns a C string that lives until it is disposed of.
    unsafe {
        let text = CStr::from_ptr(clang_getCString(string)).to_string_lossy().into_owned();
        clang_disposeString(string);
        text
    }
}
