//! UNC paths as the kernel spells them, and their ancestors.
//!
//! A create on a network file reaches a filter as `\Device\Mup\server\share\a\b`, with variations: a provider and a drive
//! in front of the server (`\;LanmanRedirector\;Z:0000000000012345\server\share\…`), an older redirector's own device, or
//! one of the Win32 spellings that an application handed down. [`parse`] takes any of them apart without copying;
//! [`UncPath::ancestors`] gives the directories on the way to the file, each as a prefix of the path itself, so that it can
//! be opened as it stands.
//!
//! Nothing here allocates, panics or recurses: it runs on a kernel stack.

#![no_std]
#![forbid(unsafe_code)]

mod ancestors;
mod form;
mod units;

pub use ancestors::{Ancestors, Components};
pub use form::Form;

use units::{BACKSLASH, COLON, SEMICOLON, eq_ignore_ascii_case, first_component, position};

/// Why a path is not one on a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotUnc {
    /// It has no character.
    Empty,
    /// It starts with no backslash: a name relative to a directory, or no name at all.
    Relative,
    /// It leads to another device: a local volume, a drive letter, a pipe of this machine.
    OtherDevice,
    /// It is the device of the redirector itself, with no server.
    NoServer,
    /// It is a server, with no share.
    NoShare,
}

/// What a share gives access to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareKind {
    /// Anything with directories, as far as the name can tell.
    Disk,
    /// `IPC$`: the connection itself, and the pipes behind it.
    Ipc,
    /// `PIPE`: a named pipe of the server.
    Pipe,
    /// `MAILSLOT`.
    Mailslot,
}

/// A path on a share, taken apart. Every part is a piece of the path that was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UncPath<'a> {
    form: Form,
    whole: &'a [u16],
    provider: Option<&'a [u16]>,
    server: &'a [u16],
    share: &'a [u16],
    /// Where the share's name ends in `whole`.
    root_end: usize,
}

/// Takes `path` apart.
///
/// # Errors
/// [`NotUnc`]: why it is not a path on a share.
pub fn parse(path: &[u16]) -> Result<UncPath<'_>, NotUnc> {
    let Some(&first) = path.first() else {
        return Err(NotUnc::Empty);
    };
    if first != BACKSLASH {
        return Err(NotUnc::Relative);
    }
    let (form, mut rest) = Form::strip(path)?;
    let mut provider = None;
    let server = loop {
        let component = first_component(rest);
        rest = rest.get(component.len()..).unwrap_or(&[]);
        if component.first() != Some(&SEMICOLON) {
            break component;
        }
        // `;LanmanRedirector`, `;Z:0000000000012345`: who serves it and for which drive. The first names the provider.
        provider = provider.or(component.get(1..));
        rest = rest.get(1..).unwrap_or(&[]);
    };
    if server.is_empty() {
        return Err(NotUnc::NoServer);
    }
    let share = first_component(rest.get(1..).unwrap_or(&[]));
    if share.is_empty() {
        return Err(NotUnc::NoShare);
    }
    let below = rest.len().saturating_sub(1 + share.len());
    Ok(UncPath {
        form,
        whole: path,
        provider,
        server,
        share,
        root_end: path.len().saturating_sub(below),
    })
}

impl<'a> UncPath<'a> {
    /// Which spelling it has.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// The path as it was parsed.
    #[must_use]
    pub const fn whole(&self) -> &'a [u16] {
        self.whole
    }

    /// The provider named in front of the server, without its semicolon: `LanmanRedirector`.
    #[must_use]
    pub const fn provider(&self) -> Option<&'a [u16]> {
        self.provider
    }

    /// The server's name.
    #[must_use]
    pub const fn server(&self) -> &'a [u16] {
        self.server
    }

    /// The share's name.
    #[must_use]
    pub const fn share(&self) -> &'a [u16] {
        self.share
    }

    /// What the share gives access to, by its name.
    #[must_use]
    pub fn share_kind(&self) -> ShareKind {
        if eq_ignore_ascii_case(self.share, b"IPC$") {
            ShareKind::Ipc
        } else if eq_ignore_ascii_case(self.share, b"PIPE") {
            ShareKind::Pipe
        } else if eq_ignore_ascii_case(self.share, b"MAILSLOT") {
            ShareKind::Mailslot
        } else {
            ShareKind::Disk
        }
    }

    /// The share's root, as a prefix of the path: `\Device\Mup\server\share`.
    #[must_use]
    pub fn root(&self) -> &'a [u16] {
        self.prefix(self.root_end)
    }

    /// What follows the share's name: empty, or from its backslash on, with the stream.
    #[must_use]
    pub fn rest(&self) -> &'a [u16] {
        self.whole.get(self.root_end..).unwrap_or(&[])
    }

    /// The names below the share; the last one without its stream. Empty names (`a\\b`, `a\`) are passed over, but
    /// for the one that a directory's own stream has (`a\:s`).
    #[must_use]
    pub fn components(&self) -> Components<'a> {
        Components::new(self.rest())
    }

    /// The stream with its type, behind the first colon of the last name: `stream:$DATA`.
    #[must_use]
    pub fn stream(&self) -> Option<&'a [u16]> {
        let name_start = self.rest().iter().rposition(|&unit| unit == BACKSLASH)?;
        let name = self.rest().get(name_start..)?;
        name.get(position(name, COLON)? + 1..)
    }

    /// The directories on the way, the share's root first, the immediate parent last. None for the root itself.
    #[must_use]
    pub fn ancestors(&self) -> Ancestors<'a> {
        Ancestors::new(self.whole, self.root_end)
    }

    /// The last of the [`ancestors`](Self::ancestors).
    #[must_use]
    pub fn parent(&self) -> Option<&'a [u16]> {
        let name_end = units::trim_end(self.whole, self.root_end);
        let before_name = self.whole.get(self.root_end..name_end)?;
        let separator = before_name.iter().rposition(|&unit| unit == BACKSLASH)?;
        Some(self.prefix(units::trim_end(
            self.prefix(self.root_end + separator),
            self.root_end,
        )))
    }

    /// How many names stand below the share.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// Whether this is the share's root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.rest().iter().all(|&unit| unit == BACKSLASH)
    }

    fn prefix(&self, end: usize) -> &'a [u16] {
        self.whole.get(..end).unwrap_or(self.whole)
    }
}
