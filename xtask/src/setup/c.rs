//! What the tests of drivers in C need beside mingw-w64: a compiler that makes images like Microsoft's, and debuggers.

use anyhow::Result;

use super::{apt, say};
use crate::run;

/// Versions that may be installed beside each other, newest first.
const VERSIONS: std::ops::RangeInclusive<u32> = 14..=22;

/// The debuggers, and the packages that have them.
const DEBUGGERS: [(&str, &[&str]); 2] =
    [("gdb", &["gdb"]), ("lldb", &["lldb-19", "lldb-16", "lldb"])];

fn has(name: &str) -> bool {
    run::which(name).is_some()
        || VERSIONS
            .rev()
            .any(|version| run::which(&format!("{name}-{version}")).is_some())
}

/// Makes sure of clang with its linker, and of gdb and lldb where they can be had.
pub(super) fn ensure(may_install: bool) -> Result<()> {
    if !may_install {
        return Ok(());
    }
    let mut needs = Vec::new();
    if !has("clang") {
        needs.push(apt::Need {
            anyone_of: &["clang-19", "clang-16", "clang"],
            why: "compiles C drivers as Microsoft's compiler does: __try, .pdb, control-flow guard",
            otherwise: "install clang 14 or later, so that clang or clang-19 is in PATH",
        });
    }
    if !has("lld-link") {
        needs.push(apt::Need {
            anyone_of: &["lld-19", "lld-16", "lld"],
            why: "links those drivers",
            otherwise: "install lld of the same version as clang",
        });
    }
    if !needs.is_empty() {
        apt::install(&needs)?;
    }
    for (program, anyone_of) in DEBUGGERS {
        if has(program) {
            continue;
        }
        let installed = apt::install(&[apt::Need {
            anyone_of,
            why: "a debugger that the tests hold ntbench's symbols against",
            otherwise: "install it, or go without: the tests say that they are skipped",
        }]);
        // A debugger is not everywhere to be had; whoever has none is told which tests are skipped.
        if let Err(error) = installed {
            say(&format!("no {program}: {error:#}"));
        }
    }
    Ok(())
}
