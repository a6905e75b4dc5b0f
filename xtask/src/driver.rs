//! Building a driver package and handing over its image.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    driver_inf,
    image::{Image, report},
    layout::{DRIVER_TARGET, Layout},
    packages,
    setup::Toolchain,
    stamp,
};

/// The kernel half of the workspace: what is built and linted for the driver's target, beside the drivers among the examples.
pub(crate) const KERNEL_PACKAGES: [&str; 4] = ["headroom", "kstack", "fltmgr", "fltmgr-sys"];

/// A driver that was built.
pub(crate) struct Built {
    /// The driver.
    pub(crate) sys: PathBuf,
    /// Its symbols.
    pub(crate) pdb: PathBuf,
}

/// Builds `package` in release and puts its `.sys`, `.pdb` and `.map` into `dest`.
pub(crate) fn build(
    toolchain: &Toolchain,
    layout: &Layout,
    package: &str,
    target_dir: &Path,
    dest: &Path,
) -> Result<Built> {
    forget_stale(toolchain, target_dir)?;
    toolchain
        .cargo(&format!("build {package}"))
        .dir(&layout.root)
        .args(["build", "--locked", "--release", "--target", DRIVER_TARGET, "--package", package, "--target-dir"])
        .arg(target_dir)
        .remedy("the compiler's or linker's message stands above; an undefined symbol means a name that is not in xtask/assets/imports")
        .run()?;

    let release = target_dir.join(DRIVER_TARGET).join("release");
    let crate_name = package.replace('-', "_");
    let dll = release.join(format!("{crate_name}.dll"));
    if !dll.is_file() {
        bail!(
            "package `{package}` built, but made no {}: is it a driver, with `crate-type = [\"cdylib\"]`?",
            dll.display()
        );
    }
    fs::create_dir_all(dest).with_context(|| format!("cannot create {}", dest.display()))?;
    let built = Built {
        sys: dest.join(format!("{package}.sys")),
        pdb: dest.join(format!("{package}.pdb")),
    };
    stamp::copy_into_place(&dll, &built.sys)?;
    stamp::copy_into_place(&release.join(format!("{crate_name}.pdb")), &built.pdb)?;
    let map = release.join("deps").join(format!("{crate_name}.map"));
    if map.is_file() {
        stamp::copy_into_place(&map, &dest.join(format!("{package}.map")))?;
    }
    Ok(built)
}

/// Builds a driver where the user finds it, prints what it is, and judges it.
pub(crate) fn build_and_inspect(
    toolchain: &Toolchain,
    layout: &Layout,
    package: &str,
) -> Result<Built> {
    let start = Instant::now();
    let built = build(
        toolchain,
        layout,
        package,
        &layout.driver_target(),
        &layout.out(),
    )?;
    println!(
        "built {package} with {} in {:.1} s",
        toolchain.description,
        start.elapsed().as_secs_f32()
    );
    inspect(&built.sys, None)?;
    if package == "headroom" {
        let data = fs::read(&built.sys)?;
        let inf = inf::parse(driver_inf::stamped(layout)?.as_bytes())?;
        let image = Image::parse(&data)?;
        driver_inf::check_oldest(&image)?;
        driver_inf::check_sections(&inf, &image)?;
    }
    for file in [&built.sys, &built.pdb] {
        refuse_machine_paths(file, toolchain)?;
    }
    Ok(built)
}

/// Lints the kernel half for the driver's target.
pub(crate) fn clippy(toolchain: &Toolchain, layout: &Layout) -> Result<()> {
    forget_stale(toolchain, &layout.driver_target())?;
    toolchain.ensure_subcommand(layout, "clippy")?;
    let examples = packages::all(layout)?.into_iter();
    let examples = examples
        .filter(|package| package.is_example_driver(layout))
        .map(|package| package.name);
    let packages = KERNEL_PACKAGES
        .into_iter()
        .map(str::to_owned)
        .chain(examples)
        .flat_map(|package| ["--package".to_owned(), package]);
    toolchain
        .cargo("lint the kernel half")
        .dir(&layout.root)
        .args([
            "clippy",
            "--locked",
            "--release",
            "--target",
            DRIVER_TARGET,
            "--target-dir",
        ])
        .arg(layout.driver_target())
        .args(packages)
        .args(["--", "-D", "warnings"])
        .remedy("mend what clippy found; the workspace's lint wall stands in Cargo.toml")
        .run()
}

/// Removes from `target_dir` what was built from other inputs that Cargo does not know of: everything, where those of the compilation
/// changed, and only the linked images, where those of the link did.
pub(crate) fn forget_stale(toolchain: &Toolchain, target_dir: &Path) -> Result<()> {
    if toolchain.compile_key.is_empty() {
        return Ok(());
    }
    let compile = target_dir.join(".headroom-compile-key");
    let link = target_dir.join(".headroom-link-key");
    let differs = |file: &Path, key: &str| fs::read_to_string(file).is_ok_and(|there| there != key);
    if differs(&compile, &toolchain.compile_key) {
        stamp::remove(target_dir)?;
    } else if differs(&link, &toolchain.link_key) {
        let deps = target_dir.join(DRIVER_TARGET).join("release/deps");
        for entry in fs::read_dir(&deps).into_iter().flatten() {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "dll") {
                fs::remove_file(&path)?;
            }
        }
    }
    fs::create_dir_all(target_dir)
        .with_context(|| format!("cannot create {}", target_dir.display()))?;
    fs::write(&compile, &toolchain.compile_key)?;
    fs::write(&link, &toolchain.link_key)?;
    Ok(())
}

/// Prints what an image is, and fails if it breaks a rule, or if `inf` names a Windows that lacks an import.
pub(crate) fn inspect(sys: &Path, inf: Option<&Path>) -> Result<()> {
    let data = fs::read(sys).with_context(|| format!("cannot read {}", sys.display()))?;
    let image =
        Image::parse(&data).with_context(|| format!("{} is not a driver image", sys.display()))?;
    print!("{}", report::table(&sys.display().to_string(), &image));
    let broken = image.broken_rules();
    if !broken.is_empty() {
        let list: String = broken.iter().map(|rule| format!("\n  {rule}")).collect();
        bail!(
            "{} breaks {} rule(s) for a driver:{list}",
            sys.display(),
            broken.len()
        );
    }
    match inf {
        Some(inf) => driver_inf::check_sections(&inf::read(inf)?, &image),
        None => Ok(()),
    }
}

/// Fails if a machine path stands in a file: a user's name or a build machine's layout has no place in what is given away.
pub(crate) fn refuse_machine_paths(file: &Path, toolchain: &Toolchain) -> Result<()> {
    let data = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    for (path, _) in &toolchain.remap {
        let path = path.to_string_lossy();
        if let Some(at) = find(&data, path.as_bytes()) {
            let end = data[at..]
                .iter()
                .position(|byte| !(b' '..=b'~').contains(byte))
                .map_or(data.len(), |length| at + length);
            bail!(
                "{} holds a path of this machine: {}",
                file.display(),
                String::from_utf8_lossy(&data[at..end])
            );
        }
    }
    Ok(())
}

/// Where a path stands. One of a single component, as `/src` in a container, stands amid other paths too, and there it says nothing; a longer one
/// counts wherever it is, since strings follow one another without a gap.
fn find(data: &[u8], path: &[u8]) -> Option<usize> {
    let short = path.iter().filter(|byte| **byte == b'/').count() == 1;
    let amid = |at: usize| {
        at.checked_sub(1).is_some_and(|before| {
            data[before].is_ascii_alphanumeric() || b"._-".contains(&data[before])
        })
    };
    data.windows(path.len())
        .enumerate()
        .filter(|(_, window)| *window == path)
        .map(|(at, _)| at)
        .find(|at| !(short && amid(*at)))
}

/// Builds where the user finds it, then from nothing in another directory, and compares: neither what Cargo had kept nor where it lies may
/// show.
pub(crate) fn reproduce(toolchain: &Toolchain, layout: &Layout, package: &str) -> Result<()> {
    let first = build(
        toolchain,
        layout,
        package,
        &layout.driver_target(),
        &layout.out(),
    )?;
    let elsewhere = layout.out().join("a-second-build-in-another-directory");
    stamp::remove(&elsewhere)?;
    let second = build(
        toolchain,
        layout,
        package,
        &elsewhere.join("cargo"),
        &elsewhere,
    )?;
    for (one, other) in [(&first.sys, &second.sys), (&first.pdb, &second.pdb)] {
        same(one, other)?;
        println!(
            "identical: {} ({} bytes)",
            one.display(),
            fs::metadata(one)?.len()
        );
    }
    // Kept when they differ, to be looked at.
    stamp::remove(&elsewhere)
}

/// Fails unless two files hold the same bytes.
fn same(one: &Path, other: &Path) -> Result<()> {
    let (a, b) = (fs::read(one)?, fs::read(other)?);
    if a == b {
        return Ok(());
    }
    let at = a
        .iter()
        .zip(&b)
        .position(|(a, b)| a != b)
        .unwrap_or(a.len().min(b.len()));
    bail!(
        "two builds differ: {} ({} bytes) and {} ({} bytes), first at offset {at:#x}\n  to do:   `cmp -l` the two files; a path, a time or an order got in",
        one.display(),
        a.len(),
        other.display(),
        b.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolchain() -> Toolchain {
        Toolchain {
            cargo: "cargo".into(),
            env: Vec::new(),
            description: String::new(),
            compile_key: "c1".into(),
            link_key: "l1".into(),
            remap: vec![("/home/someone".into(), "/headroom".into())],
        }
    }

    #[test]
    fn a_machine_path_in_an_image_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("f");
        fs::write(&file, b"MZ\0/headroom/driver/lib.rs\0").unwrap();
        refuse_machine_paths(&file, &toolchain()).unwrap();
        fs::write(&file, b"MZ\0/home/someone/secret.rs\0rest").unwrap();
        let error = refuse_machine_paths(&file, &toolchain())
            .unwrap_err()
            .to_string();
        assert!(error.ends_with("/home/someone/secret.rs"), "{error}");

        let mut short = toolchain();
        short.remap = vec![("/src".into(), "/headroom".into())];
        fs::write(&file, b"MZ\0/headroom/crates/fltmgr/src/lib.rs\0").unwrap();
        refuse_machine_paths(&file, &short).unwrap();
        fs::write(&file, b"MZ\0/src/driver/lib.rs\0").unwrap();
        let error = refuse_machine_paths(&file, &short).unwrap_err();
        assert!(error.to_string().ends_with("/src/driver/lib.rs"), "{error}");
    }

    #[test]
    fn a_difference_is_found_where_it_is() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (root.path().join("a"), root.path().join("b"));
        fs::write(&one, b"abcdef").unwrap();
        fs::write(&other, b"abcdef").unwrap();
        same(&one, &other).unwrap();
        fs::write(&other, b"abcxef").unwrap();
        assert!(
            same(&one, &other)
                .unwrap_err()
                .to_string()
                .contains("offset 0x3")
        );
        fs::write(&other, b"abc").unwrap();
        assert!(
            same(&one, &other)
                .unwrap_err()
                .to_string()
                .contains("offset 0x3")
        );
    }

    #[test]
    fn a_changed_link_removes_images_and_a_changed_compilation_removes_all() {
        let root = tempfile::tempdir().unwrap();
        let deps = root.path().join(DRIVER_TARGET).join("release/deps");
        fs::create_dir_all(&deps).unwrap();
        let (dll, rlib) = (deps.join("headroom.dll"), deps.join("libcore.rlib"));
        let fill = || [&dll, &rlib].map(|file| fs::write(file, "x").unwrap());
        fill();
        let mut toolchain = toolchain();
        forget_stale(&toolchain, root.path()).unwrap();
        assert!(
            dll.exists() && rlib.exists(),
            "nothing is known of an earlier build"
        );
        toolchain.link_key = "l2".into();
        forget_stale(&toolchain, root.path()).unwrap();
        assert!(!dll.exists() && rlib.exists());
        toolchain.compile_key = "c2".into();
        forget_stale(&toolchain, root.path()).unwrap();
        assert!(!rlib.exists());
    }
}
