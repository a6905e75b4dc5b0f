//! Wine, its prefix, and what is run in it.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use inf::{Architecture, Date};
use tempfile::TempDir;

/// Wine with headroom.exe.
pub(crate) struct Wine {
    run: PathBuf,
    program: PathBuf,
    /// Its prefix.
    pub(crate) prefix: PathBuf,
    /// Keeps Wine's services from one program to the next: it would end them with each, and one that starts meanwhile may find none.
    session: Child,
}

/// What a program came to.
pub(crate) struct Ran {
    /// Its exit status.
    pub(crate) status: i32,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

impl Wine {
    /// The one that is named, if one is; else says what is skipped.
    pub(crate) fn here(what: &str) -> Option<Self> {
        let named = |variable| std::env::var_os(variable).map(PathBuf::from);
        let (Some(run), Some(program)) = (named("HEADROOM_WINE"), named("HEADROOM_EXE")) else {
            println!(
                "skipped: {what}: HEADROOM_WINE and HEADROOM_EXE are not set; `cargo xtask test` sets them"
            );
            return None;
        };
        for file in [&run, &program] {
            assert!(file.is_file(), "{} is no file", file.display());
        }
        let prefix = run.with_file_name("prefix");
        let mut session = Command::new(&run)
            .arg("--session")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let out = session.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut said).unwrap();
        assert_eq!(said.trim_end(), "up", "{} --session", run.display());
        Some(Self {
            run,
            program,
            prefix,
            session,
        })
    }

    /// Runs headroom.exe.
    pub(crate) fn headroom(&self, arguments: &[&str]) -> Ran {
        let program = self.program.to_str().unwrap();
        let ran = self.run(program, arguments);
        for text in [&ran.out, &ran.err] {
            assert!(!text.contains("panicked"), "{arguments:?}: {ran}");
        }
        ran
    }

    /// Runs Wine's registry tool.
    pub(crate) fn reg(&self, arguments: &[&str]) -> Ran {
        self.run("reg", arguments)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        // Into files: what a program started in the session, Wine's desktop for one, outlives it with the other end of its pipes.
        let [mut out, mut err] = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
        let status = Command::new(&self.run)
            .arg(program)
            .args(arguments)
            .env("NO_COLOR", "1")
            // By its locale Wine writes the names of files, which are not all ASCII.
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(err.try_clone().unwrap())
            .status()
            .unwrap();
        let [stdout, stderr] = [&mut out, &mut err].map(|file| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        });
        Ran::of(&Output {
            status,
            stdout,
            stderr,
        })
    }

    /// A path of this machine's as programs for Windows have it.
    pub(crate) fn path(&self, path: &Path) -> String {
        format!("Z:{}", path.display()).replace('/', r"\")
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.session.stdin.take());
        self.session.wait().unwrap();
    }
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("\r\n", "\n");
        Self {
            status: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, out, err } = self;
        write!(f, "status {status}\n--- output\n{out}--- errors\n{err}")
    }
}

/// What headroom on this machine prints, with the driver under test and its report in a folder.
pub(crate) fn on_linux(arguments: &[&str], out: &Path) -> Vec<u8> {
    let driver = std::env::var_os("HEADROOM_SYS").expect("HEADROOM_SYS names the driver");
    let output = Command::new(env!("CARGO_BIN_EXE_headroom"))
        .args(arguments)
        .arg(out)
        .arg("--driver")
        .arg(driver)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", Ran::of(&output));
    output.stdout
}

/// The driver and its INF as a package has them, unsigned: Wine asks for no signature.
pub(crate) fn package() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let template = include_str!("../../../inf/headroom.inx");
    let date = Date::of_unix_time(0);
    let inf = inf::stamp(template, Architecture::Amd64, date, "0.1.0").unwrap();
    let driver = std::env::var_os("HEADROOM_SYS").expect("HEADROOM_SYS names the driver");
    let place = |name: &str| folder.path().join(name);
    std::fs::write(place("headroom.inf"), inf).unwrap();
    std::fs::copy(driver, place("headroom.sys")).unwrap();
    std::fs::write(place("headroom.cat"), "no catalog: Wine reads none").unwrap();
    folder
}
