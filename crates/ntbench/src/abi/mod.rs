//! Windows structures.
