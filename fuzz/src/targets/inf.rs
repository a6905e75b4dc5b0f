//! The INF reader.

use fastrand::Rng;
use inf::{Architecture, Mode};

use crate::mutate::{self, Pool};

/// Words that the reader and its rules look for.
const WORDS: &[&str] = &[
    "[",
    "]",
    "\"",
    "\"\"",
    "%",
    "%%",
    "%13%",
    "%12%\\x.sys",
    ";",
    ",",
    "=",
    "\\\n",
    "\r\n",
    "$ARCH$",
    "[Version]",
    "[Strings]",
    "[Strings.0407]",
    "[DefaultInstall.NTamd64]",
    "[DefaultInstall.NTamd64.10.0...25952]",
    "[DefaultInstall.NTarm64.Services]",
    "[Manufacturer]",
    "AddReg=",
    "DelReg=",
    "CopyFiles=@",
    "AddService=",
    "HKR,",
    "HKLM,",
    "\"Parameters\\Instances\"",
    "0x00010001",
    "0x00010000",
    "0x4000",
    "FLG_ADDREG_KEYONLY",
    "DriverVer=01/01/2026,1.0.0.0",
    "\u{feff}",
];

pub(super) fn change(rng: &mut Rng, data: &mut Vec<u8>, pool: &Pool<'_>) {
    mutate::lines(rng, data, pool, WORDS);
}

/// Read or refused with a place in it; what was read is held to every rule, and says what it installs everywhere.
pub(super) fn check(input: &[u8]) {
    let inf = match inf::parse(input) {
        Ok(inf) => inf,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for mode in [Mode::Windows, Mode::Signature] {
        for finding in inf::check(&inf, mode) {
            assert!(!finding.to_string().is_empty());
        }
    }
    for architecture in [Architecture::Amd64, Architecture::Arm64] {
        for build in [0, 19_041, 26_100] {
            match inf::minifilter(&inf, architecture, build) {
                Ok(service) => {
                    let _ = (
                        service.file_name(),
                        service.image_path("store"),
                        service.parameters().count(),
                    );
                    assert!(
                        service
                            .key("store")
                            .iter()
                            .all(|value| !format!("{value:?}").is_empty())
                    );
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}
