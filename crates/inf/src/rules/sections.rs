//! Which sections there are, and who refers to them.

use std::collections::BTreeMap;

use super::{DEFAULT_INSTALL, Findings, PRIMITIVE};
use crate::{
    decoration::{Decoration, OsVersion, VERSIONS_SINCE, install_sections},
    document::{Field, Inf, Section, same},
};

/// Directives whose fields name sections.
const TO_SECTIONS: [&str; 12] = [
    "AddReg",
    "DelReg",
    "BitReg",
    "CopyFiles",
    "DelFiles",
    "RenFiles",
    "UpdateInis",
    "UpdateIniFields",
    "Ini2Reg",
    "ProfileItems",
    "LogConfig",
    "AddProperty",
];
/// Sections that the system looks for by their names; each may have a decoration or an extension.
const KNOWN: [&str; 10] = [
    "Version",
    "Strings",
    "DestinationDirs",
    "SourceDisksNames",
    "SourceDisksFiles",
    "ControlFlags",
    "Manufacturer",
    "ClassInstall32",
    "DefaultInstall",
    "DefaultUninstall",
];

pub(super) fn check(inf: &Inf, findings: &mut Findings) {
    forbidden(inf, findings);
    let references = references(inf);
    for (directive, field) in &references {
        if inf.section(&field.text).is_none() {
            findings.error(
                1203,
                field.at,
                format!(
                    "{directive} names section [{}], which is not there",
                    field.text
                ),
            );
        }
    }
    for entry in inf.entries("DestinationDirs") {
        let Some(key) = &entry.key else { continue };
        if !same(&key.text, "DefaultDestDir") && inf.section(&key.text).is_none() {
            findings.error(
                1203,
                key.at,
                format!(
                    "[DestinationDirs] names section [{}], which is not there",
                    key.text
                ),
            );
        }
    }
    used_twice(&references, findings);
    for section in &inf.sections {
        let used = references.iter().any(|(_, field)| section.is(&field.text));
        if !used && !is_known(&section.name) {
            findings.warning(
                2083,
                section.at,
                format!("nothing refers to section [{}]", section.name),
            );
        }
    }
}

/// What a primitive driver must not have.
fn forbidden(inf: &Inf, findings: &mut Findings) {
    let installs: Vec<_> = install_sections(inf, "DefaultInstall").collect();
    if installs.is_empty() {
        findings.page(
            PRIMITIVE,
            crate::Position::START,
            "expected a section [DefaultInstall.NT…]".to_owned(),
        );
    }
    if let Some(manufacturer) = inf.section("Manufacturer") {
        findings.error(
            1212,
            manufacturer.at,
            "[Manufacturer] and [DefaultInstall] exclude each other".to_owned(),
        );
    }
    if let Some(class) = inf.section("ClassInstall32") {
        findings.error(
            1285,
            class.at,
            "[ClassInstall32] is not for a class that Microsoft defines".to_owned(),
        );
    }
    for (section, decoration) in &installs {
        undecorated(section, *decoration, findings);
        let version = decoration.version;
        if version != OsVersion::default() && version < VERSIONS_SINCE {
            findings.page(
                DEFAULT_INSTALL,
                section.at,
                format!(
                    "[{}]: no Windows before {VERSIONS_SINCE} is known to read a version here: name the architecture alone",
                    section.name
                ),
            );
        }
    }
    for (section, decoration) in install_sections(inf, "DefaultUninstall") {
        undecorated(section, decoration, findings);
        let legacy = section.directive("LegacyUninstall");
        if legacy.is_none_or(|entry| entry.text(0) != "1") {
            findings.page(
                PRIMITIVE,
                section.at,
                format!(
                    "[{}] is allowed with LegacyUninstall = 1 only: Windows undoes an installation itself",
                    section.name
                ),
            );
        }
    }
}

fn undecorated(section: &Section, decoration: Decoration, findings: &mut Findings) {
    if decoration.architecture.is_none() {
        findings.page(
            PRIMITIVE,
            section.at,
            format!("[{}] names no architecture, such as .NTamd64", section.name),
        );
    }
}

/// Every reference to a section, with the directive that makes it.
fn references(inf: &Inf) -> Vec<(&str, &Field)> {
    let mut references = Vec::new();
    for section in &inf.sections {
        for entry in &section.entries {
            let Some(key) = entry.key.as_ref().map(|key| key.text.as_str()) else {
                continue;
            };
            let is = |known: &&str| same(known, key);
            if same(key, "AddService") {
                references.extend(entry.field(2).map(|field| (key, field)));
                references.extend(entry.field(3).map(|field| (key, field)));
            } else if TO_SECTIONS.iter().any(is) && !is_list(section, inf) {
                let named = entry
                    .fields
                    .iter()
                    .filter(|field| !field.text.is_empty() && !field.text.starts_with('@'));
                references.extend(named.map(|field| (key, field)));
            }
        }
    }
    references
}

/// Whether a section holds values, among which a word like `AddReg` would mean nothing.
fn is_list(section: &Section, inf: &Inf) -> bool {
    [
        "Version",
        "Strings",
        "DestinationDirs",
        "SourceDisksFiles",
        "SourceDisksNames",
    ]
    .iter()
    .any(|name| {
        inf.section(name)
            .is_some_and(|known| known.is(&section.name))
    })
}

fn used_twice(references: &[(&str, &Field)], findings: &mut Findings) {
    let mut users: BTreeMap<String, Vec<&(&str, &Field)>> = BTreeMap::new();
    for reference in references {
        let name = reference.1.text.to_lowercase();
        users.entry(name).or_default().push(reference);
    }
    for users in users.values() {
        if let [(first, _), rest @ ..] = users.as_slice()
            && let Some((other, field)) = rest.iter().find(|(other, _)| !same(first, other))
        {
            findings.warning(
                1205,
                field.at,
                format!(
                    "section [{}] is named by {first} and by {other}",
                    field.text
                ),
            );
        }
    }
}

fn is_known(name: &str) -> bool {
    KNOWN.iter().any(|known| {
        name.get(..known.len())
            .is_some_and(|start| same(start, known))
            && name[known.len()..]
                .bytes()
                .next()
                .is_none_or(|next| next == b'.')
    })
}
