//! Installing on Windows.

use std::path::{Path, PathBuf};

use winuser::certificate::{self, Certificate};
use winuser::inf::{self, Do, Way};
use winuser::system::Processor;
use winuser::trust::{self, Verdict};
use winuser::{Error, Wide, filter, registry, service, system, wine};

use super::system::{Done, Installed, Signed, Store, System};
use crate::verbs::doctor;
use crate::verbs::unload::SERVICE;

/// The Windows at hand.
pub(in crate::verbs) struct Windows {
    _private: (),
}

impl Windows {
    /// The Windows at hand.
    pub(in crate::verbs) const fn new() -> Self {
        Self { _private: () }
    }

    fn key() -> String {
        format!(r"SYSTEM\CurrentControlSet\Services\{SERVICE}")
    }
}

fn told<T>(result: winuser::Result<T>) -> Done<T> {
    result.map_err(|error| match advice(&error) {
        Some(advice) => format!("{error}: {advice}"),
        None => error.to_string(),
    })
}

/// What to do about a failure, where there is something.
fn advice(error: &Error) -> Option<&'static str> {
    const TRUST: &str = "this machine does not trust the package's certificate; --trust-test-certificate on a machine for tests";
    match error.win32() {
        Some(5 | 740 | 1314) => Some("start the prompt with \"Run as administrator\""),
        Some(577 | 1275) => Some(
            "Windows does not accept the driver's signature; `headroom doctor` says what is missing",
        ),
        Some(1072) => {
            Some("something holds the service open (a services window?): close it and try again")
        }
        _ => match error.code().and_then(winuser::Code::name) {
            Some("CERT_E_UNTRUSTEDROOT" | "CERT_E_CHAINING" | "TRUST_E_SUBJECT_NOT_TRUSTED") => {
                Some(TRUST)
            }
            Some("TRUST_E_BAD_DIGEST") => Some("the package is damaged: unpack it again"),
            Some("ERROR_FLT_DO_NOT_DETACH") => {
                Some("the driver refuses to unload now: try again when it is idle, or restart")
            }
            _ => None,
        },
    }
}

const fn store(store: Store) -> certificate::Store {
    match store {
        Store::Root => certificate::Store::Root,
        Store::TrustedPublisher => certificate::Store::TrustedPublisher,
    }
}

impl System for Windows {
    fn build(&self) -> Done<u32> {
        told(system::version()).map(|version| version.build)
    }

    fn is_x64(&self) -> bool {
        system::processor() == Processor::X64
    }

    fn is_elevated(&self) -> Done<bool> {
        told(system::is_elevated())
    }

    fn has_filter_manager(&self) -> bool {
        wine::version().is_none()
    }

    fn test_signing(&self) -> Done<bool> {
        if wine::version().is_some() {
            return Ok(false);
        }
        told(system::code_integrity())
            .map(|integrity| integrity.test_signing || integrity.debug_mode)
    }

    fn signed(&self, image: &Path) -> Done<Signed> {
        let signature = told(trust::signature(image))?;
        let by_itself = signature
            .signer
            .is_none_or(|signer| signer.subject() == signer.issuer());
        Ok(match signature.verdict {
            Verdict::Unsigned => Signed::Not,
            Verdict::Changed => Signed::Broken,
            Verdict::Trusted if !by_itself => Signed::ForAll,
            _ => Signed::Test,
        })
    }

    fn demands_trust(&self) -> bool {
        wine::version().is_none()
    }

    fn trusts(&self, of: Store, certificate: &Path) -> Done<bool> {
        told(Certificate::read(certificate).and_then(|certificate| store(of).holds(&certificate)))
    }

    fn trust(&mut self, of: Store, certificate: &Path) -> Done<()> {
        told(Certificate::read(certificate).and_then(|certificate| store(of).trust(&certificate)))
    }

    fn distrust(&mut self, of: Store, certificate: &Path) -> Done<()> {
        told(Certificate::read(certificate).and_then(|certificate| store(of).remove(&certificate)))
    }

    fn is_loaded(&self) -> Done<bool> {
        let filters = told(filter::filters())?;
        Ok(filters
            .iter()
            .any(|filter| filter.name.eq_ignore_ascii_case(SERVICE)))
    }

    fn load(&mut self) -> Done<()> {
        told(Wide::new(SERVICE).and_then(|name| filter::load(&name)))
    }

    fn unload(&mut self) -> Done<()> {
        told(Wide::new(SERVICE).and_then(|name| filter::unload(&name)))
    }

    fn installed(&self) -> Done<Option<Installed>> {
        let Some(service) = told(service::installed(SERVICE))? else {
            return Ok(None);
        };
        // Where an isolated package has them, else where others have.
        let mut altitude = None;
        for instances in [r"Parameters\Instances", "Instances"] {
            let key = format!(r"{}\{instances}", Self::key());
            if altitude.is_none()
                && let Some(default) = told(registry::text(&key, "DefaultInstance"))?
            {
                altitude = told(registry::text(&format!(r"{key}\{default}"), "Altitude"))?;
            }
        }
        Ok(Some(Installed {
            image: doctor::file_of(&service.image_path),
            altitude,
        }))
    }

    fn install(&mut self, inf: &Path, section: &str) -> Done<bool> {
        told(match Way::here() {
            Ok(Way::DriverStore) => inf::driver_store(inf, Do::Install),
            Ok(Way::Sections) => inf::sections(inf, section, Do::Install).map(|()| false),
            Err(error) => Err(error),
        })
    }

    fn uninstall(&mut self, inf: &Path, section: Option<&str>) -> Done<bool> {
        told(match (Way::here(), section) {
            (Ok(Way::DriverStore), _) => inf::driver_store(inf, Do::Uninstall),
            (Ok(Way::Sections), Some(section)) => {
                inf::sections(inf, section, Do::Uninstall).map(|()| false)
            }
            (Ok(Way::Sections), None) => Ok(false),
            (Err(error), _) => Err(error),
        })
    }

    fn delete_service(&mut self) -> Done<()> {
        told(service::delete(SERVICE))
    }

    fn left_file(&self) -> Option<PathBuf> {
        let file = doctor::file_of(r"\SystemRoot\System32\drivers\headroom.sys");
        file.is_file().then_some(file)
    }

    fn delete_file(&mut self, file: &Path) -> Done<()> {
        std::fs::remove_file(file).map_err(|error| format!("{}: {error}", file.display()))
    }

    fn same(&self, one: &Path, other: &Path) -> Done<bool> {
        let read = |file: &Path| {
            std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
        };
        Ok(read(one)? == read(other)?)
    }
}
