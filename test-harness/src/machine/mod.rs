//! A machine that lives on in the background, so that on Linux the same command lines work as on a Windows machine: `headroom load`
//! starts it, `headroom unload` ends it, and every verb between them talks to it.
//!
//! It is this executable, started again: a process that boots ntbench with the driver and a small namespace, and serves a Unix socket in a
//! folder of the user's own ([`Place`]). Each connection to it is a simulated process: what it has opened is closed when it ends, as
//! Windows does. A machine that bug-checks stays, to tell everybody who asks what it died of, until it is unloaded.

mod client;
mod error;
mod place;
mod server;
mod start;
mod traffic;
mod wire;

pub use client::{Connection, Port};
pub use error::MachineError;
pub use place::{PLACE_VARIABLE, Place};
pub use server::serve;
pub use start::{Options, Value, start};
pub use wire::{Standing, Unloaded};

/// The server of the machine's share.
pub const SERVER: &str = "server";

/// The machine's share.
pub const SHARE: &str = "share";

/// The machine's local volume: its device and its letter.
pub const VOLUME: (&str, char) = (r"\Device\HarddiskVolume1", 'C');
