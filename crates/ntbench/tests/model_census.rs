//! Each operation that a minifilter can register reaches it before and after, with the parameters that its page documents.

mod model;
mod volume;

use model::{compile, lines, rules, spec};
use ntbench::NtStatus;
use ntbench::wire::{FileCall, PlugAndPlay, Transferred};
use volume::{READ, VolumeBench, WRITE};

const VOLUME: &str = "\\Device\\HarddiskVolume1";
/// `FILE_READ_EA`, `FILE_WRITE_EA`, `READ_CONTROL`, `WRITE_DAC`.
const MORE: u32 = 0x6_0018;

struct Census {
    bench: VolumeBench,
    file: u64,
}

impl Census {
    fn new() -> Self {
        let bench = VolumeBench::new();
        for name in ["name-irp", "a-kept"] {
            std::fs::write(bench.folder.join(name), "text").unwrap();
        }
        let image = compile("census", &[]);
        let loaded = bench.machine.load_driver(spec(image, "370000")).unwrap();
        assert_eq!(loaded.status, NtStatus::SUCCESS);
        let file = bench.open("\\a.txt", READ | WRITE | MORE);
        bench.machine.trace().unwrap();
        Self { bench, file }
    }

    fn seen(&self) -> Vec<String> {
        let trace = self.bench.machine.trace().unwrap();
        lines(&trace).into_iter().map(str::to_owned).collect()
    }

    fn call(&self, call: FileCall) -> Transferred {
        let done = self.bench.thread.file(self.file, call);
        done.expect("the machine lives")
    }

    /// Makes a call, which ends so and is seen so.
    fn expect(&self, call: FileCall, status: NtStatus, seen: &[&str]) -> Transferred {
        let done = self.call(call);
        assert_eq!(
            (done.status, self.seen()),
            (status, seen.iter().map(|line| (*line).to_owned()).collect())
        );
        done
    }
}

/// `FILE_FULL_EA_INFORMATION`, one entry.
fn ea(name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 5];
    bytes.push(u8::try_from(name.len()).unwrap());
    bytes.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
    bytes.extend(name.as_bytes());
    bytes.push(0);
    bytes.extend(value);
    bytes
}

#[test]
fn extended_attributes_quotas_and_security() {
    let census = Census::new();
    let query = |names: &[&str]| FileCall::QueryEa {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        length: 100,
        restart: true,
        single: false,
    };
    let none = NtStatus(0xC000_0052_u32.cast_signed());
    census.expect(
        query(&[]),
        none,
        &[
            "pre IRP_MJ_QUERY_EA length=100 list=0 flags=1 buffer=1",
            "post IRP_MJ_QUERY_EA c0000052 mine=1",
        ],
    );
    census.expect(
        FileCall::SetEa {
            data: ea("colour", b"red"),
        },
        NtStatus::SUCCESS,
        &[
            "pre IRP_MJ_SET_EA length=18 buffer=1",
            "post IRP_MJ_SET_EA 00000000 mine=1",
        ],
    );
    assert_eq!(census.call(query(&[])).data, ea("COLOUR", b"red"));
    let both = census.call(query(&["shape", "colour"])).data;
    assert_eq!(both[16..], ea("COLOUR", b"red"), "{both:?}");
    assert_eq!(both[8..13], *b"SHAPE");
    assert_eq!(
        census.bench.query(census.file, 7).data,
        18_u32.to_le_bytes()
    );
    let gone = FileCall::SetEa {
        data: ea("COLOUR", b""),
    };
    assert_eq!(census.call(gone).status, NtStatus::SUCCESS);
    assert_eq!(census.call(query(&[])).status, none);
    census.seen();

    // No volume here keeps quotas.
    census.expect(
        FileCall::QueryQuota { length: 64 },
        NtStatus::INVALID_DEVICE_REQUEST,
        &[
            "pre IRP_MJ_QUERY_QUOTA length=64 buffer=1",
            "post IRP_MJ_QUERY_QUOTA c0000010 mine=1",
        ],
    );
    census.expect(
        FileCall::SetQuota { data: vec![0; 16] },
        NtStatus::INVALID_DEVICE_REQUEST,
        &[
            "pre IRP_MJ_SET_QUOTA length=16 buffer=1",
            "post IRP_MJ_SET_QUOTA c0000010 mine=1",
        ],
    );

    // A list that lets nobody in: kept, told, and not enforced.
    let mut descriptor = vec![1, 0, 4, 0x80];
    descriptor.extend([0; 12]);
    descriptor.extend(20_u32.to_le_bytes());
    descriptor.extend([2, 0, 8, 0, 0, 0, 0, 0]);
    census.expect(
        FileCall::SetSecurity {
            information: 4,
            descriptor: descriptor.clone(),
        },
        NtStatus::SUCCESS,
        &[
            "pre IRP_MJ_SET_SECURITY information=4 descriptor=1",
            "post IRP_MJ_SET_SECURITY 00000000 mine=1",
        ],
    );
    let asked = census.call(FileCall::QuerySecurity {
        information: 4,
        length: 100,
    });
    assert_eq!(asked.data, descriptor);
    assert_eq!(rules(&census.bench.machine.shutdown().unwrap()), [""; 0]);
}

#[test]
fn a_file_is_mapped_paged_and_lent_by_lists() {
    let census = Census::new();
    let acquired = [
        "pre IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION type=1 protection=2 kind=4",
        "post IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION 00000126 mine=1",
        "pre IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION minor=0",
        "post IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION 00000126 mine=1",
    ];
    let paged_in = [
        "pre IRP_MJ_READ offset=0 length=512 paging=1 mdl=1",
        "post IRP_MJ_READ 00000000 mine=1",
    ];
    let read = FileCall::MappedRead {
        offset: 1,
        length: 3,
    };
    let expected = [&acquired[..], &paged_in].concat();
    let done = census.expect(read.clone(), NtStatus::SUCCESS, &expected);
    assert_eq!(done.data, b"ext");
    let mut writable = acquired;
    writable[0] = "pre IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION type=1 protection=4 kind=4";
    let paged_out = [
        "pre IRP_MJ_ACQUIRE_FOR_MOD_WRITE until=3 resource=1 kind=4",
        "post IRP_MJ_ACQUIRE_FOR_MOD_WRITE 00000126 mine=1",
        "pre IRP_MJ_WRITE offset=0 length=512 paging=1 mdl=1",
        "post IRP_MJ_WRITE 00000000 mine=1",
        "pre IRP_MJ_RELEASE_FOR_MOD_WRITE minor=0",
        "post IRP_MJ_RELEASE_FOR_MOD_WRITE 00000126 mine=1",
    ];
    let write = FileCall::MappedWrite {
        offset: 1,
        data: b"as".to_vec(),
    };
    let expected = [&writable[..], &paged_in, &paged_out].concat();
    census.expect(write, NtStatus::SUCCESS, &expected);
    let content = || std::fs::read(census.bench.folder.join("a.txt")).unwrap();
    assert_eq!(content(), b"tast");
    // Nobody sees behind a section's end; and the filter may refuse one.
    let behind = FileCall::MappedRead {
        offset: 0,
        length: 5,
    };
    assert_eq!(census.call(behind).status, NtStatus::INVALID_VIEW_SIZE);
    let kept = census.bench.open("\\a-kept", READ);
    let refused = census.bench.thread.file(kept, read).unwrap();
    assert_eq!(refused.status, NtStatus::ACCESS_DENIED);
    census.seen();

    let done = census.expect(
        FileCall::MdlRead {
            offset: 0,
            length: 100,
        },
        NtStatus::SUCCESS,
        &[
            "pre IRP_MJ_MDL_READ offset=0 length=100 chain=1 kind=2",
            "post IRP_MJ_MDL_READ 00000000 mine=1",
            "pre IRP_MJ_MDL_READ_COMPLETE chain=1",
            "post IRP_MJ_MDL_READ_COMPLETE 00000000 mine=1",
        ],
    );
    assert_eq!(done.data, b"tast");
    census.expect(
        FileCall::MdlWrite {
            offset: 4,
            data: b"y".to_vec(),
        },
        NtStatus::SUCCESS,
        &[
            "pre IRP_MJ_PREPARE_MDL_WRITE offset=4 length=1 chain=1 kind=2",
            "post IRP_MJ_PREPARE_MDL_WRITE 00000000 mine=1",
            "pre IRP_MJ_MDL_WRITE_COMPLETE offset=4 chain=1",
            "post IRP_MJ_MDL_WRITE_COMPLETE 00000000 mine=1",
        ],
    );
    assert_eq!(content(), b"tasty");
    assert_eq!(rules(&census.bench.machine.shutdown().unwrap()), [""; 0]);
}

#[test]
fn attributes_are_asked_for_by_name_before_a_create_is_made_for_them() {
    let census = Census::new();
    let thread = &census.bench.thread;
    let quick = thread.query_attributes("\\??\\C:\\a.txt").unwrap();
    assert_eq!(
        (quick.status, quick.attributes & 0x10),
        (NtStatus::SUCCESS, 0)
    );
    assert_eq!(
        census.seen(),
        [
            "pre IRP_MJ_NETWORK_QUERY_OPEN create=0 options=01200000 same file=1 information=1 kind=2",
            "post IRP_MJ_NETWORK_QUERY_OPEN 00000000 mine=1",
        ]
    );
    // The filter wants the create, or there is no such file: then a create follows, which the trace shows.
    for (name, status) in [
        ("\\??\\C:\\name-irp", NtStatus::SUCCESS),
        ("\\??\\C:\\missing", NtStatus::OBJECT_NAME_NOT_FOUND),
    ] {
        assert_eq!(thread.query_attributes(name).unwrap().status, status);
        let trace = census.bench.machine.trace().unwrap();
        let callbacks = model::callbacks(&trace);
        let seen: Vec<_> = callbacks
            .iter()
            .map(|event| event.operation.as_str())
            .collect();
        assert_eq!(seen[0], "IRP_MJ_NETWORK_QUERY_OPEN", "{name}");
        assert!(seen.contains(&"IRP_MJ_CREATE"), "{name}: {seen:?}");
    }
    let folder = thread.query_attributes("\\??\\C:\\Folder").unwrap();
    assert_eq!(folder.attributes & 0x10, 0x10);
    census.bench.machine.shutdown().unwrap();
}

#[test]
fn a_volumes_device_is_asked_after_kept_and_pulled_out() {
    let census = Census::new();
    let bench = &census.bench;
    let plug = |what| bench.machine.plug_and_play(VOLUME, what).unwrap();
    assert_eq!(plug(PlugAndPlay::QueryRemove), NtStatus::ACCESS_DENIED);
    assert_eq!(
        census.seen(),
        [
            "pre IRP_MJ_PNP minor=1 file=0 target=0",
            "post IRP_MJ_PNP c0000022 mine=1"
        ]
    );
    bench.close(census.file);
    assert_eq!(plug(PlugAndPlay::QueryRemove), NtStatus::SUCCESS);
    let refused = bench.try_open("\\a.txt", READ, volume::OPEN, 0);
    assert_eq!(refused, Err(NtStatus::ACCESS_DENIED));
    assert_eq!(plug(PlugAndPlay::CancelRemove), NtStatus::SUCCESS);
    let file = bench.open("\\a.txt", READ);
    census.seen();
    assert_eq!(plug(PlugAndPlay::SurpriseRemoval), NtStatus::SUCCESS);
    let read = bench.thread.read(file, Some(0), 1).unwrap();
    assert_eq!(read.status, NtStatus::VOLUME_DISMOUNTED);
    assert_eq!(
        census.seen()[..2],
        [
            "pre IRP_MJ_PNP minor=23 file=0 target=0",
            "post IRP_MJ_PNP 00000000 mine=1"
        ]
    );
    // With the last handle the instance goes.
    bench.close(file);
    assert_eq!(census.seen(), ["teardown 8"]);
}

#[test]
fn filters_are_told_when_the_machine_is_shut_down() {
    let census = Census::new();
    let label = FileCall::SetVolume {
        class: 2,
        data: [&6_u32.to_le_bytes()[..], &[b'n', 0, b'e', 0, b'w', 0]].concat(),
    };
    census.expect(
        label,
        NtStatus::SUCCESS,
        &[
            "pre IRP_MJ_SET_VOLUME_INFORMATION minor=0",
            "post IRP_MJ_SET_VOLUME_INFORMATION 00000000 mine=1",
        ],
    );
    let volume = census
        .bench
        .thread
        .query_volume(census.file, 1, 100)
        .unwrap();
    assert_eq!(volume.data[18..], [b'n', 0, b'e', 0, b'w', 0]);
    let report = census.bench.machine.shutdown().unwrap();
    let seen = lines(&report.trace);
    assert!(
        seen.contains(&"pre IRP_MJ_SHUTDOWN minor=0 file=0 target=0"),
        "{seen:?}"
    );
    assert!(
        seen.contains(&"post IRP_MJ_SHUTDOWN 00000000 mine=1"),
        "{seen:?}"
    );
}
