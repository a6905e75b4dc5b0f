//! `windows-sys` as the second witness of the layouts.
