//! The machine's certificate stores.

use std::path::Path;

use schannel::cert_context::{CertContext, HashAlgorithm};
use schannel::cert_store::{CertAdd, CertStore, CertStoreBuilder};

use crate::error::of_io;
use crate::{Result, trust};

/// A store of the machine's, not of the user's: drivers know only those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Authorities that are trusted.
    Root,
    /// Publishers whose packages install without a question.
    TrustedPublisher,
}

/// A certificate.
#[derive(Clone, Debug)]
pub struct Certificate(CertContext);

impl Store {
    /// Its name, as `certutil` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "Root",
            Self::TrustedPublisher => "TrustedPublisher",
        }
    }

    /// Whether it holds a certificate.
    ///
    /// # Errors
    /// What opening the store gave.
    pub fn holds(self, certificate: &Certificate) -> Result<bool> {
        Ok(self.find(certificate, false)?.is_some())
    }

    /// Puts a certificate in. Needs an elevated process.
    ///
    /// # Errors
    /// ERROR_ACCESS_DENIED.
    pub fn trust(self, certificate: &Certificate) -> Result<()> {
        let added = self
            .open(true)?
            .add_cert(&certificate.0, CertAdd::UseExisting);
        match added {
            Ok(_) => Ok(()),
            Err(error) => Err(of_io("CertAddCertificateContextToStore", &error)),
        }
    }

    /// Takes a certificate out; also where it is not in. Needs an elevated process.
    ///
    /// # Errors
    /// ERROR_ACCESS_DENIED.
    pub fn remove(self, certificate: &Certificate) -> Result<()> {
        let Some(found) = self.find(certificate, true)? else {
            return Ok(());
        };
        let removed = found.delete();
        removed.map_err(|error| of_io("CertDeleteCertificateFromStore", &error))
    }

    fn open(self, write: bool) -> Result<CertStore> {
        let mut builder = CertStoreBuilder::new();
        if !write {
            builder.read_only();
        }
        let opened = builder.open_local_machine(self.name());
        opened.map_err(|error| of_io("CertOpenStore", &error))
    }

    fn find(self, certificate: &Certificate, write: bool) -> Result<Option<CertContext>> {
        let store = self.open(write)?;
        let wanted = certificate.0.to_der();
        Ok(store.certs().find(|held| held.to_der() == wanted))
    }
}

impl Certificate {
    /// Reads a .cer file, DER or PEM.
    ///
    /// # Errors
    /// What reading the file gave; CRYPT_E_* for one that holds no certificate.
    pub fn read(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).map_err(|error| of_io("ReadFile", &error))?;
        let read = match std::str::from_utf8(&bytes) {
            Ok(text) if text.contains("-----BEGIN") => CertContext::from_pem(text),
            _ => CertContext::new(&bytes),
        };
        let read = read.map_err(|error| of_io("CertCreateCertificateContext", &error))?;
        Ok(Self(read))
    }

    /// The SHA-1 thumbprint, as certificate tools show it.
    ///
    /// # Errors
    /// None that is documented.
    pub fn thumbprint(&self) -> Result<String> {
        let hash = self.0.fingerprint(HashAlgorithm::sha1());
        let hash = hash.map_err(|error| of_io("CertGetCertificateContextProperty", &error))?;
        Ok(hash.iter().map(|byte| format!("{byte:02X}")).collect())
    }

    /// Whose it is, by its simplest name.
    #[must_use]
    pub fn subject(&self) -> String {
        trust::name(&self.0, false)
    }

    /// Who has signed it, by its simplest name; a test certificate is signed by itself.
    #[must_use]
    pub fn issuer(&self) -> String {
        trust::name(&self.0, true)
    }

    /// Whether now lies in its time.
    ///
    /// # Errors
    /// None that is documented.
    pub fn is_in_time(&self) -> Result<bool> {
        let valid = self.0.is_time_valid();
        valid.map_err(|error| of_io("CertVerifyTimeValidity", &error))
    }

    pub(crate) const fn of(context: CertContext) -> Self {
        Self(context)
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_der() == other.0.to_der()
    }
}
