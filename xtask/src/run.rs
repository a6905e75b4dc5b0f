//! Running other programs so that a failure says what to do.
//!
//! Every program this tool starts belongs to a named step. When it fails, the error names the step, repeats the command as it could be typed,
//! and gives the remedy that the caller knows about.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

/// One program to run as (part of) a named step.
pub(crate) struct Tool {
    step: String,
    remedy: Option<String>,
    command: Command,
}

impl Tool {
    /// Prepares to run `program` for `step`.
    pub(crate) fn new(step: impl Into<String>, program: impl AsRef<OsStr>) -> Self {
        Self {
            step: step.into(),
            remedy: None,
            command: Command::new(program),
        }
    }

    /// What the user should do if this fails.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Sets the working directory.
    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Takes away what the Cargo that runs this tool put into the environment for it, and what would change the meaning of a build (flags,
    /// wrappers, another target directory), so that a build for the driver is the same from whatever shell it is started.
    pub(crate) fn without_outer_cargo(mut self) -> Self {
        for (key, _) in std::env::vars_os() {
            if is_outer_cargo(&key) {
                self.command.env_remove(&key);
            }
        }
        self
    }

    /// Runs with the terminal's input and output; fails unless the program succeeds.
    pub(crate) fn run(mut self) -> Result<()> {
        let status = self.command.status();
        self.judge(status, "")
    }

    /// Runs and returns the standard output, trimmed; fails unless the program succeeds.
    pub(crate) fn output(mut self) -> Result<String> {
        let output = self.command.stdin(Stdio::null()).output();
        let (status, stdout, stderr) = match output {
            Ok(output) => (Ok(output.status), output.stdout, output.stderr),
            Err(error) => (Err(error), Vec::new(), Vec::new()),
        };
        self.judge(status, &String::from_utf8_lossy(&stderr))?;
        Ok(String::from_utf8_lossy(&stdout).trim().to_owned())
    }

    /// Runs, but ends the program and fails after `limit`.
    pub(crate) fn run_within(mut self, limit: Duration) -> Result<()> {
        let mut child = match self.command.stdin(Stdio::null()).spawn() {
            Ok(child) => child,
            Err(error) => return self.judge(Err(error), ""),
        };
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return self.judge(Ok(status), "");
            }
            if start.elapsed() > limit {
                child.kill()?;
                child.wait()?;
                return Err(
                    self.failure(&format!("not finished after {} s, ended", limit.as_secs()))
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn judge(&self, status: std::io::Result<ExitStatus>, stderr: &str) -> Result<()> {
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) if stderr.trim().is_empty() => Err(self.failure(&status.to_string())),
            Ok(status) => Err(self.failure(&format!("{status}\n{}", stderr.trim_end()))),
            Err(error) => Err(self.failure(&format!("could not be started: {error}"))),
        }
    }

    fn failure(&self, what: &str) -> anyhow::Error {
        let mut text = format!(
            "step `{}` failed\n  command: {}\n  result:  {what}",
            self.step,
            self.line()
        );
        if let Some(remedy) = &self.remedy {
            let _ = write!(text, "\n  to do:   {remedy}");
        }
        anyhow!(text)
    }

    /// The command as it could be typed.
    fn line(&self) -> String {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        let typed = words.map(quote).collect::<Vec<_>>().join(" ");
        match self.command.get_current_dir() {
            Some(dir) => format!("cd {} && {typed}", quote(dir.as_os_str())),
            None => typed,
        }
    }
}

/// A word quoted for a POSIX shell where it needs to be.
pub(crate) fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Whether a variable comes from the Cargo around us, or steers what Cargo builds, rather than where it keeps and fetches things.
fn is_outer_cargo(key: &OsStr) -> bool {
    const EXACT: &[&str] = &[
        "CARGO",
        "CARGO_BUILD_RUSTC",
        "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_RUSTC_WRAPPER",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "LD_LIBRARY_PATH",
        "OUT_DIR",
        "RUSTC",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "RUST_RECURSION_COUNT",
    ];
    const PREFIX: &[&str] = &[
        "CARGO_BIN_",
        "CARGO_CFG_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_X86_64_PC_WINDOWS",
    ];
    let key = key.to_string_lossy();
    EXACT.contains(&&*key) || PREFIX.iter().any(|prefix| key.starts_with(prefix))
}

/// The first file called `name` in PATH.
pub(crate) fn which(name: &str) -> Option<std::path::PathBuf> {
    let name: OsString = format!("{name}{}", std::env::consts::EXE_SUFFIX).into();
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(&name))
        .find(|file| file.is_file())
}

/// PATH with `first` ahead of everything.
pub(crate) fn path_with(first: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(first.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(dirs).with_context(|| format!("{} cannot stand in PATH", first.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_step_command_and_remedy() {
        let error = Tool::new("say it", "false")
            .arg("two words")
            .remedy("try again")
            .run()
            .unwrap_err()
            .to_string();
        assert!(error.contains("step `say it` failed"), "{error}");
        assert!(error.contains("false 'two words'"), "{error}");
        assert!(error.contains("to do:   try again"), "{error}");
    }

    #[test]
    fn a_missing_program_is_told_apart_from_a_failing_one() {
        let error = Tool::new("s", "headroom-no-such-program")
            .run()
            .unwrap_err()
            .to_string();
        assert!(error.contains("could not be started"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_hangs_is_ended() {
        let start = Instant::now();
        let error = Tool::new("wait", "sleep")
            .arg("600")
            .run_within(Duration::from_millis(100))
            .unwrap_err()
            .to_string();
        assert!(error.contains("not finished"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(300), "it was not");
    }

    #[test]
    fn what_steers_a_build_is_removed_and_where_things_are_kept_is_not() {
        for key in [
            "RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_PKG_NAME",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(is_outer_cargo(OsStr::new(key)), "{key}");
        }
        for key in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_BUILD_JOBS",
            "PATH",
            "WDKContentRoot",
        ] {
            assert!(!is_outer_cargo(OsStr::new(key)), "{key}");
        }
    }
}
