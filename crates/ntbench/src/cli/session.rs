//! One machine from boot to shutdown: drivers in, work, drivers out.

use std::sync::Arc;

use ntbench::wire::{CreateFile, MachineConfig, StackKind, ThreadSpec, TraceEvent};
use ntbench::{Machine, MachineError, NtStatus};

use super::drivers::Driver;
use super::scenario::{Place, Play, PlayError, Scenario, Site, Sites, StepResult, play};

/// What is done on each machine.
pub(super) struct Plan {
    /// How machines are made.
    pub(super) config: MachineConfig,
    /// From the lowest altitude up.
    pub(super) drivers: Vec<Driver>,
    /// What is played.
    pub(super) scenarios: Vec<Scenario>,
    /// Where.
    pub(super) sites: Sites,
    /// What is opened by itself.
    pub(super) create: Vec<String>,
    /// What is asked for its attributes.
    pub(super) query: Vec<String>,
    /// What ports are given that are connected to without a context.
    pub(super) port_context: Vec<u8>,
    /// The threads' stacks.
    pub(super) stack: StackKind,
    /// How drivers go.
    pub(super) end: Goodbye,
}

/// How drivers go at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goodbye {
    /// They stay.
    None,
    /// As `fltmc unload` has it: a filter may refuse.
    Unload,
    /// As `sc stop` has it: a filter cannot.
    Stop,
}

/// Whether an unload's status is that of a driver that is gone, or that may stay: a filter that refuses, or cannot be stopped, and a driver
/// without an unload routine.
fn may_end_so(status: NtStatus) -> bool {
    matches!(
        status,
        NtStatus::SUCCESS | NtStatus::FLT_DO_NOT_DETACH | NtStatus::INVALID_DEVICE_REQUEST
    )
}

/// What came of it, as far as it came.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// What each driver's `DriverEntry` returned.
    pub(super) entries: Vec<(String, NtStatus)>,
    /// What `--create` and `--query` asked for.
    pub(super) calls: Vec<(String, NtStatus)>,
    /// The scenarios' steps.
    pub(super) steps: Vec<StepResult>,
    /// What each driver's unload returned.
    pub(super) unloads: Vec<(String, NtStatus)>,
    /// What the machine told meanwhile.
    pub(super) trace: Vec<TraceEvent>,
}

impl Session {
    /// Whether every driver was loaded, and unloaded if it is one that can be.
    pub(super) fn is_good(&self) -> bool {
        let statuses = self.entries.iter().map(|(_, status)| status.is_success());
        let unloads = self.unloads.iter().map(|(_, status)| may_end_so(*status));
        statuses.chain(unloads).all(|good| good)
            && self
                .steps
                .iter()
                .all(|step| step.built_in || step.wrong.is_none())
    }
}

impl Plan {
    /// Does all of it but the shutdown. `observe`: looks after each step what the filters did.
    ///
    /// # Errors
    /// When the machine dies of it; what came until then is in `session`.
    pub(super) fn run(
        &self,
        machine: &Machine,
        observe: bool,
        session: &mut Session,
    ) -> Result<(), PlayError> {
        let mut loaded = Vec::new();
        for driver in &self.drivers {
            let service = driver.spec.service.clone();
            let status = machine.load_driver(driver.spec.clone())?.status;
            session.entries.push((service.clone(), status));
            if status.is_success() {
                loaded.push(service);
            }
        }
        // Without a driver there is nobody to look at.
        if loaded.len() == self.drivers.len() {
            self.calls(machine, session)?;
            self.play(machine, observe, session)?;
        }
        if self.end != Goodbye::None {
            for service in loaded.into_iter().rev() {
                let status = match self.end {
                    Goodbye::Stop => machine.stop_driver(&service)?,
                    _ => machine.unload_driver(&service)?,
                };
                session.unloads.push((service, status));
            }
        }
        Ok(())
    }

    fn play(
        &self,
        machine: &Machine,
        observe: bool,
        session: &mut Session,
    ) -> Result<(), PlayError> {
        let with = Play {
            machine,
            stack: self.stack,
            observe,
            answered: Arc::default(),
            context: &self.port_context,
        };
        self.sites.clean();
        for scenario in &self.scenarios {
            let mut sites: Vec<Site> = self.sites.of(scenario).collect();
            if scenario.on.contains(&Place::Machine) {
                sites.extend(self.sites.machine());
            }
            if scenario.on.contains(&Place::Port) {
                sites.extend(
                    machine
                        .ports()?
                        .iter()
                        .filter_map(|name| self.sites.port(name)),
                );
            }
            if scenario.on.contains(&Place::Filter) {
                let filters = machine.filters()?;
                sites.extend(filters.iter().filter_map(|name| self.sites.filter(name)));
            }
            for site in sites {
                play(
                    &with,
                    scenario,
                    &site,
                    &mut session.steps,
                    &mut session.trace,
                )?;
            }
        }
        Ok(())
    }

    /// The system calls asked for by themselves, all on one thread.
    fn calls(&self, machine: &Machine, session: &mut Session) -> Result<(), MachineError> {
        if self.create.is_empty() && self.query.is_empty() {
            return Ok(());
        }
        let thread = machine.thread(ThreadSpec {
            process_image: "ntbench.exe".to_owned(),
            process: 0,
            stack: self.stack,
        })?;
        for name in &self.create {
            let completion = thread.create_file(&CreateFile {
                name: name.clone(),
                ..CreateFile::default()
            })?;
            session
                .calls
                .push((format!("open {name}"), completion.status));
            if completion.handle != 0 {
                thread.close(completion.handle)?;
            }
        }
        for name in &self.query {
            let completion = thread.query_attributes(name)?;
            session
                .calls
                .push((format!("query {name}"), completion.status));
        }
        thread.end()
    }

    /// How the scenarios' steps end on a machine without drivers.
    ///
    /// # Errors
    /// When the bench itself fails.
    pub(super) fn bare(&self) -> Result<Vec<StepResult>, PlayError> {
        self.bare_with(MachineConfig {
            namespace: self.config.namespace.clone(),
            windows: self.config.windows,
            buffers: self.config.buffers,
            time_limit_ms: self.config.time_limit_ms,
            ..MachineConfig::default()
        })
    }

    /// The same on a machine made in another way.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub(super) fn bare_with(&self, config: MachineConfig) -> Result<Vec<StepResult>, PlayError> {
        let machine = Machine::boot(config)?;
        let mut session = Session::default();
        self.calls(&machine, &mut session)?;
        self.play(&machine, false, &mut session)?;
        machine.shutdown()?;
        Ok(session.steps)
    }
}

/// Notes what ends in another way than it does without the drivers. Threads that run at the same time end as they come. A built-in
/// scenario's expectations are those of a machine without drivers: a filter that changes what they ask for may be meant to.
pub(super) fn compare(steps: &mut [StepResult], bare: &[StepResult]) {
    for step in steps {
        let same = |other: &&StepResult| {
            (&other.scenario, &other.place, other.line, &other.thread)
                == (&step.scenario, &step.place, step.line, &step.thread)
        };
        let Some(bare) = bare.iter().find(same) else {
            continue;
        };
        let once = |step: &StepResult| {
            let times = step.statuses.iter().map(|(_, count)| count);
            times.sum::<u32>() == 1
        };
        if once(step) && once(bare) && step.statuses != bare.statuses {
            step.without = bare.statuses.first().map(|(status, _)| status.clone());
        }
        if step.built_in
            && bare.wrong.is_none()
            && let Some(wrong) = step.wrong.take()
        {
            step.without.get_or_insert(wrong);
        }
    }
}
