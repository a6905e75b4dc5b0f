//! Whoever makes trouble: changes settings, lets calls fail, attaches and detaches, unloads and loads, talks to the port and
//! misbehaves there.

mod clients;

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use headroom_harness::link::{Client, LinkError};
use ntbench::wire::{DriverSpec, StackKind, ThreadSpec};
use ntbench::{Machine, MachineError, Thread};
use protocol::Config;

use crate::ledger::{Broken, Invariant};
use crate::place::LOCAL;
use crate::port::connect;
use crate::round::Order;
use crate::seed::Deck;
use crate::settings::{Scope, bad_settings, faults, parameters, settings};

/// Some trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Settings,
    BadSettings,
    Faults,
    NoFaults,
    Attach,
    Detach,
    Instances,
    Status,
    Watermarks,
    Drain,
    Rubbish,
    Hostile,
    Crowd,
    Hang,
    Die,
    Reload,
    FailingLoad,
    Delay,
}

impl Trouble {
    const fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings changed",
            Self::BadSettings => "settings refused",
            Self::Faults => "calls made to fail",
            Self::NoFaults => "calls let succeed",
            Self::Attach => "volumes attached",
            Self::Detach => "volumes detached",
            Self::Instances => "instances listed",
            Self::Status => "status asked",
            Self::Watermarks => "watermarks read",
            Self::Drain => "drains",
            Self::Rubbish => "rubbish sent",
            Self::Hostile => "hostile buffers",
            Self::Crowd => "port crowded",
            Self::Hang => "clients that hung",
            Self::Die => "clients that died",
            Self::Reload => "reloads",
            Self::FailingLoad => "loads with failing calls",
            Self::Delay => "delays",
        }
    }
}

/// What one that only talks to the port does.
const TALK: [Trouble; 11] = [
    Trouble::Instances,
    Trouble::Status,
    Trouble::Watermarks,
    Trouble::Drain,
    Trouble::Drain,
    Trouble::Drain,
    Trouble::Rubbish,
    Trouble::Hostile,
    Trouble::Hang,
    Trouble::Die,
    Trouble::Delay,
];

/// What else the one does who may do everything: as often as it talks.
const RULE: [Trouble; 13] = [
    Trouble::Settings,
    Trouble::Settings,
    Trouble::Settings,
    Trouble::BadSettings,
    Trouble::Faults,
    Trouble::Faults,
    Trouble::NoFaults,
    Trouble::Attach,
    Trouble::Detach,
    Trouble::Crowd,
    Trouble::Delay,
    Trouble::Delay,
    Trouble::Drain,
];

/// Acts in which a driver that may be reloaded surely is.
const WITH_RELOADS: usize = 40;

/// Which driver, and how it is loaded.
#[derive(Clone)]
pub(crate) struct Subject {
    /// What is loaded.
    pub(crate) spec: DriverSpec,
    /// It is Headroom's own: it has a port, a ring and watermarks.
    pub(crate) ours: bool,
}

/// One who makes trouble.
pub(crate) struct Troublemaker {
    machine: Machine,
    subject: Subject,
    thread: Thread,
    /// A second one, which waits for news.
    waiting: Thread,
    rng: Rng,
    /// What it does, where the driver stays loaded.
    usual: Deck<Trouble>,
    /// Whether it reloads the driver instead, where that is allowed.
    reloads: Deck<Option<Trouble>>,
    /// It is the seed that decides when it runs.
    scheduled: bool,
    client: Option<Client>,
    /// Where its next drain goes on.
    next: u64,
    /// The settings it put in force last.
    pub(crate) config: Config,
    /// What it did.
    pub(crate) done: BTreeMap<&'static str, u64>,
    /// Records that it drained.
    pub(crate) drained: u64,
    /// How often the driver was loaded.
    pub(crate) loads: u64,
}

impl Troublemaker {
    pub(crate) fn new(
        machine: &Machine,
        subject: &Subject,
        rng: Rng,
        rules: bool,
    ) -> Result<Self, Broken> {
        let spec = ThreadSpec {
            process_image: if rules { "ruler.exe" } else { "client.exe" }.to_owned(),
            process: 0,
            stack: StackKind::Ordinary,
        };
        let (thread, waiting) = (machine.thread(spec.clone())?, machine.thread(spec)?);
        let usual = match (rules, subject.ours) {
            (true, true) => [&RULE[..], &TALK[..]].concat(),
            (false, true) => TALK.to_vec(),
            // All that is known of another driver is that it can be loaded and unloaded.
            (_, false) => vec![Trouble::Delay],
        };
        let reloads = match (rules, subject.ours) {
            (true, true) => vec![Trouble::Reload, Trouble::FailingLoad],
            (true, false) => vec![Trouble::Reload; 4],
            (false, _) => Vec::new(),
        };
        let mut seldom: Vec<_> = reloads.into_iter().map(Some).collect();
        seldom.resize(WITH_RELOADS, None);
        Ok(Self {
            machine: machine.clone(),
            subject: subject.clone(),
            thread,
            waiting,
            rng,
            usual: Deck::new(usual),
            reloads: Deck::new(seldom),
            scheduled: false,
            client: None,
            next: 0,
            config: Config::DEFAULT,
            done: BTreeMap::new(),
            drained: 0,
            loads: 0,
        })
    }

    /// Makes some. `reloads`: the driver may be unloaded, and what it counted until then is lost with it.
    pub(crate) fn make(&mut self, scope: Scope, reloads: bool) -> Result<(), Broken> {
        let reload = reloads.then(|| self.reloads.draw(&mut self.rng)).flatten();
        let Some(trouble) = reload.flatten().or_else(|| self.usual.draw(&mut self.rng)) else {
            return Ok(());
        };
        let changes = matches!(trouble, Trouble::Settings | Trouble::BadSettings);
        if changes && scope == Scope::InPlace {
            return Ok(());
        }
        *self.done.entry(trouble.name()).or_default() += 1;
        match self.perform(trouble, scope) {
            Ok(()) => Ok(()),
            Err(Misfortune::Broken(broken)) => Err(broken),
            Err(Misfortune::Link(error)) => {
                self.client = None;
                self.excuse(&error)
            }
        }
    }

    /// Whether a program has to live with that: the driver goes, its port is full, or a call that it needs was made to fail.
    fn excuse(&self, error: &LinkError) -> Result<(), Broken> {
        match error {
            LinkError::NotLoaded | LinkError::Gone | LinkError::Busy => Ok(()),
            LinkError::Refused { .. } => Ok(()),
            // What became of the machine is what matters.
            LinkError::System(_) => {
                self.machine.usage()?;
                Err(Broken::new(Invariant::Port, error.to_string()))
            }
            // INSUFFICIENT_RESOURCES for a connection, and the like.
            LinkError::Port(_) => Ok(()),
            other => Err(Broken::new(Invariant::Port, other.to_string())),
        }
    }

    fn client(&mut self) -> Result<&mut Client, LinkError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => {
                self.next = 0;
                connect(&self.thread)?
            }
        };
        Ok(self.client.insert(client))
    }

    fn perform(&mut self, trouble: Trouble, scope: Scope) -> Result<(), Misfortune> {
        match trouble {
            Trouble::Settings => {
                let config = settings(&mut self.rng, scope, self.config.log_capacity);
                self.client()?.set_config(&config)?;
                self.config = config;
            }
            Trouble::BadSettings => {
                let bad = bad_settings(&mut self.rng, self.config);
                match self.client()?.set_config(&bad) {
                    Err(LinkError::Rejected(_)) => {}
                    Ok(()) => return broken(format!("took {bad:?}")),
                    Err(other) => return Err(other.into()),
                }
            }
            Trouble::Faults => {
                let faults = faults(&mut self.rng);
                self.machine.set_faults(faults)?;
            }
            Trouble::NoFaults => self.machine.set_faults(Vec::new())?,
            Trouble::Attach => self.client()?.attach(LOCAL, "")?,
            Trouble::Detach => self.client()?.detach(LOCAL, "")?,
            Trouble::Instances => drop(self.client()?.instances()?),
            Trouble::Status => drop(self.client()?.status()?),
            Trouble::Watermarks => drop(self.client()?.watermarks()?),
            Trouble::Drain => self.drain()?,
            Trouble::Rubbish => self.rubbish(false)?,
            Trouble::Hostile => self.rubbish(true)?,
            Trouble::Crowd => self.crowd()?,
            Trouble::Hang => {
                let limit = Duration::from_millis(self.rng.u64(0..4));
                self.client()?.wait(limit)?;
            }
            Trouble::Die => self.die()?,
            Trouble::Reload => self.reload(false)?,
            Trouble::FailingLoad => self.reload(true)?,
            Trouble::Delay => self.delay()?,
        }
        Ok(())
    }

    /// Acts beside others from now on, in that order; returns the thread on which it does.
    pub(crate) fn join_others(&mut self, order: Order) -> Thread {
        self.scheduled = order == Order::Seeded;
        self.thread.clone()
    }

    /// Acts beside nobody any more.
    pub(crate) fn leave_together(&mut self) -> Result<(), Broken> {
        self.scheduled = false;
        Ok(self.thread.leave_together()?)
    }

    /// Has the machine itself do something, which others may come in between.
    fn ask<T>(
        &self,
        act: impl FnOnce(&Machine) -> Result<T, MachineError>,
    ) -> Result<T, MachineError> {
        if self.scheduled {
            self.machine.on_behalf_of(&self.thread, act)
        } else {
            act(&self.machine)
        }
    }

    fn delay(&mut self) -> Result<(), Misfortune> {
        if self.scheduled {
            let calls = self.rng.u32(1..40);
            self.linger(calls)?;
        } else {
            std::thread::sleep(Duration::from_micros(self.rng.u64(0..4000)));
        }
        Ok(())
    }

    /// Makes calls that come to nothing and that no filter sees: others have their turns meanwhile.
    pub(crate) fn linger(&self, calls: u32) -> Result<(), Broken> {
        for _ in 0..calls {
            self.thread.query_attributes(r"\??\Nothing")?;
        }
        Ok(())
    }

    /// Unloads the driver, in one of the two ways, and loads it again.
    fn reload(&mut self, failing: bool) -> Result<(), Misfortune> {
        let service = self.subject.spec.service.clone();
        let unload = |maker: &Self, mandatory: bool| -> Result<(), Broken> {
            let unloaded = maker.ask(|machine| {
                if mandatory {
                    machine.stop_driver(&service)
                } else {
                    machine.unload_driver(&service)
                }
            })?;
            if unloaded.is_success() {
                Ok(())
            } else {
                let text = format!("unloading (mandatory: {mandatory}) returned {unloaded}");
                Err(Broken::new(Invariant::Loading, text))
            }
        };
        let mandatory = self.rng.bool();
        unload(self, mandatory)?;
        self.client = None;
        if failing {
            let faults = faults(&mut self.rng);
            self.machine.set_faults(faults)?;
            let spec = self.subject.spec.clone();
            let loaded = self.ask(|machine| machine.load_driver(spec))?;
            self.loads += 1;
            if loaded.status.is_success() {
                unload(self, !mandatory)?;
            }
        }
        self.machine.set_faults(Vec::new())?;
        self.load()?;
        Ok(())
    }

    /// Loads the driver with the settings that are in force.
    pub(crate) fn load(&mut self) -> Result<(), Broken> {
        let mut spec = self.subject.spec.clone();
        if self.subject.ours {
            // Local volumes are attached to on request only, so that the same instances are there after each load.
            self.config.unc_only = 1;
            spec.parameters = parameters(&self.config);
        }
        let loaded = self.ask(|machine| machine.load_driver(spec))?;
        self.loads += 1;
        if loaded.status.is_success() {
            Ok(())
        } else {
            let text = format!("DriverEntry returned {}", loaded.status);
            Err(Broken::new(Invariant::Loading, text))
        }
    }

    /// Ends what it began, so that the driver can be looked at in peace.
    pub(crate) fn calm(&mut self) -> Result<(), Broken> {
        self.machine.set_faults(Vec::new())?;
        self.client = None;
        Ok(())
    }

    /// Puts settings in force, and detaches from what was attached to: with nobody else about, that has to succeed.
    pub(crate) fn settle(&mut self, config: Option<Config>) -> Result<(), Broken> {
        if !self.subject.ours {
            return Ok(());
        }
        let refused = |error: LinkError| match error {
            LinkError::System(_) => match self.machine.usage() {
                Ok(_) => Broken::new(Invariant::Port, error.to_string()),
                Err(dead) => dead.into(),
            },
            other => Broken::new(Invariant::Port, other.to_string()),
        };
        let mut client = connect(&self.thread).map_err(refused)?;
        let (instances, _) = client.instances().map_err(refused)?;
        for instance in instances {
            if instance.volume == LOCAL {
                client.detach(LOCAL, "").map_err(refused)?;
            }
        }
        if let Some(config) = config {
            client.set_config(&config).map_err(refused)?;
            self.config = config;
        }
        Ok(())
    }

    /// Starts the watermarks afresh. Only while nobody opens: a create that is under way may count before or after.
    pub(crate) fn reset(&mut self) -> Result<(), Broken> {
        let port = |error: LinkError| Broken::new(Invariant::Port, error.to_string());
        let mut client = connect(&self.thread).map_err(port)?;
        client.reset().map_err(port)
    }
}

/// What came in between.
enum Misfortune {
    /// The port; it may have to.
    Link(LinkError),
    /// What must not be.
    Broken(Broken),
}

impl From<LinkError> for Misfortune {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<Broken> for Misfortune {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<ntbench::MachineError> for Misfortune {
    fn from(error: ntbench::MachineError) -> Self {
        Self::Broken(error.into())
    }
}

fn broken(text: String) -> Result<(), Misfortune> {
    Err(Broken::new(Invariant::Port, text).into())
}
