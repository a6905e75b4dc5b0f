//! Which files are copied where.

use super::{Findings, Install, referred};
use crate::{
    decoration::{Decoration, OsVersion, install_sections},
    document::{Entry, Inf, Section, same},
    number,
};

/// The driver store.
const STORE: u32 = 13;
/// The first Windows whose packages may run from there: Windows 10, version 1709.
const STORE_SINCE: OsVersion = OsVersion::build(16_299);
/// Other directories that "InfVerif /h" still allows. 16422 and above lie outside the system's root.
const EXCEPTIONS: [u32; 17] = [
    10, 11, 12, 23, 51, 52, 55, 16_422, 16_425, 16_426, 16_427, 16_428, 66_000, 66_001, 66_002,
    66_003, 66_004,
];
/// Program Files and the like.
const OUTSIDE_SYSTEM: std::ops::RangeInclusive<u32> = 16_384..=16_500;

/// A file that an install section copies.
struct Copy<'a> {
    entry: &'a Entry,
    directory: u32,
    subdirectory: String,
    name: String,
    source: String,
}

pub(super) fn check(inf: &Inf, install: &Install<'_>, findings: &mut Findings) {
    let copies = copies(inf, install.section, findings);
    for copy in &copies {
        sources(inf, install.decoration, copy, findings);
        destination(install, copy, findings);
    }
    for (name, service) in install.services(inf) {
        if let Some(binary) = service.directive("ServiceBinary") {
            let path = binary.text(0);
            let copied = copies.iter().any(|copy| same(&path_of(copy), path));
            if !copied {
                findings.error(
                    2084,
                    binary.at,
                    format!(
                        "{path}, the binary of service {name}, is not where CopyFiles puts a file"
                    ),
                );
            }
        }
    }
}

fn path_of(copy: &Copy<'_>) -> String {
    let subdirectory = copy.subdirectory.trim_matches('\\');
    if subdirectory.is_empty() {
        format!("%{}%\\{}", copy.directory, copy.name)
    } else {
        format!("%{}%\\{subdirectory}\\{}", copy.directory, copy.name)
    }
}

/// What a section's CopyFiles copies.
fn copies<'a>(inf: &'a Inf, install: &'a Section, findings: &mut Findings) -> Vec<Copy<'a>> {
    let mut copies = Vec::new();
    for section in referred(inf, install, "CopyFiles") {
        let (directory, subdirectory) = directory_of(inf, Some(&section.name), findings);
        for entry in &section.entries {
            let name = entry.text(0).to_owned();
            let source = entry
                .field(1)
                .map_or(name.clone(), |field| field.text.clone());
            copies.push(Copy {
                entry,
                directory,
                subdirectory: subdirectory.clone(),
                name,
                source,
            });
        }
    }
    for entry in install.directives("CopyFiles") {
        for name in entry
            .fields
            .iter()
            .filter_map(|field| field.text.strip_prefix('@'))
        {
            let (directory, subdirectory) = directory_of(inf, None, findings);
            let name = name.to_owned();
            copies.push(Copy {
                entry,
                directory,
                subdirectory,
                source: name.clone(),
                name,
            });
        }
    }
    copies
}

/// The directory for the files of a section, or the default one.
fn directory_of(inf: &Inf, section: Option<&str>, findings: &mut Findings) -> (u32, String) {
    let directories = inf.section("DestinationDirs");
    let entry = directories.and_then(|directories| {
        section
            .and_then(|name| directories.directive(name))
            .or_else(|| directories.directive("DefaultDestDir"))
    });
    let Some(entry) = entry else {
        // %SystemRoot%\System32, where SetupAPI puts what nobody placed.
        return (11, String::new());
    };
    match number::parse(entry.text(0)) {
        Some(directory) => (directory, entry.text(1).to_owned()),
        None => {
            findings.error(
                1006,
                entry.at,
                format!("`{}` is no directory's number", entry.text(0)),
            );
            (11, String::new())
        }
    }
}

fn sources(inf: &Inf, decoration: Decoration, copy: &Copy<'_>, findings: &mut Findings) {
    let decorated = decoration
        .architecture
        .map(|architecture| format!("SourceDisksFiles.{}", architecture.name()));
    let listed = decorated
        .into_iter()
        .chain(["SourceDisksFiles".to_owned()])
        .find_map(|section| inf.section(&section)?.directive(&copy.source));
    let Some(listed) = listed else {
        return findings.error(
            1230,
            copy.entry.at,
            format!("`{}` is not in [SourceDisksFiles]", copy.source),
        );
    };
    let moved = !same(
        listed.text(1).trim_matches('\\'),
        copy.subdirectory.trim_matches('\\'),
    );
    if copy.directory == STORE && (moved || !same(&copy.name, &copy.source)) {
        findings.error(
            1100,
            copy.entry.at,
            format!(
                "`{}` has another name or directory in the driver store than in the package",
                copy.name
            ),
        );
    }
}

fn destination(install: &Install<'_>, copy: &Copy<'_>, findings: &mut Findings) {
    let at = copy.entry.at;
    let directory = copy.directory;
    if directory == STORE {
        if install.decoration.version < STORE_SINCE {
            findings.error(
                1199,
                at,
                format!(
                    "directory 13 is known from Windows {STORE_SINCE} on, and [{}] installs on {}",
                    install.section.name, install.decoration.version
                ),
            );
        }
        return;
    }
    if install.isolated || !EXCEPTIONS.contains(&directory) {
        findings.error(
            1322,
            at,
            format!(
                "destination {} for file {} is not isolated to DIRID 13",
                path_of(copy),
                copy.name
            ),
        );
    }
    if OUTSIDE_SYSTEM.contains(&directory) {
        findings.warning(
            1306,
            at,
            format!(
                "destination {} is not under the system's root",
                path_of(copy)
            ),
        );
    }
}

/// One destination, two sources.
pub(super) fn conflicts(inf: &Inf, findings: &mut Findings) {
    let mut seen: Vec<(String, String)> = Vec::new();
    for (section, _) in install_sections(inf, "DefaultInstall") {
        // What is wrong with the directories was said for each section.
        for copy in copies(inf, section, &mut Findings(Vec::new())) {
            let path = path_of(&copy).to_lowercase();
            match seen.iter().find(|(known, _)| *known == path) {
                Some((_, source)) if !same(source, &copy.source) => findings.error(
                    1330,
                    copy.entry.at,
                    format!(
                        "{} is copied from `{source}` and from `{}`",
                        path_of(&copy),
                        copy.source
                    ),
                ),
                Some(_) => {}
                None => seen.push((path, copy.source)),
            }
        }
    }
}
