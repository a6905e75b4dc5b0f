//! Tokens, identities, descriptors, and who may do what by them.
//!
//! A process has one primary token: the system's, an administrator's or a user's; a driver may have a thread impersonate
//! another one. Files and keys are open to everybody whatever a descriptor says; a driver's own checks by its own
//! descriptors are real.

mod access;
mod assign;
mod audit;
mod convert;
mod describe;
mod impersonation;
mod inherit;
pub(crate) mod sid;
pub(crate) mod token;
mod token_handle;

use crate::export::Export;

/// What this module lets drivers import.
pub(super) fn tables() -> [&'static [Export]; 9] {
    [
        access::exports(),
        assign::exports(),
        audit::exports(),
        convert::exports(),
        describe::exports(),
        sid::exports(),
        token::exports(),
        impersonation::exports(),
        token_handle::exports(),
    ]
}
