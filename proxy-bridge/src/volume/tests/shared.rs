//! Shared entries.
