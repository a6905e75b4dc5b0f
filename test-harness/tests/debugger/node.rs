//! Node, the script in it, and snapshots of a machine for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use ntbench::Machine;
use ntbench::wire::StackListing;
use serde_json::{Value, json};

/// The folder of the script.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../debugger")
}

/// What `run.mjs` prints for these arguments; `None`, with the reason printed, where there is no Node to run it.
pub(crate) fn run(arguments: &[&str]) -> Option<String> {
    let node = std::env::var_os("HEADROOM_NODE").unwrap_or_else(|| "node".into());
    let output = match Command::new(&node)
        .arg(folder().join("tests/run.mjs"))
        .args(arguments)
        .output()
    {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!(
                "skipped: there is no Node.js ({}) to run the debugger script in",
                node.display()
            );
            return None;
        }
        Err(error) => panic!("{}: {error}", node.display()),
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The same, as JSON.
pub(crate) fn run_json(arguments: &[&str]) -> Option<Value> {
    run(arguments).map(|text| serde_json::from_str(&text).unwrap())
}

/// A snapshot that is being written.
pub(crate) struct Snapshot {
    folder: tempfile::TempDir,
    value: Value,
}

impl Snapshot {
    pub(crate) fn new(image: &str, pid: u64) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            value: json!({
                "regions": [], "modules": [], "symbols": {}, "threads": [],
                "process": { "name": image, "id": pid },
            }),
        }
    }

    fn push(&mut self, list: &str, value: Value) {
        self.value[list].as_array_mut().unwrap().push(value);
    }

    /// Memory that can be read.
    pub(crate) fn region(&mut self, start: u64, bytes: &[u8]) {
        let file = format!("{start:x}.bin");
        std::fs::write(self.folder.path().join(&file), bytes).unwrap();
        self.push(
            "regions",
            json!({ "start": start.to_string(), "file": file }),
        );
    }

    /// A module and such pages of it as the machine lets be read.
    pub(crate) fn module(&mut self, machine: &Machine, name: &str) {
        let modules = machine.modules().unwrap();
        let module = modules.iter().find(|module| module.name == name).unwrap();
        self.named_module(&format!("{name}.sys"), module.base, module.size);
        for page in (0..module.size).step_by(0x1000) {
            if let Ok(bytes) = machine.read(module.base + page, 0x1000) {
                self.region(module.base + page, &bytes);
            }
        }
    }

    /// A module of which nothing can be read.
    pub(crate) fn named_module(&mut self, name: &str, base: u64, size: u64) {
        self.push(
            "modules",
            json!({ "name": name, "base": base.to_string(), "size": size.to_string() }),
        );
    }

    /// A symbol that the debugger knows.
    pub(crate) fn symbol(&mut self, name: &str, address: u64) {
        self.value["symbols"][name] = json!(address.to_string());
    }

    /// The crash.
    pub(crate) fn bug_check(&mut self, code: u32, parameters: [u64; 4]) {
        self.value["bugcheck"] = json!({
            "code": code,
            "parameters": parameters.map(|parameter| parameter.to_string()),
        });
    }

    /// A thread with this stack.
    pub(crate) fn thread(&mut self, stack: &StackListing) {
        let segments: Vec<Value> = stack
            .segments
            .iter()
            .map(|segment| json!({ "low": segment.low.to_string(), "high": segment.high.to_string() }))
            .collect();
        let frames: Vec<Value> = stack
            .frames
            .iter()
            .map(|frame| json!({ "childSp": frame.child_sp.to_string(), "symbol": frame.symbol }))
            .collect();
        self.push(
            "threads",
            json!({ "id": stack.tid.to_string(), "segments": segments, "frames": frames }),
        );
    }

    /// Writes it, and names the file.
    pub(crate) fn write(&self) -> String {
        let file = self.folder.path().join("snapshot.json");
        std::fs::write(&file, self.value.to_string()).unwrap();
        file.to_str().unwrap().to_owned()
    }
}
