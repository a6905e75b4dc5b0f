//! The frames that the analysis reads from the image against those that ntbench finds on the stack while the driver runs.
//!
//! A harness of its own, because its executable becomes the simulated machines.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    ntbench::host_main();
    let arguments = libtest_mimic::Arguments::from_args();
    libtest_mimic::run(&arguments, linux::tests()).exit_code()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {
    // Not to the standard output, where test runners expect a list.
    eprintln!("skipped: ntbench runs on x86-64 Linux alone");
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux {
    use std::{env, fs, path::PathBuf};

    use libtest_mimic::{Failed, Trial};
    use ntbench::{
        Machine,
        wire::{
            CreateFile, DriverSpec, FrameInfo, FrameKind, InstanceSpec, MachineConfig,
            NamespaceConfig, Server, Share, StackKind, StackListing, ThreadSpec, TraceEvent,
        },
    };
    use xtask::budget::Analysis;

    const EXPANSION: &str = "nt!KeExpandKernelStackAndCalloutEx";
    /// Where the driver is deepest: its own opens have come down to the file system.
    const BELOW: &str = "mup!MupCreate";

    pub(super) fn tests() -> Vec<Trial> {
        [
            ("ordinary_stack", StackKind::Ordinary),
            ("large_stack", StackKind::Large),
        ]
        .into_iter()
        .map(|(name, stack)| Trial::test(name, move || frames_are_as_measured(stack)))
        .collect()
    }

    fn sys() -> Result<PathBuf, Failed> {
        let sys = env::var_os("HEADROOM_SYS").ok_or(
            "HEADROOM_SYS names no headroom.sys: this test runs the driver's own binary. `cargo xtask test` builds it and sets the \
             variable; by hand: cargo xtask build, then HEADROOM_SYS=$PWD/target/headroom/headroom.sys",
        )?;
        Ok(sys.into())
    }

    fn frames_are_as_measured(stack: StackKind) -> Result<(), Failed> {
        let sys = sys()?;
        let analysis = Analysis::of(&sys).map_err(|error| format!("{error:#}"))?;
        let listings = listings(sys, stack)?;
        let mut compared = 0;
        let mut expanded = 0;
        for listing in &listings {
            for frame in &listing.frames {
                if let (FrameKind::Driver, Some(measured)) = (frame.kind, frame.bytes_to_older) {
                    let name = function(frame)?;
                    let frames = analysis.frames_of(name);
                    if !frames.iter().any(|bytes| u64::from(*bytes) == measured) {
                        return Err(format!(
                            "{name}: measured {measured:#x}, in the image {frames:#x?}"
                        )
                        .into());
                    }
                    compared += 1;
                }
            }
            let (callback, measured) = callers_part(listing)?;
            let sums = analysis.to_the_expansion(callback);
            if !sums.iter().any(|bytes| u64::from(*bytes) == measured) {
                return Err(format!(
                    "from {callback} to the expansion: measured {measured:#x}, in the image {sums:#x?}"
                )
                .into());
            }
            expanded += 1;
        }
        // The callback's own, and on the reserved stack at least what opens an ancestor.
        if expanded == 0 || compared < 2 * expanded {
            return Err(format!(
                "{compared} frames in {expanded} listings: the driver was not there"
            )
            .into());
        }
        Ok(())
    }

    /// The driver's frames that lie on the stack of the oldest callback until it expands: the callback's name, and their sum.
    fn callers_part(listing: &StackListing) -> Result<(&str, u64), Failed> {
        let expansion = listing
            .frames
            .iter()
            .rposition(|frame| frame.symbol.starts_with(EXPANSION));
        let older = &listing.frames[expansion.ok_or("a listing without the expansion")? + 1..];
        let count = older
            .iter()
            .take_while(|frame| frame.kind == FrameKind::Driver)
            .count();
        let callback = older[..count].last().ok_or("nobody called the expansion")?;
        let sum = older[..count]
            .iter()
            .filter_map(|frame| frame.bytes_to_older)
            .sum();
        Ok((function(callback)?, sum))
    }

    /// `name` of `module!name+0x12`.
    fn function(frame: &FrameInfo) -> Result<&str, Failed> {
        let name = frame
            .symbol
            .split_once('!')
            .and_then(|(_, name)| name.rsplit_once("+0x"));
        let (name, _) = name.ok_or_else(|| format!("{} is no function", frame.symbol))?;
        Ok(name.trim_start_matches("static "))
    }

    /// The stack at its deepest in one open some directories below a share, from within the expansion.
    fn listings(sys: PathBuf, stack: StackKind) -> Result<Vec<StackListing>, Failed> {
        let folder = tempfile::tempdir()?;
        fs::create_dir_all(folder.path().join("a/b/c"))?;
        let share = Share {
            name: "share".to_owned(),
            folder: folder.path().to_owned(),
        };
        let machine = Machine::boot(MachineConfig {
            namespace: NamespaceConfig {
                servers: vec![Server {
                    name: "server".to_owned(),
                    shares: vec![share],
                }],
                ..NamespaceConfig::default()
            },
            snapshot_at: vec![BELOW.to_owned()],
            ..MachineConfig::default()
        })?;
        let loaded = machine.load_driver(DriverSpec {
            image: sys,
            service: "headroom".to_owned(),
            instances: vec![InstanceSpec {
                name: "Headroom Instance".to_owned(),
                altitude: "378600.5".to_owned(),
                flags: 0,
            }],
            ..DriverSpec::default()
        })?;
        if !loaded.status.is_success() {
            return Err(format!("DriverEntry: {}", loaded.status).into());
        }
        let thread = machine.thread(ThreadSpec {
            process_image: "test.exe".to_owned(),
            process: 0,
            stack,
        })?;
        let opened = thread.create_file(&CreateFile {
            name: r"\??\UNC\server\share\a\b\c".to_owned(),
            ..CreateFile::default()
        })?;
        if !opened.status.is_success() {
            return Err(format!("open: {}", opened.status).into());
        }
        let mut listings = Vec::new();
        for event in machine.trace()?.events {
            if let TraceEvent::Snapshot(listing) = event
                && listing
                    .frames
                    .iter()
                    .any(|frame| frame.symbol.starts_with(EXPANSION))
            {
                listings.push(*listing);
            }
        }
        Ok(listings)
    }
}
