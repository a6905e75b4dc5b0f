//! `headroom.exe` as Windows gets it, under Wine: what needs no driver works, and everything else says that there is none, and what to do.
//!
//! `HEADROOM_EXE` and `HEADROOM_WINE` name the program and what runs it; `cargo xtask test` sets both. Wine is no Windows: where it is known
//! to do otherwise, the test names that, and what Windows does is what the program expects.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "wine/place.rs"]
mod place;

use place::{Ran, Wine, on_linux};

/// The verbs that talk to the driver, each with what it needs to be told.
const NEED_DRIVER: [&[&str]; 10] = [
    &["stats"],
    &["reset"],
    &["config", "get"],
    &["config", "set", "UncOnly", "1"],
    &["instances"],
    &["attach", "C:"],
    &["detach", "C:"],
    &["load"],
    &["unload"],
    &["log", "--count", "1"],
];

#[test]
fn every_verb_has_its_help() {
    let Some(wine) = Wine::here("every verb's help") else {
        return;
    };
    let help = wine.headroom(&["--help"]);
    assert_eq!(help.status, 0, "{help}");
    let verbs: Vec<_> = help
        .out
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.trim().is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    assert!(verbs.len() >= 15, "{verbs:?}");
    for verb in verbs {
        let help = wine.headroom(&[verb, "--help"]);
        assert_eq!(help.status, 0, "{verb}: {help}");
        assert!(help.out.contains("Usage: headroom.exe"), "{verb}: {help}");
    }
}

#[test]
fn verbs_that_need_the_driver_say_that_there_is_none() {
    let Some(wine) = Wine::here("verbs without a driver") else {
        return;
    };
    for verb in NEED_DRIVER {
        let ran = wine.headroom(verb);
        assert_eq!(ran.status, 2, "{verb:?}: {ran}");
        assert!(ran.err.contains("no Filter Manager"), "{verb:?}: {ran}");
        assert!(ran.out.is_empty(), "{verb:?}: {ran}");
    }
}

#[test]
fn a_scenario_that_cannot_be_played_says_why() {
    let Some(wine) = Wine::here("scenarios that cannot be played") else {
        return;
    };
    for (scenario, arguments, why) in [
        ("nested", &[][..], "--without-driver"),
        ("links", &["--without-driver"], "reparse points"),
        ("dfs", &["--without-driver"], "--root"),
    ] {
        let ran = wine.headroom(&[&["run", scenario], arguments].concat());
        assert_eq!(ran.status, 2, "{scenario}: {ran}");
        assert!(ran.err.contains(why), "{scenario}: {ran}");
    }
}

#[test]
fn a_wrong_command_line_is_told_with_the_right_one() {
    let Some(wine) = Wine::here("a wrong command line") else {
        return;
    };
    for wrong in [&["run"][..], &["nonsense"], &["log", "--format", "xml"]] {
        let ran = wine.headroom(wrong);
        assert_eq!(ran.status, 2, "{wrong:?}: {ran}");
        assert!(ran.err.contains("--help"), "{wrong:?}: {ran}");
    }
}

#[test]
fn the_doctor_finds_out_that_this_is_wine() {
    let Some(wine) = Wine::here("the doctor") else {
        return;
    };
    let ran = wine.headroom(&["doctor", "--json", "--share", r"\\localhost\no-such-share"]);
    assert_eq!(ran.status, 1, "{ran}");
    let page: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(
        page["system"].as_str().unwrap().starts_with("Wine "),
        "{page}"
    );
    let groups = page["groups"].as_array().unwrap();
    let checks: Vec<_> = groups
        .iter()
        .flat_map(|group| group["checks"].as_array().unwrap())
        .collect();
    let outcome = |name: &str| {
        let check = checks.iter().find(|check| check["name"] == name);
        check.unwrap_or_else(|| panic!("no {name}: {page}"))["outcome"].clone()
    };
    assert_eq!(outcome("system"), "failed");
    assert_eq!(outcome("processor"), "ok");
    assert_eq!(outcome("version"), "ok");
    assert_eq!(outcome("share"), "failed");
    // The driver is not there to answer, whether or not another test has it installed at this moment.
    assert_eq!(outcome("port"), "not-checked");
    let text = wine.headroom(&["doctor"]);
    assert_eq!(text.status, 1, "{text}");
    assert!(text.out.contains("to do: "), "{text}");
}

#[test]
fn completions_are_a_script() {
    let Some(wine) = Wine::here("completions") else {
        return;
    };
    let ran = wine.headroom(&["completions", "powershell"]);
    assert_eq!(ran.status, 0, "{ran}");
    assert!(ran.out.contains("Register-ArgumentCompleter"), "{ran}");
}

#[test]
fn a_run_that_was_saved_elsewhere_is_reported_and_compared() {
    let Some(wine) = Wine::here("reports of saved runs") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved.json");
    let run = on_linux(
        &["run", "nested", "--depth", "8", "--json", "--out"],
        folder.path(),
    );
    std::fs::write(&saved, run).unwrap();
    let (file, out) = (wine.path(&saved), wine.path(&folder.path().join("report")));
    let report = wine.headroom(&["report", &file, "--out", &out]);
    assert_eq!(report.status, 0, "{report}");
    let written = std::fs::read_dir(folder.path().join("report")).unwrap();
    let written: Vec<_> = written.map(|entry| entry.unwrap().file_name()).collect();
    let html = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".html");
    assert!(written.iter().any(html), "{written:?}: {report}");
    let compared = wine.headroom(&["compare", &file, &file]);
    assert_eq!(compared.status, 0, "{compared}");
    std::fs::write(&saved, "{").unwrap();
    let broken = wine.headroom(&["report", &file, "--out", &out]);
    assert_eq!(broken.status, 2, "{broken}");
}

#[test]
fn a_package_is_installed_by_the_program_and_taken_back() {
    let Some(wine) = Wine::here("installing") else {
        return;
    };
    let package = place::package();
    let folder = wine.path(package.path());
    let copy = wine
        .prefix
        .join("drive_c/windows/system32/drivers/headroom.sys");
    let altitude = r"HKLM\SYSTEM\CurrentControlSet\Services\headroom\Instances\Headroom Instance";

    let first = wine.headroom(&["install", &folder, "--no-load"]);
    assert_eq!(first.status, 0, "{first}");
    let shipped = std::fs::read(package.path().join("headroom.sys")).unwrap();
    assert_eq!(std::fs::read(&copy).unwrap(), shipped);
    assert!(
        wine.reg(&["query", altitude, "/v", "Altitude"])
            .out
            .contains("378600.5")
    );

    // Again, with a file that somebody has damaged meanwhile: that is mended.
    std::fs::write(&copy, "damaged").unwrap();
    let again = wine.headroom(&["install", &folder, "--no-load"]);
    assert_eq!(again.status, 0, "{again}");
    assert_eq!(std::fs::read(&copy).unwrap(), shipped);

    // Loading is what Wine cannot do; what is installed stays.
    let loading = wine.headroom(&["install", &folder]);
    assert_eq!(loading.status, 1, "{loading}");
    assert!(loading.out.contains("Installed, not loaded"), "{loading}");
    let doctor = wine.headroom(&["doctor"]);
    assert!(
        doctor
            .out
            .contains("`Headroom Instance` at altitude 378600.5"),
        "{doctor}"
    );

    let back = wine.headroom(&["uninstall", "--package", &folder]);
    assert_eq!(back.status, 0, "{back}");
    let gone = |ran: &Ran| {
        assert!(!copy.exists(), "{ran}");
        assert_ne!(wine.reg(&["query", altitude]).status, 0, "{ran}");
    };
    gone(&back);
    let nothing = wine.headroom(&["uninstall"]);
    assert_eq!(nothing.status, 0, "{nothing}");
    assert!(nothing.out.contains("was not installed"), "{nothing}");

    // Without the package at hand, what it left is removed all the same.
    assert_eq!(wine.headroom(&["install", &folder, "--no-load"]).status, 0);
    let without = wine.headroom(&["uninstall"]);
    assert_eq!(without.status, 0, "{without}");
    gone(&without);

    // A package that is not whole changes nothing.
    std::fs::remove_file(package.path().join("headroom.sys")).unwrap();
    let refused = wine.headroom(&["install", &folder]);
    assert_eq!(refused.status, 2, "{refused}");
    assert!(refused.err.contains("headroom.sys"), "{refused}");
    gone(&refused);
}

#[test]
fn unc_paths_are_opened_in_every_scenario_that_wine_can_play() {
    let Some(wine) = Wine::here("UNC scenarios") else {
        return;
    };
    for scenario in [
        "nested", "relative", "flat", "wide", "long", "forms", "mixed",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let out = wine.path(folder.path());
        let ran = wine.headroom(&["run", scenario, "--without-driver", "--out", &out]);
        assert_eq!(ran.status, 0, "{scenario}: {ran}");
    }
    let left = std::fs::read_dir(wine.prefix.join("unc/localhost/share")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "not cleaned up: {left:?}");
}
