//! Whose signature a file carries, and whether this machine trusts it.

use std::ffi::c_void;
use std::path::Path;
use std::ptr;

use schannel::RawPointer as _;
use schannel::cert_context::CertContext;
use windows_sys::Win32::Security::Cryptography as crypto;
use windows_sys::Win32::Security::WinTrust as wintrust;

use crate::certificate::Certificate;
use crate::error::truth;
use crate::wide::lossy;
use crate::{Code, Result, Wide};

/// What WinVerifyTrust thinks of a file's own signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is whole, and leads to an authority that this machine trusts.
    Trusted,
    /// There is none in the file (a catalog may hold one).
    Unsigned,
    /// It is whole, but leads to no trusted authority: a test certificate that was not made known.
    Untrusted,
    /// The file has changed since it was signed.
    Changed,
    /// Another reason.
    Other(Code),
}

/// What a file's signature is.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// Whether it is good.
    pub verdict: Verdict,
    /// Whose it is, where there is one.
    pub signer: Option<Certificate>,
}

/// Looks at a file's embedded signature. Nothing is fetched from a network.
///
/// # Errors
/// A path that is none.
pub fn signature(file: &Path) -> Result<Signature> {
    let name = Wide::new(file)?;
    let verdict = verify(&name);
    let signer = match verdict {
        Verdict::Unsigned => None,
        _ => signer(&name).ok(),
    };
    Ok(Signature { verdict, signer })
}

fn verify(file: &Wide) -> Verdict {
    const NO_SIGNATURE: u32 = 0x800b_0100;
    const UNTRUSTED_ROOT: u32 = 0x800b_0109;
    const CHAINING: u32 = 0x800b_010a;
    const BAD_DIGEST: u32 = 0x8009_6010;
    const FORM_UNKNOWN: u32 = 0x800b_0003;

    let mut action = wintrust::WINTRUST_ACTION_GENERIC_VERIFY_V2;
    let mut subject = wintrust::WINTRUST_FILE_INFO {
        cbStruct: size::<wintrust::WINTRUST_FILE_INFO>(),
        pcwszFilePath: file.ptr(),
        ..wintrust::WINTRUST_FILE_INFO::default()
    };
    let mut data = wintrust::WINTRUST_DATA {
        cbStruct: size::<wintrust::WINTRUST_DATA>(),
        dwUIChoice: wintrust::WTD_UI_NONE,
        fdwRevocationChecks: wintrust::WTD_REVOKE_NONE,
        dwUnionChoice: wintrust::WTD_CHOICE_FILE,
        Anonymous: wintrust::WINTRUST_DATA_0 {
            pFile: &raw mut subject,
        },
        dwStateAction: wintrust::WTD_STATEACTION_IGNORE,
        dwProvFlags: wintrust::WTD_CACHE_ONLY_URL_RETRIEVAL,
        ..wintrust::WINTRUST_DATA::default()
    };
    // SAFETY: both structures say their sizes; name and file information outlive the call; no state is kept.
    let code = unsafe {
        wintrust::WinVerifyTrust(ptr::null_mut(), &raw mut action, (&raw mut data).cast())
    };
    match code.cast_unsigned() {
        0 => Verdict::Trusted,
        NO_SIGNATURE | FORM_UNKNOWN => Verdict::Unsigned,
        UNTRUSTED_ROOT | CHAINING => Verdict::Untrusted,
        BAD_DIGEST => Verdict::Changed,
        code => Verdict::Other(Code::HResult(code)),
    }
}

/// The certificate that a file's embedded signature was made with.
fn signer(file: &Wide) -> Result<Certificate> {
    let mut store: crypto::HCERTSTORE = ptr::null_mut();
    let mut message: *mut c_void = ptr::null_mut();
    // SAFETY: the object is a NUL-terminated file name, as the first argument says; store and message are written.
    let held = unsafe {
        crypto::CryptQueryObject(
            crypto::CERT_QUERY_OBJECT_FILE,
            file.ptr().cast(),
            crypto::CERT_QUERY_CONTENT_FLAG_PKCS7_SIGNED_EMBED,
            crypto::CERT_QUERY_FORMAT_FLAG_BINARY,
            0,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut store,
            &raw mut message,
            ptr::null_mut(),
        )
    };
    truth("CryptQueryObject", held)?;
    let (mut context, mut index) = (ptr::null_mut(), 0);
    // SAFETY: the message is the one that was opened; its signer is looked for among its own certificates; `context` is written.
    let held = unsafe {
        crypto::CryptMsgGetAndVerifySigner(
            message,
            0,
            ptr::null(),
            crypto::CMSG_USE_SIGNER_INDEX_FLAG,
            &raw mut context,
            &raw mut index,
        )
    };
    let found = truth("CryptMsgGetAndVerifySigner", held);
    // SAFETY: the message is ours and used no more.
    unsafe { crypto::CryptMsgClose(message) };
    // SAFETY: the store is ours and used no more; the certificate's context holds what it needs of it.
    unsafe { crypto::CertCloseStore(store, 0) };
    found?;
    // SAFETY: the call has succeeded and given a context that is ours to free.
    Ok(Certificate::of(unsafe {
        CertContext::from_ptr(context.cast())
    }))
}

/// The simplest name of a certificate's subject, or of its issuer.
pub(crate) fn name(context: &CertContext, issuer: bool) -> String {
    let flags = if issuer {
        crypto::CERT_NAME_ISSUER_FLAG
    } else {
        0
    };
    let mut name = [0; 256];
    // SAFETY: it gives the address that it holds.
    let raw = unsafe { context.as_ptr() };
    // SAFETY: a live certificate context, and a buffer of 256 characters.
    let got = unsafe {
        crypto::CertGetNameStringW(
            raw.cast(),
            crypto::CERT_NAME_SIMPLE_DISPLAY_TYPE,
            flags,
            ptr::null(),
            name.as_mut_ptr(),
            256,
        )
    };
    lossy(&name[..usize::try_from(got).unwrap_or(0).min(name.len())])
}

fn size<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_carries_no_signature() {
        let myself = std::env::current_exe().unwrap();
        let signature = signature(&myself).unwrap();
        assert_eq!(signature.verdict, Verdict::Unsigned);
        assert_eq!(signature.signer, None);
    }
}
