//! The limit of open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to the most that the kernel allows, since a shell's 1024 are few for connections.
/// Logs a warning if that is too few for the `max_connections` of a public listener.
pub fn raise_limit(max_connections: Option<usize>) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("the limit of open files stays as it is: {error}");
    }
    let allowed = getrlimit(Resource::Nofile).current;
    // Each connection of a client may have one to a cell or a router beside it.
    let wanted = 2 * max_connections.unwrap_or(0) as u64;
    if let Some(allowed) = allowed.filter(|allowed| *allowed < wanted) {
        tracing::warn!(
            "only {allowed} open files are allowed, too few for --max-connections: raise the limit \
             (ulimit -Hn, LimitNOFILE) or lower --max-connections"
        );
    }
}
