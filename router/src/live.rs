//! The one place where the control and the data flow meet: the table of live versions, and what
//! the two have to tell each other.

mod board;
mod command;
mod debuggers;
mod events;
mod lines;
mod site;
mod table;

pub(crate) use board::{Board, Changed, Counters, Shown};
pub(crate) use command::{Answer, Command, Commands, Refusal, commands};
pub(crate) use debuggers::{Attached, Debuggers};
pub(crate) use events::{Events, Happened};
pub(crate) use lines::{Lines, News, Reader};
pub(crate) use site::LiveSite;
pub(crate) use table::{Entry, Failure, Live, LiveVersion, Process, Running, Serving, Table};
