//! Drivers as Microsoft's tools make them: clang's Windows target and lld's link.exe, with a .pdb, `__try`, and whatever
//! flags a test asks for.
#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `source` for x64 Windows and links it as a native driver called `name`, with `name.pdb` beside it.
///
/// What the source declares as `IMPORT type name(…)` or `IMPORT type name;` on one line is imported: from fltmgr.sys if it begins with `Flt`,
/// else from ntoskrnl.exe. `flags` are the compiler's, `link` the linker's.
pub(crate) fn driver(source: &Path, name: &str, flags: &[&str], link: &[&str]) -> PathBuf {
    let folder = super::scratch();
    let object = folder.join(format!("{name}.obj"));
    let image = folder.join(format!("{name}.sys"));
    run(Command::new(tool("clang"))
        .current_dir(&folder)
        .args(["--target=x86_64-pc-windows-msvc", "-c", "-O1", "-g"])
        .args(["-gcodeview", "-std=gnu17", "-ffreestanding"])
        // As Microsoft's compiler does always: unwind data for every function with a frame.
        .args([
            "-fms-extensions",
            "-fasync-exceptions",
            "-fasynchronous-unwind-tables",
        ])
        .args(["-Wall", "-Werror", "-Wno-unused-function"])
        .args(flags)
        .arg(source)
        .arg("-o")
        .arg(&object));
    let text = std::fs::read_to_string(source).expect("the source");
    let (flt, nt): (Vec<&str>, Vec<&str>) =
        imports(&text).partition(|name| name.starts_with("Flt"));
    let mut linker = Command::new(tool("lld-link"));
    linker
        .current_dir(&folder)
        .args(["/nologo", "/driver", "/subsystem:native", "/nodefaultlib"])
        .args(["/entry:DriverEntry", "/dynamicbase", "/release", "/debug"])
        .args(link)
        .arg(format!("/out:{}", image.display()))
        .arg(&object);
    for (dll, names) in [("fltmgr.sys", flt), ("ntoskrnl.exe", nt)] {
        if !names.is_empty() {
            linker.arg(library(&folder, dll, &names));
        }
    }
    run(&mut linker);
    image
}

/// The names that a source declares as imports.
fn imports(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let declaration = line.strip_prefix("IMPORT ")?.split_once(['(', ';'])?.0;
        declaration.rsplit([' ', '*']).next()
    })
}

/// An import library for those names of `dll`.
pub(crate) fn library(folder: &Path, dll: &str, names: &[&str]) -> PathBuf {
    let definition = folder.join(format!("{dll}.def"));
    let library = folder.join(format!("{dll}.lib"));
    let text = format!("LIBRARY {dll}\nEXPORTS\n{}\n", names.join("\n"));
    std::fs::write(&definition, text).expect("written");
    run(Command::new(tool("lld-link"))
        .current_dir(folder)
        .args(["/lib", "/nologo", "/machine:x64"])
        .arg(format!("/def:{}", definition.display()))
        .arg(format!("/out:{}", library.display())));
    library
}

/// A program of LLVM's, by its plain name or by the newest version's.
pub(crate) fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = (14..=22).rev().map(|version| format!("{name}-{version}"));
    std::iter::once(name.to_owned())
        .chain(versions)
        .find_map(|name| {
            std::env::split_paths(&path)
                .map(|folder| folder.join(&name))
                .find(|file| file.is_file())
        })
        .unwrap_or_else(|| {
            panic!("{name} is not in PATH. These tests need clang and lld to compile drivers (Debian: clang-19, lld-19).")
        })
}

fn run(command: &mut Command) {
    let what = format!("{command:?}");
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        output.status.success(),
        "{what}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
