//! `cargo xtask`: the one command line for setting up, building, showing and testing Headroom.
#![cfg_attr(
    windows,
    allow(
        dead_code,
        reason = "what only a build off Windows needs is not all behind a cfg of its own"
    )
)]

#[cfg(not(windows))]
mod bench;
mod check;
#[cfg(not(windows))]
mod cross;
mod debugger;
mod demo;
mod depth;
mod driver;
mod driver_inf;
#[cfg(not(windows))]
mod fuzz;
mod host;
mod image;
mod layout;
#[cfg(not(windows))]
mod package;
mod packages;
#[cfg(not(windows))]
mod program;
mod run;
#[cfg(not(windows))]
mod sanitize;
mod setup;
mod soak;
mod stack_budget;
mod stamp;
mod steps;
#[cfg(not(windows))]
mod wine;

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::layout::Layout;

/// Set up, build, show and test Headroom.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or make everything that a driver build needs; every other command does this by itself
    Setup,
    /// Build a driver, print what it is, and check it
    Build {
        /// The driver's package
        #[arg(short, long, default_value = "headroom")]
        package: String,
    },
    /// Build headroom.exe, the harness for Windows, where Windows is not
    #[cfg(not(windows))]
    Program,
    /// Build headroom.exe and run it under Wine, with the arguments after `--`
    #[cfg(not(windows))]
    Wine {
        /// Lint headroom.exe and test what it calls Windows with, instead
        #[arg(long)]
        check: bool,
        /// headroom.exe's arguments, after `--`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Make the driver package with a test signature, and the harness, scripts and debugger files beside it; on Windows: cargo make
    #[cfg(not(windows))]
    Package {
        /// Pack twice and compare, and install and uninstall the package under Wine
        #[arg(long)]
        check: bool,
    },
    /// Build the driver, run it in ntbench under nested opens with and without expansion, and draw what it did to the stack
    Demo,
    /// Measure what a create costs with the driver and without it, in ntbench; or how that grows, with `--scale`
    #[cfg(not(windows))]
    Bench {
        /// The benchmark's own arguments: `--quick`, `--scale`, `--rounds N`, `--compare FILE`, … (`cargo xtask bench -- --help`)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
    /// Read inputs that nobody would write with everything that reads: UNC paths, messages, INFs, images, dumps, settings
    #[cfg(not(windows))]
    Fuzz(fuzz::Args),
    /// Run the tests of the crates that know no kernel under AddressSanitizer, ThreadSanitizer and Miri, where these are installed
    #[cfg(not(windows))]
    Sanitize,
    /// Run everything that must hold: format, lints, two builds, tests
    Test,
    /// Print how much kernel stack the driver's own frames take, and check it against [package.metadata.stack-budget]
    Budget {
        /// The driver's package; its manifest holds the limits
        #[arg(short, long, default_value = "headroom")]
        package: String,
        /// A .sys file with its .pdb beside it, instead of building the package
        #[arg(long)]
        image: Option<PathBuf>,
    },
    /// Print what a driver image is, and check it: what Windows, memory integrity and good sense demand
    CheckImage {
        /// The .sys file, instead of building the driver
        file: Option<PathBuf>,
        /// An INF that installs it: it must not name a Windows that lacks an import
        #[arg(long)]
        inf: Option<PathBuf>,
    },
    /// Print what the driver's INF installs, and check it against InfVerif's published rules
    Inf {
        /// Another INF file
        file: Option<PathBuf>,
    },
    /// Build twice from nothing in two directories and compare the bytes
    Reproduce {
        /// The driver's package
        #[arg(short, long, default_value = "headroom")]
        package: String,
    },
    /// Search for the deepest nest for every reservation and policy, and hold what ends the next one to what the documentation says
    Depth {
        /// Put the tables and the pictures into docs
        #[arg(long)]
        write: bool,
    },
    /// Play random scenarios on the driver with everything going wrong at once, and hold it to its invariants: --minutes, --seed,
    /// --threads and more (`cargo xtask soak -- --help`)
    Soak {
        /// The soak's arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Lint the kernel half for the driver's target
    Clippy,
    /// Print the environment of driver builds as shell commands, or run a command in it
    Env {
        /// The command to run, after `--`
        #[arg(last = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    #[cfg(not(windows))]
    if let Some(done) = cross::dispatch() {
        return done;
    }
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let layout = Layout::here();
    let quiet = setup::Options::default();
    match command {
        Command::Setup => {
            let start = Instant::now();
            setup::ensure(
                &layout,
                setup::Options {
                    retry: true,
                    verbose: true,
                },
            )?;
            println!("ready after {:.1} s", start.elapsed().as_secs_f32());
            Ok(())
        }
        Command::Build { package } => {
            driver::build_and_inspect(&setup::ensure(&layout, quiet)?, &layout, &package).map(drop)
        }
        #[cfg(not(windows))]
        Command::Program => {
            program::build(&setup::ensure_program(&layout, quiet)?, &layout).map(drop)
        }
        #[cfg(not(windows))]
        Command::Wine { check: true, .. } => wine::ensure(&layout, quiet)?.check(&layout),
        #[cfg(not(windows))]
        Command::Wine { args, .. } => wine::ensure(&layout, quiet)?.run(&args),
        #[cfg(not(windows))]
        Command::Package { check } => package::run(&layout, quiet, check),
        Command::Demo => demo::run(&layout, quiet),
        #[cfg(not(windows))]
        Command::Bench { args } => bench::run(&layout, bench::Build::Optimised, &args),
        #[cfg(not(windows))]
        Command::Fuzz(args) => fuzz::run(&layout, &args),
        #[cfg(not(windows))]
        Command::Sanitize => sanitize::run(&layout),
        Command::Test => check::run(&layout, quiet),
        Command::Budget { package, image } => {
            let image = match image {
                Some(image) => image,
                None => {
                    let toolchain = setup::ensure(&layout, quiet)?;
                    let cargo = layout.driver_target();
                    driver::build(&toolchain, &layout, &package, &cargo, &layout.out())?.sys
                }
            };
            stack_budget::run(&layout, &package, &image)
        }
        Command::CheckImage { file: None, .. } => {
            driver::build_and_inspect(&setup::ensure(&layout, quiet)?, &layout, "headroom")
                .map(drop)
        }
        Command::CheckImage {
            file: Some(file),
            inf,
        } => driver::inspect(&file, inf.as_deref()),
        Command::Inf { file } => driver_inf::run(&layout, file.as_deref()),
        Command::Reproduce { package } => {
            driver::reproduce(&setup::ensure(&layout, quiet)?, &layout, &package)
        }
        Command::Depth { write } => depth::run(&layout, quiet, write),
        Command::Soak { args } => soak::run(&layout, quiet, &args),
        Command::Clippy => driver::clippy(&setup::ensure(&layout, quiet)?, &layout),
        Command::Env { command } => env(&setup::ensure(&layout, quiet)?, &layout, &command),
    }
}

/// Prints the environment, or runs a command in it.
fn env(toolchain: &setup::Toolchain, layout: &Layout, command: &[String]) -> Result<()> {
    driver::forget_stale(toolchain, &layout.driver_target())?;
    if let Some((program, args)) = command.split_first() {
        let step = "run in the environment of driver builds";
        return toolchain.tool(step, program).args(args).run();
    }
    for (key, value) in &toolchain.env {
        println!("export {key}={}", run::quote(value));
    }
    Ok(())
}
