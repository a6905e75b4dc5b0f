//! Makefile.toml against the makefile of wdk-build that it extends. cargo-make runs on Windows alone here, so what can be checked elsewhere
//! is: that both are there, that every task and dependency resolves, and that the flow has its steps in their order.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use toml::{Table, Value};

/// Tasks that are ours alone.
const OWN: [&str; 3] = ["check-image", "build-harness", "copy-rest-to-package"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &Path) -> Table {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    text.parse()
        .unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn tasks(makefile: &Table) -> BTreeMap<String, Table> {
    let tasks = makefile["tasks"].as_table().unwrap().iter();
    tasks
        .map(|(name, task)| (name.clone(), task.as_table().unwrap().clone()))
        .collect()
}

fn strings(task: &Table, key: &str) -> Vec<String> {
    let list = task.get(key).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .map(|value| value.as_str().unwrap().to_owned())
        .collect()
}

/// Ours, the upstream one, and the version of wdk-build that Cargo.lock has.
fn makefiles() -> (Table, Table, String) {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let packages = metadata["packages"].as_array().unwrap();
    let wdk_build = packages
        .iter()
        .find(|package| package["name"] == "wdk-build")
        .expect("wdk-build is a dependency");
    let manifest = Path::new(wdk_build["manifest_path"].as_str().unwrap());
    let upstream = manifest.with_file_name("rust-driver-makefile.toml");
    (
        read(&root().join("Makefile.toml")),
        read(&upstream),
        wdk_build["version"].as_str().unwrap().to_owned(),
    )
}

/// Both, as cargo-make merges them: ours over the upstream one's, key by key unless it clears the task.
fn merged() -> BTreeMap<String, Table> {
    let (ours, upstream, _) = makefiles();
    let mut all = tasks(&upstream);
    for (name, task) in tasks(&ours) {
        let known = all.entry(name).or_default();
        if task.get("clear").and_then(Value::as_bool) == Some(true) {
            known.clear();
        }
        known.extend(task);
    }
    all
}

#[test]
fn it_loads_the_wdk_build_that_is_locked() {
    let (ours, _, version) = makefiles();
    let script = ours["config"]["load_script"].as_str().unwrap();
    assert!(
        script.contains(&format!("wdk-build = \"{version}\"")),
        "Cargo.lock has {version}: {script}"
    );
    assert_eq!(
        ours["extend"].as_str(),
        Some("target/rust-driver-makefile.toml")
    );
}

#[test]
fn what_it_changes_is_there_and_what_it_names_exists() {
    let (ours, upstream, _) = makefiles();
    let known = tasks(&upstream);
    for name in tasks(&ours).keys() {
        // cargo-make itself brings `build`.
        assert!(
            known.contains_key(name) || OWN.contains(&&**name) || name == "build",
            "{name} is no task of wdk-build's makefile any more"
        );
    }
    let all = merged();
    for (name, task) in &all {
        let run = task.get("run_task").and_then(Value::as_str);
        let alias = task.get("alias").and_then(Value::as_str);
        let named = strings(task, "dependencies");
        for other in named.iter().map(String::as_str).chain(run).chain(alias) {
            assert!(all.contains_key(other), "{name} names {other}");
        }
    }
    for dependency in strings(&known["package-driver"], "dependencies") {
        assert!(
            strings(&all["package-driver"], "dependencies").contains(&dependency),
            "wdk-build packages with {dependency}, and Makefile.toml without"
        );
    }
}

#[test]
fn the_inf_is_stamped_as_wdk_build_does_but_for_the_version() {
    let (ours, upstream, _) = makefiles();
    let args = |makefile: &Table| strings(&tasks(makefile)["stampinf"], "args");
    let (ours, upstream) = (args(&ours), args(&upstream));
    let version = ours.iter().position(|arg| arg == "-v").unwrap();
    assert_eq!(ours[..=version], upstream[..=version]);
    assert_eq!(ours[version + 1], "${CARGO_MAKE_CRATE_VERSION}.0");
    assert_eq!(upstream[version + 1], "*");
}

/// The tasks in the order in which cargo-make runs them: dependencies first, each once.
fn order(all: &BTreeMap<String, Table>, name: &str, done: &mut Vec<String>) {
    if done.iter().any(|known| known == name) {
        return;
    }
    let task = &all[name];
    for dependency in strings(task, "dependencies") {
        order(all, &dependency, done);
    }
    for key in ["run_task", "alias"] {
        // signtool-sign runs as the last part of its callers, several times.
        if let Some(next) = task.get(key).and_then(Value::as_str)
            && !next.starts_with("signtool")
        {
            order(all, next, done);
        }
    }
    done.push(name.to_owned());
}

#[test]
fn the_flow_has_its_steps_in_their_order() {
    let mut done = Vec::new();
    order(&merged(), "default", &mut done);
    let at = |name: &str| {
        let found = done.iter().position(|known| known == name);
        found.unwrap_or_else(|| panic!("{name} is not run: {done:?}"))
    };
    for steps in [
        &[
            "build",
            "generate-driver-binary-file",
            "check-image",
            "copy-driver-binary-to-package",
        ][..],
        &["copy-inx-to-output", "stampinf", "check-image"],
        &["stampinf", "infverif"],
        &[
            "stampinf",
            "copy-inf-to-package",
            "inf2cat",
            "sign-cat",
            "copy-rest-to-package",
        ],
        &[
            "copy-driver-binary-to-package",
            "sign-driver-binary",
            "sign-cat",
        ],
        &["generate-certificate", "copy-certificate-to-package"],
    ] {
        assert!(
            steps.is_sorted_by_key(|step| at(step)),
            "{steps:?} in {done:?}"
        );
    }
}

#[test]
fn the_files_it_copies_are_there() {
    let makefile = fs::read_to_string(root().join("Makefile.toml")).unwrap();
    for file in [
        "inf/headroom.inx",
        "xtask/assets/package/README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ] {
        assert!(
            makefile.contains(file) && root().join(file).is_file(),
            "{file}"
        );
    }
}
