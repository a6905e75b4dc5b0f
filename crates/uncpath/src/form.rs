//! The spellings that lead to a share.

use crate::NotUnc;
use crate::units::strip;

/// How a path leads to its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `\Device\Mup\server\share`: what a filter on the network stack sees.
    Mup,
    /// `\Device\LanmanRedirector\server\share`, or another redirector's device.
    Redirector,
    /// `\??\UNC\server\share`, or the object manager's other names for that directory.
    Nt,
    /// `\\?\UNC\server\share` or `\\.\UNC\server\share`: Win32's, passed through as it stands.
    Verbatim,
    /// `\\server\share`: Win32's.
    Win32,
}

impl Form {
    /// Devices that serve names of servers: those of Windows itself.
    const DEVICES: [(&'static [u8], Self); 3] = [
        (br"\Device\Mup", Self::Mup),
        (br"\Device\LanmanRedirector", Self::Redirector),
        (br"\Device\WebDavRedirector", Self::Redirector),
    ];

    const PREFIXES: [(&'static [u8], Self); 5] = [
        (br"\??\UNC", Self::Nt),
        (br"\DosDevices\UNC", Self::Nt),
        (br"\GLOBAL??\UNC", Self::Nt),
        (br"\\?\UNC", Self::Verbatim),
        (br"\\.\UNC", Self::Verbatim),
    ];

    /// Splits `path` into its form and what follows: the server, or the provider in front of it.
    pub(crate) fn strip(path: &[u16]) -> Result<(Self, &[u16]), NotUnc> {
        for (prefix, form) in Self::DEVICES.into_iter().chain(Self::PREFIXES) {
            match strip(path, prefix).map(<[u16]>::split_first) {
                Some(None) => return Err(NotUnc::NoServer),
                Some(Some((&crate::BACKSLASH, rest))) => return Ok((form, rest)),
                // `\Device\MupX` is another device.
                Some(Some(_)) | None => {}
            }
        }
        match strip(path, br"\\") {
            // `\\?\C:\…`, `\\.\pipe\…`
            Some(rest) if strip(rest, br"?\").is_some() || strip(rest, br".\").is_some() => {
                Err(NotUnc::OtherDevice)
            }
            Some(rest) => Ok((Self::Win32, rest)),
            None => Err(NotUnc::OtherDevice),
        }
    }
}
