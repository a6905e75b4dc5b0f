//! Every call of the driver's that can fail, failed once for each way in which the driver comes to it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use common::port::{context, encoded, status};
use common::{config, directories, driver_spec, dword, expansion_fails, text};
use headroom_harness::backend::bench::SERVICE;
use ntbench::wire::{
    CreateFile, EtwSession, MachineConfig, RegistryValue, ScheduleConfig, StackKind, ThreadSpec,
    Volume,
};
use ntbench::{Failures, Machine, MachineError, Port, Thread, each_failure};
use protocol::port::{Drain, InstanceName, PORT_NAME, Request};
use protocol::{Config, NtStatus};

const NO_MEMORY: u32 = 0xc000_0017;
const INSUFFICIENT_RESOURCES: NtStatus = NtStatus(0xc000_009a);
const NOT_FOUND: NtStatus = NtStatus(0xc000_0034);
const LOCAL: &str = r"\Device\HarddiskVolume1";

/// What a program sees of it all.
#[derive(Debug)]
struct Seen {
    loaded: NtStatus,
    /// Each open of what exists, and of what does not.
    opens: Vec<[NtStatus; 2]>,
}

fn machine_config(folder: &Path) -> MachineConfig {
    let mut config = config(folder);
    config.namespace.volumes = vec![Volume {
        device: LOCAL.to_owned(),
        letter: Some('C'),
        folder: folder.to_owned(),
    }];
    config.etw = vec![EtwSession::default()];
    // Workers tell the port's clients of records, and complete creates: when they do is the seed's choice, or what is found in one run
    // need not come again in the next.
    config.schedule = Some(ScheduleConfig { seed: 1 });
    config
}

fn open(thread: &Thread, path: &str) -> Result<NtStatus, MachineError> {
    let completion = thread.create_file(&CreateFile {
        name: format!(r"\??\UNC\server\share{path}"),
        ..CreateFile::default()
    })?;
    if completion.handle != 0 {
        thread.close(completion.handle)?;
    }
    Ok(status(completion.status))
}

/// Loads the driver, opens, talks to the port in every way, opens again, and unloads it.
fn life(
    machine: &Machine,
    parameters: &[(String, RegistryValue)],
    path: &str,
) -> Result<Seen, MachineError> {
    let thread = machine.thread(ThreadSpec {
        process_image: "test.exe".to_owned(),
        process: 0,
        stack: StackKind::Ordinary,
    })?;
    machine.schedule_together(std::slice::from_ref(&thread))?;
    let load = |machine: &Machine| machine.load_driver(driver_spec(parameters));
    let loaded = machine.on_behalf_of(&thread, load)?.status;
    let opens = || Ok::<_, MachineError>([open(&thread, path)?, open(&thread, r"\d01\absent")?]);
    let mut seen = Seen {
        loaded: status(loaded),
        opens: vec![opens()?],
    };
    if !loaded.is_success() {
        thread.leave_together()?;
        return Ok(seen);
    }
    if let Ok(port) = thread.connect_port(PORT_NAME, context())? {
        let local: Vec<u16> = LOCAL.encode_utf16().collect();
        let local = InstanceName::new(&local, &[]).unwrap();
        for request in [
            Request::GetConfig,
            Request::SetConfig(&Config {
                // As the parameters have it, or the next opens would be others.
                ..current(parameters)
            }),
            Request::Drain(Drain {
                from: 0,
                limit: 9,
                reserved: 0,
            }),
            Request::Watermarks,
            Request::ResetWatermarks,
            Request::Instances,
            Request::Attach(&local),
            Request::Detach(&local),
        ] {
            // Any answer will do: that there is one, and that the machine lives.
            port.send(&encoded(&request), 0x8000)?;
            if request == Request::GetConfig {
                // There are records that this client was not told of.
                hear(&port)?;
            }
        }
        seen.opens.push(opens()?);
        hear(&port)?;
        port.close()?;
    }
    machine.on_behalf_of(&thread, |machine| machine.unload_driver(SERVICE))?;
    thread.leave_together()?;
    Ok(seen)
}

/// Takes a notification, if one comes. The time is the schedule's: while all wait it passes at once.
fn hear(port: &Port) -> Result<(), MachineError> {
    port.get_message(64, Some(Duration::from_millis(500)))?;
    Ok(())
}

/// The settings that these parameters make.
fn current(parameters: &[(String, RegistryValue)]) -> Config {
    let mut config = Config::DEFAULT;
    for &setting in protocol::Setting::ALL {
        let value = parameters
            .iter()
            .find(|(name, _)| setting.name() == Some(name));
        let number = match value {
            Some((_, RegistryValue::Dword(number))) => Some(*number),
            Some((_, RegistryValue::Sz(word))) => setting
                .words()
                .iter()
                .find(|(known, _)| known == word)
                .map(|(_, number)| *number),
            _ => None,
        };
        if let Some(number) = number {
            config.set(setting, number, 0x1_1800).unwrap();
        }
    }
    config
}

/// Says what was forced, and holds that nobody was harmed.
fn judge(what: &str, failures: &Failures<Seen>, config: &MachineConfig) {
    let mut calls: BTreeMap<&str, u32> = BTreeMap::new();
    for failure in &failures.failures {
        *calls.entry(&failure.stack.call).or_default() += 1;
    }
    println!(
        "{what}: {} unique call stacks of calls that can fail, {} of them forced",
        failures.failures.len(),
        failures.forced()
    );
    for (call, count) in &calls {
        println!("  {count:4}  {call}");
    }
    let bad: Vec<String> = failures
        .failures
        .iter()
        .filter(|failure| failure.outcome.is_err() || !failure.findings.is_empty())
        .map(ToString::to_string)
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
    // What fails in every run anyway is not made to fail once more.
    let always = config.faults.iter().map(|rule| rule.call.as_str());
    let excused: Vec<&str> = always.collect();
    for missed in failures.failures.iter().filter(|failure| !failure.happened) {
        assert!(excused.contains(&missed.stack.call.as_str()), "{missed}");
    }
    for call in [
        "ExAllocatePool2",
        "FltRegisterFilter",
        "FltCreateCommunicationPort",
        "FltStartFiltering",
        "EtwRegister",
        "FltAllocateContext",
        "FltGetFileNameInformation",
        "FltCreateFileEx2",
    ] {
        assert!(calls.contains_key(call), "{call} was never made to fail");
    }
}

/// What every open has to come to, whatever fails in the driver.
fn unharmed(failures: &Failures<Seen>) {
    let seen = failures
        .failures
        .iter()
        .map(|failure| (failure.to_string(), failure.outcome.as_ref().unwrap()));
    for (failure, seen) in seen {
        assert!(
            seen.loaded.is_success() || seen.opens.len() == 1,
            "{failure}\n{seen:?}"
        );
        for opens in &seen.opens {
            assert_eq!(*opens, [NtStatus::SUCCESS, NOT_FOUND], "{failure}");
        }
    }
}

#[test]
fn nobody_is_harmed_by_any_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 2);
    let parameters = [
        text("AncestorOpens", "Top"),
        dword("LogCapacity", 64),
        dword("DebugPrint", 1),
    ];
    let config = machine_config(folder.path());
    let failures = each_failure(&config, |machine| life(machine, &parameters, &path)).unwrap();
    judge("the driver's life", &failures, &config);
    unharmed(&failures);
}

/// The same where every create waits for a worker.
#[test]
fn nobody_is_harmed_by_any_failure_while_creates_wait_for_workers() {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 2);
    let mut config = machine_config(folder.path());
    config.faults = vec![expansion_fails(NO_MEMORY)];
    let parameters = [text("OnExpandFailure", "Worker"), dword("LogCapacity", 64)];
    let failures = each_failure(&config, |machine| life(machine, &parameters, &path)).unwrap();
    judge("the driver's life with workers", &failures, &config);
    unharmed(&failures);
}

/// The same where a create that gets no stack is denied: it then fails with that one status, and with no other.
#[test]
fn a_denied_create_is_the_only_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = directories(folder.path(), 2);
    let parameters = [text("OnExpandFailure", "Deny"), dword("LogCapacity", 64)];
    let config = machine_config(folder.path());
    let failures = each_failure(&config, |machine| life(machine, &parameters, &path)).unwrap();
    judge("the driver's life with denials", &failures, &config);
    let mut denied = 0;
    for failure in &failures.failures {
        for [existing, absent] in &failure.outcome.as_ref().unwrap().opens {
            denied += u32::from(*existing == INSUFFICIENT_RESOURCES)
                + u32::from(*absent == INSUFFICIENT_RESOURCES);
            assert!(
                [NtStatus::SUCCESS, INSUFFICIENT_RESOURCES].contains(existing)
                    && [NOT_FOUND, INSUFFICIENT_RESOURCES].contains(absent),
                "{failure}: {existing} {absent}"
            );
        }
    }
    assert!(denied > 0, "the expansion was among what failed");
}
