//! What the workspace's manifests say of its packages.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{host, layout::Layout};

/// A package that is built into a driver.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    directory: PathBuf,
    is_cdylib: bool,
    metadata: Value,
}

/// All packages of the workspace.
pub(crate) fn all(layout: &Layout) -> Result<Vec<Package>> {
    let text = host::cargo("read the manifests", layout)
        .args(["metadata", "--locked", "--no-deps", "--format-version", "1"])
        .output()?;
    parse(&text).context("step `read the manifests` failed: `cargo metadata` has another form")
}

fn parse(text: &str) -> Result<Vec<Package>> {
    let metadata: Value = serde_json::from_str(text)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    packages
        .iter()
        .map(|package| {
            let manifest = PathBuf::from(package["manifest_path"].as_str().context("no path")?);
            let targets = package["targets"].as_array().context("no targets")?;
            let kinds = targets
                .iter()
                .filter_map(|target| target["crate_types"].as_array())
                .flatten();
            Ok(Package {
                name: package["name"].as_str().context("no name")?.to_owned(),
                directory: manifest.parent().context("no directory")?.to_path_buf(),
                is_cdylib: kinds.into_iter().any(|kind| kind == "cdylib"),
                metadata: package["metadata"].clone(),
            })
        })
        .collect()
}

impl Package {
    /// A table of `[package.metadata]`.
    pub(crate) fn metadata(&self, table: &str) -> &Value {
        &self.metadata[table]
    }

    /// Whether it is a driver among the examples.
    pub(crate) fn is_example_driver(&self, layout: &Layout) -> bool {
        self.is_cdylib && self.directory.starts_with(layout.root.join("examples"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{"packages":[
        {"name":"a","manifest_path":"/w/examples/a/Cargo.toml","targets":[{"crate_types":["cdylib"]}],
         "metadata":{"stack-budget":{"caller":512}}},
        {"name":"b","manifest_path":"/w/examples/b/Cargo.toml","targets":[{"crate_types":["bin"]}],"metadata":null},
        {"name":"c","manifest_path":"/w/c/Cargo.toml","targets":[{"crate_types":["cdylib"]},{"crate_types":["bin"]}],"metadata":null}]}"#;

    #[test]
    fn drivers_among_the_examples_are_told_from_the_rest() {
        let layout = Layout { root: "/w".into() };
        let packages = parse(METADATA).unwrap();
        let found: Vec<_> = packages
            .iter()
            .filter(|package| package.is_example_driver(&layout))
            .map(|package| package.name.as_str())
            .collect();
        assert_eq!(found, ["a"]);
        assert_eq!(packages[0].metadata("stack-budget")["caller"], 512);
        assert!(packages[1].metadata("stack-budget").is_null());
    }

    #[test]
    fn another_form_is_an_error() {
        parse("{}").unwrap_err();
        parse(r#"{"packages":[{"name":"a"}]}"#).unwrap_err();
    }
}
