//! `cargo xtask depth`: how deep creates nest for every reservation and policy, and what ends the next nest, as `docs/depth.md` has it.
//!
//! The search is the harness's (`headroom run nested --until-it-breaks`), and so are the rules that its ends are held to. Here is what
//! is searched, and how it is told.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use num_format::{Locale, ToFormattedString as _};
use serde_json::Value;

use crate::{driver, host, layout::Layout, setup};

/// `PAGE_SIZE`, and `MAXIMUM_EXPANSION_SIZE` of x64: a large stack less half a page.
const PAGE: u32 = 0x1000;
const MAXIMUM_EXPANSION: u32 = 0x1_1800;
/// Below this, where it is decided whether a reservation is enough, the steps are finer.
const FINE: u32 = 0x2000;
const FINE_STEP: u32 = 0x200;

/// A search: the harness's arguments, and what is told of it.
struct Search {
    /// Names its folder.
    name: &'static str,
    title: &'static str,
    arguments: Vec<String>,
    /// What is shown of its picture: the name in `docs/images`.
    picture: Option<&'static str>,
}

/// Every page, finer where it matters, and the most there is.
fn reservations() -> String {
    let fine = (PAGE..FINE).step_by(FINE_STEP as usize);
    let pages = (FINE..MAXIMUM_EXPANSION).step_by(PAGE as usize);
    let all = fine.chain(pages).chain([MAXIMUM_EXPANSION]);
    all.map(|bytes| format!("{bytes:#x}"))
        .collect::<Vec<_>>()
        .join(",")
}

fn searches() -> Vec<Search> {
    let search = |name, title, picture, policy: &str, reserved: &str, more: &[&str]| Search {
        name,
        title,
        picture,
        arguments: ["--policy", policy, "--reservation", reserved]
            .iter()
            .chain(more)
            .map(|&argument| argument.to_owned())
            .collect(),
    };
    let (all, few) = (reservations(), "0x2000,0x3000,0x6000,0xc000,0x11800");
    let mut searches = vec![
        search(
            "ordinary",
            "On a 24 KB stack",
            Some("depth-24k.svg"),
            "all",
            &all,
            &["--stack", "ordinary"],
        ),
        search(
            "large",
            "On a 72 KB stack, of which 24 KB are committed at first",
            Some("depth-72k.svg"),
            "all",
            &all,
            &["--stack", "large"],
        ),
    ];
    for (name, title, fallback) in [
        (
            "segments-pass-through",
            "Where the machine has 8 extra segments, OnExpandFailure PassThrough",
            "OnExpandFailure=PassThrough",
        ),
        (
            "segments-worker",
            "Where the machine has 8 extra segments, OnExpandFailure Worker",
            "OnExpandFailure=Worker",
        ),
        (
            "segments-deny",
            "Where the machine has 8 extra segments, OnExpandFailure Deny",
            "OnExpandFailure=Deny",
        ),
    ] {
        let more = ["--segments", "8", "--set", fallback];
        searches.push(search(name, title, None, "all", few, &more));
    }
    let minimum = ["--set", "MinimumStackBytes=0x2000"];
    let title = "With MinimumStackBytes 0x2000";
    searches.push(search("minimum", title, None, "all", few, &minimum));
    for (name, title, zone) in [
        ("zone-0x1000", "With RedZoneBytes 0x1000", "0x1000"),
        ("zone-0x2000", "With RedZoneBytes 0x2000", "0x2000"),
        ("zone-0x6000", "With RedZoneBytes 0x6000", "0x6000"),
    ] {
        let more = ["--red-zone", zone];
        searches.push(search(name, title, None, "red-zone", few, &more));
    }
    searches
}

/// Searches, holds each end to its rule, and prints the tables; `write`: puts them and the pictures into `docs`.
pub(crate) fn run(layout: &Layout, options: setup::Options, write: bool) -> Result<()> {
    let toolchain = setup::ensure(layout, options)?;
    let target = layout.driver_target();
    let sys = driver::build(&toolchain, layout, "headroom", &target, &layout.out())?.sys;
    let out = layout.out().join("depth");
    let mut page = HEAD.to_owned();
    let mut broken = Vec::new();
    for search in searches() {
        eprintln!("searching: {}", search.title);
        let folder = out.join(search.name);
        let file = folder.join("sweep.json");
        // One of an earlier run would be taken for this one's.
        let _ = fs::remove_file(&file);
        let searched = harness(layout, &search, &sys, &folder);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(missing) => {
                // Why the search came to nothing tells more than that it did.
                searched?;
                return Err(missing)
                    .with_context(|| format!("the search left no {}", file.display()));
            }
        };
        let report: Value = serde_json::from_str(&text)?;
        page += &section(&search, &report)?;
        if let Err(error) = searched {
            broken.push(match failed(&report) {
                checks if checks.is_empty() => format!("{}: {error:#}", search.title),
                checks => format!("{}: {}", search.title, checks.join("; ")),
            });
        }
        if let (true, Some(picture)) = (write, search.picture) {
            let from = folder.join("sweep.svg");
            let to = layout.root.join("docs/images").join(picture);
            fs::copy(&from, &to).with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    print!("{page}");
    if write {
        let to = layout.root.join("docs/depth.md");
        fs::write(&to, &page).with_context(|| format!("cannot write {}", to.display()))?;
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!(
        "{} of the searches ended otherwise than docs/reliability.md says:\n  {}",
        broken.len(),
        broken.join("\n  ")
    )
}

/// One search, its tables kept from the terminal.
fn harness(layout: &Layout, search: &Search, sys: &Path, folder: &Path) -> Result<()> {
    let relative = |path: &Path| -> PathBuf {
        path.strip_prefix(&layout.root)
            .unwrap_or(path)
            .to_path_buf()
    };
    host::cargo(&format!("search ({})", search.title), layout)
        .args(["run", "--quiet", "--locked", "--profile", host::PROFILE])
        .args(["--package", "headroom-harness", "--bin", "headroom", "--"])
        .args(["run", "nested", "--until-it-breaks"])
        .args(&search.arguments)
        .arg("--driver")
        .arg(relative(sys))
        .arg("--out")
        .arg(relative(folder))
        .remedy("the harness says above what it expected and what it saw")
        .output()
        .map(drop)
}

/// The rules that did not hold, with what was seen.
fn failed(report: &Value) -> Vec<String> {
    let checks = report["checks"].as_array().into_iter().flatten();
    let told = |check: &Value| {
        let (what, seen) = (check["what"].as_str()?, check["seen"].as_str()?);
        (check["holds"] == false).then(|| format!("{what} (seen: {seen})"))
    };
    checks.filter_map(told).collect()
}

const HEAD: &str = "# How deep creates nest

Made by `cargo xtask depth --write`: on a simulated machine of [ntbench](ntbench.md), the most creates that nest on one thread and come
back whole, for every reservation from 0x1000 bytes to MAXIMUM_EXPANSION_SIZE (0x11800) and every policy, and what ends the nest that is
one create deeper. [Reliability](reliability.md) says what that has to be, and each run of the command holds it to that. The depths are
those of the modelled kernel's frames, not of a Windows version; the search goes to 512.
";

/// A search as a table, a row for each reservation.
fn section(search: &Search, report: &Value) -> Result<String> {
    let mut text = format!("\n## {}\n\n", search.title);
    if let Some(picture) = search.picture {
        writeln!(text, "![{}](images/{picture})\n", search.title)?;
    }
    text += "| policy | reserved | deepest | segments | least inside | one deeper |\n| --- | ---: | ---: | ---: | ---: | --- |\n";
    let rows = report.pointer("/sweep/rows").and_then(Value::as_array);
    for row in rows.context("a sweep has rows")? {
        let number = |what: &str| row[what].as_u64();
        let policy = row["expand"].as_str().unwrap_or("?");
        let reserved = match number("reservation_bytes") {
            Some(0) | None => "\u{2013}".to_owned(),
            Some(bytes) => format!("{bytes:#x}"),
        };
        let inside = number("lowest_inside").map_or("\u{2013}".to_owned(), grouped);
        writeln!(
            text,
            "| {policy} | {reserved} | {} | {} | {inside} | {} |",
            number("deepest").unwrap_or(0),
            number("segments").unwrap_or(0),
            end(&row["end"]),
        )?;
    }
    Ok(text)
}

/// What ended a nest.
fn end(end: &Value) -> String {
    if let Some(bug_check) = end.get("BugCheck") {
        let number = |what: &str| bug_check[what].as_u64().unwrap_or(0);
        return format!(
            "**bug check {:#04X} ({})**",
            number("code"),
            number("parameter")
        );
    }
    if let Some(fallback) = end.get("Fallback") {
        let status = &fallback["status"];
        let name = status["name"].as_str().or(status.as_str());
        return format!("fallback: {}", name.unwrap_or("?"));
    }
    match end.as_str() {
        Some("Bound") => "nothing: the bound of the search".to_owned(),
        Some("Minimum") => "less than MinimumStackBytes left".to_owned(),
        other => other.unwrap_or("?").to_owned(),
    }
}

fn grouped(number: u64) -> String {
    number.to_formatted_string(&Locale::en)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_searched_and_the_first_two_in_finer_steps() {
        let all = reservations();
        assert!(all.starts_with("0x1000,0x1200,0x1400,"), "{all}");
        assert!(all.contains(",0x1e00,0x2000,0x3000,"), "{all}");
        assert!(all.ends_with(",0x10000,0x11000,0x11800"), "{all}");
    }

    #[test]
    fn a_row_says_what_ended_the_next_nest() {
        let row = |end: &str| {
            format!(
                r#"{{"expand": "Always", "reservation_bytes": 4096, "deepest": 512, "segments": 3, "lowest_inside": 11920, "end": {end}}}"#
            )
        };
        let rows = [
            row(r#"{"BugCheck": {"code": 127, "parameter": 8, "name": "X"}}"#),
            row(r#"{"Fallback": {"status": "STATUS_STACK_OVERFLOW"}}"#),
            row(r#""Bound""#),
        ];
        let report = format!(r#"{{"sweep": {{"rows": [{}]}}}}"#, rows.join(","));
        let search = searches().remove(0);
        let text = section(&search, &serde_json::from_str(&report).unwrap()).unwrap();
        for line in [
            "| Always | 0x1000 | 512 | 3 | 11,920 | **bug check 0x7F (8)** |",
            "fallback: STATUS_STACK_OVERFLOW |",
            "nothing: the bound of the search |",
            "![On a 24 KB stack](images/depth-24k.svg)",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
