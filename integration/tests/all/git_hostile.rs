//! Hostile repositories, servers and URLs: no program of theirs runs, and no secret is seen by
//! others.

mod files;
mod secrets;
mod servers;
mod submodules;
mod urls;
mod watch;
