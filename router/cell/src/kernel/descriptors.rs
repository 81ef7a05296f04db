//! The guard of descriptors that do not belong to the project: the control socket, those of the
//! event loops, the runtime's copies of the output pipes, and other isolates' files. A number that
//! Deno's table does not have as a file of this isolate is never adopted, copied, closed or
//! changed. This module replaces the ops that take a number without a check; `descriptors.js`
//! guards Node's handles that do the same.

use std::io;
use std::mem::MaybeUninit;

use deno_core::{Extension, JsRuntime, OpDecl, op2, v8};
use deno_runtime::deno_io::FdTable;

use crate::js;

/// The standard streams.
const STANDARD: std::ops::RangeInclusive<i32> = 0..=2;

/// Returns the extension that replaces the ops. The original ones are unreachable then.
pub(crate) fn extension() -> Extension {
    Extension {
        name: "switchyard_descriptors",
        middleware_fn: Some(Box::new(|op| match replacement(op.name) {
            Some(with) => op.with_implementation_from(&with),
            None => op,
        })),
        ..Extension::default()
    }
}

fn replacement(name: &str) -> Option<OpDecl> {
    match name {
        // A cell gets no sockets from other processes, and starts no programs to make pipes for.
        "op_node_udp_open" | "op_node_create_pipe" | "op_node_fd_set_blocking" => Some(op_no_descriptor()),
        "op_tty_check_fd_permission" => Some(op_no_terminal()),
        _ => None,
    }
}

#[op2(nofast)]
fn op_no_descriptor() -> Result<(), io::Error> {
    Err(io::Error::from_raw_os_error(libc::EBADF))
}

#[op2(nofast)]
fn op_no_terminal() -> Result<(), io::Error> {
    Err(io::Error::from_raw_os_error(libc::EINVAL))
}

/// Guards Node's handles in an isolate. Must be called before any of the project's code runs in it.
pub(crate) fn guard(runtime: &mut JsRuntime) {
    forget_inherited(runtime);
    let glue = js::load_function(runtime, "ext:switchyard/descriptors.js", include_str!("descriptors.js"));
    deno_core::scope!(scope, runtime);
    let glue = v8::Local::new(scope, glue);
    let natives = [
        v8::Function::new(scope, lend),
        v8::Function::new(scope, adopted),
        v8::Function::new(scope, returned),
    ];
    let natives = natives.map(|native| native.expect("V8 has memory at its start").into());
    let this = v8::undefined(scope).into();
    glue.call(scope, this, &natives).expect("the cell's own code does not throw");
}

/// Removes all descriptors but the standard streams from the table. An isolate adds the numbers in
/// an environment variable (`DENO_EXTRA_STDIO_FDS`), which a project can set before it makes a
/// worker.
fn forget_inherited(runtime: &mut JsRuntime) {
    let state = runtime.op_state();
    let mut state = state.borrow_mut();
    let found = state.take::<FdTable>();
    let mut table = FdTable::new();
    for fd in STANDARD {
        found.get(fd).map(|file| table.register(fd, file.clone()));
    }
    state.put(table);
}

/// Returns to JavaScript a copy of a descriptor that Deno's table has as a file of the project's or
/// as a standard stream, or a negative error. The handle that adopts the copy closes it, and the
/// number in the table stays open. Only streams are copied, as a handle adopts nothing else.
fn lend(
    scope: &mut v8::PinScope<'_, '_>,
    args: v8::FunctionCallbackArguments<'_>,
    mut value: v8::ReturnValue<'_>,
) {
    let copy = number(&args).filter(|fd| with_table(scope, |table| table.get(*fd).is_some()));
    value.set_int32(copy.map_or(-libc::EBADF, copy_of_stream));
}

/// Removes a descriptor that a handle has adopted, and closes, from Deno's table. The table has
/// only files with numbers that stay open until it closes them.
fn adopted(
    scope: &mut v8::PinScope<'_, '_>,
    args: v8::FunctionCallbackArguments<'_>,
    _: v8::ReturnValue<'_>,
) {
    if let Some(fd) = number(&args) {
        with_table(scope, |table| table.remove(fd));
    }
}

/// Closes a copy that no handle has adopted.
fn returned(_: &mut v8::PinScope<'_, '_>, args: v8::FunctionCallbackArguments<'_>, _: v8::ReturnValue<'_>) {
    if let Some(fd) = number(&args) {
        // SAFETY: `lend` has made the descriptor, and no handle has adopted it.
        #[expect(unsafe_code, reason = "libc call")]
        unsafe {
            libc::close(fd);
        }
    }
}

fn number(args: &v8::FunctionCallbackArguments<'_>) -> Option<i32> {
    let number = args.get(0);
    let number = v8::Local::<v8::Int32>::try_from(number).ok()?;
    Some(number.value())
}

fn with_table<T>(scope: &mut v8::PinScope<'_, '_>, act: impl FnOnce(&mut FdTable) -> T) -> T {
    let state = JsRuntime::op_state_from(scope);
    let mut state = state.borrow_mut();
    act(state.borrow_mut::<FdTable>())
}

fn copy_of_stream(fd: i32) -> i32 {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the pointer is to a value of the right type, which is read only if the call has
    // filled it.
    #[expect(unsafe_code, reason = "libc calls")]
    let copy = unsafe {
        if libc::fstat(fd, stat.as_mut_ptr()) < 0 {
            return -libc::EBADF;
        }
        match stat.assume_init().st_mode & libc::S_IFMT {
            libc::S_IFIFO | libc::S_IFSOCK => libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, *STANDARD.end() + 1),
            _ => return -libc::EINVAL,
        }
    };
    if copy < 0 { -io::Error::last_os_error().raw_os_error().unwrap_or(libc::EMFILE) } else { copy }
}
