//! `\Device\Mup`: which server, share and DFS link a UNC name leads to.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    folder::Folder,
    names::{self, Path},
    open::Tree,
};
use crate::{abi::status::NtStatus, wire::NamespaceConfig};

/// The multiple UNC provider with one redirector and a DFS client.
#[derive(Debug, Default)]
pub(crate) struct Mup {
    servers: HashMap<Vec<u16>, Server>,
    dfs: HashMap<(Vec<u16>, Vec<u16>), Vec<Link>>,
    connected: Mutex<HashSet<Vec<u16>>>,
    referred: Mutex<HashSet<Vec<Vec<u16>>>>,
}

#[derive(Debug, Default)]
struct Server {
    shares: HashMap<Vec<u16>, Arc<Tree>>,
}

#[derive(Debug)]
struct Link {
    path: Vec<String>,
    target: Vec<String>,
}

/// What a UNC name is.
#[derive(Debug)]
pub(crate) enum Target {
    /// The provider's own device object.
    Device,
    /// A path on a share, whose server and name are given too.
    Share {
        /// The share.
        tree: Arc<Tree>,
        /// Server and share.
        share: [String; 2],
        /// The path below the share's root.
        path: Path,
    },
    /// The root of `IPC$`.
    Ipc,
    /// A directory that exists only in a DFS namespace, and what is in it.
    DfsDirectory(Vec<String>),
}

/// What the DFS client must do before a name can be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Referral {
    /// Nothing: the name is not in a DFS namespace, or its referral is cached.
    None,
    /// Ask the namespace's server over a connection that exists.
    Ask,
    /// Connect to this server's `IPC$` first.
    Connect(String),
}

impl Mup {
    /// Opens every share's folder.
    pub(crate) fn new(config: &NamespaceConfig) -> Result<Self, String> {
        let mut mup = Self::default();
        for server in &config.servers {
            let entry = mup.servers.entry(names::key(&server.name)).or_default();
            for share in &server.shares {
                let folder = Folder::open(&share.folder).map_err(|error| {
                    format!(
                        "share \\\\{}\\{}: cannot open the folder {}: {error}",
                        server.name,
                        share.name,
                        share.folder.display()
                    )
                })?;
                entry
                    .shares
                    .insert(names::key(&share.name), Arc::new(Tree::new(folder)));
            }
        }
        for namespace in &config.dfs {
            mup.servers
                .entry(names::key(&namespace.server))
                .or_default();
            let links = namespace.links.iter().map(|link| Link {
                path: split(&link.path),
                target: [link.server.clone(), link.share.clone()]
                    .into_iter()
                    .chain(split(&link.folder))
                    .collect(),
            });
            mup.dfs
                .entry((names::key(&namespace.server), names::key(&namespace.root)))
                .or_default()
                .extend(links);
        }
        Ok(mup)
    }

    /// What the DFS client must do first for `name`, and marks it as done.
    pub(crate) fn referral(&self, name: &[u16]) -> Referral {
        // Before the name is taken apart, which of a long one takes as long as finding it.
        if self.dfs.is_empty() {
            return Referral::None;
        }
        let Ok(path) = parse(name) else {
            return Referral::None;
        };
        let [server, root, ..] = path.components.as_slice() else {
            return Referral::None;
        };
        let Some(links) = self.dfs.get(&(names::key(server), names::key(root))) else {
            return Referral::None;
        };
        let prefix = match link_of(links, &path.components) {
            Some(link) => 2 + link.path.len(),
            None => 2,
        };
        let cached = path
            .components
            .iter()
            .take(prefix)
            .map(|name| names::key(name))
            .collect();
        if !lock(&self.referred).insert(cached) {
            return Referral::None;
        }
        if lock(&self.connected).contains(&names::key(server)) {
            Referral::Ask
        } else {
            Referral::Connect(server.clone())
        }
    }

    /// The referral for `name` could not be had: the next open asks again.
    pub(crate) fn forget_referral(&self, name: &[u16]) {
        let Ok(path) = parse(name) else { return };
        let keys: Vec<_> = path
            .components
            .iter()
            .map(|name| names::key(name))
            .collect();
        lock(&self.referred).retain(|prefix| !keys.starts_with(prefix));
    }

    /// Whether a connection must be made now to the server that `name` ends up on: for a DFS name the
    /// link's target. It is remembered as made.
    pub(crate) fn connects(&self, name: &[u16]) -> bool {
        if lock(&self.connected).len() == self.servers.len() {
            return false;
        }
        let Ok(path) = parse(name) else { return false };
        let [server, rest @ ..] = path.components.as_slice() else {
            return false;
        };
        let links = rest
            .first()
            .and_then(|root| self.dfs.get(&(names::key(server), names::key(root))));
        let link = links.and_then(|links| link_of(links, &path.components));
        let server = link.and_then(|link| link.target.first()).unwrap_or(server);
        let key = names::key(server);
        self.servers.contains_key(&key) && lock(&self.connected).insert(key)
    }

    /// Finds what `name`, the rest of the name after `\Device\Mup`, leads to.
    pub(crate) fn resolve(&self, name: &[u16]) -> Result<Target, NtStatus> {
        let mut path = parse(name)?;
        let [server, rest @ ..] = path.components.as_slice() else {
            return Ok(Target::Device);
        };
        let known = self
            .servers
            .get(&names::key(server))
            .ok_or(NtStatus::BAD_NETWORK_PATH)?;
        // A server without a share is no path that could be opened: the redirector refuses its syntax.
        let [share, below @ ..] = rest else {
            return Err(NtStatus::OBJECT_PATH_SYNTAX_BAD);
        };
        if let Some(links) = self.dfs.get(&(names::key(server), names::key(share))) {
            return self.resolve_dfs(links, &path);
        }
        if names::same(share, "IPC$") {
            return if below.is_empty() {
                Ok(Target::Ipc)
            } else {
                Err(NtStatus::OBJECT_NAME_NOT_FOUND)
            };
        }
        let tree = known
            .shares
            .get(&names::key(share))
            .ok_or(NtStatus::BAD_NETWORK_NAME)?;
        let tree = Arc::clone(tree);
        let share = [server.clone(), share.clone()];
        path.components.drain(..share.len());
        Ok(Target::Share { tree, share, path })
    }

    /// The name's components: those that lead to a share as they were given, those below it as the share spells them.
    pub(crate) fn canonical(&self, name: &[u16]) -> Result<Path, NtStatus> {
        let mut given = parse(name)?;
        if let Target::Share { tree, path, .. } = self.resolve(name)? {
            let spelled = tree.canonical(&path)?;
            // A DFS link may lead to a folder of the share: that folder is no part of the name that was given.
            let below = match given.components.as_slice() {
                [server, root, ..] => match self.dfs.get(&(names::key(server), names::key(root))) {
                    Some(links) => {
                        link_of(links, &given.components).map_or(2, |link| 2 + link.path.len())
                    }
                    None => 2,
                },
                _ => given.components.len(),
            };
            let count = given.components.len().saturating_sub(below);
            given.components.truncate(below);
            given
                .components
                .extend_from_slice(&spelled[spelled.len().saturating_sub(count)..]);
        }
        Ok(given)
    }

    /// The components of a name that lead to its share, or to the link that stands for the share.
    pub(crate) fn head(&self, name: &[u16]) -> Option<Vec<String>> {
        let mut given = parse(name).ok()?.components;
        let count = match given.as_slice() {
            [server, root, ..] => match self.dfs.get(&(names::key(server), names::key(root))) {
                Some(links) => link_of(links, &given).map_or(2, |link| 2 + link.path.len()),
                None => 2,
            },
            _ => given.len(),
        };
        given.truncate(count);
        Some(given)
    }

    /// Of a place's components those that a name shows: a DFS link may lead to a folder of its share.
    pub(crate) fn below<'a>(
        &self,
        device: super::DeviceId,
        name: &[u16],
        components: &'a [String],
    ) -> &'a [String] {
        let skip = match (device, parse(name)) {
            (super::DeviceId::Mup, Ok(path)) => match path.components.as_slice() {
                [server, root, ..] => self
                    .dfs
                    .get(&(names::key(server), names::key(root)))
                    .and_then(|links| link_of(links, &path.components))
                    .map_or(0, |link| link.target.len().saturating_sub(2)),
                _ => 0,
            },
            _ => 0,
        };
        components.get(skip..).unwrap_or_default()
    }

    fn resolve_dfs(&self, links: &[Link], path: &Path) -> Result<Target, NtStatus> {
        let below = path.components.get(2..).unwrap_or_default();
        if let Some(link) = link_of(links, &path.components) {
            let [server, share, folder @ ..] = link.target.as_slice() else {
                return Err(NtStatus::BAD_NETWORK_PATH);
            };
            let known = self
                .servers
                .get(&names::key(server))
                .ok_or(NtStatus::BAD_NETWORK_PATH)?;
            let tree = known
                .shares
                .get(&names::key(share))
                .ok_or(NtStatus::BAD_NETWORK_NAME)?;
            let rest = below.get(link.path.len()..).unwrap_or_default();
            let components = folder.iter().chain(rest).cloned().collect();
            let path = Path {
                components,
                trailing_backslash: path.trailing_backslash,
                stream: path.stream.clone(),
            };
            return Ok(Target::Share {
                tree: Arc::clone(tree),
                share: [server.clone(), share.clone()],
                path,
            });
        }
        if links.iter().any(|link| starts_with(&link.path, below)) || below.is_empty() {
            let next = |link: &Link| link.path.get(below.len()).cloned();
            let inside = links.iter().filter(|link| starts_with(&link.path, below));
            return Ok(Target::DfsDirectory(inside.filter_map(next).collect()));
        }
        let parent = below.split_last().map_or(below, |(_, parent)| parent);
        if parent.is_empty() || links.iter().any(|link| starts_with(&link.path, parent)) {
            Err(NtStatus::OBJECT_NAME_NOT_FOUND)
        } else {
            Err(NtStatus::OBJECT_PATH_NOT_FOUND)
        }
    }
}

/// The link that `components` (server and root first) go through, the longest if several do.
fn link_of<'a>(links: &'a [Link], components: &[String]) -> Option<&'a Link> {
    let below = components.get(2..).unwrap_or_default();
    links
        .iter()
        .filter(|link| starts_with(below, &link.path))
        .max_by_key(|link| link.path.len())
}

fn starts_with(path: &[String], prefix: &[String]) -> bool {
    path.len() >= prefix.len()
        && path
            .iter()
            .zip(prefix)
            .all(|(left, right)| names::same(left, right))
}

fn split(path: &str) -> Vec<String> {
    path.split('\\')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Splits a MUP name; leading components that begin with a semicolon name a redirector and a drive mapping.
fn parse(name: &[u16]) -> Result<Path, NtStatus> {
    let mut rest = name;
    while let [names::BACKSLASH, SEMICOLON, tail @ ..] = rest {
        rest = tail
            .iter()
            .position(|&unit| unit == names::BACKSLASH)
            .map_or(&[], |at| &tail[at..]);
    }
    Path::parse(rest)
}

const SEMICOLON: u16 = b';' as u16;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
