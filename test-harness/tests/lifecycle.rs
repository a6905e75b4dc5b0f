//! What the driver attaches to.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{booted, config, dword, end};
use headroom_harness::backend::bench::SERVICE;
use ntbench::wire::{TraceEvent, Volume};

const SUCCESS: u64 = 0;
const DO_NOT_ATTACH: u64 = 0xc01c_000f;
const LOCAL: &str = r"\Device\HarddiskVolume1";
const NETWORK: &str = r"\Device\Mup";

/// What the driver's instance set-up answered, by volume.
fn decisions(parameters: &[(String, ntbench::wire::RegistryValue)]) -> Vec<(String, u64)> {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.namespace.volumes = vec![Volume {
        device: LOCAL.to_owned(),
        letter: Some('C'),
        folder: folder.path().to_owned(),
    }];
    let machine = booted(config, parameters);
    let mut decisions: Vec<(String, u64)> = end(machine)
        .trace
        .events
        .into_iter()
        .filter_map(|event| match event {
            TraceEvent::Callback(callback)
                if callback.phase == "setup" && callback.filter == SERVICE =>
            {
                Some((callback.path, callback.returned? & 0xffff_ffff))
            }
            _ => None,
        })
        .collect();
    decisions.sort();
    decisions
}

#[test]
fn it_attaches_to_the_network_and_leaves_local_volumes_alone() {
    let expected = [
        (LOCAL.to_owned(), DO_NOT_ATTACH),
        (NETWORK.to_owned(), SUCCESS),
    ];
    assert_eq!(decisions(&[]), expected);
    assert_eq!(decisions(&[dword("UncOnly", 1)]), expected);
}

#[test]
fn it_attaches_to_local_volumes_where_the_settings_ask_for_it() {
    assert_eq!(
        decisions(&[dword("UncOnly", 0)]),
        [(LOCAL.to_owned(), SUCCESS), (NETWORK.to_owned(), SUCCESS)]
    );
}
