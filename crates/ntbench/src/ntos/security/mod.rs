//! Tokens, identities, descriptors, and who may do what by them.
//!
//! A process has one primary token: the system's, an administrator's or a user's. Nobody impersonates. Files and keys are
//! open to everybody whatever a descriptor says; a driver's own checks by its own descriptors are real.

mod access;
mod describe;
pub(crate) mod sid;
mod token;

use crate::export::Export;

/// What this module lets drivers import.
pub(super) fn tables() -> [&'static [Export]; 4] {
    [
        access::exports(),
        describe::exports(),
        sid::exports(),
        token::exports(),
    ]
}
