//! The driver as its INF installs it: the same instance and settings that the other tests run it with, read from the file that ships.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{config, directories, driver_spec, end, open, printed, records, thread};
use headroom_harness::backend::bench::INSTANCE;
use inf::{Architecture::Amd64, Data, Date, Service};
use ntbench::Machine;
use ntbench::wire::{DriverSpec, InstanceSpec, RegistryValue, StackKind};
use protocol::{Config, NtStatus, Setting};

/// Windows 10, version 22H2, and Windows 11, version 24H2: one for each form of the INF.
const BUILDS: [u32; 2] = [19_045, 26_100];

fn service(build: u32) -> Service {
    let template = include_str!("../../inf/headroom.inx");
    let stamped = inf::stamp(template, Amd64, Date::of_unix_time(0), "0.1.0").unwrap();
    let inf = inf::parse(stamped.as_bytes()).unwrap();
    inf::minifilter(&inf, Amd64, build).unwrap()
}

/// The service key that the INF writes, as ntbench takes it.
fn spec(service: &Service) -> DriverSpec {
    let parameters = service.parameters().map(|(name, data)| {
        let value = match data {
            Data::Sz(text) => RegistryValue::Sz(text.clone()),
            Data::Dword(number) => RegistryValue::Dword(*number),
            other => panic!("{name}: {other:?}"),
        };
        (name.to_owned(), value)
    });
    let instances = service.instances.iter().map(|instance| InstanceSpec {
        name: instance.name.clone(),
        altitude: instance.altitude.clone(),
        flags: instance.flags,
    });
    DriverSpec {
        service: service.name.clone(),
        parameters: parameters.collect(),
        instances: instances.collect(),
        ..driver_spec(&[])
    }
}

#[test]
fn the_inf_writes_the_defaults_and_all_of_them() {
    for build in BUILDS {
        let service = service(build);
        for &setting in Setting::ALL {
            let name = setting.name().unwrap();
            let (_, data) = service
                .parameters()
                .find(|(written, _)| *written == name)
                .unwrap_or_else(|| panic!("{name} is not in the INF"));
            let number = match data {
                Data::Dword(number) => *number,
                Data::Sz(word) => {
                    let words = setting.words().iter();
                    words.clone().find(|(known, _)| known == word).unwrap().1
                }
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(Some(number), Config::DEFAULT.get(setting), "{name}");
        }
    }
}

#[test]
fn the_other_tests_run_the_driver_at_the_infs_instance() {
    let used = driver_spec(&[]);
    for build in BUILDS {
        let installed = spec(&service(build));
        assert_eq!(installed.service, used.service);
        assert_eq!(
            format!("{:?}", installed.instances),
            format!("{:?}", used.instances)
        );
        let [instance] = installed.instances.as_slice() else {
            panic!("{installed:?}")
        };
        assert_eq!((&*instance.name, &*instance.altitude), INSTANCE);
    }
}

#[test]
fn the_driver_runs_as_installed() {
    for build in BUILDS {
        let folder = tempfile::tempdir().unwrap();
        let path = directories(folder.path(), 3);
        let machine = Machine::boot(config(folder.path())).unwrap();
        let loaded = machine.load_driver(spec(&service(build))).unwrap();
        assert_eq!(NtStatus(loaded.status.0.cast_unsigned()), NtStatus::SUCCESS);
        assert_eq!(
            printed(&machine),
            Vec::<String>::new(),
            "no setting is refused"
        );
        let status = open(&thread(&machine, StackKind::Ordinary), &path);
        assert_eq!(status, NtStatus::SUCCESS);
        let (_, records) = records(&machine);
        assert_eq!(records.len(), 1, "{records:#?}");
        end(machine);
    }
}
