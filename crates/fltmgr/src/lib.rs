//! A thin safe layer over the Windows Filter Manager.
//!
//! What the Filter Manager hands out is an owned value here and given back when it is dropped: the registration
//! ([`Filter`]), names ([`FileName`]), files ([`File`]), lists of extra create parameters ([`EcpList`]). What it passes
//! to a callback is borrowed for the callback's time ([`Create`]). A minifilter is a type that implements [`Minifilter`];
//! the callbacks that the Filter Manager calls are made from it at compile time, and inlined, so that the layer costs a
//! callback no stack frame.
//!
//! # IRQL
//!
//! Each function states the highest IRQL it may be called at; create callbacks run at `PASSIVE_LEVEL` in the context of
//! the thread that opens the file. Files are opened and closed at `PASSIVE_LEVEL` with normal kernel APCs enabled.
//!
//! # Tail calls
//!
//! Filter Verifier finds the owner of a reference by the return address of the call that released it. A release that is
//! a function's last act can be compiled to a jump, and is then reported as a leak of a reference that was in fact
//! released. The drop of each type here therefore does not end with the release.
//!
//! Windows only: on any other target this crate is empty.
#![no_std]
#![cfg(windows)]

mod context;
mod create;
mod defer;
mod ecp;
mod file;
mod filter;
pub mod instances;
mod irql;
mod kept;
mod name;
mod pool;
mod port;
mod registration;
mod status;
mod unicode;
mod user;
mod work;

pub use context::ContextRef;
pub use create::Create;
pub use defer::{Deferred, Wait};
pub use ecp::{EcpList, ExtraCreateParameter};
pub use file::{AttributeTag, File, OpenFrom, OpenRequest};
pub use filter::{Filter, FilterCell, FilterRef, InstanceRef};
pub use kept::Kept;
pub use name::FileName;
pub use pool::{POOL_ALIGNMENT, PoolBox, PoolBytes, Tag};
pub use port::{Client, Clients, Port, PortService};
pub use registration::{Attach, FileSystem, Minifilter, PreCreate, Unload, Verdict, Volume};
pub use status::NtStatus;
pub use unicode::{UnicodeStr, units};
pub use user::{UserInput, UserOutput};
pub use work::{ReadyTask, Task};
// For the types of extra create parameters.
pub use zerocopy;
