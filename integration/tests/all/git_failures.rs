//! Sources whose server, repository or mirror fails: what serves goes on serving, the source's state
//! names the cause, and it follows its ref again once the cause is gone.

mod commits;
mod disk;
mod mirror;
mod network;
mod pruning;
mod refs;
mod routers;
pub(super) mod scene;
mod ssh;
