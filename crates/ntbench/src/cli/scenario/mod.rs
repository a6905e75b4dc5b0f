//! Scenarios: what a program does with the files that a filter is to see, built in or from a file.

mod actor;
mod answer;
mod file;
mod model;
mod names;
mod pattern;
mod play;
mod sites;
mod step;
mod told;

use std::path::Path;

pub(super) use file::FileError;
pub(super) use model::{Place, Scenario};
pub(super) use play::{Play, PlayError, StepResult, least_left, play};
pub(super) use sites::{Site, Sites, SitesError};

/// The scenarios that any filter can be put through, by name: they are files like any other's.
const BUILT_IN: &[(&str, &str)] = &[
    ("basic", include_str!("../../../scenarios/basic.toml")),
    ("names", include_str!("../../../scenarios/names.toml")),
    ("data", include_str!("../../../scenarios/data.toml")),
    ("metadata", include_str!("../../../scenarios/metadata.toml")),
    (
        "directory",
        include_str!("../../../scenarios/directory.toml"),
    ),
    ("reparse", include_str!("../../../scenarios/reparse.toml")),
    ("locks", include_str!("../../../scenarios/locks.toml")),
    ("registry", include_str!("../../../scenarios/registry.toml")),
    (
        "processes",
        include_str!("../../../scenarios/processes.toml"),
    ),
    ("remote", include_str!("../../../scenarios/remote.toml")),
    ("ports", include_str!("../../../scenarios/ports.toml")),
    (
        "transactions",
        include_str!("../../../scenarios/transactions.toml"),
    ),
    ("streams", include_str!("../../../scenarios/streams.toml")),
    ("mapped", include_str!("../../../scenarios/mapped.toml")),
    ("threads", include_str!("../../../scenarios/threads.toml")),
    // The last: a filter that attaches to nothing by itself is attached from then on.
    (
        "instances",
        include_str!("../../../scenarios/instances.toml"),
    ),
];

/// A built-in scenario's text.
pub(super) fn text(name: &str) -> Option<&'static str> {
    BUILT_IN
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}

/// The built-in scenarios.
///
/// # Errors
/// Never, as a test holds.
pub(super) fn built_in() -> Result<Vec<Scenario>, FileError> {
    BUILT_IN
        .iter()
        .map(|(name, text)| own(name, text))
        .collect()
}

fn own(name: &str, text: &str) -> Result<Scenario, FileError> {
    let scenario = file::parse(name, &format!("(built-in {name})"), text)?;
    Ok(Scenario {
        built_in: true,
        ..scenario
    })
}

/// The scenario of a built-in name, all of them for `all`, or that of a file.
///
/// # Errors
/// Says where the file is wrong.
pub(super) fn find(wanted: &str) -> Result<Vec<Scenario>, FileError> {
    if wanted == "all" {
        return built_in();
    }
    match text(wanted) {
        Some(text) => Ok(vec![own(wanted, text)?]),
        None if looks_like_a_name(wanted) => Err(FileError::no_such(
            wanted,
            &BUILT_IN.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        )),
        None => file::read(Path::new(wanted)).map(|scenario| vec![scenario]),
    }
}

fn looks_like_a_name(wanted: &str) -> bool {
    !wanted.contains(['/', '.']) && !Path::new(wanted).exists()
}

#[cfg(test)]
mod tests {
    #[test]
    fn built_in_scenarios_are_right_and_say_what_they_are_for() {
        let all = super::built_in().unwrap_or_else(|error| panic!("{error}"));
        for scenario in all {
            assert!(!scenario.about.is_empty(), "{}", scenario.name);
        }
    }
}
