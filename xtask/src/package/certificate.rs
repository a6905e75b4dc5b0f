//! The test certificate: made once, below `target`, and never given away with its key.
//!
//! It is self-signed and good for code signing alone. It has no basic constraints: Windows refuses a signature by a certificate that says
//! it is an authority (CERT_E_BASICCONSTRAINTS), which is what openssl would make of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{run::Tool, stamp};

/// The certificate's name in the package. Scripts expect one file with this ending.
pub(super) const FILE: &str = "headroom-test.cer";
/// Who it says that it is. The words are what a person sees in the list of trusted publishers.
const SUBJECT: &str = "/CN=Headroom Test (self-signed, for test machines)";
/// For a machine that is reset to a snapshot now and then.
const DAYS: &str = "1826";
/// Raise when the certificate changes; then it has to be trusted again on every test machine.
const REVISION: u32 = 1;

/// What openssl makes it from.
const REQUEST: &str = "\
[req]
distinguished_name = name
x509_extensions = extensions
string_mask = utf8only
[name]
[extensions]
keyUsage = critical, digitalSignature
extendedKeyUsage = codeSigning
subjectKeyIdentifier = hash
";

/// The certificate and its key.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    /// In PEM, for osslsigncode.
    pub(super) pem: PathBuf,
    /// In DER, for Windows.
    pub(super) der: PathBuf,
    /// The key, readable by its owner alone.
    pub(super) key: PathBuf,
}

/// The certificate in `directory`, made there if it is not.
pub(super) fn ensure(directory: &Path) -> Result<Certificate> {
    let key = stamp::Key::new("certificate", REVISION)
        .with("request", REQUEST)
        .with("subject", SUBJECT)
        .hex();
    stamp::produce(directory, &key, |directory| {
        eprintln!(
            "package: making a test certificate; trust it on each test machine anew (scripts/prepare-vm.ps1)"
        );
        let config = directory.join("request.cnf");
        fs::write(&config, REQUEST)?;
        let made = at(directory);
        Tool::new("make a test certificate", "openssl")
            .args(["req", "-x509", "-newkey", "rsa:3072", "-sha256", "-noenc"])
            .args(["-days", DAYS, "-subj", SUBJECT, "-config"])
            .arg(&config)
            .arg("-keyout")
            .arg(&made.key)
            .arg("-out")
            .arg(&made.pem)
            .output()?;
        protect(&made.key)?;
        Tool::new("write the certificate for Windows", "openssl")
            .args(["x509", "-outform", "DER", "-in"])
            .arg(&made.pem)
            .arg("-out")
            .arg(&made.der)
            .output()?;
        Ok(())
    })?;
    Ok(at(directory))
}

fn at(directory: &Path) -> Certificate {
    Certificate {
        pem: directory.join("headroom-test.pem"),
        der: directory.join(FILE),
        key: directory.join("headroom-test.key"),
    }
}

/// Takes the key from everybody but its owner.
fn protect(key: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(key, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect {}", key.display()))
}
