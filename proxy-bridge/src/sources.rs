//! Git sources: what is followed, what of it is which project, and when it is deployed.

pub mod commit;
pub mod control;
pub mod machine;
pub mod pattern;
pub mod plan;
pub mod preview_names;
pub mod settings;
pub mod windows;
