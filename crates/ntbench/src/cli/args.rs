//! The command line's grammar.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use ntbench::NtStatus;
use ntbench::wire::{
    DfsLink, DfsNamespace, FaultRule, InstanceSpec, RegistryValue, Server, Share, Volume,
    WINDOWS_BUILD, When,
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
    /// Load a driver, start it, open files, unload it, report
    Run(Box<Run>),
    /// List every function that drivers can import, and what it leaves out, as Markdown
    Coverage,
    /// List what a driver imports, and which of it the bench has
    Imports {
        /// The .sys file
        image: PathBuf,
    },
}

#[derive(Args)]
pub(super) struct Run {
    /// The .sys file
    pub(super) image: PathBuf,
    /// Its .pdb; default: beside it, under its name
    #[arg(long)]
    pub(super) pdb: Option<PathBuf>,
    /// A value below the service key's Parameters: a number is a REG_DWORD, other text a REG_SZ
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) parameter: Vec<Parameter>,
    /// The driver's INF, or the template of one: the service, its instances and its parameters
    #[arg(long, value_name = "FILE")]
    pub(super) inf: Option<PathBuf>,
    /// The build of Windows that the INF installs on: from 25952 on the isolated form, else the one before it
    #[arg(long, value_name = "BUILD", default_value_t = WINDOWS_BUILD, requires = "inf")]
    pub(super) windows: u32,
    /// An instance of the service key, the first being the default one, instead of the INF's [without either: Default Instance,370000]
    #[arg(long, value_name = "NAME,ALTITUDE[,FLAGS]")]
    pub(super) instance: Vec<Instance>,
    /// A share backed by a folder of this host
    #[arg(long, value_name = "SERVER/SHARE=FOLDER")]
    pub(super) share: Vec<ShareArgument>,
    /// A link of a DFS namespace, and the share it leads to
    #[arg(long, value_name = "SERVER/ROOT/LINK=SERVER/SHARE")]
    pub(super) dfs: Vec<DfsArgument>,
    /// A local volume backed by a folder of this host
    #[arg(long, value_name = "C=FOLDER")]
    pub(super) volume: Vec<VolumeArgument>,
    /// An object to open, for example \??\UNC\server\share\file
    #[arg(long, value_name = "NAME")]
    pub(super) create: Vec<String>,
    /// An object to ask for its attributes, after those to open
    #[arg(long, value_name = "NAME")]
    pub(super) query: Vec<String>,
    /// List the stack whenever this kernel function is entered, for example nt!KiSwapContext
    #[arg(long, value_name = "MODULE!FUNCTION")]
    pub(super) snapshot_at: Vec<String>,
    /// A kernel call to make fail: always, the n-th time, or from the n-th on
    #[arg(long, value_name = "CALL=STATUS[@N|@N+]")]
    pub(super) fault: Vec<Fault>,
    /// Where a bug check leaves a crash dump, which kernel debuggers open
    #[arg(long, value_name = "FILE")]
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
    /// Open on a thread with a large (72 KB) kernel stack
    #[arg(long)]
    pub(super) large_stack: bool,
    /// Do not unload the driver at the end
    #[arg(long)]
    pub(super) keep_loaded: bool,
}

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
}

impl Run {
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

#[derive(Clone)]
pub(super) struct DfsArgument {
    server: String,
    root: String,
    link: DfsLink,
}

impl FromStr for DfsArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let grammar = || "write SERVER/ROOT/LINK=SERVER/SHARE".to_owned();
        let (from, to) = text.split_once('=').ok_or_else(grammar)?;
        let from = from.replace('\\', "/");
        let mut from = from.splitn(3, '/');
        let (Some(server), Some(root), Some(path)) = (from.next(), from.next(), from.next()) else {
            return Err(grammar());
        };
        let to = to.replace('\\', "/");
        let mut to = to.splitn(3, '/');
        let (Some(target), Some(share)) = (to.next(), to.next()) else {
            return Err(grammar());
        };
        let link = DfsLink {
            path: path.replace('/', "\\"),
            server: target.to_owned(),
            share: share.to_owned(),
            folder: to.next().unwrap_or("").replace('/', "\\"),
        };
        Ok(Self {
            server: server.to_owned(),
            root: root.to_owned(),
            link,
        })
    }
}

#[derive(Clone)]
pub(super) struct Parameter(pub(super) (String, RegistryValue));

impl FromStr for Parameter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
        let number = value.strip_prefix("0x").map_or_else(
            || value.parse().ok(),
            |digits| u32::from_str_radix(digits, 16).ok(),
        );
        let value =
            number.map_or_else(|| RegistryValue::Sz(value.to_owned()), RegistryValue::Dword);
        Ok(Self((name.to_owned(), value)))
    }
}

#[derive(Clone)]
pub(super) struct Instance(pub(super) InstanceSpec);

impl FromStr for Instance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut fields = text.split(',');
        let (Some(name), Some(altitude)) = (fields.next(), fields.next()) else {
            return Err("write NAME,ALTITUDE or NAME,ALTITUDE,FLAGS".to_owned());
        };
        if altitude.is_empty()
            || !altitude
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
        {
            return Err(format!("an altitude is a decimal number, not {altitude:?}"));
        }
        let flags = match fields.next() {
            Some(flags) => flags
                .parse()
                .map_err(|_| format!("flags are a number, not {flags:?}"))?,
            None => 0,
        };
        Ok(Self(InstanceSpec {
            name: name.to_owned(),
            altitude: altitude.to_owned(),
            flags,
        }))
    }
}

#[derive(Clone)]
pub(super) struct ShareArgument {
    server: String,
    share: Share,
}

impl FromStr for ShareArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (names, folder) = text.split_once('=').ok_or("write SERVER/SHARE=FOLDER")?;
        let (server, name) = names
            .split_once(['/', '\\'])
            .ok_or("write SERVER/SHARE=FOLDER")?;
        Ok(Self {
            server: server.to_owned(),
            share: Share {
                name: name.to_owned(),
                folder: folder.into(),
            },
        })
    }
}

#[derive(Clone)]
pub(super) struct VolumeArgument(pub(super) Volume);

impl FromStr for VolumeArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (letter, folder) = text.split_once('=').ok_or("write C=FOLDER")?;
        let mut letters = letter.trim_end_matches(':').chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) if letter.is_ascii_alphabetic() => {
                let number = u32::from(letter.to_ascii_uppercase()) - u32::from('A');
                let device = format!("\\Device\\HarddiskVolume{}", number + 1);
                Ok(Self(Volume {
                    device,
                    letter: Some(letter),
                    folder: folder.into(),
                }))
            }
            _ => Err(format!("a drive letter is one letter, not {letter:?}")),
        }
    }
}

#[derive(Clone)]
pub(super) struct Fault(pub(super) FaultRule);

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (call, rest) = text
            .split_once('=')
            .ok_or("write CALL=STATUS, CALL=STATUS@N or CALL=STATUS@N+")?;
        let (status, when) = match rest.split_once('@') {
            None => (rest, When::Always),
            Some((status, count)) => {
                let number =
                    |digits: &str| digits.parse().map_err(|_| format!("{count:?} is no count"));
                let when = match count.strip_suffix('+') {
                    Some(digits) => When::From(number(digits)?),
                    None => When::Nth(number(count)?),
                };
                (status, when)
            }
        };
        let status = NtStatus::parse(status).ok_or_else(|| {
            format!("{status:?} is neither a known STATUS_ name nor a number like 0xC000009A")
        })?;
        Ok(Self(FaultRule {
            call: call.to_owned(),
            status,
            when,
        }))
    }
}
