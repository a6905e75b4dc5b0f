//! Signing with the test certificate, by osslsigncode, and verifying what came out.
//!
//! Verification goes by what osslsigncode prints: its exit status is not the same for the same outcome in all versions.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::certificate::Certificate;
use crate::run::Tool;

const PROGRAM: &str = "osslsigncode";
/// What the signature says that it signs.
const DESCRIPTION: &str = "Headroom";

/// Signs an image with hashes of its pages, which memory integrity verifies as they are read.
pub(super) fn image(from: &Path, to: &Path, certificate: &Certificate) -> Result<()> {
    sign("sign an image", &["-ph"], from, to, certificate)?;
    verify(&[], to, certificate)
}

/// Signs a catalog.
pub(super) fn catalog(from: &Path, to: &Path, certificate: &Certificate) -> Result<()> {
    sign("sign the catalog", &[], from, to, certificate)?;
    verify(&[], to, certificate)
}

/// Verifies a file by its entry in a catalog.
pub(super) fn verify_member(catalog: &Path, file: &Path, certificate: &Certificate) -> Result<()> {
    verify(&["-catalog".as_ref(), catalog], file, certificate)
}

fn sign(
    step: &str,
    options: &[&str],
    from: &Path,
    to: &Path,
    certificate: &Certificate,
) -> Result<()> {
    // It does not write over a file.
    if to.exists() {
        fs::remove_file(to).with_context(|| format!("cannot replace {}", to.display()))?;
    }
    Tool::new(step, PROGRAM)
        .args(["sign", "-h", "sha256", "-n", DESCRIPTION])
        .args(options)
        .arg("-certs")
        .arg(&certificate.pem)
        .arg("-key")
        .arg(&certificate.key)
        .arg("-in")
        .arg(from)
        .arg("-out")
        .arg(to)
        .output()?;
    Ok(())
}

fn verify(options: &[&Path], file: &Path, certificate: &Certificate) -> Result<()> {
    let output = Command::new(PROGRAM)
        .arg("verify")
        .args(options)
        .arg("-CAfile")
        .arg(&certificate.pem)
        .arg("-in")
        .arg(file)
        .output()
        .with_context(|| format!("{PROGRAM} could not be started"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    if is_verified(&text) {
        return Ok(());
    }
    bail!(
        "step `verify a signature` failed\n  file:    {}\n  {PROGRAM} says:\n{text}",
        file.display()
    )
}

/// Whether a signature was verified and nothing about it was wrong.
fn is_verified(text: &str) -> bool {
    let has = |what: &str| text.contains(what);
    has("Signature verification: ok") && !has("MISMATCH") && !has("Signature verification: failed")
}

#[cfg(test)]
mod tests {
    use super::is_verified;

    #[test]
    fn the_text_decides() {
        assert!(is_verified("…\nSignature verification: ok\n…"));
        assert!(!is_verified("No signature found"));
        assert!(!is_verified("Signature verification: failed"));
        assert!(!is_verified(
            "Calculated message digest : 12    MISMATCH!!!\nSignature verification: ok"
        ));
    }
}
