//! The declarations of a project's tasks and pipelines: three spellings, one resolved
//! specification.
//!
//! - [`declared`]: the tasks and pipelines of a project's folder
//! - [`lint`](mod@lint): a report on them without a server
//! - [`schedule`]: cron expressions and the times that they are due

pub mod declared;
pub mod lint;
pub mod schedule;

pub use self::lint::{LintReport, lint};
