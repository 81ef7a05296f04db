//! Crons of a router without a bridge: it starts them by itself, once for all of its cells, until a
//! bridge has called it.

mod clock;
mod mark;
mod plan;

pub(crate) use clock::CronClock;
pub(crate) use mark::BridgeMark;
