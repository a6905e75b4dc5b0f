//! What each callback used of the kernel stack, as a table.

use ntbench::wire::StackUse;

use super::paint;
use super::sweep_table::{column, short};

/// A callback, as the trace names it too.
fn name(used: &StackUse) -> String {
    match used.operation.as_str() {
        "" => used.callback.clone(),
        operation => format!("{:<4} {operation}", used.callback),
    }
}

/// The table, the hungriest callback of each driver first.
pub(super) fn uses(uses: &[StackUse], several: bool) {
    if uses.is_empty() {
        return;
    }
    let mut rows: Vec<&StackUse> = uses.iter().collect();
    rows.sort_by(|a, b| (&a.driver, b.own, name(a)).cmp(&(&b.driver, a.own, name(b))));
    let names: Vec<String> = rows.iter().map(|used| name(used)).collect();
    let callbacks = column(names.iter().map(String::as_str), 8);
    let drivers = column(rows.iter().map(|used| used.driver.as_str()), 6);
    let driver = |text: &str| match several {
        true => format!("{text:<drivers$}  "),
        false => String::new(),
    };
    println!(
        "\n{}\n  {}{:<callbacks$}  {:>6}  {:>8}  {:>12}  {:>8}  deepest call of its own",
        paint::head("kernel stack that callbacks used, in bytes"),
        driver("driver"),
        "callback",
        "calls",
        "own",
        "with callees",
        "expanded",
    );
    let hex = |bytes: u64| match bytes {
        0 => "-".to_owned(),
        bytes => format!("{bytes:#x}"),
    };
    for (used, name) in rows.iter().zip(&names) {
        let deepest = used.deepest.as_deref().map_or("-", short);
        let deepest = match deepest.strip_suffix("+0x0") {
            Some(function) => format!("below {function}"),
            None => deepest.to_owned(),
        };
        println!(
            "  {}{name:<callbacks$}  {:>6}  {:>8}  {:>12}  {:>8}  {deepest}",
            driver(&used.driver),
            used.calls,
            hex(used.own),
            hex(used.with_callees),
            hex(used.expanded),
        );
    }
}
