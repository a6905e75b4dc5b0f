//! Instances on demand, through the port.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::port::Client;
use common::{booted, config, directories, dword, end};
use ntbench::wire::Volume;
use protocol::NtStatus;
use protocol::port::{InstanceInfo, InstanceName, InstancesReply, Request};

const LOCAL: &str = r"\Device\HarddiskVolume1";

#[test]
fn instances_are_listed_attached_and_detached() {
    let folder = tempfile::tempdir().unwrap();
    directories(folder.path(), 2);
    let mut config = config(folder.path());
    config.namespace.volumes = vec![Volume {
        device: LOCAL.to_owned(),
        letter: Some('C'),
        folder: folder.path().to_owned(),
    }];
    let machine = booted(config, &[dword("UncOnly", 0)]);
    let client = Client::connect(&machine);
    let listed = || -> Vec<(String, String)> {
        let answer = client.ask(&Request::Instances);
        assert_eq!(answer.status(), NtStatus::SUCCESS);
        let reply = answer.reply();
        let (head, entries) = reply
            .list::<InstancesReply, InstanceInfo>(|head| head.count)
            .unwrap();
        assert_eq!(head.count, head.total);
        let mut entries: Vec<_> = entries
            .map(|entry| {
                (
                    String::from_utf16_lossy(entry.volume()),
                    String::from_utf16_lossy(entry.instance()),
                )
            })
            .collect();
        entries.sort();
        entries
    };
    let instance = "Headroom Instance".to_owned();
    let network = (r"\Device\Mup".to_owned(), instance.clone());
    let local = (LOCAL.to_owned(), instance);
    assert_eq!(listed(), [local.clone(), network.clone()]);

    let units: Vec<u16> = LOCAL.encode_utf16().collect();
    let name = InstanceName::new(&units, &[]).unwrap();
    assert_eq!(
        client.ask(&Request::Detach(&name)).status(),
        NtStatus::SUCCESS
    );
    assert_eq!(listed(), std::slice::from_ref(&network));
    assert!(!client.ask(&Request::Detach(&name)).status().is_success());
    assert_eq!(
        client.ask(&Request::Attach(&name)).status(),
        NtStatus::SUCCESS
    );
    assert_eq!(listed(), [local, network]);
    assert!(!client.ask(&Request::Attach(&name)).status().is_success());

    let absent: Vec<u16> = r"\Device\Absent".encode_utf16().collect();
    let absent = InstanceName::new(&absent, &[]).unwrap();
    for request in [Request::Attach(&absent), Request::Detach(&absent)] {
        assert!(!client.ask(&request).status().is_success());
    }
    client.disconnect();
    end(machine);
}
