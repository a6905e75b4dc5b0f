//! Where values go in the registry.

use super::{Findings, Install, referred};
use crate::{
    document::{Inf, Section, same},
    registry::{self, Data, Line, flags},
};

/// Keys of HKEY_LOCAL_MACHINE that "InfVerif /h" still allows, those that drivers without devices could have a use for.
const EXCEPTIONS: [&str; 12] = [
    r"SYSTEM\CurrentControlSet",
    r"SOFTWARE\Classes",
    r"SOFTWARE\Microsoft\Cryptography\DRM_RNG",
    r"SOFTWARE\Microsoft\EAPOL",
    r"SOFTWARE\Microsoft\Windows Media Foundation",
    r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\Drivers32",
    r"SOFTWARE\Microsoft\Windows\CurrentVersion\App Paths",
    r"SOFTWARE\Microsoft\Windows\CurrentVersion\Authentication",
    r"SOFTWARE\Microsoft\Windows\CurrentVersion\Control Panel",
    r"SOFTWARE\Microsoft\Windows\CurrentVersion\Run",
    r"SOFTWARE\Microsoft\Windows\CurrentVersion\RunOnce",
    r"SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall",
];

pub(super) fn check(inf: &Inf, install: &Install<'_>, findings: &mut Findings) {
    for section in referred(inf, install.section, "AddReg") {
        lines(section, install, false, findings);
    }
    for (_, service) in install.services(inf) {
        for section in referred(inf, service, "AddReg") {
            lines(section, install, true, findings);
        }
        written_twice(inf, service, findings);
    }
}

fn lines(section: &Section, install: &Install<'_>, of_service: bool, findings: &mut Findings) {
    let lines = match registry::lines(section) {
        Ok(lines) => lines,
        Err(error) => return findings.error(1006, error.at, error.kind.to_string()),
    };
    for line in lines {
        let at = line.entry.at;
        let subkey = line.entry.text(1);
        let name = line.entry.text(2);
        if same(name, "CoInstallers32") {
            findings.error(1303, at, "co-installers are no longer run".to_owned());
        }
        if line.flags & flags::APPEND != 0 {
            findings.error(
                1305,
                at,
                format!("`{name}` is appended to; write the whole list"),
            );
        }
        if line.root == "HKR" {
            if of_service && install.isolated && !is_below(subkey, "Parameters") {
                findings.error(
                    1323,
                    at,
                    format!("`{subkey}\\{name}` must be under the service's Parameters subkey"),
                );
            }
        } else {
            other_root(&line, install, findings);
        }
    }
}

fn other_root(line: &Line<'_>, install: &Install<'_>, findings: &mut Findings) {
    let at = line.entry.at;
    let (subkey, name) = (line.entry.text(1), line.entry.text(2));
    let place = format!("{}\\{subkey}", line.root);
    if line.root == "HKLM" && is_below(subkey, r"SYSTEM\CurrentControlSet\Services") {
        findings.error(
            1221,
            at,
            format!("{place} is a service's key: write it with HKR in the service's AddReg"),
        );
    }
    let allowed = !install.isolated
        && (line.root == "HKCR"
            || line.root == "HKLM" && EXCEPTIONS.iter().any(|known| is_below(subkey, known)));
    if allowed {
        findings.warning(
            1304,
            at,
            format!("{place} is not relative to the driver: use HKR"),
        );
    } else if line.value.is_none() {
        findings.error(
            1320,
            at,
            format!("registry root {place} is not isolated to HKR"),
        );
    } else {
        findings.error(
            1321,
            at,
            format!("registry root {place} of value `{name}` is not isolated to HKR"),
        );
    }
}

/// A value of one service that is given two contents.
fn written_twice(inf: &Inf, service: &Section, findings: &mut Findings) {
    let mut seen: Vec<(String, Data)> = Vec::new();
    for section in referred(inf, service, "AddReg") {
        for line in registry::lines(section).unwrap_or_default() {
            let at = line.entry.at;
            let Some(value) = line.value.filter(|_| line.root == "HKR") else {
                continue;
            };
            let place = format!("{}\\{}", value.subkey, value.name).to_lowercase();
            match seen.iter().find(|(known, _)| *known == place) {
                Some((_, data)) if *data != value.data => findings.error(
                    1332,
                    at,
                    format!(
                        "`{}\\{}` is set to different data before",
                        value.subkey, value.name
                    ),
                ),
                Some(_) => {}
                None => seen.push((place, value.data)),
            }
        }
    }
}

/// Whether a key is `above` or lies below it.
fn is_below(key: &str, above: &str) -> bool {
    key.get(..above.len())
        .is_some_and(|start| same(start, above))
        && key[above.len()..]
            .bytes()
            .next()
            .is_none_or(|next| next == b'\\')
}
