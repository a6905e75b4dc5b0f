//! Test filters compiled on the spot, and a machine with a share and a DFS name space to load them into.

#![allow(dead_code, reason = "each test binary uses a part of this")]

#[path = "../clang/mod.rs"]
pub(crate) mod clang;
#[path = "../mingw/mod.rs"]
mod mingw;
pub(crate) mod work;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use ntbench::wire::{
    CallbackEvent, CreateFile, DfsLink, DfsNamespace, DriverSpec, FinalReport, InstanceSpec,
    MachineConfig, NamespaceConfig, RegistryValue, Server, Share, StackKind, ThreadSpec, Trace,
    TraceEvent,
};
use ntbench::{Machine, MachineError, NtStatus, Thread};

use mingw::{COMPILER, library, run, scratch};

/// A folder of its own for a test.
pub(crate) fn scratch_folder() -> PathBuf {
    scratch()
}

/// Compiles `tests/drivers/{name}.c`, `defines` in the form `DEFECT=1`.
pub(crate) fn compile(name: &str, defines: &[&str]) -> PathBuf {
    let folder = scratch();
    let sources = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/drivers");
    let headers = ["flt.h", "files.h"]
        .map(|header| std::fs::read_to_string(sources.join(header)).expect("a header"));
    let own = std::fs::read_to_string(sources.join(format!("{name}.c"))).expect("a driver");
    let imports: Vec<&str> = headers
        .iter()
        .chain([&own])
        .flat_map(|header| header.lines())
        .filter_map(|line| {
            line.strip_prefix("IMPORT ")?
                .split_once(['(', ';'])?
                .0
                .rsplit([' ', '*'])
                .next()
        })
        .collect();
    let (flt, nt): (Vec<&str>, Vec<&str>) = imports
        .into_iter()
        .partition(|name| name.starts_with("Flt"));
    let image = folder.join(format!("{name}.sys"));
    run(Command::new(COMPILER)
        .current_dir(&folder)
        .args([
            "-shared",
            "-nostdlib",
            "-ffreestanding",
            "-O1",
            "-std=gnu17",
            "-Wall",
            "-Wextra",
            "-Werror",
        ])
        .args([
            "-fno-stack-protector",
            "-mno-stack-arg-probe",
            "-Wno-unused-function",
            "-Wno-array-bounds",
        ])
        .args(["-Wno-stringop-overflow", "-Wno-use-after-free"])
        .args([
            "-Wl,--subsystem,native",
            "-Wl,-e,DriverEntry",
            "-Wl,--dynamicbase",
        ])
        .args(defines.iter().map(|define| format!("-D{define}")))
        .arg(sources.join(format!("{name}.c")))
        .arg("-o")
        .arg(&image)
        .arg(library(&folder, "ntoskrnl.exe", &nt))
        .arg(library(&folder, "fltmgr.sys", &flt)));
    image
}

/// Compiles a driver that is written against the DDK's own headers, with the C compiler's import library for the kernel.
pub(crate) fn compile_ddk(name: &str, defines: &[&str]) -> PathBuf {
    compile_ddk_with(name, defines, &[])
}

/// The same, with more for the compiler to hand to its linker.
pub(crate) fn compile_ddk_with(name: &str, defines: &[&str], link: &[&str]) -> PathBuf {
    let folder = scratch();
    let image = folder.join(format!("{name}.sys"));
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/drivers/{name}.c"));
    run(Command::new(COMPILER)
        .current_dir(&folder)
        .args([
            "-shared",
            "-nostdlib",
            "-ffreestanding",
            "-O1",
            "-std=gnu17",
        ])
        .args([
            "-isystem",
            "/usr/share/mingw-w64/include/ddk",
            "-Wall",
            "-Werror",
        ])
        .args(["-fno-stack-protector", "-mno-stack-arg-probe"])
        .args([
            "-Wl,--subsystem,native",
            "-Wl,-e,DriverEntry",
            "-Wl,--dynamicbase",
        ])
        .args(defines.iter().map(|define| format!("-D{define}")))
        .arg(source)
        .args(link)
        .arg("-o")
        .arg(&image)
        .arg("-lntoskrnl"));
    image
}

/// An import library of those names, for [`compile_ddk_with`].
pub(crate) fn import_library(dll: &str, names: &[&str]) -> PathBuf {
    library(&scratch(), dll, names)
}

/// A machine with `\\fs\data` (holding `Docs\Deep\Readme.txt` and a link `jump` to `Docs`) and `\\corp\dfs\eng`.
pub(crate) struct Bench {
    pub(crate) machine: Machine,
    pub(crate) thread: Thread,
    pub(crate) folder: PathBuf,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(MachineConfig::default())
    }

    pub(crate) fn with(config: MachineConfig) -> Self {
        let folder = scratch();
        std::fs::create_dir_all(folder.join("Docs/Deep")).expect("a folder");
        std::fs::write(folder.join("Docs/Deep/Readme.txt"), "text").expect("a file");
        std::os::unix::fs::symlink("Docs", folder.join("jump")).expect("a link");
        let share = Share {
            name: "data".to_owned(),
            folder: folder.clone(),
        };
        let namespace = NamespaceConfig {
            servers: vec![Server {
                name: "fs".to_owned(),
                shares: vec![share],
            }],
            dfs: vec![DfsNamespace {
                server: "corp".to_owned(),
                root: "dfs".to_owned(),
                links: vec![DfsLink {
                    path: "eng".to_owned(),
                    server: "fs".to_owned(),
                    share: "data".to_owned(),
                    folder: "Docs".to_owned(),
                }],
            }],
            volumes: Vec::new(),
        };
        let host = Some(PathBuf::from(env!("CARGO_BIN_EXE_ntbench")));
        let machine = Machine::boot(MachineConfig {
            host,
            namespace,
            ..config
        })
        .expect("a machine");
        let thread = start(&machine);
        Self {
            machine,
            thread,
            folder,
        }
    }

    /// Loads a filter at an altitude.
    pub(crate) fn load_at(&self, image: PathBuf, altitude: &str) -> NtStatus {
        self.machine
            .load_driver(spec(image, altitude))
            .expect("loads")
            .status
    }

    /// Loads a filter.
    pub(crate) fn load(&self, image: PathBuf) -> NtStatus {
        self.load_at(image, "370000")
    }

    /// Opens a name below `\\fs\data`.
    pub(crate) fn open(&self, name: &str) -> NtStatus {
        open(&self.thread, &format!("\\??\\UNC\\fs\\data{name}"))
    }

    pub(crate) fn trace(&self) -> Trace {
        self.machine.trace().expect("a trace")
    }

    pub(crate) fn end(self) -> FinalReport {
        self.machine.shutdown().expect("a report")
    }
}

pub(crate) fn spec(image: PathBuf, altitude: &str) -> DriverSpec {
    DriverSpec {
        image,
        parameters: vec![("Answer".to_owned(), RegistryValue::Dword(42))],
        instances: vec![InstanceSpec {
            name: "Default".to_owned(),
            altitude: altitude.to_owned(),
            flags: 0,
        }],
        ..DriverSpec::default()
    }
}

pub(crate) fn start(machine: &Machine) -> Thread {
    machine
        .thread(ThreadSpec {
            process_image: "app.exe".to_owned(),
            process: 0,
            stack: StackKind::Ordinary,
        })
        .expect("a thread")
}

/// Opens and closes a name.
pub(crate) fn open(thread: &Thread, name: &str) -> NtStatus {
    let create = CreateFile {
        name: name.to_owned(),
        ..CreateFile::default()
    };
    let done = thread.create_file(&create).expect("the machine lives");
    if done.handle != 0 {
        assert_eq!(
            thread.close(done.handle).expect("closes").status,
            NtStatus::SUCCESS
        );
    }
    done.status
}

/// The printed lines.
pub(crate) fn lines(trace: &Trace) -> Vec<&str> {
    trace
        .events
        .iter()
        .filter_map(|event| match event {
            TraceEvent::DbgPrint { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

/// The callbacks.
pub(crate) fn callbacks(trace: &Trace) -> Vec<&CallbackEvent> {
    trace
        .events
        .iter()
        .filter_map(|event| match event {
            TraceEvent::Callback(event) => Some(event),
            _ => None,
        })
        .collect()
}

/// The rules that were broken.
pub(crate) fn rules(report: &FinalReport) -> Vec<&str> {
    report
        .findings
        .iter()
        .map(|finding| finding.rule.as_str())
        .collect()
}

/// The code and first parameter of the bug check that a call ended in.
pub(crate) fn bug_check<T: std::fmt::Debug>(result: Result<T, MachineError>) -> (u32, u64, String) {
    match result {
        Err(MachineError::BugCheck(report)) => (report.code, report.parameters[0], report.text),
        other => panic!("no bug check but {other:?}"),
    }
}

/// How long something that has to come is waited for: much longer than it takes, however busy the host is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gathers what drivers print until one of the lines is as `holds` says; all that came.
pub(crate) fn until(machine: &Machine, what: &str, holds: impl Fn(&str) -> bool) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    until_traced(machine, what, |trace| {
        all.extend(lines(trace).into_iter().map(str::to_owned));
        all.iter().any(|line| holds(line))
    });
    all
}

/// Takes the trace again and again until `holds` says that all is there.
pub(crate) fn until_traced(machine: &Machine, what: &str, mut holds: impl FnMut(&Trace) -> bool) {
    let began = Instant::now();
    while !holds(&machine.trace().expect("the machine lives")) {
        assert!(began.elapsed() < PATIENCE, "no {what:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns when no worker has anything to do any more: what was put off to them is done.
pub(crate) fn until_settled(machine: &Machine) -> Result<(), MachineError> {
    let began = Instant::now();
    while machine.usage()?.work_under_way > 0 {
        assert!(began.elapsed() < PATIENCE, "workers have still to do");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Returns when a thread waits in the kernel: whatever would end the wait may be done now.
pub(crate) fn until_waits(machine: &Machine, thread: &Thread) {
    let tid = thread.info().tid;
    let waits = machine.await_threads(PATIENCE, |threads| {
        threads.iter().any(|known| known.tid == tid && known.waits)
    });
    assert!(waits.expect("the machine lives"), "nobody waits");
}
