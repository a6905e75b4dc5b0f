//! A safe layer over the Windows Filter Manager: what a minifilter needs, with no `unsafe` but its entry point's export.
//!
//! What the Filter Manager hands out is an owned value here and given back when it is dropped: the registration
//! ([`Filter`]), names ([`FileName`]), files ([`File`]), lists of extra create parameters ([`EcpList`]), contexts
//! ([`ContextRef`]), ports ([`Port`]), instances ([`instances`]), work items ([`Task`], [`Wait`]), pool ([`PoolBox`]). What
//! it passes to a callback is borrowed for the callback's time ([`Create`], [`Cleanup`], [`UserInput`]).
//!
//! A minifilter is a type that implements [`Minifilter`] and a trait for each operation that it names: the tables of
//! callbacks are made from it at compile time, and the callbacks are inlined, so that the layer costs a callback no stack
//! frame. A create can be passed on, failed, or made to wait for a worker thread ([`Deferred`]); which of them is the
//! callback's answer, so that none can be forgotten or given twice. `examples/create-logger` is a whole minifilter.
//!
//! # IRQL
//!
//! Each function states the highest IRQL it may be called at; create callbacks run at `PASSIVE_LEVEL` in the context of
//! the thread that opens the file. Files are opened and closed at `PASSIVE_LEVEL` with normal kernel APCs enabled.
//!
//! In a debug build the functions whose IRQL a filter could get wrong check it.
//!
//! # Memory
//!
//! The crate allocates by [`PoolBox`] and [`PoolBytes`] alone and needs no global allocator. `wdk-alloc` would be one, and
//! was not taken: it knows one tag for all, no alignment beyond the pool's own, and with any global allocator an
//! allocation that cannot fail but by stopping the machine (`Box::new`, `Vec::push`) compiles and links. Without one, it
//! does not; what is left has a tag for each use, its alignment checked when it is compiled, and an error.
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

mod cleanup;
mod context;
mod create;
pub mod debug;
mod defer;
mod ecp;
mod file;
mod filter;
pub mod instances;
mod irql;
mod kept;
mod name;
mod operation;
mod pool;
mod port;
mod registration;
mod status;
mod unicode;
mod user;
mod work;

pub use cleanup::Cleanup;
pub use context::ContextRef;
pub use create::Create;
pub use defer::{Deferred, Wait};
pub use ecp::{EcpList, ExtraCreateParameter};
pub use file::{AttributeTag, File, OpenFrom, OpenRequest};
pub use filter::{Filter, FilterCell, FilterRef, InstanceRef};
pub use kept::Kept;
pub use name::FileName;
pub use operation::{Cleanups, Creates, OnCleanup, OnCreate, Operation, Operations};
pub use pool::{POOL_ALIGNMENT, PoolBox, PoolBytes, Tag};
pub use port::{Client, Clients, Port, PortService};
pub use registration::{Attach, FileSystem, Minifilter, PreCreate, Unload, Verdict, Volume};
pub use status::NtStatus;
pub use unicode::{UnicodeStr, units};
pub use user::{UserInput, UserOutput};
pub use work::{ReadyTask, Task};
// For the types of extra create parameters.
pub use zerocopy;
