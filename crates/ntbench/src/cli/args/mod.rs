//! The command line's grammar.

mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ntbench::wire::{DfsNamespace, Server, WINDOWS_BUILD};

pub(super) use values::{
    Bytes, Context, DfsArgument, Fault, Faults, Instance, Parameter, ShareArgument, Sweep,
    Transfer, VolumeArgument,
};

/// Runs Windows minifilters in a Linux process, strictly.
#[derive(Parser)]
#[command(version)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Load drivers, start them, put them to work, unload them, report
    #[command(after_long_help = AFTER_RUN)]
    Run(Box<Run>),
    /// List the built-in scenarios, or print one: the format that --scenario reads
    Scenario {
        /// One scenario's name
        name: Option<String>,
    },
    /// List every function that drivers can import, and what it leaves out, as Markdown
    Coverage,
    /// List what a driver imports, and which of it the bench has
    Imports {
        /// The .sys file
        image: PathBuf,
    },
}

const AFTER_RUN: &str = "\
Several drivers: each image's options (--inf, --pdb, --service, --parameter, --instance) stand behind it. Drivers are loaded from the lowest \
altitude up, as Windows' load order groups have it, and unloaded from the highest down.

Examples:
  ntbench run logger.sys --inf logger.inf --scenario all
  ntbench run logger.sys --inf logger.inf scanner.sys --inf scanner.inf --parameter Level=3 --scenario basic
  ntbench run scanner.sys --scenario mine.toml --json > result.json
  ntbench run scanner.sys --scenario all --faults all
  ntbench run scanner.sys --scenario basic --faults FltGetFileNameInformation=STATUS_FLT_NAME_CACHE_MISS
  ntbench run scanner.sys --scenario basic --low-stack 0x6000..0x1000:0x400
  ntbench run scanner.sys --scenario threads --schedules 200
  ntbench run scanner.sys --scenario threads --seed 17

Exit status: 0, all went as it should; 1, a driver failed, bug-checked or broke a rule, or a result was not the expected one; 2, it could not \
be tried.";

#[derive(Args)]
pub(super) struct Run {
    /// The .sys files, each followed by its own options
    #[arg(required_unless_present = "scenario", value_name = "IMAGE")]
    pub(super) image: Vec<PathBuf>,

    /// The driver's .pdb; default: beside it, under its name
    #[arg(long, value_name = "FILE", help_heading = DRIVER)]
    pub(super) pdb: Vec<PathBuf>,
    /// A value below the service key's Parameters: a number is a REG_DWORD, other text a REG_SZ
    #[arg(long, value_name = "NAME=VALUE", help_heading = DRIVER)]
    pub(super) parameter: Vec<Parameter>,
    /// The driver's INF, or the template of one: the service, its instances and its parameters
    #[arg(long, value_name = "FILE", help_heading = DRIVER)]
    pub(super) inf: Vec<PathBuf>,
    /// The service's name, without an INF [default: the image's]
    #[arg(long, value_name = "NAME", help_heading = DRIVER)]
    pub(super) service: Vec<String>,
    /// An instance of the service key, the first being the default one, instead of the INF's [without either: Default Instance,370000]
    #[arg(long, value_name = "NAME,ALTITUDE[,FLAGS]", help_heading = DRIVER)]
    pub(super) instance: Vec<Instance>,

    /// The build of Windows that the machine is, and that INFs install on: from 25952 on in the isolated form, else in the one before it
    #[arg(long, value_name = "BUILD", default_value_t = WINDOWS_BUILD)]
    pub(super) windows: u32,
    /// A share backed by a folder of this host
    #[arg(long, value_name = "SERVER/SHARE=FOLDER")]
    pub(super) share: Vec<ShareArgument>,
    /// A link of a DFS namespace, and the share it leads to
    #[arg(long, value_name = "SERVER/ROOT/LINK=SERVER/SHARE")]
    pub(super) dfs: Vec<DfsArgument>,
    /// A local volume backed by a folder of this host
    #[arg(long, value_name = "C=FOLDER")]
    pub(super) volume: Vec<VolumeArgument>,
    /// How the file systems' devices want the buffers of reads, writes and listings: each is another path of a filter that looks into them
    #[arg(
        long,
        value_name = "neither|buffered|direct",
        default_value = "neither"
    )]
    pub(super) buffers: Transfer,

    /// What to do with the filters: a built-in scenario, a scenario file, `all`, or `list`; on temporary folders where no --volume or --share is given
    #[arg(long, value_name = "NAME|FILE", help_heading = WORK)]
    pub(super) scenario: Vec<String>,
    /// A scenario's result that differs from the one without the drivers is a failure: for filters that only look on
    #[arg(long, requires = "scenario", help_heading = WORK)]
    pub(super) unchanged: bool,
    /// The context that scenarios connect to communication ports with, where their steps give none: a text, or hex:BYTES
    #[arg(long, value_name = "TEXT|hex:BYTES", requires = "scenario", help_heading = WORK)]
    pub(super) port_context: Option<Context>,
    /// An object to open, for example \??\UNC\server\share\file
    #[arg(long, value_name = "NAME", help_heading = WORK)]
    pub(super) create: Vec<String>,
    /// An object to ask for its attributes, after those to open
    #[arg(long, value_name = "NAME", help_heading = WORK)]
    pub(super) query: Vec<String>,
    /// Work on threads with a large (72 KB) kernel stack
    #[arg(long, help_heading = WORK)]
    pub(super) large_stack: bool,
    /// Do not unload the drivers at the end
    #[arg(long, help_heading = WORK)]
    pub(super) keep_loaded: bool,
    /// Stop the drivers at the end as `sc stop` does, which a filter cannot refuse; otherwise they are unloaded as by `fltmc unload`
    #[arg(long, conflicts_with = "keep_loaded", help_heading = WORK)]
    pub(super) stop: bool,

    /// A kernel call to make fail: always, the n-th time, from the n-th on, or the first from a call stack that --faults has told of
    #[arg(long, value_name = "CALL=STATUS[@N|@N+|@stack:HASH]", help_heading = TROUBLE)]
    pub(super) fault: Vec<Fault>,
    /// Run once for each unique call stack of a call that can fail (or of that call only), which fails then
    #[arg(long, value_name = "all|CALL[=STATUS]", help_heading = TROUBLE)]
    pub(super) faults: Option<Faults>,
    /// Run once for each number of bytes that creates find left of their kernel stack, or once with one number
    #[arg(long, value_name = "FROM..TO:STEP|BYTES", conflicts_with = "faults", help_heading = TROUBLE)]
    pub(super) low_stack: Option<Sweep>,
    /// Let a seed choose which thread runs from one kernel call to the next; the same seed runs the same way again
    #[arg(long, value_name = "SEED", help_heading = TROUBLE)]
    pub(super) seed: Option<u64>,
    /// Run under so many seeds, one after the other from --seed (or 1) on, until one fails
    #[arg(long, value_name = "N", conflicts_with_all = ["faults", "low_stack"], help_heading = TROUBLE)]
    pub(super) schedules: Option<u64>,
    /// Fail allocations once all drivers together hold so many MB of pool [default: 512]
    #[arg(long, value_name = "MB", help_heading = TROUBLE)]
    pub(super) pool_limit: Option<u64>,

    /// How many bytes of its caller's stack a callback's own frames may take; more is a finding
    #[arg(long, value_name = "BYTES", help_heading = TROUBLE)]
    pub(super) stack_limit: Option<Bytes>,

    /// The whole result as JSON on standard output
    #[arg(long, help_heading = REPORT)]
    pub(super) json: bool,
    /// Show each callback and each line of debug output, with a scenario too
    #[arg(long, help_heading = REPORT)]
    pub(super) trace: bool,
    /// List the stack whenever this kernel function is entered, for example nt!KiSwapContext
    #[arg(long, value_name = "MODULE!FUNCTION", help_heading = REPORT)]
    pub(super) snapshot_at: Vec<String>,
    /// Where a bug check leaves a crash dump, which kernel debuggers open
    #[arg(long, value_name = "FILE", help_heading = REPORT)]
    pub(super) crash_dump: Option<PathBuf>,

    /// Do not put each pool block on pages of its own: quicker, and overruns are seen late or not at all
    #[arg(long)]
    pub(super) no_special_pool: bool,
    /// Do not take pageable memory away at raised IRQL: quicker, and its use there is not seen
    #[arg(long)]
    pub(super) no_force_irql: bool,
    /// Tell a debugger of the driver's functions, and wait for it without limit: see docs/ntbench.md
    #[arg(long)]
    pub(super) debugger: bool,
    /// Stop a machine that has not answered for so long [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub(super) time_limit: Option<u64>,
}

const DRIVER: &str = "Of one driver, behind its image";
const WORK: &str = "What is done";
const TROUBLE: &str = "Trouble";
const REPORT: &str = "What is told";

impl Run {
    /// The shares, by server.
    pub(super) fn servers(&self) -> Vec<Server> {
        let mut servers: Vec<Server> = Vec::new();
        for ShareArgument { server, share } in &self.share {
            match servers
                .iter_mut()
                .find(|known| known.name.eq_ignore_ascii_case(server))
            {
                Some(known) => known.shares.push(share.clone()),
                None => servers.push(Server {
                    name: server.clone(),
                    shares: vec![share.clone()],
                }),
            }
        }
        servers
    }

    /// The DFS namespaces, by server and root.
    pub(super) fn namespaces(&self) -> Vec<DfsNamespace> {
        let mut namespaces: Vec<DfsNamespace> = Vec::new();
        for DfsArgument { server, root, link } in &self.dfs {
            let same = |known: &&mut DfsNamespace| {
                known.server.eq_ignore_ascii_case(server) && known.root.eq_ignore_ascii_case(root)
            };
            match namespaces.iter_mut().find(same) {
                Some(known) => known.links.push(link.clone()),
                None => namespaces.push(DfsNamespace {
                    server: server.clone(),
                    root: root.clone(),
                    links: vec![link.clone()],
                }),
            }
        }
        namespaces
    }
}
