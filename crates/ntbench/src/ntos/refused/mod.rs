//! Functions that the bench knows by name and does not do: filters import them, and load. A call is a finding, and changes
//! nothing.

mod cache;
mod memory;
mod system;

use crate::export::Export;
use crate::verifier;

/// What this module lets drivers import.
pub(super) fn tables() -> [&'static [Export]; 4] {
    [
        cache::exports(),
        cache::by_stream::exports(),
        memory::exports(),
        system::exports(),
    ]
}

fn refuse(function: &str, why: &str) {
    verifier::finding("refused", format!("{function} is not modelled: {why}"));
}

/// Declares functions that answer one value; an answer that is a status says so.
macro_rules! refusals {
    ($($why:literal: $($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $value:expr;)*)*) => {
        exports! { "ntoskrnl.exe";
            $($(
                /// Refused.
                refused $why
                fn $name($($arg: $ty),*) -> $ret {
                    super::refuse(stringify!($name), $why);
                    $value
                }
            )*)*
        }
    };
}
use refusals;
