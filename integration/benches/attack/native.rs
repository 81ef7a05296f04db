//! Rows 21 to 23 of the table: native code in a cell, which needs a bug in V8. The calls are made inside a live cell
//! by ptrace.

use crate::attempt::Attempt;
#[cfg(not(target_arch = "x86_64"))]
use crate::attempt::Verdict;

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt {
        number: "21",
        severity: "high as root",
        deed: "native code changes modes, times and owners of files: the machine's, the router's, another project's",
        broken: "any of them is changed",
        as_each: true,
        make: |user| Box::pin(calls::files(user)),
    },
    Attempt {
        number: "22",
        severity: "high",
        deed: "native code connects to sockets: another cell's, the machine's, the debugger's",
        broken: "any connection is made",
        as_each: true,
        make: |user| Box::pin(calls::sockets(user)),
    },
    Attempt {
        number: "23",
        severity: "medium",
        deed: "native code listens without bind, binds a port, watches others' folders (as root), lifts limits, runs programs, signals",
        broken: "any of it is done",
        as_each: true,
        make: |user| Box::pin(calls::ports(user)),
    },
];

#[cfg(target_arch = "x86_64")]
#[path = "native/calls.rs"]
mod calls;

#[cfg(not(target_arch = "x86_64"))]
mod calls {
    use super::Verdict;
    use crate::user::User;

    const ELSEWHERE: &str = "calls are injected on x86-64 alone";

    pub(super) async fn files(_: User) -> Verdict {
        Verdict::NotApplicable(ELSEWHERE.to_owned())
    }

    pub(super) async fn sockets(_: User) -> Verdict {
        Verdict::NotApplicable(ELSEWHERE.to_owned())
    }

    pub(super) async fn ports(_: User) -> Verdict {
        Verdict::NotApplicable(ELSEWHERE.to_owned())
    }
}
