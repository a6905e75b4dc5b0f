//! Installing Debian packages, each with the reason it is wanted for.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use anyhow::{Result, bail};

use super::say;
use crate::run::{self, Tool};

/// A package that a step needs.
pub(super) struct Need {
    /// Names in order of preference; the first that the package lists know is installed.
    pub(super) anyone_of: &'static [&'static str],
    /// What it is for.
    pub(super) why: &'static str,
    /// What to do on a system that has none of them.
    pub(super) otherwise: &'static str,
}

/// Package lists older than this are fetched again before anything is installed.
const LISTS_TOO_OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Installs packages.
pub(super) fn install(needs: &[Need]) -> Result<()> {
    if run::which("apt-get").is_none() {
        bail!(
            "step `install packages` failed\n  this machine has no apt-get, and these are missing:{}",
            list(needs)
        );
    }
    let stale = lists_are_old() || needs.iter().any(|need| candidate(need).is_none());
    if stale {
        update();
    }
    let (found, missing): (Vec<_>, Vec<_>) = needs
        .iter()
        .map(|need| (need, candidate(need)))
        .partition(|(_, package)| package.is_some());
    if !missing.is_empty() {
        let missing = missing.into_iter().map(|(need, _)| need);
        bail!(
            "step `install packages` failed\n  this system's package lists do not have:{}",
            list(missing)
        );
    }
    let mut packages = Vec::new();
    for (need, package) in found {
        let package = package.unwrap_or_default();
        say(&format!("installing {package:<24} {}", need.why));
        packages.push(package);
    }
    // Not at the price of something else: rustc-web, say, replaces Debian's own rustc and rustup packages.
    let mut args = vec![
        "install",
        "-qq",
        "-y",
        "--no-install-recommends",
        "--no-remove",
    ];
    args.extend(packages);
    apt("install packages", &args).or_else(|error| {
        // Lists of today may name files that the mirror has replaced since.
        if stale {
            return Err(error);
        }
        update();
        apt("install packages", &args)
    })
}

/// What is missing, what for, and what to do about each.
fn list<'a>(needs: impl IntoIterator<Item = &'a Need>) -> String {
    let mut lines = Vec::new();
    let mut remedies: Vec<&str> = Vec::new();
    for need in needs {
        let names = need.anyone_of.join(" or ");
        lines.push(format!("\n    {names:<26} {}", need.why));
        if !remedies.contains(&need.otherwise) {
            remedies.push(need.otherwise);
        }
    }
    lines.extend(
        remedies
            .iter()
            .map(|remedy| format!("\n  to do:   {remedy}")),
    );
    lines.concat()
}

/// Refreshes the lists. One repository of many that cannot be reached fails this as a whole; whether what is wanted can be had, the
/// installation shows.
fn update() {
    say("refreshing the package lists");
    if let Err(error) = apt("refresh the package lists", &["update", "-qq"]) {
        say(&format!("going on with what there is: {error:#}"));
    }
}

fn lists_are_old() -> bool {
    let fetched = [
        "/var/lib/apt/periodic/update-success-stamp",
        "/var/lib/apt/lists",
    ]
    .iter()
    .filter_map(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok())
    .max();
    fetched.is_none_or(|time| {
        SystemTime::now()
            .duration_since(time)
            .is_ok_and(|age| age > LISTS_TOO_OLD)
    })
}

/// The first of the names that can be installed.
fn candidate(need: &Need) -> Option<&'static str> {
    need.anyone_of.iter().copied().find(|package| {
        let policy = Tool::new("look a package up", "apt-cache")
            .args(["policy", package])
            .env("LC_ALL", "C")
            .output();
        policy.is_ok_and(|text| {
            text.lines()
                .any(|line| line.trim().starts_with("Candidate:") && !line.contains("(none)"))
        })
    })
}

fn apt(step: &str, args: &[&str]) -> Result<()> {
    let root = Tool::new("find out who runs this", "id")
        .arg("-u")
        .output()?
        == "0";
    let (program, first) = if root {
        ("apt-get", None)
    } else {
        ("sudo", Some("apt-get"))
    };
    Tool::new(step, program)
        .args(first)
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .remedy("run the command by hand and look at what it says; it needs the network, the right to install packages, and must not have to remove any")
        .run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_had_is_listed_with_what_to_do_once_each() {
        let need = |name: &'static [&'static str], otherwise| Need {
            anyone_of: name,
            why: "compiles",
            otherwise,
        };
        let text = list(&[
            need(&["a-web"], "install rustup"),
            need(&["b-web"], "install rustup"),
            need(&["c-19", "c-22"], "install lld"),
        ]);
        assert_eq!(
            text.lines().map(str::trim).collect::<Vec<_>>(),
            [
                "",
                "a-web                      compiles",
                "b-web                      compiles",
                "c-19 or c-22               compiles",
                "to do:   install rustup",
                "to do:   install lld",
            ]
        );
    }
}
