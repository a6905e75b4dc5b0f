//! Which Windows an install section is for: `DefaultInstall.NTamd64.10.0...25952`.

use std::fmt;

use crate::document::{Inf, Section};

/// A processor architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x64.
    Amd64,
    /// ARM64.
    Arm64,
    /// x86.
    X86,
}

impl Architecture {
    /// As decorations spell it, after `NT`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::X86 => "x86",
        }
    }

    /// All of them.
    pub const ALL: [Self; 3] = [Self::Amd64, Self::Arm64, Self::X86];
}

/// A version of Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct OsVersion {
    /// 10 for Windows 10 and 11.
    pub major: u32,
    /// 0 for both.
    pub minor: u32,
    /// 19045, 26100, ….
    pub build: u32,
}

impl OsVersion {
    /// Windows 10 or 11 of a build.
    #[must_use]
    pub const fn build(build: u32) -> Self {
        Self {
            major: 10,
            minor: 0,
            build,
        }
    }
}

impl fmt::Display for OsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

/// The first Windows that is known to read a version after `DefaultInstall`: Microsoft's samples have it from this build on. The documentation
/// of the section names architectures alone.
pub(crate) const VERSIONS_SINCE: OsVersion = OsVersion::build(25_952);

/// What follows an install section's own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Decoration {
    /// Whether there is one at all.
    pub nt: bool,
    /// The only architecture.
    pub architecture: Option<Architecture>,
    /// The oldest Windows.
    pub version: OsVersion,
}

impl Decoration {
    /// Reads `.NTamd64.10.0...19041`: architecture, major and minor version, product type, suite mask and build. `None` where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let mut parts = text.strip_prefix('.')?.split('.');
        let first = parts.next()?;
        let architecture = match first.get(..2)? {
            nt if nt.eq_ignore_ascii_case("NT") => first.get(2..)?,
            _ => return None,
        };
        let architecture = match architecture {
            "" => None,
            name => Some(
                Architecture::ALL
                    .into_iter()
                    .find(|known| known.name().eq_ignore_ascii_case(name))?,
            ),
        };
        let mut number = || match parts.next() {
            None | Some("") => Some(0),
            Some(digits) => crate::number::parse(digits),
        };
        let (major, minor) = (number()?, number()?);
        let (_product_type, _suite_mask) = (number()?, number()?);
        let build = number()?;
        if parts.next().is_some() {
            return None;
        }
        Some(Self {
            nt: true,
            architecture,
            version: OsVersion {
                major,
                minor,
                build,
            },
        })
    }

    /// Whether a Windows of this version and architecture uses the section. One that is not known to read versions is taken not to.
    #[must_use]
    pub fn admits(&self, architecture: Architecture, windows: OsVersion) -> bool {
        let no_version = self.version == OsVersion::default();
        self.architecture.is_none_or(|only| only == architecture)
            && (no_version || windows >= VERSIONS_SINCE && self.version <= windows)
    }

    /// The order of preference among those that a Windows may use: the newest version, then the one for the architecture alone.
    fn rank(&self) -> (OsVersion, bool, bool) {
        (self.version, self.architecture.is_some(), self.nt)
    }
}

/// The section of `name` (`DefaultInstall`, `DefaultUninstall`) that a Windows would take, with its decoration.
#[must_use]
pub fn best_install_section<'a>(
    inf: &'a Inf,
    name: &str,
    architecture: Architecture,
    windows: OsVersion,
) -> Option<(&'a Section, Decoration)> {
    install_sections(inf, name)
        .filter(|(_, decoration)| decoration.admits(architecture, windows))
        .max_by_key(|(_, decoration)| decoration.rank())
}

/// The sections of `name`, with their decorations.
pub(crate) fn install_sections<'a>(
    inf: &'a Inf,
    name: &str,
) -> impl Iterator<Item = (&'a Section, Decoration)> {
    inf.sections.iter().filter_map(move |section| {
        let own = section.name.get(..name.len())?;
        let decoration = section.name.get(name.len()..)?;
        own.eq_ignore_ascii_case(name)
            .then(|| Decoration::parse(decoration))?
            .map(|decoration| (section, decoration))
    })
}
