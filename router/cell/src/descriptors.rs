//! Descriptors that are not the project's, out of reach of its JavaScript: the control socket,
//! those of the event loops, the runtime's copies of the output pipes, other isolates' files. A
//! number that Deno's table does not have as a file of this isolate is never adopted, copied,
//! closed or changed. Here are the ops that take a number and ask nobody, replaced; Node's handles
//! that do the same are in `descriptors.js`.

use std::io;
use std::mem::MaybeUninit;

use deno_core::{Extension, JsRuntime, OpDecl, op2, v8};
use deno_runtime::deno_io::FdTable;

use crate::glue;

/// The standard streams.
const STANDARD: std::ops::RangeInclusive<i32> = 0..=2;

/// Replaces ops in the isolate that it is given to: nobody has a way to the ones that were.
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
        // A cell gets no sockets from other processes, and makes no pipes for programs that it
        // starts.
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

/// Guards Node's handles in an isolate. To be called before any code of the project's runs in it.
pub(crate) fn guard(runtime: &mut JsRuntime) {
    forget_inherited(runtime);
    let glue = glue::load(runtime, "ext:switchyard/descriptors.js", include_str!("descriptors.js"));
    deno_core::scope!(scope, runtime);
    let glue = v8::Local::new(scope, glue);
    let natives = [
        v8::Function::new(scope, lend),
        v8::Function::new(scope, adopted),
        v8::Function::new(scope, returned),
    ];
    let natives = natives.map(|native| native.expect("V8 has memory at its start").into());
    let this = v8::undefined(scope).into();
    glue.call(scope, this, &natives).expect("the glue is ours");
}

/// Takes all but the standard streams from the table. An isolate finds numbers in an environment
/// variable (`DENO_EXTRA_STDIO_FDS`) that it believes it has inherited, and a project can set it
/// before it makes a worker.
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

/// A copy of a descriptor that Deno's table has as a file of the project's, or as a standard
/// stream: the handle that adopts it closes the copy, and the number that the table has stays what
/// it is. Only what can be waited for is lent, so that the handle does adopt it. Returns a negative
/// error otherwise.
fn lend(
    scope: &mut v8::PinScope<'_, '_>,
    args: v8::FunctionCallbackArguments<'_>,
    mut value: v8::ReturnValue<'_>,
) {
    let copy = number(&args).filter(|fd| with_table(scope, |table| table.get(*fd).is_some()));
    value.set_int32(copy.map_or(-libc::EBADF, copy_of_stream));
}

/// The handle closes it. Deno's table is to have nothing but files, whose numbers stay theirs until
/// it is asked to close them.
fn adopted(
    scope: &mut v8::PinScope<'_, '_>,
    args: v8::FunctionCallbackArguments<'_>,
    _: v8::ReturnValue<'_>,
) {
    if let Some(fd) = number(&args) {
        with_table(scope, |table| table.remove(fd));
    }
}

/// What has been called is no handle.
fn returned(_: &mut v8::PinScope<'_, '_>, args: v8::FunctionCallbackArguments<'_>, _: v8::ReturnValue<'_>) {
    if let Some(fd) = number(&args) {
        // SAFETY: `lend` has made it, and nobody has taken it.
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
    // SAFETY: the pointer is to a value of the right type, which is read when the call has filled
    // it.
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
