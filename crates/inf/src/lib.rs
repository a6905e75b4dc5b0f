//! Reads Windows INF files.
//!
//! An INF is what installs a driver: which files go where, which service they are, and what stands in its registry key. This crate reads
//! one as SetupAPI's documentation says ([`parse`]), tells what a file-system minifilter's INF would write on a given Windows
//! ([`minifilter`]), holds it to the rules that InfVerif's documentation publishes ([`check`]), and fills in a template as stampinf does
//! ([`stamp`]).
//!
//! ```
//! let inf = inf::parse(br#"
//! [Version]
//! Signature = "$Windows NT$"
//! [DefaultInstall.NTamd64]
//! [DefaultInstall.NTamd64.Services]
//! AddService = %name%,, Filter.Service
//! [Filter.Service]
//! ServiceType = 2
//! StartType = 3
//! ServiceBinary = %12%\filter.sys
//! LoadOrderGroup = "FSFilter Activity Monitor"
//! AddReg = Filter.Registry
//! [Filter.Registry]
//! HKR,"Instances","DefaultInstance",0x00000000,"Top"
//! HKR,"Instances\Top","Altitude",0x00000000,"378600.5"
//! HKR,"Instances\Top","Flags",0x00010001,0x0
//! [Strings]
//! name = "filter"
//! "#)?;
//! let service = inf::minifilter(&inf, inf::Architecture::Amd64, 19_045)?;
//! assert_eq!((&*service.name, &*service.instances[0].altitude), ("filter", "378600.5"));
//! # Ok::<(), inf::Error>(())
//! ```
#![forbid(unsafe_code)]

mod decoration;
mod document;
mod error;
mod lex;
mod minifilter;
mod number;
mod registry;
mod rules;
mod stamp;
mod text;

pub use decoration::{Architecture, Decoration, OsVersion, best_install_section};
pub use document::{Entry, Field, Inf, Section};
pub use error::{Error, ErrorKind, Position};
pub use lex::parse;
pub use minifilter::{Instance, Service, minifilter};
pub use registry::{Data, Value};
pub use rules::{Finding, Mode, Rule, Severity, check};
pub use stamp::{Date, StampError, stamp};
pub use text::Encoding;

/// Reads the INF file at `path`; every error names the file.
///
/// # Errors
/// The file cannot be read, or is no INF.
pub fn read(path: &std::path::Path) -> Result<Inf, Error> {
    std::fs::read(path)
        .map_err(|error| Error::new(Position::START, ErrorKind::Unreadable(error.to_string())))
        .and_then(|bytes| parse(&bytes))
        .map_err(|error| error.in_file(path))
}
