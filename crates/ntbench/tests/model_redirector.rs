//! Filters that lead operations elsewhere: to another name, by a tag of their own, to another volume; and defects planted in one.

mod model;

use std::path::PathBuf;

use model::work::{README, found, loaded, named, opened};
use model::{compile, lines, open, rules, spec, start};
use ntbench::wire::{CreateFile, DriverSpec, MachineConfig};
use ntbench::{NtStatus, ReparsePoint};

#[test]
fn a_redirector_gives_creates_another_name() {
    let bench = loaded("redirector", &[], MachineConfig::default());
    std::fs::create_dir_all(bench.folder.join("New/Deep")).unwrap();
    std::fs::write(bench.folder.join("New/Deep/file"), "x").unwrap();
    assert_eq!(bench.open("\\Old\\Deep\\file"), NtStatus::SUCCESS);
    assert_eq!(bench.open("\\old\\none"), NtStatus::OBJECT_NAME_NOT_FOUND);
    // A file with the filter's own tag: nobody else handles it.
    let tagged = opened(&bench.thread, &named(README, 0x182));
    assert_eq!(
        bench.thread.write(tagged, Some(0), b"x").unwrap().status,
        NtStatus::SUCCESS
    );
    bench.thread.close(tagged).unwrap();
    bench.trace();
    // On a share that is the server's affair, which does not know the tag.
    assert_eq!(bench.open(README), NtStatus::IO_REPARSE_TAG_NOT_HANDLED);
    let trace = bench.trace();
    assert_eq!(lines(&trace), Vec::<&str>::new());
    assert!(found(bench, "redirector").is_empty());
}

#[test]
fn a_tag_of_a_filters_own_is_seen_on_a_local_volume() {
    let folder = tempfolder();
    std::fs::write(folder.join("file"), "text").unwrap();
    let mut config = MachineConfig::default();
    config.namespace.volumes = vec![ntbench::wire::Volume {
        device: "\\Device\\HarddiskVolume1".to_owned(),
        letter: Some('C'),
        folder: folder.clone(),
    }];
    let host = Some(PathBuf::from(env!("CARGO_BIN_EXE_ntbench")));
    let machine = ntbench::Machine::boot(MachineConfig { host, ..config }).unwrap();
    let thread = start(&machine);
    let loaded = machine
        .load_driver(spec(compile("redirector", &[]), "370000"))
        .unwrap();
    assert_eq!(loaded.status, NtStatus::SUCCESS);
    let at = |name: &str, access: u32, options: u32| CreateFile {
        name: name.to_owned(),
        access: 0x10_0000 | access,
        options: 0x20 | options,
        ..CreateFile::default()
    };
    let file = opened(&thread, &at("\\??\\C:\\file", 0x182, 0));
    assert_eq!(
        thread.write(file, Some(0), b"x").unwrap().status,
        NtStatus::SUCCESS
    );
    thread.close(file).unwrap();
    machine.trace().unwrap();
    assert_eq!(open(&thread, "\\??\\C:\\file"), NtStatus::SUCCESS);
    let trace = machine.trace().unwrap();
    assert_eq!(
        lines(&trace),
        ["tag information=1234 length=4 rest=0", "again 00000000"]
    );
    // Without its filter the tag leads nowhere.
    machine.unload_driver("redirector").unwrap();
    assert_eq!(
        open(&thread, "\\??\\C:\\file"),
        NtStatus::IO_REPARSE_TAG_NOT_HANDLED
    );
    // A mount point restarts from the object manager, the rest of the name behind it; so does a relative link.
    std::fs::create_dir_all(folder.join("real/in")).unwrap();
    for (name, point) in [
        (
            "mount",
            ReparsePoint::MountPoint {
                target: "\\??\\C:\\real".to_owned(),
            },
        ),
        (
            "soft",
            ReparsePoint::Symlink {
                target: ".\\mount\\..\\real".to_owned(),
                relative: true,
            },
        ),
    ] {
        let make = CreateFile {
            disposition: 2,
            ..at(&format!("\\??\\C:\\{name}"), 0x180, 1)
        };
        let handle = opened(&thread, &make);
        assert_eq!(
            thread.set_reparse(handle, &point).unwrap().status,
            NtStatus::SUCCESS
        );
        thread.close(handle).unwrap();
        assert_eq!(
            open(&thread, &format!("\\??\\C:\\{name}\\in")),
            NtStatus::SUCCESS
        );
        assert_eq!(
            open(&thread, &format!("\\??\\C:\\{name}\\out")),
            NtStatus::OBJECT_NAME_NOT_FOUND
        );
    }
    assert!(machine.shutdown().unwrap().findings.is_empty());
}

fn tempfolder() -> PathBuf {
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("volume-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[test]
fn defects_of_a_redirector_are_found() {
    let bench = loaded("redirector", &["DEFECT=1"], MachineConfig::default());
    // STATUS_REPARSE_POINT_NOT_RESOLVED
    let circle = bench.open("\\Old\\x");
    assert!(!circle.is_success(), "{circle}");
    let bench = loaded("redirector", &["DEFECT=2"], MachineConfig::default());
    assert_eq!(bench.open(README), NtStatus::ACCESS_DENIED);
    assert_eq!(found(bench, "redirector"), ["failed-create-not-cancelled"]);
}

#[test]
fn an_operation_can_go_on_on_another_volume() {
    for (defect, expected) in [("DEFECT=0", None), ("DEFECT=1", Some("target-instance"))] {
        let folder = tempfolder().join(defect);
        let mut config = MachineConfig::default();
        for number in 1..=2 {
            let root = folder.join(format!("{number}"));
            std::fs::create_dir_all(&root).unwrap();
            std::fs::write(root.join("twin"), format!("on {number}")).unwrap();
            config.namespace.volumes.push(ntbench::wire::Volume {
                device: format!("\\Device\\HarddiskVolume{number}"),
                letter: None,
                folder: root,
            });
        }
        let host = Some(PathBuf::from(env!("CARGO_BIN_EXE_ntbench")));
        let machine = ntbench::Machine::boot(MachineConfig { host, ..config }).unwrap();
        let thread = start(&machine);
        for (driver, altitude, service) in [
            ("mirror", "370000", "mirror"),
            ("watcher", "360000", "watcher"),
        ] {
            let spec = DriverSpec {
                service: service.to_owned(),
                ..spec(compile(driver, &[defect]), altitude)
            };
            let status = machine.load_driver(spec).unwrap().status;
            assert_eq!(status, NtStatus::SUCCESS);
        }
        let file = CreateFile {
            name: "\\Device\\HarddiskVolume1\\twin".to_owned(),
            access: 0x10_0001,
            ..CreateFile::default()
        };
        let file = opened(&thread, &file);
        machine.trace().unwrap();
        let read = thread.read(file, Some(0), 10).unwrap();
        assert_eq!(
            (read.status, &*read.data),
            (NtStatus::SUCCESS, &b"on 2"[..])
        );
        let trace = machine.trace().unwrap();
        assert!(
            lines(&trace).contains(&"back 00000000 own=1"),
            "{:?}",
            lines(&trace)
        );
        thread.close(file).unwrap();
        for service in ["mirror", "watcher"] {
            machine.unload_driver(service).unwrap();
        }
        let report = machine.shutdown().unwrap();
        assert_eq!(rules(&report), Vec::from_iter(expected));
    }
}
