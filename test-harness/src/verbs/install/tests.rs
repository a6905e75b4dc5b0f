//! Installing and uninstalling on a system of which every call can be made to fail.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::flow::{self, Wish};
use super::journal::{Became, Journal};
use super::package::Package;
use super::system::{Done, Installed, Signed, Store, System};

const WISH: Wish = Wish {
    trust_test_certificate: true,
    load: true,
};
const ALTITUDE: &str = "378600.5";

/// What of a system an installation changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    trusted: Vec<Store>,
    loaded: bool,
    installed: Option<Installed>,
    left: bool,
}

/// A system that does as it is told, except where it is to fail.
struct Fake {
    state: State,
    build: u32,
    elevated: bool,
    test_signing: bool,
    signed: Signed,
    restart: bool,
    /// The image that installing puts in place; the package's own unless another is named.
    puts: Option<PathBuf>,
    calls: Cell<usize>,
    fails_at: Option<usize>,
    /// Installing leaves the service behind when it fails.
    half: bool,
}

impl Fake {
    fn new() -> Self {
        Self {
            state: State::default(),
            build: 26100,
            elevated: true,
            test_signing: true,
            signed: Signed::Test,
            restart: false,
            puts: None,
            calls: Cell::new(0),
            fails_at: None,
            half: false,
        }
    }

    fn call(&self) -> Done<()> {
        let call = self.calls.get();
        self.calls.set(call + 1);
        if self.fails_at == Some(call) {
            return Err(format!("made to fail at call {call}"));
        }
        Ok(())
    }
}

impl System for Fake {
    fn build(&self) -> Done<u32> {
        Ok(self.build)
    }
    fn is_x64(&self) -> bool {
        true
    }
    fn is_elevated(&self) -> Done<bool> {
        Ok(self.elevated)
    }
    fn has_filter_manager(&self) -> bool {
        true
    }
    fn test_signing(&self) -> Done<bool> {
        Ok(self.test_signing)
    }
    fn signed(&self, _: &Path) -> Done<Signed> {
        Ok(self.signed)
    }
    fn demands_trust(&self) -> bool {
        true
    }
    fn trusts(&self, store: Store, _: &Path) -> Done<bool> {
        self.call()?;
        Ok(self.state.trusted.contains(&store))
    }
    fn trust(&mut self, store: Store, _: &Path) -> Done<()> {
        self.call()?;
        self.state.trusted.push(store);
        Ok(())
    }
    fn distrust(&mut self, store: Store, _: &Path) -> Done<()> {
        self.call()?;
        self.state.trusted.retain(|held| *held != store);
        Ok(())
    }
    fn is_loaded(&self) -> Done<bool> {
        self.call()?;
        Ok(self.state.loaded)
    }
    fn load(&mut self) -> Done<()> {
        self.call()?;
        assert!(self.state.installed.is_some() && !self.state.loaded);
        self.state.loaded = true;
        Ok(())
    }
    fn unload(&mut self) -> Done<()> {
        self.call()?;
        assert!(self.state.loaded);
        self.state.loaded = false;
        Ok(())
    }
    fn installed(&self) -> Done<Option<Installed>> {
        self.call()?;
        Ok(self.state.installed.clone())
    }
    fn install(&mut self, inf: &Path, section: &str) -> Done<bool> {
        assert!(!self.state.loaded, "a loaded driver's file is in use");
        let wanted = if self.build >= 25952 {
            "25952"
        } else {
            "NTamd64"
        };
        assert!(section.ends_with(wanted), "{section}");
        let done = self.call();
        if done.is_ok() || self.half {
            let image = inf.with_file_name("headroom.sys");
            self.state.installed = Some(Installed {
                image: self.puts.clone().unwrap_or(image),
                altitude: Some(ALTITUDE.to_owned()),
            });
            self.state.left = true;
        }
        done.map(|()| self.restart)
    }
    fn uninstall(&mut self, _: &Path, _: Option<&str>) -> Done<bool> {
        self.call()?;
        self.state.installed = None;
        self.state.left = false;
        Ok(false)
    }
    fn delete_service(&mut self) -> Done<()> {
        self.call()?;
        self.state.installed = None;
        Ok(())
    }
    fn left_file(&self) -> Option<PathBuf> {
        self.state.left.then(|| PathBuf::from("left"))
    }
    fn delete_file(&mut self, _: &Path) -> Done<()> {
        self.call()?;
        self.state.left = false;
        Ok(())
    }
    fn same(&self, one: &Path, other: &Path) -> Done<bool> {
        self.call()?;
        Ok(one == other)
    }
}

/// A package made of the INF that is shipped.
fn package() -> (tempfile::TempDir, Package) {
    let folder = tempfile::tempdir().unwrap();
    let inx = include_str!("../../../../inf/headroom.inx");
    let inf = inx
        .replace("$ARCH$", "amd64")
        .replace("DriverVer   =", "DriverVer   = 01/02/2026,0.1.0.0");
    for (name, content) in [
        ("headroom.inf", &*inf),
        ("headroom.sys", "image"),
        ("headroom.cat", "catalog"),
        ("headroom-test.cer", "certificate"),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let package = Package::read(folder.path()).unwrap();
    (folder, package)
}

fn installed(system: &mut Fake) -> Journal {
    let (_folder, package) = package();
    flow::install(system, &package, WISH).unwrap()
}

fn became(journal: &Journal, what: Became) -> usize {
    journal
        .steps
        .iter()
        .filter(|step| step.became == what)
        .count()
}

#[test]
fn a_package_is_installed_verified_and_loaded_and_again_without_harm() {
    let (_folder, package) = package();
    for build in [26100, 22631, 19041] {
        let mut system = Fake {
            build,
            ..Fake::new()
        };
        let journal = flow::install(&mut system, &package, WISH).unwrap();
        assert!(journal.finished && system.state.loaded, "{journal:?}");
        assert_eq!(system.state.trusted, Store::ALL);
        let before = system.state.clone();
        let again = flow::install(&mut system, &package, WISH).unwrap();
        assert!(again.finished, "{again:?}");
        assert_eq!(system.state, before);
        assert_eq!(became(&again, Became::AsItWas), 2, "{again:?}");
    }
}

#[test]
fn what_can_be_seen_before_changes_nothing() {
    let refused = |change: fn(&mut Fake), wish: Wish| {
        let (_folder, package) = package();
        let mut system = Fake::new();
        change(&mut system);
        let why = flow::install(&mut system, &package, wish).unwrap_err();
        assert_eq!(system.state, State::default());
        why
    };
    let without = Wish {
        trust_test_certificate: false,
        ..WISH
    };
    assert!(refused(|s| s.elevated = false, WISH).contains("administrator"));
    assert!(refused(|s| s.build = 18363, WISH).contains("needs 19041"));
    assert!(refused(|s| s.signed = Signed::Broken, WISH).contains("changed"));
    assert!(refused(|s| s.signed = Signed::Not, WISH).contains("not signed"));
    assert!(refused(|_| {}, without).contains("--trust-test-certificate"));
}

#[test]
fn whichever_call_fails_what_was_done_is_taken_back_or_the_next_run_mends_it() {
    let mut calls = 0;
    for half in [false, true] {
        for fails_at in 0.. {
            let (_folder, package) = package();
            let mut system = Fake {
                fails_at: Some(fails_at),
                half,
                ..Fake::new()
            };
            let journal = match flow::install(&mut system, &package, WISH) {
                Ok(journal) => journal,
                // Nothing was begun.
                Err(_) => {
                    assert_eq!(system.state, State::default());
                    continue;
                }
            };
            if system.calls.get() <= fails_at {
                assert!(journal.finished, "{journal:?}");
                calls = calls.max(fails_at);
                break;
            }
            assert!(!journal.finished, "call {fails_at}: {journal:?}");
            assert_eq!(became(&journal, Became::Failed), 1, "{journal:?}");
            // Only loading comes after the installation, and leaves it.
            if journal.outcome.starts_with("Not installed") {
                assert_eq!(
                    system.state,
                    State::default(),
                    "call {fails_at}: {journal:?}"
                );
            } else {
                assert!(system.state.installed.is_some() && !system.state.loaded);
            }
            system.fails_at = None;
            let mended = flow::install(&mut system, &package, WISH).unwrap();
            assert!(mended.finished && system.state.loaded, "{mended:?}");
        }
    }
    assert!(calls > 8, "only {calls} calls were made to fail");
}

#[test]
fn an_upgrade_that_fails_loads_the_driver_that_was_loaded() {
    let (_folder, package) = package();
    let mut system = Fake::new();
    flow::install(&mut system, &package, WISH).unwrap();
    let before = system.state.clone();
    system.puts = Some("another".into());
    let journal = flow::install(&mut system, &package, WISH).unwrap();
    assert!(
        !journal.finished && journal.outcome.contains("is not the package's"),
        "{journal:?}"
    );
    assert!(system.state.loaded, "{journal:?}");
    assert_eq!(system.state.trusted, before.trusted);
}

#[test]
fn what_keeps_it_from_loading_is_said_and_the_installation_stays() {
    let mut system = Fake {
        test_signing: false,
        ..Fake::new()
    };
    let journal = installed(&mut system);
    assert!(!journal.finished && system.state.installed.is_some() && !system.state.loaded);
    assert!(journal.outcome.contains("testsigning on"), "{journal:?}");
    let mut system = Fake {
        restart: true,
        ..Fake::new()
    };
    let journal = installed(&mut system);
    assert!(journal.finished && journal.needs_restart && !system.state.loaded);
    let mut system = Fake {
        test_signing: false,
        signed: Signed::ForAll,
        ..Fake::new()
    };
    assert!(installed(&mut system).finished && system.state.loaded);
}

#[test]
fn uninstalling_leaves_nothing_whatever_was_there_and_whichever_call_failed_before() {
    let (_folder, package) = package();
    let mut whole = Fake::new();
    flow::install(&mut whole, &package, WISH).unwrap();
    let half = State {
        left: true,
        ..State::default()
    };
    for state in [whole.state, half, State::default()] {
        for fails_at in 0.. {
            let mut system = Fake {
                state: state.clone(),
                fails_at: Some(fails_at),
                ..Fake::new()
            };
            let first = flow::uninstall(&mut system, Some(&package), true);
            let over = system.calls.get() <= fails_at;
            if over {
                assert!(first.unwrap().finished);
            }
            system.fails_at = None;
            let again = flow::uninstall(&mut system, Some(&package), true).unwrap();
            assert!(again.finished, "{again:?}");
            assert_eq!(system.state, State::default(), "after call {fails_at}");
            if over {
                break;
            }
        }
    }
}

#[test]
fn a_certificate_is_taken_out_only_if_asked_for_and_named() {
    let (_folder, package) = package();
    let mut system = Fake::new();
    flow::install(&mut system, &package, WISH).unwrap();
    flow::uninstall(&mut system, None, true).unwrap_err();
    assert!(system.state.installed.is_some());
    flow::uninstall(&mut system, None, false).unwrap();
    assert_eq!(system.state.trusted, Store::ALL);
}

#[test]
fn a_folder_that_is_no_package_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let why = Package::read(folder.path()).unwrap_err();
    assert!(why.contains("headroom.inf"), "{why}");
}
