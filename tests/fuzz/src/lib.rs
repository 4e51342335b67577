//! What must hold whatever the fuzzer makes up.
//!
//! Each module's `check` panics when a promise is broken. They know nothing of the fuzzer, because the core's own
//! tests replay the corpus through them on a stable compiler (`shared/core/tests/corpus.rs`).

pub mod event;
pub mod mutation;
pub mod pattern;
pub mod policy;
pub mod settings;
