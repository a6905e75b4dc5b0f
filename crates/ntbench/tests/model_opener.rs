//! A filter that opens the parent of what is created: below itself, from the top, pended, denied, and when it forgets.

mod model;

use model::{Bench, bug_check, callbacks, compile, lines, open, rules};
use ntbench::NtStatus;
use ntbench::wire::{CreateFile, FaultRule, MachineConfig, TraceEvent, When};

#[test]
fn below_opens_are_not_seen_by_the_filter_itself() {
    let bench = Bench::new();
    assert_eq!(bench.load(compile("opener", &[])), NtStatus::SUCCESS);
    assert_eq!(bench.open("\\docs\\deep\\readme.txt"), NtStatus::SUCCESS);
    let trace = bench.trace();
    assert_eq!(
        lines(&trace),
        [
            "normalized \\Device\\Mup\\fs\\data\\Docs\\Deep\\Readme.txt",
            "parent \\Device\\Mup\\fs\\data\\Docs\\Deep depth=0 status=00000000 acknowledged=0",
            "cleanup depth=1 kind=6f1e5ab2",
            "tag 00000000 attributes=10 tag=0",
        ]
    );
    assert_eq!(callbacks(&trace).len(), 1);
    assert_eq!(
        bench.machine.unload_driver("opener").unwrap(),
        NtStatus::SUCCESS
    );
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn a_lower_filter_sees_the_opens_of_a_higher_one_but_not_the_other_way_round() {
    let bench = Bench::new();
    assert_eq!(
        bench.load_at(compile("opener", &[]), "370000"),
        NtStatus::SUCCESS
    );
    assert_eq!(
        bench.load_at(compile("logger", &["DEFECT=0"]), "360000.5"),
        NtStatus::SUCCESS
    );
    bench.trace();
    assert_eq!(bench.open("\\Docs\\Deep"), NtStatus::SUCCESS);
    let trace = bench.trace();
    let order: Vec<(&str, &str, u32)> = callbacks(&trace)
        .iter()
        .map(|event| (&*event.filter, &*event.phase, event.nest))
        .collect();
    assert_eq!(
        order,
        [
            ("opener", "pre", 1),
            ("logger", "pre", 2),
            ("logger", "post", 2),
            ("logger", "pre", 1),
            ("logger", "post", 1)
        ]
    );
    assert_eq!(
        bench.machine.unload_driver("opener").unwrap(),
        NtStatus::SUCCESS
    );
    assert_eq!(bench.open("\\Docs\\Deep"), NtStatus::SUCCESS);
    assert!(bench.end().findings.is_empty());
}

/// Makes a path of that many components; gives its name below the share.
fn deep(bench: &Bench, depth: usize) -> String {
    let path: Vec<String> = (1..=depth).map(|index| format!("d{index}")).collect();
    std::fs::create_dir_all(bench.folder.join(path.join("/"))).unwrap();
    format!("\\{}", path.join("\\"))
}

#[test]
fn opens_from_the_top_nest_on_one_thread_and_are_told_apart() {
    let bench = Bench::new();
    assert_eq!(bench.load(compile("opener", &["TOP=1"])), NtStatus::SUCCESS);
    let name = deep(&bench, 5);
    assert_eq!(bench.open(&name), NtStatus::SUCCESS);
    let trace = bench.trace();
    let nests: Vec<u32> = callbacks(&trace).iter().map(|event| event.nest).collect();
    assert_eq!(nests, [1, 2, 3, 4, 5]);
    let left: Vec<u64> = callbacks(&trace)
        .iter()
        .map(|event| event.remaining)
        .collect();
    let steps: Vec<u64> = left.windows(2).map(|pair| pair[0] - pair[1]).collect();
    assert!(
        steps.iter().all(|step| *step == steps[0] && *step > 0x600),
        "{steps:x?}"
    );
    let parents: Vec<&str> = lines(&trace)
        .into_iter()
        .filter(|line| line.starts_with("parent"))
        .collect();
    assert_eq!(parents.len(), 4);
    // The last one opens the share's root, whose create has no parent to open and looks at no parameter.
    assert!(
        parents[0].ends_with("\\d1 depth=3 status=00000000 acknowledged=0"),
        "{parents:?}"
    );
    assert!(
        parents[3].ends_with("\\d4 depth=0 status=00000000 acknowledged=1"),
        "{parents:?}"
    );
    assert_eq!(
        bench.machine.unload_driver("opener").unwrap(),
        NtStatus::SUCCESS
    );
    assert!(bench.end().findings.is_empty());
}

#[test]
fn nested_creates_exhaust_an_ordinary_stack() {
    let bench = Bench::new();
    bench.load(compile("opener", &["TOP=1"]));
    let name = format!("\\??\\UNC\\fs\\data{}", deep(&bench, 40));
    let create = CreateFile {
        name,
        ..CreateFile::default()
    };
    let (code, first, text) = bug_check(bench.thread.create_file(&create));
    assert_eq!((code, first), (0x7F, 8), "{text}");
}

#[test]
fn pended_and_denied_creates() {
    let bench = Bench::new();
    assert_eq!(
        bench.load(compile("opener", &["PEND=1"])),
        NtStatus::SUCCESS
    );
    assert_eq!(bench.open("\\Docs\\Deep"), NtStatus::SUCCESS);
    assert_eq!(bench.open("\\Docs\\none"), NtStatus::OBJECT_NAME_NOT_FOUND);
    assert_eq!(
        bench.machine.unload_driver("opener").unwrap(),
        NtStatus::SUCCESS
    );
    assert_eq!(
        bench.load(compile("opener", &["DENY=1"])),
        NtStatus::SUCCESS
    );
    assert_eq!(bench.open("\\Docs\\Deep"), NtStatus::ACCESS_DENIED);
    assert_eq!(
        bench.machine.unload_driver("opener").unwrap(),
        NtStatus::SUCCESS
    );
    assert_eq!(bench.open("\\Docs\\Deep"), NtStatus::SUCCESS);
    assert!(bench.end().findings.is_empty());
}

#[test]
fn creates_pended_to_a_worker_go_on_when_it_completes_them() {
    let bench = Bench::new();
    assert_eq!(
        bench.load(compile("opener", &["PEND=2"])),
        NtStatus::SUCCESS
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let thread = model::start(&bench.machine);
            scope.spawn(move || {
                for _ in 0..50 {
                    assert_eq!(
                        open(&thread, "\\??\\UNC\\fs\\data\\Docs\\Deep"),
                        NtStatus::SUCCESS
                    );
                }
            });
        }
    });
    let trace = bench.trace();
    assert_eq!(
        lines(&trace)
            .iter()
            .filter(|line| **line == "later mode=1")
            .count(),
        200
    );
    let pid = bench.thread.info().pid;
    assert!(
        callbacks(&trace)
            .iter()
            .any(|event| event.phase == "work item" && event.tid < pid)
    );
    assert_eq!(
        bench.machine.unload_driver("opener").unwrap(),
        NtStatus::SUCCESS
    );
    let report = bench.end();
    assert!(report.findings.is_empty(), "{:?}", report.findings);

    let bench = Bench::new();
    bench.load(compile("opener", &["PEND=3"]));
    assert_eq!(bench.open("\\Docs\\Deep"), NtStatus::SUCCESS);
    assert_eq!(
        bench.machine.unload_driver("opener").unwrap(),
        NtStatus::SUCCESS
    );
    assert_eq!(rules(&bench.end()), ["fltmgr-leak"]);
}

#[test]
fn what_lies_below_a_pending_filter_runs_on_the_worker_and_the_way_up_on_the_own_thread() {
    let bench = Bench::new();
    assert_eq!(
        bench.load_at(compile("opener", &["PEND=2"]), "370000"),
        NtStatus::SUCCESS
    );
    assert_eq!(
        bench.load_at(compile("logger", &["DEFECT=0"]), "360000"),
        NtStatus::SUCCESS
    );
    bench.trace();
    // The share's root: its parent is not opened, so that each filter is called once.
    for _ in 0..20 {
        assert_eq!(bench.open(""), NtStatus::SUCCESS);
    }
    let trace = bench.trace();
    let tid = bench.thread.info().tid;
    let calls: Vec<(&str, bool)> = callbacks(&trace)
        .iter()
        .filter(|event| event.filter == "logger")
        .map(|event| (&*event.phase, event.tid == tid))
        .collect();
    assert_eq!(calls.len(), 40);
    assert!(
        calls.iter().all(|(phase, own)| *phase == "pre" || *own),
        "{calls:?}"
    );
    // A completion before the callback has returned is gone on with by the own thread: which it is, is a race.
    assert!(calls.contains(&("pre", false)), "{calls:?}");
    assert_eq!(
        bench.machine.unload_driver("opener").unwrap(),
        NtStatus::SUCCESS
    );
    assert!(bench.end().findings.is_empty());
}

#[test]
fn what_a_filter_forgets_is_found() {
    for (leak, expected) in [
        (1, "handle-leak"),
        (2, "object-reference-leak"),
        (3, "fltmgr-leak"),
        (4, "handle-in-user-process"),
    ] {
        let bench = Bench::new();
        bench.load(compile("opener", &[&format!("LEAK={leak}")]));
        assert_eq!(bench.open("\\Docs\\Deep"), NtStatus::SUCCESS);
        assert_eq!(
            bench.machine.unload_driver("opener").unwrap(),
            NtStatus::SUCCESS
        );
        let report = bench.end();
        let found = rules(&report);
        assert!(
            !found.is_empty() && found.iter().all(|rule| *rule == expected),
            "leak {leak}: {:?}",
            report.findings
        );
    }
}

#[test]
fn forced_failures_leave_nothing_behind() {
    for call in [
        "FltRegisterFilter",
        "FltStartFiltering",
        "FltGetFileNameInformation",
        "FltAllocateExtraCreateParameterList",
        "FltAllocateExtraCreateParameter",
        "FltCreateFileEx2",
        "FltQueryInformationFile",
    ] {
        let status = NtStatus::INSUFFICIENT_RESOURCES;
        let faults = vec![FaultRule {
            call: call.to_owned(),
            status,
            when: When::Nth(1),
        }];
        let bench = Bench::with(MachineConfig {
            faults,
            ..MachineConfig::default()
        });
        let loaded = bench.load(compile("opener", &[]));
        assert_eq!(bench.open("\\Docs\\Deep"), NtStatus::SUCCESS, "{call}");
        if loaded.is_success() {
            assert_eq!(
                bench.machine.unload_driver("opener").unwrap(),
                NtStatus::SUCCESS
            );
        } else {
            assert_eq!(loaded, status, "{call}");
        }
        let report = bench.end();
        assert!(report.findings.is_empty(), "{call}: {:?}", report.findings);
        assert_eq!(report.faults[0].failed, 1, "{call}");
    }
}

#[test]
fn a_dfs_referral_opens_ipc_inside_the_outer_query() {
    let snapshot_at = vec!["nt!KiSwapContext".to_owned()];
    let bench = Bench::with(MachineConfig {
        snapshot_at,
        ..MachineConfig::default()
    });
    assert_eq!(
        bench.load(compile("logger", &["DEFECT=0"])),
        NtStatus::SUCCESS
    );
    bench.trace();
    let name = "\\??\\UNC\\corp\\dfs\\eng\\Deep\\Readme.txt";
    let done = bench.thread.query_attributes(name).unwrap();
    assert_eq!((done.status, done.attributes), (NtStatus::SUCCESS, 0x20));
    let trace = bench.trace();
    let seen: Vec<(&str, &str, u32)> = callbacks(&trace)
        .iter()
        .map(|event| (&*event.phase, &*event.path, event.nest))
        .collect();
    assert_eq!(
        seen,
        [
            ("pre", "\\Device\\Mup\\corp\\dfs\\eng\\Deep\\Readme.txt", 1),
            ("pre", "\\Device\\Mup\\corp\\IPC$", 2),
            ("post", "\\Device\\Mup\\corp\\IPC$", 2),
            ("post", "\\Device\\Mup\\corp\\dfs\\eng\\Deep\\Readme.txt", 1),
        ]
    );
    let listings: Vec<_> = trace
        .events
        .iter()
        .filter_map(|event| match event {
            TraceEvent::Snapshot(listing) => Some(listing),
            _ => None,
        })
        .collect();
    // Once for the connection to IPC$, once for the target's server.
    assert_eq!(listings.len(), 2);
    let inner = &listings[0];
    let expected = ntbench::cost::server2008_dfs();
    let frames = &inner.frames;
    let mut compared = 0;
    for pair in expected.windows(2) {
        let (newer, older) = (&pair[0], &pair[1]);
        if newer.gap || newer.frame.symbol == "nt!KiServiceLinkage" {
            continue;
        }
        let function = |symbol: &str| symbol.split('+').next().unwrap_or("").to_owned();
        let found = frames.windows(2).find(|frames| {
            function(&frames[0].symbol) == function(newer.frame.symbol)
                && function(&frames[1].symbol) == function(older.frame.symbol)
        });
        let Some(found) = found else { continue };
        if let Some(bytes) = found[0].bytes_to_older {
            assert_eq!(
                bytes,
                u64::from(newer.frame.bytes),
                "{}",
                newer.frame.symbol
            );
            compared += 1;
        }
    }
    assert!(
        compared >= 36,
        "only {compared} of the listing's pairs were found: {frames:#?}"
    );

    // The second query finds the referral and the connections there.
    assert_eq!(
        bench.thread.query_attributes(name).unwrap().status,
        NtStatus::SUCCESS
    );
    let trace = bench.trace();
    assert_eq!(callbacks(&trace).len(), 2);
    assert_eq!(
        open(&bench.thread, "\\??\\UNC\\corp\\dfs\\other"),
        NtStatus::OBJECT_NAME_NOT_FOUND
    );
}

#[test]
fn a_refused_expansion_fails_the_referral_and_the_next_open_tries_again() {
    let faults = vec![FaultRule {
        call: "KeExpandKernelStackAndCalloutEx".to_owned(),
        status: NtStatus::NO_MEMORY,
        when: When::Nth(1),
    }];
    let bench = Bench::with(MachineConfig {
        faults,
        ..MachineConfig::default()
    });
    let name = "\\??\\UNC\\corp\\dfs\\eng\\Deep";
    assert_eq!(open(&bench.thread, name), NtStatus::INSUFFICIENT_RESOURCES);
    assert_eq!(open(&bench.thread, name), NtStatus::SUCCESS);
}
