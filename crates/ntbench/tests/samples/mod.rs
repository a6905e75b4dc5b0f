//! Filters in the manner of Microsoft's minifilter samples, made as those are: against headers with the real names, by
//! clang's Windows target, installed by an INF in both of its forms.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use ntbench::NtStatus;
use ntbench::wire::{DriverSpec, FinalReport};

use super::model::{clang, lines, scratch_folder, until};
use super::volume::VolumeBench;

/// Windows versions that install the one form and the other.
pub(crate) const ISOLATED: u32 = 26100;
pub(crate) const DOWNLEVEL: u32 = 19045;

/// Every name that the bench has, as two import libraries: what a driver can be linked with at all.
fn libraries() -> &'static [PathBuf] {
    static MADE: OnceLock<Vec<PathBuf>> = OnceLock::new();
    MADE.get_or_init(|| {
        let listed = Command::new(env!("CARGO_BIN_EXE_ntbench"))
            .arg("coverage")
            .output()
            .expect("the command runs");
        let text = String::from_utf8(listed.stdout).expect("text");
        let folder = scratch_folder();
        let mut names: Vec<(String, Vec<String>)> = Vec::new();
        for line in text.lines() {
            if let Some(dll) = line.strip_prefix("## ") {
                names.push((dll.to_owned(), Vec::new()));
            } else if let Some(rest) = line.strip_prefix("| `")
                && let Some((name, _)) = rest.split_once('`')
                && let Some((_, list)) = names.last_mut()
            {
                list.push(name.to_owned());
            }
        }
        names
            .iter()
            .filter(|(dll, _)| dll.contains('.'))
            .map(|(dll, list)| {
                let list: Vec<&str> = list.iter().map(String::as_str).collect();
                clang::library(&folder, dll, &list)
            })
            .collect()
    })
}

fn sources() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
}

/// Compiles `tests/samples/{name}.c` with the flags that Microsoft's tools give drivers, and those.
pub(crate) fn compile(name: &str, flags: &[&str]) -> PathBuf {
    compile_and_link(&sources(), name, flags, &[])
}

/// The same for a source in another folder.
pub(crate) fn compile_from(folder: &Path, name: &str, flags: &[&str]) -> PathBuf {
    compile_and_link(folder, name, flags, &[])
}

fn compile_and_link(folder: &Path, name: &str, flags: &[&str], link: &[&str]) -> PathBuf {
    let own = [
        "-D__GNUC__=4",
        "-D__GNUC_MINOR__=2",
        "-isystem",
        "/usr/share/mingw-w64/include/ddk",
        "-isystem",
        "/usr/share/mingw-w64/include",
        "-Wno-#warnings",
    ];
    let flags: Vec<&str> = own.iter().chain(flags).copied().collect();
    let libraries: Vec<String> = libraries()
        .iter()
        .map(|library| library.display().to_string())
        .collect();
    let libraries = libraries.iter().map(String::as_str);
    let link: Vec<&str> = libraries.chain(link.iter().copied()).collect();
    clang::driver(&folder.join(format!("{name}.c")), name, &flags, &link)
}

/// What the samples' INF installs, on a Windows of that build.
pub(crate) fn installed(image: &Path, name: &str, build: u32) -> DriverSpec {
    let text = std::fs::read_to_string(sources().join("sample.inf")).expect("an INF");
    let file = scratch_folder().join(format!("{name}.inf"));
    std::fs::write(&file, text.replace("@NAME@", name)).expect("written");
    let inf = inf::read(&file).expect("an INF without errors");
    let service = inf::minifilter(&inf, inf::Architecture::Amd64, build).expect("a minifilter's");
    DriverSpec::installed(image, &service)
}

/// A machine with a volume and that filter, whose lines are read from here on.
pub(crate) struct Sample {
    pub(crate) bench: VolumeBench,
    name: String,
}

impl Sample {
    pub(crate) fn new(name: &str, flags: &[&str]) -> Self {
        Self::of(name, &compile(name, flags))
    }

    /// With that image of it.
    pub(crate) fn of(name: &str, image: &Path) -> Self {
        let bench = VolumeBench::new();
        let spec = installed(image, name, ISOLATED);
        let loaded = bench.machine.load_driver(spec).expect("loads");
        assert_eq!(loaded.status, NtStatus::SUCCESS);
        let name = name.to_owned();
        Self { bench, name }
    }

    /// What was printed since the last time.
    pub(crate) fn lines(&self) -> Vec<String> {
        let trace = self.bench.machine.trace().expect("a trace");
        let text: String = lines(&trace).join("\n");
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until a line is printed; all that came.
    pub(crate) fn until(&self, wanted: &str) -> Vec<String> {
        let printed = |text: &str| text.lines().any(|line| line == wanted);
        let all = until(&self.bench.machine, wanted, printed);
        all.join("\n").lines().map(str::to_owned).collect()
    }

    /// Unloads the filter; gives its last lines and the machine's report.
    pub(crate) fn end(self) -> (Vec<String>, FinalReport) {
        let unloaded = self.bench.machine.unload_driver(&self.name);
        assert_eq!(unloaded.expect("the machine lives"), NtStatus::SUCCESS);
        let lines = self.lines();
        (lines, self.bench.machine.shutdown().expect("a report"))
    }

    /// As [`end`](Self::end), and nothing is to be found wrong with it.
    pub(crate) fn end_clean(self) -> Vec<String> {
        let (lines, report) = self.end();
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        lines
    }
}

/// As [`compile`], as drivers are shipped: stack cookies, guarded indirect calls, and the load configuration of both.
pub(crate) fn compile_guarded(name: &str) -> PathBuf {
    let header = sources().join("guarded.h").display().to_string();
    let flags = [
        "-fstack-protector-strong",
        "-Xclang",
        "-cfguard",
        "-include",
        &header,
    ];
    compile_and_link(&sources(), name, &flags, &["/guard:cf"])
}
