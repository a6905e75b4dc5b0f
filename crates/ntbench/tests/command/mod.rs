//! The command, run on drivers that are compiled on the spot.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::model::compile;

/// What the command said, and its exit status.
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Its standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}\n{}", self.out))
    }

    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        assert!(
            self.out.contains(text) || self.err.contains(text),
            "{text:?} is not said:\n{}\n{}",
            self.out,
            self.err
        );
    }
}

pub(crate) fn ntbench(arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_ntbench"))
        .args(arguments)
        .output()
        .expect("the command runs");
    Ran {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Two drivers of one kind need two images' names: a service has one driver.
pub(crate) fn image(name: &str, defines: &[&str]) -> String {
    compile(name, defines).display().to_string()
}

pub(crate) fn file(name: &str, text: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("{}-{name}", std::process::id()));
    std::fs::write(&path, text).expect("a file");
    path
}

pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}
