//! Where scenarios are played: the volumes, shares and links that the command line names, or temporary ones.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ntbench::wire::{DfsLink, DfsNamespace, InstanceCall, NamespaceConfig, Server, Share, Volume};
use thiserror::Error;

use super::{Place, Scenario};

/// The folder in which scenarios do everything: other people's files are left alone.
const FOLDER: &str = "ntbench-scenario";

/// The volume of all network redirectors: the multiple UNC provider's device.
const REDIRECTORS: &str = r"\Device\Mup";

/// Why there is no place to play in.
#[derive(Debug, Error)]
pub(in crate::cli) enum SitesError {
    /// The host refuses.
    #[error("{}: {error}", .path.display())]
    Host {
        /// What was touched.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Somebody else's.
    #[error("{} is there already: scenarios make and remove it; move it away, or name another folder", .0.display())]
    InTheWay(PathBuf),
}

/// A place to play in.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Site {
    /// What kind it is.
    pub(in crate::cli) place: Place,
    /// As a table names it.
    pub(in crate::cli) label: String,
    /// What every file's name begins with.
    pub(in crate::cli) root: String,
    /// The volume that filters attach to for it, as programs name it.
    volume: String,
    /// The communication port, at one.
    port: Option<String>,
    /// The filter, at one.
    filter: Option<String>,
    /// The folder of this host behind it.
    backing: Option<PathBuf>,
    used: Used,
}

/// Folders that a scenario has done with, of this machine. They stay until it has ended: what the machine keeps of a file goes by the host's
/// number of it, which the host would give to the next scenario's files.
#[derive(Clone, Debug, Default)]
struct Used(Arc<Mutex<Vec<PathBuf>>>);

impl Used {
    fn keep(&self, folder: &Path) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let aside = folder.with_file_name(format!("{FOLDER}-{}", used.len() + 1));
        if std::fs::rename(folder, &aside).is_ok() {
            used.push(aside);
        }
    }

    fn remove(&self) {
        for folder in self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            // What stays behind is in nobody's way.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// All of them, and the temporary folder, which goes with this.
#[derive(Debug)]
pub(in crate::cli) struct Sites {
    /// What the machine shows.
    pub(in crate::cli) namespace: NamespaceConfig,
    sites: Vec<Site>,
    used: Used,
    temporary: Option<PathBuf>,
}

impl Sites {
    /// The places of the command line's namespace; where it has none, and they are `wanted`, temporary ones.
    ///
    /// # Errors
    /// When a folder cannot be made, or one is in the way.
    pub(in crate::cli) fn new(
        mut namespace: NamespaceConfig,
        wanted: bool,
    ) -> Result<Self, SitesError> {
        let mut temporary = None;
        if wanted && namespace.volumes.is_empty() && namespace.servers.is_empty() {
            let folder = make_temporary()?;
            fill(&mut namespace, &folder)?;
            temporary = Some(folder);
        }
        let used = Used::default();
        let sites = sites(&namespace, &used);
        if wanted {
            for site in &sites {
                if let Some(there) = site.backing.as_ref().filter(|folder| folder.exists()) {
                    return Err(SitesError::InTheWay(there.clone()));
                }
            }
        }
        Ok(Self {
            namespace,
            sites,
            used,
            temporary,
        })
    }

    /// A machine has ended, or begins: what scenarios have left on the host goes.
    pub(in crate::cli) fn clean(&self) {
        self.used.remove();
    }

    /// Those on which a scenario can be played.
    pub(in crate::cli) fn of<'a>(
        &'a self,
        scenario: &'a Scenario,
    ) -> impl Iterator<Item = Site> + 'a {
        let can = |site: &&Site| scenario.on.contains(&site.place);
        self.sites.iter().filter(can).cloned()
    }

    /// No place in particular: the first one holds what files there are.
    pub(in crate::cli) fn machine(&self) -> Option<Site> {
        let files = self.sites.first()?;
        Some(Site {
            place: Place::Machine,
            label: "the machine".to_owned(),
            ..files.clone()
        })
    }

    /// A communication port. What a program does with files while it is connected it does at the first of the places.
    pub(in crate::cli) fn port(&self, name: &str) -> Option<Site> {
        let files = self.sites.first()?;
        Some(Site {
            place: Place::Port,
            label: format!("port {name}"),
            port: Some(name.to_owned()),
            ..files.clone()
        })
    }

    /// A filter, with the volume of the first of the places.
    pub(in crate::cli) fn filter(&self, name: &str) -> Option<Site> {
        let files = self.sites.first()?;
        Some(Site {
            place: Place::Filter,
            label: format!("filter {name} at {}", files.label),
            filter: Some(name.to_owned()),
            ..files.clone()
        })
    }
}

impl Drop for Sites {
    fn drop(&mut self) {
        self.clean();
        if let Some(folder) = &self.temporary {
            // What stays behind in the host's folder for temporary files goes with the host.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn host<T>(path: &Path, result: io::Result<T>) -> Result<T, SitesError> {
    result.map_err(|error| SitesError::Host {
        path: path.to_owned(),
        error,
    })
}

fn make_temporary() -> Result<PathBuf, SitesError> {
    let parent = std::env::temp_dir();
    for number in 0..1000u32 {
        let folder = parent.join(format!("ntbench-{}-{number}", std::process::id()));
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return host(&folder, Err(error)),
        }
    }
    Err(SitesError::InTheWay(
        parent.join(format!("ntbench-{}-0", std::process::id())),
    ))
}

/// A volume, a share and a link to it.
fn fill(namespace: &mut NamespaceConfig, folder: &Path) -> Result<(), SitesError> {
    let (volume, share) = (folder.join("volume"), folder.join("share"));
    for folder in [&volume, &share] {
        host(folder, std::fs::create_dir(folder))?;
    }
    namespace.volumes.push(Volume {
        device: r"\Device\HarddiskVolume3".to_owned(),
        letter: Some('C'),
        folder: volume,
    });
    namespace.servers.push(Server {
        name: "server".to_owned(),
        shares: vec![Share {
            name: "share".to_owned(),
            folder: share,
        }],
    });
    namespace.dfs.push(DfsNamespace {
        server: "corp".to_owned(),
        root: "dfs".to_owned(),
        links: vec![DfsLink {
            path: "link".to_owned(),
            server: "server".to_owned(),
            share: "share".to_owned(),
            folder: String::new(),
        }],
    });
    Ok(())
}

fn sites(namespace: &NamespaceConfig, used: &Used) -> Vec<Site> {
    let mut sites = Vec::new();
    for volume in &namespace.volumes {
        let (root, label) = match volume.letter {
            Some(letter) => (format!(r"\??\{letter}:"), format!("{letter}:")),
            None => (volume.device.clone(), volume.device.clone()),
        };
        sites.push(Site {
            place: Place::Volume,
            label: format!("volume {label}"),
            root: format!(r"{root}\{FOLDER}"),
            volume: label,
            port: None,
            filter: None,
            backing: Some(volume.folder.join(FOLDER)),
            used: used.clone(),
        });
    }
    for server in &namespace.servers {
        for share in &server.shares {
            sites.push(Site {
                place: Place::Share,
                label: format!(r"share \\{}\{}", server.name, share.name),
                root: format!(r"\??\UNC\{}\{}\{FOLDER}", server.name, share.name),
                volume: REDIRECTORS.to_owned(),
                port: None,
                filter: None,
                backing: Some(share.folder.join(FOLDER)),
                used: used.clone(),
            });
        }
    }
    for dfs in &namespace.dfs {
        for link in &dfs.links {
            let target = |share: &&Share| share.name.eq_ignore_ascii_case(&link.share);
            let share = namespace
                .servers
                .iter()
                .filter(|server| server.name.eq_ignore_ascii_case(&link.server))
                .find_map(|server| server.shares.iter().find(target));
            let Some(share) = share else { continue };
            let name = format!(r"{}\{}\{}", dfs.server, dfs.root, link.path);
            let below = share.folder.join(link.folder.replace('\\', "/"));
            sites.push(Site {
                place: Place::Dfs,
                label: format!(r"DFS link \\{name}"),
                root: format!(r"\??\UNC\{name}\{FOLDER}"),
                volume: REDIRECTORS.to_owned(),
                port: None,
                filter: None,
                backing: Some(below.join(FOLDER)),
                used: used.clone(),
            });
        }
    }
    sites
}

impl Site {
    /// Makes the folder and what a scenario finds in it.
    ///
    /// # Errors
    /// When the host refuses.
    pub(in crate::cli) fn prepare(&self, scenario: &Scenario) -> Result<Prepared, SitesError> {
        let Some(folder) = &self.backing else {
            return Ok(Prepared(None));
        };
        // What an earlier machine left when it died.
        let _ = std::fs::remove_dir_all(folder);
        host(folder, std::fs::create_dir_all(folder))?;
        let prepared = Prepared(Some((folder.clone(), self.used.clone())));
        for (path, content) in &scenario.prepared {
            let path = folder.join(path);
            let parent = path.parent().unwrap_or(folder);
            host(parent, std::fs::create_dir_all(parent))?;
            match content {
                Some(text) => host(&path, std::fs::write(&path, text))?,
                None => host(&path, std::fs::create_dir_all(&path))?,
            }
        }
        Ok(prepared)
    }

    /// A path of a scenario as an object's name.
    pub(in crate::cli) fn name(&self, path: &str) -> String {
        match path {
            "" | "." => self.root.clone(),
            path if path.starts_with('\\') => self.fill_in(path),
            // What a stream is renamed to.
            path if path.starts_with(':') => path.to_owned(),
            path if path.contains("{root}") => self.fill_in(path),
            path => format!(r"{}\{path}", self.root),
        }
    }

    /// Puts the place's name where a text has `{root}`, `{volume}`, `{port}` or `{filter}`.
    pub(in crate::cli) fn fill_in(&self, text: &str) -> String {
        text.replace("{root}", &self.root)
            .replace("{volume}", &self.volume)
            .replace("{port}", self.port.as_deref().unwrap_or_default())
            .replace("{filter}", self.filter.as_deref().unwrap_or_default())
    }

    /// The same with the place's filter and volume.
    pub(in crate::cli) fn instance(&self, call: &InstanceCall) -> InstanceCall {
        let mut call = call.clone();
        let (InstanceCall::Attach { filter, volume, .. }
        | InstanceCall::Detach { filter, volume, .. }) = &mut call;
        for name in [filter, volume] {
            *name = self.fill_in(name);
        }
        call
    }
}

/// A scenario's folder, which is put aside with this.
#[derive(Debug)]
pub(in crate::cli) struct Prepared(Option<(PathBuf, Used)>);

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some((folder, used)) = &self.0 {
            used.keep(folder);
        }
    }
}
