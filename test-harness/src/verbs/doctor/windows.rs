//! Looking at a Windows machine.

use std::path::{Path, PathBuf};

use winuser::certificate::{Certificate, Store};
use winuser::service::State;
use winuser::system::{self, Processor};
use winuser::trust::{self, Verdict};
use winuser::{Wide, filter, nt, registry, service, wine};

use super::facts::{
    Facts, Image, Instances, Integrity, Known, Service, Signature, Signer, Told, Trust,
};
use crate::link;
use crate::verbs::unload::SERVICE;

/// From this build on a driver's instances lie below its Parameters key (Windows 11 version 24H2).
const ISOLATED: u32 = 25952;

/// Looks at everything; nothing is changed.
pub(super) fn gather(driver: Option<&Path>, share: Option<&str>) -> Facts {
    let version = known(system::version()).map(|v| (v.major, v.minor, v.build));
    let service = service();
    let build = version.as_ref().map_or(0, |&(.., build)| build);
    Facts {
        wine: wine::version().map(str::to_owned),
        processor: match system::processor() {
            Processor::X64 => "x64".to_owned(),
            Processor::Arm64 => "arm64".to_owned(),
            Processor::Other(number) => format!("processor architecture {number}"),
        },
        elevated: known(system::is_elevated()),
        integrity: known(system::code_integrity()).map(|integrity| Integrity {
            test_signing: integrity.test_signing,
            debug_mode: integrity.debug_mode,
            hvci: integrity.hvci,
        }),
        secure_boot: known(registry::number(
            r"SYSTEM\CurrentControlSet\Control\SecureBoot\State",
            "UEFISecureBootEnabled",
        ))
        .map(|value| value.map(|value| value != 0)),
        crash_dump: known(registry::number(
            r"SYSTEM\CurrentControlSet\Control\CrashControl",
            "CrashDumpEnabled",
        )),
        image: image(driver, service.as_ref().ok().and_then(Option::as_ref)),
        service,
        instances: instances(build),
        volumes: volumes(),
        port: port(),
        server: known(service::installed("LanmanServer"))
            .map(|server| server.is_some_and(|server| server.state == State::Running)),
        share: share.map(|share| (share.to_owned(), reach(share))),
        version,
    }
}

fn known<T>(result: winuser::Result<T>) -> Known<T> {
    result.map_err(|error| error.to_string())
}

fn service() -> Known<Option<Service>> {
    let installed = known(service::installed(SERVICE))?;
    Ok(installed.map(|installed| Service {
        image_path: installed.image_path,
        service_type: installed.service_type,
        start_type: installed.start_type,
        running: installed.state == State::Running,
    }))
}

fn image(named: Option<&Path>, service: Option<&Service>) -> Option<Image> {
    let path = match (named, service) {
        (Some(named), _) => named.to_path_buf(),
        (None, Some(service)) => file_of(&service.image_path),
        (None, None) => return None,
    };
    Some(Image {
        signature: path.is_file().then(|| signature(&path)),
        path: path.display().to_string(),
    })
}

/// The file that a service's image path names: the kernel's spelling of it in the user's.
pub(in crate::verbs) fn file_of(image_path: &str) -> PathBuf {
    let root = std::env::var_os("SystemRoot").map_or_else(|| r"C:\Windows".into(), PathBuf::from);
    let below = |prefix: &str| {
        let start = image_path.get(..prefix.len())?;
        start
            .eq_ignore_ascii_case(prefix)
            .then(|| root.join(&image_path[prefix.len()..]))
    };
    if let Some(path) = below(r"\SystemRoot\").or_else(|| below(r"%SystemRoot%\")) {
        return path;
    }
    if below(r"System32\").is_some() {
        return root.join(image_path);
    }
    image_path
        .strip_prefix(r"\??\")
        .unwrap_or(image_path)
        .into()
}

fn signature(path: &Path) -> Known<Signature> {
    let signature = known(trust::signature(path))?;
    Ok(Signature {
        trust: match signature.verdict {
            Verdict::Trusted => Trust::Trusted,
            Verdict::Unsigned => Trust::Unsigned,
            Verdict::Untrusted => Trust::Untrusted,
            Verdict::Changed => Trust::Changed,
            Verdict::Other(code) => Trust::Other(code.to_string()),
        },
        signer: signature.signer.map(|signer| Signer {
            subject: signer.subject(),
            thumbprint: signer
                .thumbprint()
                .unwrap_or_else(|error| error.to_string()),
            self_signed: signer.subject() == signer.issuer(),
            in_time: signer.is_in_time().unwrap_or(false),
            missing_from: missing_from(&signer),
        }),
    })
}

fn missing_from(certificate: &Certificate) -> Known<Vec<&'static str>> {
    let mut missing = Vec::new();
    for store in [Store::Root, Store::TrustedPublisher] {
        if !known(store.holds(certificate))? {
            missing.push(store.name());
        }
    }
    Ok(missing)
}

fn instances(build: u32) -> Known<Option<Instances>> {
    let key = if build >= ISOLATED {
        r"Parameters\Instances"
    } else {
        "Instances"
    };
    let path = format!(r"SYSTEM\CurrentControlSet\Services\{SERVICE}\{key}");
    if !known(registry::exists(&path))? {
        return Ok(None);
    }
    let default = known(registry::text(&path, "DefaultInstance"))?;
    let altitude = match &default {
        Some(default) => known(registry::text(&format!(r"{path}\{default}"), "Altitude"))?,
        None => None,
    };
    Ok(Some(Instances {
        key,
        default,
        altitude,
    }))
}

fn volumes() -> Known<Option<Vec<String>>> {
    let name = known(Wide::new(SERVICE))?;
    let filters = known(filter::filters())?;
    if !filters
        .iter()
        .any(|filter| filter.name.eq_ignore_ascii_case(SERVICE))
    {
        return Ok(None);
    }
    let instances = known(filter::instances(&name))?;
    Ok(Some(
        instances
            .into_iter()
            .map(|instance| instance.volume)
            .collect(),
    ))
}

fn port() -> Known<Told> {
    let mut client = link::connect().map_err(|error| error.to_string())?;
    let status = client.status().map_err(|error| error.to_string())?;
    Ok(match status {
        Some(status) => {
            let [major, minor, patch, _] = status.driver;
            Told {
                driver: Some(format!("{major}.{minor}.{patch}")),
                protocol: Some(format!("{}.{}", status.protocol[0], status.protocol[1])),
                clients: Some(status.clients),
            }
        }
        None => Told {
            driver: None,
            protocol: None,
            clients: None,
        },
    })
}

/// Opens a folder on a server as the scenarios do.
fn reach(share: &str) -> Known<()> {
    let Some(rest) = share.strip_prefix(r"\\") else {
        return Err(r"this is no UNC path, which starts with \\".to_owned());
    };
    let name = known(Wide::new(format!(r"\??\UNC\{rest}")))?;
    match nt::create(&name, None, &nt::How::existing()) {
        Ok(_) => Ok(()),
        Err(status) => Err(status.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_paths_spellings_lead_to_one_file() {
        let root = PathBuf::from(std::env::var_os("SystemRoot").unwrap());
        let file = root.join(r"System32\drivers\x.sys");
        for spelling in [
            r"\SystemRoot\System32\drivers\x.sys",
            r"system32\drivers\x.sys",
            r"%SYSTEMROOT%\System32\drivers\x.sys",
        ] {
            let found = file_of(spelling);
            let same = found.as_os_str().eq_ignore_ascii_case(&file);
            assert!(same, "{spelling}: {}", found.display());
        }
        assert_eq!(file_of(r"\??\D:\x.sys"), Path::new(r"D:\x.sys"));
    }

    #[test]
    fn a_share_is_named_as_one() {
        reach("server").unwrap_err();
        let error = reach(r"\\no-such-server.invalid\share").unwrap_err();
        assert!(error.contains("STATUS_"), "{error}");
    }
}
