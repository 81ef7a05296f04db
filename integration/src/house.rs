//! The sources of this repository as data: files, modules, imports, sizes and words. The rules
//! about them are in `tests/all/tidy.rs`, the report in `benches/house`.

mod circles;
mod floors;
mod imports;
mod lexer;
mod measure;
mod source;
mod tables;

pub use circles::{Circle, circles};
pub use floors::{Violation, floor_violations, home_violations};
pub use imports::{Import, Target};
pub use measure::{FirstWords, Spread, count_words, functions};
pub use source::{Crate, SourceFile, Workspace};
pub use tables::{Architecture, Floors, Homes, rows, spans};
