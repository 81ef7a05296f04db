//! The process as the kernel sees it: its start, limits and sandbox, the disk quota, the watchdog
//! of its event loop, and the control socket to the router.

pub(crate) mod control;
pub(crate) mod descriptors;
pub(crate) mod disk;
pub(crate) mod limits;
pub(crate) mod process;
pub(crate) mod sandbox;
pub(crate) mod watchdog;
