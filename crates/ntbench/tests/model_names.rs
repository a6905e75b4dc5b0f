//! Names and volumes as filters ask for them: the cache, renames and their destinations, a name provider; and a scanner
//! that asks a program about what files hold.

mod model;

use std::path::PathBuf;

use model::{Bench, compile, lines, rules, spec, start};
use ntbench::wire::{CreateFile, DriverSpec, FileCall, MachineConfig, Volume};
use ntbench::{Machine, NtStatus, Thread};

fn named(name: &str, access: u32) -> CreateFile {
    CreateFile {
        name: format!("\\??\\UNC\\fs\\data{name}"),
        access: access | 0x0010_0000,
        ..CreateFile::default()
    }
}

fn opened(thread: &Thread, create: &CreateFile) -> u64 {
    let done = thread.create_file(create).expect("the machine lives");
    assert_eq!(done.status, NtStatus::SUCCESS, "{}", create.name);
    done.handle
}

fn load_as(bench: &Bench, image: PathBuf, service: &str, altitude: &str) {
    let spec = DriverSpec {
        service: service.to_owned(),
        ..spec(image, altitude)
    };
    assert_eq!(
        bench.machine.load_driver(spec).unwrap().status,
        NtStatus::SUCCESS
    );
}

fn printed(bench: &Bench) -> Vec<String> {
    let trace = bench.trace();
    lines(&trace).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_name_that_is_replaced_on_the_way_is_what_is_opened() {
    let bench = Bench::new();
    load_as(&bench, compile("asker", &[]), "asker", "360000");
    load_as(
        &bench,
        compile("redirector", &["GRAFT"]),
        "redirector",
        "370000",
    );
    std::fs::create_dir_all(bench.folder.join("New/Deep")).unwrap();
    std::fs::write(bench.folder.join("New/Deep/file"), "grafted").unwrap();
    printed(&bench);
    let thread = &bench.thread;
    let file = opened(thread, &named("\\Old\\Deep\\FILE", 1));
    let read = thread.read(file, Some(0), 9).unwrap();
    assert_eq!(read.data, b"grafted");
    let share = "\\Device\\Mup\\fs\\data";
    assert_eq!(
        printed(&bench),
        [
            "pre 202 c01c0018".to_owned(),
            format!("pre 102 {share}\\New\\Deep\\FILE"),
            format!("pre 202 {share}\\New\\Deep\\FILE"),
            format!("pre 101 {share}\\New\\Deep\\file"),
            format!("post 202 {share}\\New\\Deep\\FILE"),
        ]
    );
    // Relative to a folder that was opened so, and from elsewhere to it.
    let folder = opened(thread, &named("\\Old", 1));
    for (name, root) in [("Deep\\file", folder), ("", file)] {
        let relative = CreateFile {
            name: name.to_owned(),
            root,
            ..named("", 1)
        };
        let again = opened(thread, &relative);
        assert_eq!(thread.read(again, Some(0), 4).unwrap().data, b"graf");
        thread.close(again).unwrap();
    }
    let none = thread.create_file(&named("\\Old\\none", 1)).unwrap();
    assert_eq!(none.status, NtStatus::OBJECT_NAME_NOT_FOUND);
    thread.close(folder).unwrap();
    thread.close(file).unwrap();
    assert_eq!(rules(&bench.machine.shutdown().unwrap()), [""; 0]);
}

#[test]
fn names_are_cached_until_a_rename() {
    let bench = Bench::new();
    load_as(&bench, compile("asker", &[]), "asker", "370000");
    printed(&bench);
    let file = opened(&bench.thread, &named("\\docs\\deep\\README.txt", 0x1_0000));
    let share = "\\Device\\Mup\\fs\\data";
    assert_eq!(
        printed(&bench),
        [
            "pre 202 c01c0018".to_owned(),
            format!("pre 102 {share}\\docs\\deep\\README.txt"),
            format!("pre 202 {share}\\docs\\deep\\README.txt"),
            format!("pre 101 {share}\\Docs\\Deep\\Readme.txt"),
            format!("post 202 {share}\\docs\\deep\\README.txt"),
        ]
    );
    let renamed = bench
        .thread
        .rename(file, "\\??\\UNC\\fs\\data\\docs\\new.TXT", 0, false)
        .unwrap();
    assert_eq!(renamed.status, NtStatus::SUCCESS);
    let seen: Vec<String> = printed(&bench)
        .into_iter()
        .filter(|line| !line.starts_with("pre") && !line.starts_with("post"))
        .collect();
    assert_eq!(
        seen,
        [
            format!("rename 102 {share}\\docs\\deep\\README.txt"),
            format!("to {share}\\Docs\\new.TXT last=new.TXT extension=TXT"),
            "tunneled 00000000 0000000000000000".to_owned(),
            format!("renamed 102 {share}\\Docs\\new.TXT"),
        ]
    );
    assert!(bench.end().findings.is_empty());
}

#[test]
fn a_name_provider_speaks_to_those_above() {
    let bench = Bench::new();
    load_as(&bench, compile("provider", &[]), "provider", "200000");
    load_as(&bench, compile("asker", &[]), "above", "370000");
    load_as(&bench, compile("asker", &[]), "below", "100000");
    printed(&bench);
    opened(&bench.thread, &named("\\docs\\deep", 0));
    let share = "\\Device\\Mup\\fs\\data";
    let above = [
        "pre 202 c01c0018".to_owned(),
        "generate 2 00000000".to_owned(),
        format!("pre 102 {share}\\Papers\\deep"),
        format!("pre 202 {share}\\Papers\\deep"),
        "generate 1 00000000".to_owned(),
        format!("component Papers of {share}\\ device=22"),
        format!("component Deep of {share}\\PAPERS\\ device=22"),
        "context 0000000000000033".to_owned(),
        format!("pre 101 {share}\\PAPERS\\DEEP"),
    ];
    let below = [
        // What the provider asked for is known here too.
        format!("pre 202 {share}\\docs\\deep"),
        format!("pre 102 {share}\\docs\\deep"),
        format!("pre 202 {share}\\docs\\deep"),
        format!("pre 101 {share}\\Docs\\Deep"),
        format!("post 202 {share}\\docs\\deep"),
        format!("post 202 {share}\\Papers\\deep"),
    ];
    assert_eq!(printed(&bench), [&above[..], &below[..]].concat());
    assert!(bench.end().findings.is_empty());
}

#[test]
fn a_name_provider_has_its_names_forgotten() {
    for (define, others) in [("ALL=0", true), ("ALL=1", false)] {
        let bench = Bench::new();
        load_as(&bench, compile("provider", &[define]), "provider", "200000");
        load_as(&bench, compile("asker", &[]), "above", "370000");
        let first = opened(&bench.thread, &named("\\docs\\deep\\README.txt", 2));
        let second = opened(&bench.thread, &named("\\docs\\deep\\README.txt", 2));
        let flush = |file| {
            printed(&bench);
            let done = bench.thread.file(file, FileCall::Flush).unwrap();
            assert_eq!(done.status, NtStatus::SUCCESS);
            printed(&bench)
        };
        let name = "\\Device\\Mup\\fs\\data\\Papers\\deep\\README.txt";
        // The name is at hand before, is whole while it is held, and is not at hand any more.
        let forgotten = [
            format!("flush 102 {name}"),
            "purge 00000000".to_owned(),
            format!("held {name}"),
            "flushed 202 c01c0018".to_owned(),
        ];
        assert_eq!(flush(first), forgotten);
        let generated = flush(second).contains(&"generate 2 00000000".to_owned());
        assert_eq!(generated, !others, "{define}");
        assert_eq!(flush(first)[0], "generate 2 00000000");
        assert!(bench.end().findings.is_empty());
    }
}

#[test]
fn defects_of_a_name_provider_are_found() {
    for (defect, expected) in [("DEFECT=1", "generated-name"), ("DEFECT=3", "fltmgr-leak")] {
        let bench = Bench::new();
        load_as(&bench, compile("provider", &[defect]), "provider", "200000");
        load_as(&bench, compile("asker", &[]), "above", "370000");
        opened(&bench.thread, &named("\\docs\\deep", 0));
        bench.machine.unload_driver("provider").unwrap();
        let report = bench.end();
        assert!(
            rules(&report).contains(&expected),
            "{defect}: {:?}",
            rules(&report)
        );
    }
}

#[test]
fn a_setup_that_fails_for_any_reason_attaches_nothing() {
    for refusal in ["(int)0xC000009A", "(int)0xC01C000F", "(int)0x80000005"] {
        let bench = Bench::new();
        let image = compile("asker", &[&format!("SETUP_STATUS={refusal}")]);
        assert_eq!(bench.load(image), NtStatus::SUCCESS);
        opened(&bench.thread, &named("\\docs\\deep", 0));
        let asked: Vec<String> = printed(&bench)
            .into_iter()
            .filter(|line| line.starts_with("pre"))
            .collect();
        assert!(asked.is_empty(), "{refusal}: {asked:?}");
        let report = bench.end();
        assert!(
            report.findings.is_empty(),
            "{refusal}: {:?}",
            report.findings
        );
    }
}

#[test]
fn volumes_tell_what_they_are() {
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("asked-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut config = MachineConfig {
        host: Some(PathBuf::from(env!("CARGO_BIN_EXE_ntbench"))),
        ..MachineConfig::default()
    };
    config.namespace.volumes = vec![Volume {
        device: "\\Device\\HarddiskVolume1".to_owned(),
        letter: Some('C'),
        folder: folder.clone(),
    }];
    let machine = Machine::boot(config).unwrap();
    let status = machine
        .load_driver(spec(compile("asker", &[]), "370000"))
        .unwrap()
        .status;
    assert_eq!(status, NtStatus::SUCCESS);
    let trace = machine.trace().unwrap();
    let seen: Vec<&str> = lines(&trace)
        .into_iter()
        .filter(|line| !line.starts_with("pre") && !line.starts_with("post"))
        .collect();
    let guid = "\\??\\Volume{6e746265-6e63-4000-8000-000000000000}";
    assert_eq!(
        seen,
        [
            "properties 00000000 type=8 sector=512 driver=\\FileSystem\\Ntfs system=\\Ntfs disk=\\Device\\HarddiskVolume1",
            "short c0000023",
            &format!("guid 00000000 {guid}"),
            "disk 00000000 type=7",
            "dos 00000000 C:",
            "open 00000000",
            "device 00000000 7",
            "folder 00000000",
            "writable 00000000 1",
            "properties 00000000 type=14 sector=512 driver=\\FileSystem\\Mup system=\\Device\\Mup disk=",
            "short c0000023",
            "guid c0000010 ",
            "disk c01c0019 type=0",
            "open c000000d",
            "device c000000d 0",
            "folder c000000d",
            "writable 00000000 1",
        ]
    );
    assert!(folder.join("System Volume Information").is_dir());
    let thread = start(&machine);
    assert_eq!(
        model::open(&thread, &format!("{guid}\\System Volume Information")),
        NtStatus::SUCCESS
    );
    machine.unload_driver("asker").unwrap();
    assert!(machine.shutdown().unwrap().findings.is_empty());
}

#[test]
fn a_scanner_asks_a_program() {
    for (defect, expected) in [
        ("DEFECT=0", None),
        ("DEFECT=1", Some("failed-create-not-cancelled")),
        ("DEFECT=2", Some("fltmgr-leak")),
        ("DEFECT=3", Some("pool-leak")),
    ] {
        let bench = Bench::new();
        load_as(&bench, compile("scanner", &[defect]), "scanner", "370000");
        std::fs::write(bench.folder.join("bad"), "virus").unwrap();
        let program = start(&bench.machine);
        let port = program.connect_port("\\ScannerPort", &[]).unwrap().unwrap();
        std::thread::scope(|scope| {
            // Three scans: two creates and a clean-up.
            let answers = scope.spawn(move || {
                for _ in 0..3 {
                    let asked = port.get_message(64, None).unwrap();
                    assert_eq!(asked.status, NtStatus::SUCCESS);
                    let verdict = u8::from(asked.bytes.starts_with(b"virus"));
                    port.reply(asked.message_id, NtStatus::SUCCESS, &[verdict, 0, 0, 0])
                        .unwrap();
                }
                port.close().unwrap();
            });
            let bad = bench.thread.create_file(&named("\\bad", 1)).unwrap();
            assert_eq!(bad.status, NtStatus::ACCESS_DENIED);
            let good = opened(&bench.thread, &named("\\Docs\\Deep\\Readme.txt", 3));
            let foul = bench.thread.write(good, Some(0), b"a foul thing").unwrap();
            assert_eq!(foul.status, NtStatus::ACCESS_DENIED);
            let read = bench.thread.read(good, None, 10).unwrap();
            assert_eq!(read.data, b"text");
            bench.thread.close(good).unwrap();
            answers.join().unwrap();
        });
        assert_eq!(
            bench.machine.unload_driver("scanner").unwrap(),
            NtStatus::SUCCESS
        );
        let report = bench.end();
        match expected {
            None => assert!(report.findings.is_empty(), "{:?}", rules(&report)),
            Some(rule) => assert!(
                rules(&report).contains(&rule),
                "{defect}: {:?}",
                rules(&report)
            ),
        }
    }
}
