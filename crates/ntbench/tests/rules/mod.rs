//! The driver that breaks every rule, its rows, and a program that gives it something to do.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ntbench::wire::{
    Buffers, BugCheckReport, CreateFile, DriverSpec, Finding, InstanceSpec, MachineConfig,
    NamespaceConfig, RegistryValue, VerifierConfig, Volume,
};
use ntbench::{Machine, MachineError, NtStatus, Thread};

use super::model::{scratch_folder, start};
use super::samples::compile_from;

/// Where a row's finding is to be.
#[derive(Debug)]
pub(crate) enum Place {
    /// A call, on that `file:line`.
    Line(String),
    /// A routine, from its beginning.
    Routine(String),
}

/// A misuse.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) misuse: String,
    pub(crate) place: Option<Place>,
}

impl Row {
    /// The rule that it breaks, or a bug check's code.
    pub(crate) fn rule(&self) -> &str {
        self.misuse.split(": ").next().unwrap_or_default()
    }

    /// The bug check that it ends in.
    pub(crate) fn code(&self) -> Option<u32> {
        u32::from_str_radix(self.rule().strip_prefix("0x")?, 16).ok()
    }

    /// Whether what is found is Windows' end, too: the rule's name is followed by the bug check.
    pub(crate) fn ends(&self) -> bool {
        self.misuse.contains("and 0x")
    }

    /// Whether the finding is there, is the driver's, and says where and what to do.
    pub(crate) fn compare(&self, findings: &[Finding]) -> Result<(), String> {
        let is_it = |finding: &&Finding| finding.rule == self.rule() && self.is_at(finding);
        let Some(found) = findings.iter().find(is_it) else {
            return Err(format!("not found at {:?}: {findings:#?}", self.place));
        };
        if found.driver.as_deref() != Some("rules") {
            return Err(format!("nobody's: {found:?}"));
        }
        if found.advice.is_empty() || found.text.is_empty() {
            return Err(format!("without advice: {found:?}"));
        }
        Ok(())
    }

    fn is_at(&self, finding: &Finding) -> bool {
        let site = finding.site.as_deref().unwrap_or_default();
        match &self.place {
            Some(Place::Line(line)) => {
                site.starts_with("rules!") && site.ends_with(&format!("{line})"))
            }
            Some(Place::Routine(name)) => {
                (site.starts_with(&format!("rules!{name}+0x0 ("))
                    || site.starts_with(&format!("rules!{name}+0x1 (")))
                    && site.contains(".c:")
            }
            None => false,
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules")
}

/// What stands between two marks, as often as they come.
fn between<'a>(line: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    line.split(from)
        .skip(1)
        .filter_map(|rest| rest.split_once(to).map(|(name, _)| name))
        .collect()
}

/// Every misuse of the sources, in their order.
pub(crate) fn rows() -> Vec<Row> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("the sources")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    names.sort();
    let mut rows: Vec<Row> = Vec::new();
    let mut named: Vec<(String, Place)> = Vec::new();
    for path in &names {
        let text = std::fs::read_to_string(path).expect("a source");
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let mut now: Vec<String> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let here = || Place::Line(format!("{file}:{}", number + 1));
            let tested = between(line, "IS(\"", "\")");
            if !tested.is_empty() {
                now = tested.iter().map(|&name| name.to_owned()).collect();
            }
            for misuse in &tested {
                if rows.iter().all(|row| row.misuse != *misuse) {
                    let misuse = (*misuse).to_owned();
                    rows.push(Row {
                        misuse,
                        place: None,
                    });
                }
            }
            let marks = between(line, "/* ", " */");
            for mark in marks {
                if mark == "here" {
                    named.extend(now.iter().map(|name| (name.clone(), here())));
                } else if let Some(name) = mark.strip_prefix("here: ") {
                    named.push((name.to_owned(), here()));
                } else if let Some(routine) = mark.strip_prefix("in ") {
                    let routine =
                        |name: &String| (name.clone(), Place::Routine(routine.to_owned()));
                    named.extend(now.iter().map(routine));
                }
            }
        }
    }
    for (misuse, place) in named {
        // What is tried of several names on one line has its mark at one of them.
        if let Some(row) = rows.iter_mut().find(|row| row.misuse == misuse)
            && row.place.is_none()
        {
            row.place = Some(place);
        } else if rows.iter().all(|row| row.misuse != misuse) {
            rows.push(Row {
                misuse,
                place: Some(place),
            });
        }
    }
    rows
}

/// What a machine came to.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It lived; what was found.
    Found(Vec<Finding>),
    /// It did not.
    BugCheck(Box<BugCheckReport>),
    /// It answered no more; what had been found.
    Stopped(Vec<Finding>),
    /// The bench gave up.
    #[expect(dead_code, reason = "shown where the test fails")]
    Other(String),
}

impl From<MachineError> for Ended {
    fn from(error: MachineError) -> Self {
        match error {
            MachineError::BugCheck(report) => Self::BugCheck(report),
            MachineError::TimeLimit { findings, .. } => Self::Stopped(findings),
            other => Self::Other(format!("{other:?}")),
        }
    }
}

/// Lets the driver break a rule; the empty one is none.
pub(crate) fn play(misuse: &str) -> Ended {
    match try_play(misuse) {
        Ok(findings) => Ended::Found(findings),
        Err(error) => error.into(),
    }
}

fn image() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    // As it is written: calls that the compiler merges, or makes its last jump, have another call's line.
    MADE.get_or_init(|| compile_from(&folder(), "rules", &["-O0"]))
}

fn machine(misuse: &str) -> Machine {
    let folder = scratch_folder();
    let volume = |number: u32, letter| {
        let folder = folder.join(number.to_string());
        std::fs::create_dir_all(folder.join("Folder")).expect("a folder");
        std::fs::write(folder.join("a.txt"), vec![b'x'; 4096]).expect("a file");
        Volume {
            device: format!("\\Device\\HarddiskVolume{number}"),
            letter: Some(letter),
            folder,
        }
    };
    Machine::boot(MachineConfig {
        host: Some(PathBuf::from(env!("CARGO_BIN_EXE_ntbench"))),
        time_limit_ms: Some(if misuse == "never-completed" {
            10_000
        } else {
            20_000
        }),
        namespace: NamespaceConfig {
            volumes: vec![volume(1, 'C'), volume(2, 'D')],
            ..NamespaceConfig::default()
        },
        buffers: if misuse.contains("neither") {
            Buffers::Neither
        } else {
            Buffers::Direct
        },
        verifier: VerifierConfig {
            special_pool: !misuse.contains("without special pool"),
            pool_limit: Some(16 << 20),
            stack_limit: misuse.starts_with("stack-use").then_some(0x800),
            ..VerifierConfig::default()
        },
        ..MachineConfig::default()
    })
    .expect("a machine")
}

fn try_play(misuse: &str) -> Result<Vec<Finding>, MachineError> {
    let machine = machine(misuse);
    let instance = |name: &str| InstanceSpec {
        name: name.to_owned(),
        altitude: "370000".to_owned(),
        flags: 0,
    };
    let mut instances = vec![instance("Default")];
    if misuse == "altitude-collision" {
        instances.push(instance("Again"));
    }
    let load = |service: &str, misuse: &str, instances: Vec<InstanceSpec>| {
        machine.load_driver(DriverSpec {
            image: image().to_owned(),
            service: service.to_owned(),
            parameters: vec![("Misuse".to_owned(), RegistryValue::Sz(misuse.to_owned()))],
            instances,
            ..DriverSpec::default()
        })
    };
    let loaded = load("rules", misuse, instances)?;
    if matches!(misuse, "generated-name" | "name-control-buffer") {
        // Names are asked of the filters below the one that wants them.
        let above = InstanceSpec {
            altitude: "380000".to_owned(),
            ..instance("Above")
        };
        load("above", "asks for names", vec![above])?;
    }
    if loaded.status.is_success() {
        let thread = start(&machine);
        files(&thread, "\\??\\C:")?;
        files(&thread, "\\??\\D:")?;
        transacted(&thread)?;
        port(&machine, &thread)?;
        device(&thread)?;
        if misuse == "mandatory-unload-refused" {
            machine.stop_driver("rules")?;
        } else {
            machine.unload_driver("rules")?;
        }
    }
    Ok(machine.shutdown()?.findings)
}

fn open(thread: &Thread, name: &str, transaction: u64) -> Result<Option<u64>, MachineError> {
    let done = thread.create_file(&CreateFile {
        name: name.to_owned(),
        access: 0x10_0003,
        disposition: 1,
        options: 0x20,
        transaction,
        ..CreateFile::default()
    })?;
    Ok((done.status == NtStatus::SUCCESS).then_some(done.handle))
}

/// Opens a file, reads it with a cached transfer and what comes after, and closes it.
fn files(thread: &Thread, root: &str) -> Result<(), MachineError> {
    let Some(file) = open(thread, &format!("{root}\\a.txt"), 0)? else {
        return Ok(());
    };
    thread.read(file, Some(0), 16)?;
    thread.read(file, Some(0), 16)?;
    thread.query_information(file, 9, 1024)?;
    thread.fs_control(file, 0x0009_005C, &[], 0)?;
    thread.close(file)?;
    Ok(())
}

fn transacted(thread: &Thread) -> Result<(), MachineError> {
    let transaction = thread.create_transaction()?.handle;
    if let Some(file) = open(thread, "\\??\\C:\\a.txt", transaction)? {
        thread.close(file)?;
    }
    thread.end_transaction(transaction, true)?;
    thread.close(transaction)?;
    Ok(())
}

fn port(machine: &Machine, thread: &Thread) -> Result<(), MachineError> {
    if machine.ports()?.is_empty() {
        return Ok(());
    }
    let connected = thread.connect_port("\\Rules", &[])?;
    if let Ok(port) = connected {
        port.send(b"hello", 8)?;
        port.close()?;
    }
    Ok(())
}

fn device(thread: &Thread) -> Result<(), MachineError> {
    if let Some(file) = open(thread, "\\??\\Rules", 0)? {
        thread.device_control(file, 0x22_2000, &[], 0)?;
        thread.close(file)?;
    }
    Ok(())
}
