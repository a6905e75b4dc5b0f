//! The command line: the verbs. Each verb's arguments and work stand in [`crate::verbs`].

use clap::{Parser, Subcommand};

use crate::verbs::{
    Failure, Verdict, attach, compare, completions, config, detach, doctor, dump, install,
    instances, load, log, report, reset, run, stats, status, uninstall, unload, watch,
};

/// Exercises headroom.sys with opens that nest, and shows what they did to the kernel stack.
#[derive(Debug, Parser)]
#[command(name = "headroom", version, about = ABOUT, after_help = EXIT_STATUS)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

const ABOUT: &str = "\
How much kernel stack is left: runs scenarios against headroom.sys, watches it live, and shows what it has recorded";

const EXIT_STATUS: &str =
    "Exit status: 0 what had to be seen was seen; 1 it was not; 2 it could not be tried.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a scenario and show the stack before, inside and after each expansion.
    #[command(after_help = run::AFTER_HELP)]
    Run(run::Args),
    /// Read a kernel crash dump: who filled the stack, and what the driver had recorded.
    #[command(after_help = dump::HELP)]
    Dump(dump::Args),
    /// Make pages, pictures and numbers from saved runs and logs.
    #[command(after_help = report::HELP)]
    Report(report::Args),
    /// Compare two saved runs: did headroom get better or worse?
    #[command(after_help = compare::HELP)]
    Compare(compare::Args),
    /// Watch the stack live: the lowest headroom now and since the last reset, by process and by depth, and the last events.
    #[command(after_help = watch::HELP)]
    Watch(watch::Args),
    /// Print the driver's records as they come, or write them to a file.
    #[command(after_help = log::HELP)]
    Log(log::Args),
    /// Show the watermarks: the least stack that was ever left, by process and by depth.
    #[command(after_help = stats::HELP)]
    Stats(stats::Args),
    /// Start the watermarks afresh.
    Reset(reset::Args),
    /// Show the driver's settings, or change one while it runs.
    Config(config::Args),
    /// List the volumes that the driver is attached to.
    Instances(instances::Args),
    /// Attach the driver to a volume.
    #[command(after_help = attach::HELP)]
    Attach(attach::Args),
    /// Detach the driver from a volume.
    Detach(detach::Args),
    /// Load the driver: on Windows the installed one, on Linux on a simulated machine that lives on in the background.
    #[command(after_help = load::HELP)]
    Load(load::Args),
    /// Unload the driver; on Linux this ends the machine, and shows what its verifier found.
    Unload(unload::Args),
    /// Show whether the driver is loaded, which version, where it is attached, and what became of its records.
    #[command(after_help = status::HELP)]
    Status(status::Args),
    /// Install the driver's package on this machine, and load it (Windows).
    #[command(after_help = install::HELP)]
    Install(install::Args),
    /// Take the driver off this machine (Windows).
    #[command(after_help = uninstall::HELP)]
    Uninstall(uninstall::Args),
    /// Look at what works here and what does not, and say how to mend it.
    #[command(after_help = doctor::HELP)]
    Doctor(doctor::Args),
    /// Print a script that completes this program's command lines in a shell.
    #[command(after_help = completions::HELP)]
    Completions(completions::Args),
    /// Becomes the machine in the background.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[command(hide = true)]
    Machine,
}

impl Verb {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`]: it could not be tried.
    pub fn run(&self) -> Result<Verdict, Failure> {
        match self {
            Self::Run(args) => args.run(),
            Self::Report(args) => args.run(),
            Self::Compare(args) => args.run(),
            Self::Watch(args) => args.run(),
            Self::Log(args) => args.run(),
            Self::Stats(args) => args.run(),
            Self::Reset(args) => args.run(),
            Self::Config(args) => args.run(),
            Self::Instances(args) => args.run(),
            Self::Attach(args) => args.run(),
            Self::Detach(args) => args.run(),
            Self::Load(args) => args.run(),
            Self::Unload(args) => args.run(),
            Self::Status(args) => args.run(),
            Self::Install(args) => args.run(),
            Self::Uninstall(args) => args.run(),
            Self::Doctor(args) => args.run(),
            Self::Completions(args) => args.run(),
            #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
            Self::Machine => load::serve(),
            Self::Dump(args) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
