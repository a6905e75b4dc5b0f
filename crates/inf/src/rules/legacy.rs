//! What no longer has a place in an install section.

use super::{Findings, Install};
use crate::document::{Inf, same};

/// Sections that a deprecated mechanism is named after.
const SECTIONS: [&str; 3] = ["CoInstallers", "LogConfigOverride", "FactDef"];
/// Deprecated directives of install sections.
const DIRECTIVES: [&str; 7] = [
    "LogConfig",
    "ProfileItems",
    "UpdateInis",
    "UpdateIniFields",
    "Ini2Reg",
    "RenFiles",
    "RegisterDlls",
];
/// Directives that change what is not the package's own.
const OTHERS: [&str; 3] = ["DelService", "DelFiles", "DelReg"];

pub(super) fn check(inf: &Inf, install: &Install<'_>, findings: &mut Findings) {
    let name = &install.section.name;
    for extension in SECTIONS {
        if let Some(section) = inf.section(&format!("{name}.{extension}")) {
            findings.error(
                1300,
                section.at,
                format!("[{}] is deprecated: leave it out", section.name),
            );
        }
    }
    let services = format!("{name}.Services");
    let sections = [Some(install.section), inf.section(&services)];
    for section in sections.into_iter().flatten() {
        for entry in &section.entries {
            let Some(key) = &entry.key else { continue };
            let is = |known: &&str| same(known, &key.text);
            if DIRECTIVES.iter().any(is) {
                findings.error(
                    1301,
                    entry.at,
                    format!("{} is deprecated: leave it out", key.text),
                );
            }
            if OTHERS.iter().any(is) {
                findings.error(
                    1302,
                    entry.at,
                    format!(
                        "{} in [{}] changes what is not the package's own",
                        key.text, section.name
                    ),
                );
            }
        }
    }
}
