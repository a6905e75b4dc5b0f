//! Which Rust compiles for Windows: the driver, and the programs beside it.
//!
//! First choice: the rustup toolchain that is active anyway, with the target added. Where rustup is missing or cannot add it, Debian's
//! compiler of the same day with its library source, from which a private sysroot is built. `HEADROOM_RUST=rustup` or
//! `HEADROOM_RUST=debian` forces one.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::{
    Options,
    apt::{self, Need},
    say,
};
use crate::run::{self, Tool};

/// The variable that forces a choice.
const CHOICE: &str = "HEADROOM_RUST";
/// The oldest compiler that the workspace accepts, as `rust-version` in Cargo.toml has it.
const OLDEST_MINOR: u32 = 88;
/// lld before this has no `/lib /def:`.
const LLD_VERSIONS: [u32; 4] = [19, 22, 21, 20];

/// A compiler, its linker, and its library source.
#[derive(Clone, Debug)]
pub(super) struct Compiler {
    /// Directory of `cargo` and `rustc`.
    pub(super) bin: PathBuf,
    /// The rustup toolchain's name, where it is one.
    pub(super) rustup_name: Option<String>,
    /// For people.
    pub(super) description: String,
    /// All of `rustc -vV`.
    pub(super) version: String,
    /// The commit it was built from, or its release.
    pub(super) commit: String,
    /// An lld that acts as lld-link.
    pub(super) lld: PathBuf,
    /// Where the standard library's source lies or would lie: `library/core` is below it.
    pub(super) std_source: PathBuf,
    /// The `library` directory to build a private sysroot from, when the compiler has no standard library for the target.
    pub(super) library: Option<PathBuf>,
}

pub(super) fn choose(
    target: &str,
    toolchain_dir: &Path,
    may_install: bool,
    options: Options,
) -> Result<Compiler> {
    match std::env::var(CHOICE).as_deref() {
        Ok("rustup") => rustup(
            target,
            toolchain_dir,
            may_install,
            Options {
                retry: true,
                ..options
            },
        ),
        Ok("debian") => debian(target, may_install),
        Ok(other) if !other.is_empty() => {
            bail!("{CHOICE} is `{other}`; it may be `rustup`, `debian`, or unset")
        }
        _ => rustup(target, toolchain_dir, may_install, options).or_else(|why| {
            if options.verbose || !debian_is_ready() {
                say(&format!(
                    "rustup's toolchain cannot be used: {}",
                    first_line(&why)
                ));
                say("using Debian's compiler with a private sysroot instead");
            }
            debian(target, may_install)
        }),
    }
}

fn first_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.lines()
        .map(str::trim)
        .take(3)
        .collect::<Vec<_>>()
        .join(", ")
}

fn rustup(
    target: &str,
    toolchain_dir: &Path,
    may_install: bool,
    options: Options,
) -> Result<Compiler> {
    const STEP: &str = "use rustup's toolchain";
    let rustup = run::which("rustup").context("rustup is not installed")?;
    let ask = |args: &[&str]| Tool::new(STEP, &rustup).args(args).output();
    let name = match std::env::var("RUSTUP_TOOLCHAIN") {
        Ok(name) => name,
        Err(_) => ask(&["show", "active-toolchain"])?
            .split_whitespace()
            .next()
            .context("rustup has no active toolchain")?
            .to_owned(),
    };
    let rustc = PathBuf::from(ask(&["which", "rustc", "--toolchain", &name])?);
    let bin = rustc.parent().context("rustup gave no path")?.to_path_buf();
    let version = Version::of(&rustc)?;
    let sysroot = PathBuf::from(
        Tool::new(STEP, &rustc)
            .args(["--print", "sysroot"])
            .output()?,
    );
    let lld = sysroot
        .join("lib/rustlib")
        .join(&version.host)
        .join("bin/rust-lld");
    if !lld.is_file() {
        bail!("toolchain {name} has no rust-lld");
    }
    let std_source = sysroot.join("lib/rustlib/src/rust");
    let there = sysroot.join("lib/rustlib").join(target).join("lib");
    let mut library = None;
    if !there.is_dir()
        && let Err(refused) =
            add_target(&rustup, &name, target, toolchain_dir, may_install, options)
    {
        // The source that the target would have been built from serves as well.
        let source = std_source.join("library");
        if !source.join("sysroot/Cargo.toml").is_file() {
            return Err(refused);
        }
        library = Some(source);
    }
    Ok(Compiler {
        description: format!("rustc {} of rustup's {name}", version.release),
        rustup_name: Some(name),
        bin,
        lld,
        std_source,
        library,
        commit: version.commit,
        version: version.text,
    })
}

/// Adds the target to a rustup toolchain. A refusal is remembered, so that not every build waits for it again.
fn add_target(
    rustup: &Path,
    name: &str,
    target: &str,
    toolchain_dir: &Path,
    may_install: bool,
    options: Options,
) -> Result<()> {
    if !may_install {
        bail!(
            "toolchain {name} lacks the target {target}, and with WDKContentRoot set nothing is installed"
        );
    }
    let refusals = toolchain_dir.join(format!("rustup-refused-{target}"));
    if !options.retry && fs::read_to_string(&refusals).is_ok_and(|text| text == name) {
        bail!("toolchain {name} could not add {target} before (`cargo xtask setup` tries again)");
    }
    say(&format!(
        "adding {target} to rustup's {name}: the standard library for it"
    ));
    let added = Tool::new(format!("add the target {target}"), rustup)
        .args(["target", "add", "--toolchain", name, target])
        .env("RUSTUP_MAX_RETRIES", "0")
        .remedy(format!("run it by hand, or set {CHOICE}=debian"))
        .run_within(Duration::from_secs(120));
    match &added {
        Ok(()) => drop(fs::remove_file(&refusals)),
        Err(_) => fs::write(&refusals, name).context("cannot note the refusal")?,
    }
    added
}

/// Debian 12 has the -web packages, Debian 13 and Ubuntu have not.
const INSTALL_RUSTUP: &str = "install rustup and a toolchain, and run this again: `apt-get install rustup && rustup default stable` on Debian 13 and \
    Ubuntu 24.04 or later, https://rustup.rs elsewhere. rustup then adds the driver's target and brings the linker";

const DEBIAN_BIN: &str = "/usr/bin";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust";

fn debian_is_ready() -> bool {
    debian_rustc().is_some() && debian_library().is_some() && lld_link().is_some()
}

/// Debian's rustc, when it is new enough.
fn debian_rustc() -> Option<Version> {
    let bin = Path::new(DEBIAN_BIN);
    let version = Version::of(&bin.join("rustc")).ok()?;
    (version.minor >= OLDEST_MINOR && bin.join("cargo").is_file()).then_some(version)
}

fn debian_library() -> Option<PathBuf> {
    let library = Path::new(DEBIAN_SOURCE).join("library");
    library
        .join("sysroot/Cargo.toml")
        .is_file()
        .then_some(library)
}

fn lld_link() -> Option<PathBuf> {
    LLD_VERSIONS
        .iter()
        .find_map(|version| run::which(&format!("lld-link-{version}")))
}

fn debian(target: &str, may_install: bool) -> Result<Compiler> {
    let mut needs = Vec::new();
    if debian_rustc().is_none() {
        needs.push(Need {
            anyone_of: &["rustc-web"],
            why: "a compiler with library source of exactly its version",
            otherwise: INSTALL_RUSTUP,
        });
        needs.push(Need {
            anyone_of: &["cargo-web"],
            why: "the Cargo that belongs to that compiler",
            otherwise: INSTALL_RUSTUP,
        });
    }
    if debian_library().is_none() {
        needs.push(Need {
            anyone_of: &["rust-web-src"],
            why: "the source of core and alloc, to build them for Windows",
            otherwise: INSTALL_RUSTUP,
        });
    }
    if lld_link().is_none() {
        needs.push(Need {
            anyone_of: &["lld-19", "lld-22"],
            why: "lld-link, which links images for Windows and makes import libraries",
            otherwise: INSTALL_RUSTUP,
        });
    }
    if !needs.is_empty() {
        if !may_install {
            let names: Vec<_> = needs.iter().map(|need| need.anyone_of[0]).collect();
            bail!(
                "no compiler for {target}, and with WDKContentRoot set nothing is installed\n  to do:   rustup target add {target}, or install {}",
                names.join(" ")
            );
        }
        apt::install(&needs)?;
    }
    let missing = "was installed but is not where it was expected";
    let version = debian_rustc()
        .with_context(|| format!("rustc 1.{OLDEST_MINOR} or later {missing} ({DEBIAN_BIN})"))?;
    Ok(Compiler {
        bin: DEBIAN_BIN.into(),
        rustup_name: None,
        description: format!("Debian's rustc {} with a private sysroot", version.release),
        lld: lld_link().with_context(|| format!("lld-link {missing}"))?,
        // Behind a link, which Cargo follows.
        std_source: fs::canonicalize(DEBIAN_SOURCE).context("the library source has no place")?,
        library: Some(
            debian_library()
                .with_context(|| format!("the library source {missing} ({DEBIAN_SOURCE})"))?,
        ),
        commit: version.commit,
        version: version.text,
    })
}

/// What `rustc -vV` says.
struct Version {
    text: String,
    release: String,
    minor: u32,
    host: String,
    commit: String,
}

impl Version {
    fn of(rustc: &Path) -> Result<Self> {
        Self::parse(
            Tool::new("ask rustc for its version", rustc)
                .arg("-vV")
                .output()?,
        )
    }

    fn parse(text: String) -> Result<Self> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
        };
        let release =
            field("release:").with_context(|| format!("`rustc -vV` gave no release:\n{text}"))?;
        let minor = release
            .split('.')
            .nth(1)
            .and_then(|minor| minor.parse().ok());
        Ok(Self {
            minor: minor.with_context(|| format!("the release `{release}` is not understood"))?,
            host: field("host:").context("`rustc -vV` gave no host")?,
            commit: field("commit-hash:")
                .filter(|hash| hash != "unknown")
                .unwrap_or_else(|| release.clone()),
            release,
            text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_and_without_a_commit() {
        let text = "rustc 1.96.0 (x)\nbinary: rustc\ncommit-hash: abc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\n";
        let version = Version::parse(text.to_owned()).unwrap();
        assert_eq!(
            (version.minor, &*version.commit, &*version.host),
            (96, "abc", "x86_64-unknown-linux-gnu")
        );
        let version = Version::parse(text.replace("abc", "unknown")).unwrap();
        assert_eq!(version.commit, "1.96.0");
        Version::parse("not rustc".to_owned())
            .map(|_| ())
            .unwrap_err();
    }
}
