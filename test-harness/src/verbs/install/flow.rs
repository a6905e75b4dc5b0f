//! The steps of installing and of taking it back.
//!
//! Everything that would make a step fail and can be seen before is looked at first: then nothing is changed. A step that fails all the
//! same has those before it taken back. Whatever is left, both can be run again: each step looks at what is, not at what was done.

use std::path::{Path, PathBuf};

use inf::{Architecture, OsVersion, best_install_section};
use protocol::OLDEST_BUILD;

use super::journal::{Became, Journal};
use super::package::Package;
use super::system::{Installed, Signed, Store, System};

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub(in crate::verbs) struct Wish {
    /// Trust the package's test certificate.
    pub(in crate::verbs) trust_test_certificate: bool,
    /// Load the driver.
    pub(in crate::verbs) load: bool,
}

const AGAIN: &str = "Run this again to go on, or `headroom uninstall` to go back.";

/// What has been changed, and how to take it back, the last change first.
enum Change {
    Trusted(Store, PathBuf),
    Unloaded,
    Installed(PathBuf, Option<String>),
}

/// Installs a package. `Err`: nothing was changed, for this reason.
pub(in crate::verbs) fn install(
    system: &mut impl System,
    package: &Package,
    wish: Wish,
) -> Result<Journal, String> {
    let plan = Plan::make(system, package, wish)?;
    let mut journal = Journal::default();
    let mut changes = Vec::new();
    if let Err(why) = plan.carry_out(system, package, &mut journal, &mut changes) {
        let all_undone = take_back(system, changes, &mut journal);
        journal.outcome = if all_undone {
            format!("Not installed: {why}\nWhat had been done was taken back.")
        } else {
            format!("Not installed: {why}\n{AGAIN}")
        };
        return Ok(journal);
    }
    load(system, &plan, wish, &mut journal);
    Ok(journal)
}

/// What is to be done, after everything that can be known before was looked at.
struct Plan {
    service: inf::Service,
    uninstall: Option<String>,
    certificate: Option<PathBuf>,
    before: Option<Installed>,
    signed: Signed,
    test_signing: bool,
}

impl Plan {
    fn make(system: &impl System, package: &Package, wish: Wish) -> Result<Self, String> {
        if !system.is_x64() {
            return Err("this Windows is not for x64 processors, and headroom.sys is".to_owned());
        }
        if !system.is_elevated()? {
            return Err(
                "only administrators may do this: start the prompt with \"Run as administrator\""
                    .to_owned(),
            );
        }
        let build = system.build()?;
        if build < OLDEST_BUILD {
            return Err(format!(
                "this is build {build} of Windows, and the driver needs {OLDEST_BUILD} (Windows 10, version 2004) or later"
            ));
        }
        let service = inf::minifilter(&package.content, Architecture::Amd64, build)
            .map_err(|error| format!("{}: {error}", package.inf.display()))?;
        let signed = system.signed(&package.image)?;
        match signed {
            Signed::Broken => {
                return Err(format!(
                    "{} has changed since it was signed: unpack the package again",
                    package.image.display()
                ));
            }
            Signed::Not if system.demands_trust() => {
                return Err(format!(
                    "{} is not signed, and Windows loads no such driver: `cargo xtask package` makes a signed one",
                    package.image.display()
                ));
            }
            _ => {}
        }
        let certificate = certificate(system, package, wish, signed)?;
        Ok(Self {
            uninstall: uninstall_section(&package.content, build),
            service,
            certificate,
            before: system.installed()?,
            signed,
            test_signing: system.test_signing()?,
        })
    }

    fn carry_out(
        &self,
        system: &mut impl System,
        package: &Package,
        journal: &mut Journal,
        changes: &mut Vec<Change>,
    ) -> Result<(), String> {
        if let Some(certificate) = &self.certificate {
            for store in Store::ALL {
                let step = format!("trust the test certificate: the machine's {}", store.name());
                if attempt(journal, &step, system.trusts(store, certificate))? {
                    journal.note(Became::AsItWas, step);
                } else {
                    attempt(journal, &step, system.trust(store, certificate))?;
                    changes.push(Change::Trusted(store, certificate.clone()));
                    journal.note(Became::Done, step);
                }
            }
        }
        if system.has_filter_manager()
            && attempt(journal, "look whether it is loaded", system.is_loaded())?
        {
            let step = "unload the driver that is loaded";
            attempt(journal, step, system.unload())?;
            changes.push(Change::Unloaded);
            journal.note(Became::Done, step);
        }
        let step = format!(
            "install {} (section {})",
            package.inf.display(),
            self.service.section
        );
        // Before it is done: half of it may be when it fails. What replaces something cannot be taken back to it.
        if self.before.is_none() {
            changes.push(Change::Installed(
                package.inf.clone(),
                self.uninstall.clone(),
            ));
        }
        journal.needs_restart = attempt(
            journal,
            &step,
            system.install(&package.inf, &self.service.section),
        )?;
        journal.note(Became::Done, step);
        let step = "look whether what was installed is what the package says";
        attempt(journal, step, self.verify(system, package))?;
        journal.note(Became::Done, step);
        Ok(())
    }

    fn verify(&self, system: &impl System, package: &Package) -> Result<(), String> {
        let installed = system.installed()?;
        let installed = installed.ok_or("Windows reported success, and there is no service `headroom`; %SystemRoot%\\INF\\setupapi.dev.log tells more")?;
        let wanted = self
            .service
            .instances
            .first()
            .map(|instance| &instance.altitude);
        if installed.altitude.as_ref() != wanted {
            return Err(format!(
                "the service's default instance has {}, the INF says {}",
                installed
                    .altitude
                    .map_or("no altitude".to_owned(), |altitude| format!(
                        "altitude {altitude}"
                    )),
                wanted.map_or("none", String::as_str)
            ));
        }
        if !system.same(&installed.image, &package.image)? {
            return Err(format!(
                "{} is not the package's headroom.sys",
                installed.image.display()
            ));
        }
        Ok(())
    }
}

/// The certificate to trust, if one is to be; an error where the package needs that and it was not asked for.
fn certificate(
    system: &impl System,
    package: &Package,
    wish: Wish,
    signed: Signed,
) -> Result<Option<PathBuf>, String> {
    match &package.certificate {
        Some(certificate) if wish.trust_test_certificate => Ok(Some(certificate.clone())),
        None if wish.trust_test_certificate => Err(format!(
            "there is no headroom-test.cer beside {}: leave --trust-test-certificate out, or take the whole package",
            package.inf.display()
        )),
        Some(certificate) if signed == Signed::Test && system.demands_trust() => {
            for store in Store::ALL {
                if !system.trusts(store, certificate)? {
                    return Err(format!(
                        "the package is signed with a test certificate that is not in this machine's {}, so Windows would refuse it: on a \
                         machine for tests, give --trust-test-certificate",
                        store.name()
                    ));
                }
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// The INF's section for taking it back.
fn uninstall_section(content: &inf::Inf, build: u32) -> Option<String> {
    let windows = OsVersion {
        major: 10,
        minor: 0,
        build,
    };
    best_install_section(content, "DefaultUninstall", Architecture::Amd64, windows)
        .map(|(section, _)| section.name.clone())
}

/// Loads the driver, or says why not. What is installed stays installed.
fn load(system: &mut impl System, plan: &Plan, wish: Wish, journal: &mut Journal) {
    const STEP: &str = "load the driver";
    let needs = if plan.signed == Signed::ForAll || plan.test_signing {
        None
    } else {
        Some(
            "test signing is off: as an administrator, bcdedit /set testsigning on, and restart; then `headroom load`",
        )
    };
    let left_out = match needs {
        _ if !wish.load => Some("as asked for; `headroom load` does it"),
        _ if journal.needs_restart => Some("after the restart: `headroom load`"),
        _ if !system.has_filter_manager() => Some("this is Wine, which has no Filter Manager"),
        needs => needs,
    };
    journal.finished = true;
    if let Some(why) = left_out {
        journal.note_why(Became::LeftOut, STEP, why);
        journal.finished = !wish.load || journal.needs_restart;
        journal.outcome = "Installed.".to_owned();
        if !journal.finished {
            journal.outcome = format!("Installed, not loaded: {why}.");
        }
        return;
    }
    match system.load() {
        Ok(()) => {
            journal.note(Became::Done, STEP);
            journal.outcome = "Installed and loaded. `headroom status` shows how it stands, `headroom watch` what it sees.".to_owned();
        }
        Err(why) => {
            journal.note_why(Became::Failed, STEP, &why);
            journal.finished = false;
            journal.outcome = "Installed, not loaded. `headroom doctor` looks at what can be the matter; then `headroom load`.".to_owned();
        }
    }
}

/// A step's result; a failure is noted.
fn attempt<T>(journal: &mut Journal, step: &str, result: Result<T, String>) -> Result<T, String> {
    result.inspect_err(|why| journal.note_why(Became::Failed, step, why))
}

/// Takes changes back, the last first; whether that worked.
fn take_back(system: &mut impl System, changes: Vec<Change>, journal: &mut Journal) -> bool {
    let mut all = true;
    for change in changes.into_iter().rev() {
        let (step, result) = match change {
            Change::Trusted(store, certificate) => (
                format!(
                    "take the test certificate out of the machine's {}",
                    store.name()
                ),
                system.distrust(store, &certificate),
            ),
            Change::Unloaded => ("load the driver that was loaded".to_owned(), system.load()),
            Change::Installed(inf, section) => (
                "take back what was installed".to_owned(),
                remove(system, Some((&inf, section.as_deref()))).map(drop),
            ),
        };
        match result {
            Ok(()) => journal.note(Became::Undone, step),
            Err(why) => {
                all = false;
                journal.note_why(Became::NotUndone, step, why);
            }
        }
    }
    all
}

/// Removes everything that an installation, whole or half, has left. Whether a restart is wanted.
fn remove(system: &mut impl System, inf: Option<(&Path, Option<&str>)>) -> Result<bool, String> {
    // What the INF cannot take back, since it was not installed by it or only half, goes below.
    let restart = match inf {
        Some((inf, section)) => system.uninstall(inf, section),
        None => Ok(false),
    };
    if system.installed()?.is_some() {
        system.delete_service()?;
    }
    if let Some(file) = system.left_file() {
        system.delete_file(&file)?;
    }
    Ok(restart.unwrap_or(false))
}

/// Takes an installation back. `Err`: nothing was changed, for this reason.
pub(in crate::verbs) fn uninstall(
    system: &mut impl System,
    package: Option<&Package>,
    remove_certificate: bool,
) -> Result<Journal, String> {
    if !system.is_elevated()? {
        return Err(
            "only administrators may do this: start the prompt with \"Run as administrator\""
                .to_owned(),
        );
    }
    let certificate = match (
        remove_certificate,
        package.and_then(|package| package.certificate.clone()),
    ) {
        (false, _) => None,
        (true, Some(certificate)) => Some(certificate),
        (true, None) => {
            return Err("which certificate to remove, its package says: give --package with the folder that holds headroom-test.cer".to_owned());
        }
    };
    let installed = system.installed()?;
    // The INF lies beside the image in the driver store; for an image elsewhere it is the package's.
    let stored = installed
        .as_ref()
        .and_then(|installed| Some(installed.image.parent()?.join("headroom.inf")))
        .filter(|inf| inf.is_file());
    let inf = stored.or_else(|| package.map(|package| package.inf.clone()));
    let build = system.build()?;
    let section = package.and_then(|package| uninstall_section(&package.content, build));
    let mut journal = Journal::default();
    journal.finished = take_away(
        system,
        installed.is_some(),
        inf.as_deref().map(|inf| (inf, section.as_deref())),
        certificate.as_deref(),
        &mut journal,
    )
    .is_ok();
    journal.outcome = match (journal.finished, installed.is_some()) {
        (true, true) => "Uninstalled.".to_owned(),
        (true, false) => "The driver was not installed; nothing of it is left.".to_owned(),
        (false, _) => {
            "Not uninstalled. Run this again once the cause is mended: it goes on where it stopped."
                .to_owned()
        }
    };
    Ok(journal)
}

fn take_away(
    system: &mut impl System,
    installed: bool,
    inf: Option<(&Path, Option<&str>)>,
    certificate: Option<&Path>,
    journal: &mut Journal,
) -> Result<(), String> {
    if system.has_filter_manager() {
        let step = "unload the driver";
        if attempt(journal, step, system.is_loaded())? {
            attempt(journal, step, system.unload())?;
            journal.note(Became::Done, step);
        }
    }
    let step = "remove the service and its file";
    if installed || system.left_file().is_some() {
        journal.needs_restart = attempt(journal, step, remove(system, inf))?;
        journal.note(Became::Done, step);
    } else {
        journal.note(Became::AsItWas, step);
    }
    for store in Store::ALL {
        let Some(certificate) = certificate else {
            break;
        };
        let step = format!(
            "take the test certificate out of the machine's {}",
            store.name()
        );
        if attempt(journal, &step, system.trusts(store, certificate))? {
            attempt(journal, &step, system.distrust(store, certificate))?;
            journal.note(Became::Done, step);
        } else {
            journal.note(Became::AsItWas, step);
        }
    }
    Ok(())
}
