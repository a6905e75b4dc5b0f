//! `cargo xtask budget`: how much kernel stack a driver's own frames take, and whether that is within its limits.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use xtask::budget::{Analysis, Limits};

use crate::{layout::Layout, packages};

/// The table of a package's manifest that holds its limits, `[package.metadata.stack-budget]`.
pub(crate) const TABLE: &str = "stack-budget";

/// Prints the analysis of a package's driver, and fails if it breaks a rule.
pub(crate) fn run(layout: &Layout, package: &str, sys: &Path) -> Result<()> {
    let limits = limits(layout, package)?;
    let report = Analysis::of(sys)?.report(limits);
    println!(
        "kernel stack that the frames of {} take, in bytes",
        sys.display()
    );
    print!("{}", report.text);
    if report.broken.is_empty() {
        return Ok(());
    }
    let list: String = report
        .broken
        .iter()
        .map(|rule| format!("\n  {rule}"))
        .collect();
    bail!(
        "{} breaks its stack budget:{list}\n  to do:   the frames stand above; limits are in [package.metadata.{TABLE}] of {package}",
        sys.display()
    )
}

fn limits(layout: &Layout, package: &str) -> Result<Limits> {
    let packages = packages::all(layout)?;
    let found = packages.iter().find(|one| one.name == package);
    let found = found.with_context(|| format!("the workspace has no package `{package}`"))?;
    parse(found.metadata(TABLE))
        .with_context(|| format!("[package.metadata.{TABLE}] of {package} is not understood"))
}

fn parse(table: &Value) -> Result<Limits> {
    let mut limits = Limits::default();
    let empty = serde_json::Map::new();
    let table = match table {
        Value::Null => &empty,
        other => other.as_object().context("it is not a table")?,
    };
    for (key, value) in table {
        let bytes = value.as_u64().and_then(|bytes| u32::try_from(bytes).ok());
        let bytes = bytes.with_context(|| format!("`{key}` is not a number of bytes"))?;
        match key.as_str() {
            "caller" => limits.caller = Some(bytes),
            "reserved" => limits.reserved = Some(bytes),
            _ => bail!("`{key}` is neither `caller` nor `reserved`"),
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_are_read_and_a_mistake_in_them_is_not_overlooked() {
        assert_eq!(parse(&Value::Null).unwrap(), Limits::default());
        let table = json!({"caller": 0x200, "reserved": 0x1800});
        let limits = parse(&table).unwrap();
        assert_eq!(
            (limits.caller, limits.reserved),
            (Some(0x200), Some(0x1800))
        );
        for wrong in [
            json!({"callers": 1}),
            json!({"caller": "0x200"}),
            json!({"caller": -1}),
            json!(5),
        ] {
            parse(&wrong).unwrap_err();
        }
    }
}
