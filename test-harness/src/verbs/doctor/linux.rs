//! What this build can do on a Linux machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use ntbench::wire::{DriverSpec, InstanceSpec, MachineConfig};
use ntbench::{Machine, MachineError};

use super::{Check, Group, Page};
use crate::backend::bench::{INSTANCE, SERVICE};
use crate::machine::{Connection, MachineError as Background, Place};

const DEFAULT_DRIVER: &str = "target/headroom/headroom.sys";

pub(super) fn page(driver: Option<&Path>, share: Option<&str>) -> Page {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = format!("Linux {} ({})", release.trim(), std::env::consts::ARCH);
    let (machine, boots) = simulated();
    let image = driver.unwrap_or(Path::new(DEFAULT_DRIVER));
    let mut drivers = vec![there(image)];
    drivers.push(if !image.is_file() {
        Check::not_checked("loads", "there is no driver to load")
    } else if boots {
        loads(image)
    } else {
        Check::not_checked("loads", "no simulated machine starts")
    });
    drivers.push(background());
    let mut groups = vec![
        Group::new("Simulated machines", vec![machine]),
        Group::new("Driver", drivers),
        Group::new("Tools, for building and for looking", tools()),
    ];
    if share.is_some() {
        let why = r"simulated machines bring their own \\server\share: this is for Windows";
        groups.push(Group::new(
            "Network",
            vec![Check::not_checked("share", why)],
        ));
    }
    Page::new(system, groups)
}

/// Whether a simulated machine starts and ends.
fn simulated() -> (Check, bool) {
    const NAME: &str = "ntbench";
    let start = Instant::now();
    match Machine::boot(MachineConfig::default()).and_then(Machine::shutdown) {
        Ok(_) => {
            let took = start.elapsed().as_millis();
            (
                Check::ok(NAME, format!("a machine starts and ends ({took} ms)")),
                true,
            )
        }
        Err(error) => {
            let mend = "ntbench needs a plain 64-bit x86 Linux that lets a process map memory where it wants and set its GS base; some sandboxes \
                        forbid that";
            (Check::failed(NAME, error.to_string(), mend), false)
        }
    }
}

/// Whether the driver's image is there.
fn there(image: &Path) -> Check {
    const NAME: &str = "headroom.sys";
    match std::fs::metadata(image) {
        Ok(meta) if meta.is_file() => {
            Check::ok(NAME, format!("{}, {} bytes", image.display(), meta.len()))
        }
        _ => Check::failed(
            NAME,
            format!("{} is not there", image.display()),
            "`cargo xtask build` in a clone of the sources makes it; or name one with --driver",
        ),
    }
}

/// Whether it loads, and unloads without leaving anything.
fn loads(image: &Path) -> Check {
    const NAME: &str = "loads";
    let failed = |found: String| {
        let mend =
            "`cargo xtask build` makes it anew; `cargo xtask image FILE` tells what an image is";
        Check::failed(NAME, found, mend)
    };
    match load(image) {
        Ok(Loaded::Whole) => Check::ok(
            NAME,
            "loads into ntbench, unloads, and leaves nothing behind",
        ),
        Ok(Loaded::Entry(status)) => failed(format!("its DriverEntry returned {status}")),
        Ok(Loaded::Findings(findings)) => {
            failed(format!("the verifier found: {}", findings.join("; ")))
        }
        Err(error @ MachineError::BugCheck(_)) => failed(format!("it stops the machine: {error}")),
        Err(error) => failed(error.to_string()),
    }
}

/// What loading came to.
enum Loaded {
    Whole,
    Entry(String),
    Findings(Vec<String>),
}

fn load(image: &Path) -> Result<Loaded, MachineError> {
    let machine = Machine::boot(MachineConfig::default())?;
    let (name, altitude) = INSTANCE;
    let loaded = machine.load_driver(DriverSpec {
        image: image.to_path_buf(),
        service: SERVICE.to_owned(),
        parameters: Vec::new(),
        instances: vec![InstanceSpec {
            name: name.to_owned(),
            altitude: altitude.to_owned(),
            flags: 0,
        }],
        ..DriverSpec::default()
    })?;
    if !loaded.status.is_success() {
        return Ok(Loaded::Entry(loaded.status.to_string()));
    }
    machine.unload_driver(SERVICE)?;
    let report = machine.shutdown()?;
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| finding.text.clone())
        .collect();
    Ok(if findings.is_empty() {
        Loaded::Whole
    } else {
        Loaded::Findings(findings)
    })
}

/// The machine in the background, which need not be there.
fn background() -> Check {
    const NAME: &str = "in the background";
    let place = Place::here();
    match Connection::open_at(&place).and_then(|mut machine| machine.standing()) {
        Ok(standing) => Check::ok(
            NAME,
            format!(
                "a machine runs as process {}, with {}",
                standing.pid,
                standing.driver.display()
            ),
        ),
        Err(Background::None) => Check::ok(NAME, "no machine runs; `headroom load` starts one"),
        Err(error) => Check::warning(NAME, error.to_string(), "`headroom unload` clears it away"),
    }
}

/// A program that something needs.
struct Tool {
    name: &'static str,
    /// Where it may be: names to look for in PATH, or paths.
    places: &'static [&'static str],
    what_for: &'static str,
    mend: &'static str,
}

const TOOLS: [Tool; 5] = [
    Tool {
        name: "cargo",
        places: &["cargo"],
        what_for: "builds the driver, by `cargo xtask build`",
        mend: "https://rustup.rs, or Debian's rustc-web and cargo-web",
    },
    Tool {
        name: "mingw-w64",
        places: &["x86_64-w64-mingw32-gcc"],
        what_for: "links headroom.exe, and compiles the C drivers of ntbench's tests",
        mend: "`cargo xtask program` installs it (Debian: gcc-mingw-w64-x86-64-win32)",
    },
    Tool {
        name: "Wine",
        places: &["/usr/lib/wine/wine64", "wine64", "wine"],
        what_for: "runs headroom.exe without Windows, in tests",
        mend: "`cargo xtask wine` installs it (Debian: wine64)",
    },
    Tool {
        name: "osslsigncode",
        places: &["osslsigncode"],
        what_for: "signs the driver's package",
        mend: "`cargo xtask package` installs it (Debian: osslsigncode)",
    },
    Tool {
        name: "Chromium",
        places: &["chromium", "chromium-browser", "google-chrome"],
        what_for: "takes pictures of reports, in tests; any browser shows them",
        mend: "`cargo xtask test` installs it (Debian: chromium)",
    },
];

fn tools() -> Vec<Check> {
    let mut checks: Vec<_> = TOOLS.iter().map(Tool::check).collect();
    checks.insert(1, libclang());
    checks
}

/// libclang, which is a library and lies where its version says.
fn libclang() -> Check {
    const NAME: &str = "libclang";
    let folders = (13..=22)
        .rev()
        .map(|version| format!("/usr/lib/llvm-{version}/lib"));
    let others = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"].map(str::to_owned);
    let named = std::env::var("LIBCLANG_PATH");
    let found = named
        .into_iter()
        .chain(folders)
        .chain(others)
        .find(|folder| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.any(|name| {
                let library = name.starts_with("libclang.so") || name.starts_with("libclang-");
                library && name.contains(".so")
            })
        });
    match found {
        Some(folder) => Check::ok(NAME, format!("in {folder}")),
        None => Check::warning(
            NAME,
            "not found; it reads the kernel's headers for the driver's build",
            "`cargo xtask setup` installs it (Debian: libclang1-19)",
        ),
    }
}

impl Tool {
    fn check(&self) -> Check {
        let Some(path) = self.places.iter().find_map(|place| find(place)) else {
            let found = format!("not found; it {}", self.what_for);
            return Check::warning(self.name, found, self.mend);
        };
        let found = Self::ask(&path).unwrap_or_else(|| path.display().to_string());
        Check::ok(self.name, found)
    }

    /// The first line of what it says of its version.
    fn ask(path: &Path) -> Option<String> {
        let output = Command::new(path)
            .arg("--version")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().next()?.trim().trim_end_matches(", using:");
        (!line.is_empty()).then(|| line.to_owned())
    }
}

/// A file by its path, or a program by its name in PATH.
fn find(place: &str) -> Option<PathBuf> {
    if place.contains('/') {
        let path = PathBuf::from(place);
        return path.is_file().then_some(path);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(place))
        .find(|file| file.is_file())
}
