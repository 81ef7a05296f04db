//! The module as a whole, with the real git.
