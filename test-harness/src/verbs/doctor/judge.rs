//! What to think of what was found on a Windows machine.

use protocol::OLDEST_BUILD;

use super::facts::{Facts, Image, Instances, Service, Signature, Signer, Told, Trust};
use super::{Check, Group, Page};

/// The altitudes of activity monitors.
const ALTITUDES: std::ops::RangeInclusive<f64> = 360_000.0..=389_999.0;
const ELEVATE: &str = "start the prompt with \"Run as administrator\"";
const INSTALL: &str = "`headroom install PACKAGE`, with the folder of the driver's package";
const TEST_MACHINE: &str = "docs/test-vm.md says how to make a machine for it";

/// Judges.
pub(super) fn judge(facts: &Facts) -> Page {
    let (major, minor, build) = *facts.version.as_ref().unwrap_or(&(0, 0, 0));
    let mut system = format!("Windows {major}.{minor}.{build} ({})", facts.processor);
    if let Some(wine) = &facts.wine {
        system = format!("Wine {wine}, which says that it is {system}");
    }
    let windows = vec![
        wine(facts),
        processor(facts),
        version(facts),
        elevated(facts),
        test_signing(facts),
        secure_boot(facts),
        hvci(facts),
        crash_dump(facts),
    ];
    let driver = vec![
        service(facts),
        file(facts),
        signature(facts),
        certificate(facts),
        instances(facts),
        loaded(facts),
        attached(facts),
        port(facts),
    ];
    let share = vec![server(facts), share(facts)];
    Page::new(
        system,
        vec![
            Group::new("Windows", windows.into_iter().flatten().collect()),
            Group::new("Driver", driver.into_iter().flatten().collect()),
            Group::new("Network", share.into_iter().flatten().collect()),
        ],
    )
}

fn wine(facts: &Facts) -> Option<Check> {
    facts.wine.as_ref()?;
    let found =
        "this is Wine: programs run, but there is no Filter Manager, and no minifilter loads";
    Some(Check::failed(
        "system",
        found,
        format!("use Windows; {TEST_MACHINE}"),
    ))
}

fn processor(facts: &Facts) -> Option<Check> {
    const NAME: &str = "processor";
    Some(match &*facts.processor {
        "x64" => Check::ok(NAME, "x64"),
        other => Check::failed(
            NAME,
            format!("{other}; headroom.sys is built for x64"),
            "use a machine with a 64-bit x86 processor",
        ),
    })
}

fn version(facts: &Facts) -> Option<Check> {
    const NAME: &str = "version";
    Some(match facts.version {
        Ok((major, minor, build)) if (major, build) >= (10, OLDEST_BUILD) => {
            Check::ok(NAME, format!("{major}.{minor}.{build}"))
        }
        Ok((major, minor, build)) => Check::failed(
            NAME,
            format!(
                "{major}.{minor}.{build}; the driver needs 10.0.{OLDEST_BUILD} (Windows 10 version 2004)"
            ),
            format!("use a newer Windows; {TEST_MACHINE}"),
        ),
        Err(ref why) => Check::not_checked(NAME, why),
    })
}

fn elevated(facts: &Facts) -> Option<Check> {
    const NAME: &str = "administrator";
    Some(match facts.elevated {
        Ok(true) => Check::ok(NAME, "this process is elevated"),
        Ok(false) => Check::failed(
            NAME,
            "this process is not elevated: it can neither load the driver nor talk to it",
            ELEVATE,
        ),
        Err(ref why) => Check::not_checked(NAME, why),
    })
}

/// The driver's signer, where there is one.
fn signer(facts: &Facts) -> Option<&Signer> {
    let image = facts.image.as_ref()?;
    let signature = image.signature.as_ref()?.as_ref().ok()?;
    signature.signer.as_ref()
}

fn test_signing(facts: &Facts) -> Option<Check> {
    const NAME: &str = "test signing";
    let integrity = match &facts.integrity {
        Ok(integrity) => integrity,
        Err(why) => return Some(Check::not_checked(NAME, why)),
    };
    Some(if integrity.test_signing {
        Check::ok(NAME, "on: test-signed drivers load")
    } else if integrity.debug_mode {
        let found = "off, but a kernel debugger is attached, which lets test-signed drivers load";
        Check::ok(NAME, found)
    } else if signer(facts).is_some_and(|signer| !signer.self_signed) {
        Check::ok(
            NAME,
            "off; the driver is signed with more than a test certificate",
        )
    } else {
        let first = match facts.secure_boot {
            Ok(Some(true)) => "turn Secure Boot off in the firmware's settings; then, ",
            _ => "",
        };
        let mend = format!(
            "{first}as an administrator: bcdedit /set testsigning on, and restart. On a machine for tests only: it lowers the system's guard"
        );
        Check::failed(NAME, "off: a test-signed driver does not load", mend)
    })
}

fn secure_boot(facts: &Facts) -> Option<Check> {
    const NAME: &str = "Secure Boot";
    Some(match facts.secure_boot {
        Ok(Some(true)) => Check::ok(NAME, "on; test signing cannot be turned on with it"),
        Ok(Some(false)) => Check::ok(NAME, "off"),
        Ok(None) => Check::ok(NAME, "this machine has none"),
        Err(ref why) => Check::not_checked(NAME, why),
    })
}

fn hvci(facts: &Facts) -> Option<Check> {
    const NAME: &str = "memory integrity";
    Some(match &facts.integrity {
        Ok(integrity) if integrity.hvci => {
            Check::ok(NAME, "on (HVCI); headroom.sys is built to load with it")
        }
        Ok(_) => Check::ok(NAME, "off"),
        Err(why) => Check::not_checked(NAME, why),
    })
}

fn crash_dump(facts: &Facts) -> Option<Check> {
    const NAME: &str = "crash dumps";
    let mend = "Settings, System, About, Advanced system settings, Startup and Recovery: choose a kernel memory dump";
    Some(match facts.crash_dump {
        Ok(Some(0)) => Check::warning(
            NAME,
            "off: a bug check would leave nothing to look at",
            mend,
        ),
        Ok(Some(3)) => Check::warning(
            NAME,
            "small dumps only, which do not hold the driver's records",
            mend,
        ),
        Ok(Some(_)) => Check::ok(
            NAME,
            "a bug check leaves a dump for `headroom dump` and the debugger",
        ),
        Ok(None) => Check::not_checked(NAME, "the registry does not say"),
        Err(ref why) => Check::not_checked(NAME, why),
    })
}

fn service(facts: &Facts) -> Option<Check> {
    const NAME: &str = "service";
    Some(match &facts.service {
        Ok(Some(Service { service_type, .. })) if *service_type != 2 => Check::failed(
            NAME,
            format!("`headroom` is a service of type {service_type}, not a file system driver (2)"),
            format!("remove it (`headroom uninstall`), then {INSTALL}"),
        ),
        Ok(Some(Service { start_type: 4, .. })) => Check::failed(
            NAME,
            "`headroom` is disabled",
            "sc config headroom start= demand",
        ),
        Ok(Some(service)) => {
            let start = match service.start_type {
                0 => "at boot",
                1 => "at system start",
                2 => "automatically",
                _ => "on demand",
            };
            Check::ok(
                NAME,
                format!("installed, starts {start}, image {}", service.image_path),
            )
        }
        Ok(None) => Check::failed(NAME, "the driver is not installed", INSTALL),
        Err(why) => Check::not_checked(NAME, why),
    })
}

fn file(facts: &Facts) -> Option<Check> {
    const NAME: &str = "driver file";
    Some(match &facts.image {
        None => Check::not_checked(
            NAME,
            "the driver is not installed, and no file was named with --driver",
        ),
        Some(Image {
            path,
            signature: None,
        }) => Check::failed(
            NAME,
            format!("{path} is not there"),
            format!("install it again: {INSTALL}"),
        ),
        Some(image) => Check::ok(NAME, &image.path),
    })
}

fn signature(facts: &Facts) -> Option<Check> {
    const NAME: &str = "signature";
    let signature = match facts.image.as_ref()?.signature.as_ref()? {
        Ok(signature) => signature,
        Err(why) => return Some(Check::not_checked(NAME, why)),
    };
    let Signature { trust, signer } = signature;
    let by = signer.as_ref().map_or_else(String::new, |signer| {
        format!(" by {} (thumbprint {})", signer.subject, signer.thumbprint)
    });
    Some(match trust {
        Trust::Trusted => Check::ok(NAME, format!("good{by}")),
        Trust::Unsigned => Check::failed(
            NAME,
            "the file carries none, and Windows loads no unsigned driver",
            "install the package that `cargo xtask package` makes, whose driver is signed",
        ),
        Trust::Changed => Check::failed(
            NAME,
            format!("the file has changed since it was signed{by}"),
            format!("it is damaged or was replaced; install it again: {INSTALL}"),
        ),
        // The kernel with test signing on loads it all the same; what it keeps from working is told where the certificate is looked at.
        Trust::Untrusted => Check::ok(
            NAME,
            format!("whole{by}, whose authority this machine does not trust"),
        ),
        Trust::Other(why) => Check::warning(
            NAME,
            format!("{why}{by}"),
            "signtool verify /v /pa headroom.sys, of the Windows SDK, tells more",
        ),
    })
}

fn certificate(facts: &Facts) -> Option<Check> {
    const NAME: &str = "certificate";
    let signer = signer(facts)?;
    if !signer.in_time {
        return Some(Check::failed(
            NAME,
            format!("{} has expired, or is not valid yet", signer.subject),
            "look at the machine's clock; else sign the package again with a new certificate",
        ));
    }
    if !signer.self_signed {
        return None;
    }
    Some(match &signer.missing_from {
        Ok(missing) if missing.is_empty() => Check::ok(
            NAME,
            "a test certificate, in the machine's Root and TrustedPublisher stores",
        ),
        Ok(missing) => Check::warning(
            NAME,
            format!(
                "a test certificate that is not in the machine's store {}: packages signed with it do not install",
                missing.join(" and ")
            ),
            "`headroom install PACKAGE --trust-test-certificate`",
        ),
        Err(why) => Check::not_checked(NAME, why),
    })
}

fn instances(facts: &Facts) -> Option<Check> {
    const NAME: &str = "instances";
    let again = format!("install it again: {INSTALL}");
    let Instances {
        key,
        default,
        altitude,
    } = match (&facts.instances, &facts.service) {
        (_, Ok(None)) => return None,
        (Ok(Some(instances)), _) => instances,
        (Ok(None), _) => {
            let found =
                "the service's key has no instances: the Filter Manager does not load the driver";
            return Some(Check::failed(NAME, found, again));
        }
        (Err(why), _) => return Some(Check::not_checked(NAME, why)),
    };
    Some(match (default, altitude) {
        (Some(default), Some(altitude)) => {
            let found = format!("`{default}` at altitude {altitude} ({key})");
            match altitude.parse::<f64>() {
                Ok(number) if ALTITUDES.contains(&number) => Check::ok(NAME, found),
                _ => Check::failed(
                    NAME,
                    format!("{found}, which is none of an activity monitor's"),
                    again,
                ),
            }
        }
        _ => Check::failed(
            NAME,
            format!("{key} lacks DefaultInstance, or that instance's Altitude"),
            again,
        ),
    })
}

fn loaded(facts: &Facts) -> Option<Check> {
    const NAME: &str = "loaded";
    if matches!(facts.service, Ok(None)) {
        return Some(Check::not_checked(NAME, "the driver is not installed"));
    }
    Some(match (&facts.volumes, &facts.service) {
        (Ok(Some(_)), _) => Check::ok(NAME, "yes"),
        (Ok(None), Ok(Some(Service { running: true, .. }))) => Check::failed(
            NAME,
            "the service runs, but the Filter Manager does not know the filter: it is on its way out",
            "wait until it has gone, or restart; then `headroom load`",
        ),
        (Ok(None), _) => Check::failed(NAME, "no", "`headroom load`"),
        (Err(why), _) => Check::not_checked(NAME, why),
    })
}

fn attached(facts: &Facts) -> Option<Check> {
    const NAME: &str = "attached to";
    const MUP: &str = r"\Device\Mup";
    let volumes = facts.volumes.as_ref().ok()?.as_ref()?;
    let mend = format!("`headroom attach {MUP}`");
    Some(if volumes.is_empty() {
        Check::failed(NAME, "no volume: it sees no open", mend)
    } else if volumes
        .iter()
        .any(|volume| volume.eq_ignore_ascii_case(MUP))
    {
        Check::ok(NAME, volumes.join(", "))
    } else {
        let found = format!(
            "{}; not to {MUP}, so it sees no UNC open",
            volumes.join(", ")
        );
        Check::warning(NAME, found, mend)
    })
}

fn port(facts: &Facts) -> Option<Check> {
    const NAME: &str = "port";
    Some(match (&facts.port, &facts.volumes) {
        (
            Ok(Told {
                driver: Some(driver),
                protocol,
                clients,
            }),
            _,
        ) => {
            let protocol = protocol.as_deref().unwrap_or("?");
            let mut found = format!("answers: driver {driver}, protocol {protocol}");
            if let Some(clients) = clients {
                found += &format!(", {clients} connected");
            }
            if driver.starts_with(env!("CARGO_PKG_VERSION")) {
                Check::ok(NAME, found)
            } else {
                let found = format!("{found}; this program is {}", env!("CARGO_PKG_VERSION"));
                Check::warning(
                    NAME,
                    found,
                    "use the program that was built with the driver",
                )
            }
        }
        (Ok(Told { driver: None, .. }), _) => Check::warning(
            NAME,
            "answers, but is older than this program",
            "install and load the driver that was built with it",
        ),
        // One failure is enough to be told of.
        (Err(_), Ok(None)) => Check::not_checked(NAME, "the driver is not loaded"),
        (Err(why), Ok(Some(_))) => Check::failed(
            NAME,
            why,
            "the text before says it; then `headroom doctor` again",
        ),
        (Err(why), Err(_)) => Check::not_checked(NAME, why),
    })
}

fn server(facts: &Facts) -> Option<Check> {
    const NAME: &str = "Server service";
    Some(match facts.server {
        Ok(true) => Check::ok(
            NAME,
            r"runs: `headroom run` can make a share on \\localhost",
        ),
        Ok(false) => Check::warning(
            NAME,
            r"does not run: `headroom run` cannot make a share on \\localhost",
            r"net start LanmanServer, or name a share: `headroom run … --root \\server\share`",
        ),
        Err(ref why) => Check::not_checked(NAME, why),
    })
}

fn share(facts: &Facts) -> Option<Check> {
    const NAME: &str = "share";
    Some(match &facts.share {
        None => Check::not_checked(
            NAME,
            r"none was named; --share \\server\share looks whether it can be reached",
        ),
        Some((share, Ok(()))) => Check::ok(NAME, format!("{share} can be reached")),
        Some((share, Err(why))) => Check::failed(
            NAME,
            format!("{share}: {why}"),
            "look whether Explorer opens it; the name, the network, and the right to it are what can be wrong",
        ),
    })
}

#[cfg(test)]
mod tests;
