//! Results of compilers that outlive a version: emitted JavaScript, V8's code and the names that
//! CommonJS modules export.

pub(crate) mod code;
pub(crate) mod exports;
pub(crate) mod store;
