//! A filter that swaps buffers, and defects planted in it.

mod model;

use std::time::Duration;

use model::lines;
use model::work::{README, found, loaded, named, opened};
use ntbench::NtStatus;
use ntbench::wire::MachineConfig;

#[test]
fn a_swapped_buffer_reaches_the_disk_and_the_program_its_own() {
    for raised in [false, true] {
        let bench = loaded(
            "swapper",
            &[],
            MachineConfig {
                raised_completions: raised,
                ..MachineConfig::default()
            },
        );
        let file = opened(&bench.thread, &named(README, 3));
        let written = bench.thread.write(file, Some(0), b"secret").unwrap();
        assert_eq!(
            (written.status, written.information),
            (NtStatus::SUCCESS, 6)
        );
        let disk = std::fs::read(bench.folder.join("Docs/Deep/Readme.txt")).unwrap();
        let inverted: Vec<u8> = b"secret".iter().map(|byte| !byte).collect();
        assert_eq!(disk, inverted);
        // A file object's first read is an IRP's; fast I/O comes only where something is cached.
        bench.thread.close(file).unwrap();
        let file = opened(&bench.thread, &named(README, 3));
        let read = bench.thread.read(file, Some(0), 100).unwrap();
        assert_eq!(
            (read.status, &*read.data),
            (NtStatus::SUCCESS, &b"secret"[..])
        );
        let trace = bench.trace();
        let irql = if raised { 2 } else { 0 };
        assert_eq!(
            lines(&trace),
            [
                format!("post irql={irql} status=00000000 mine=0"),
                "safe irql=0 lock=00000000".to_owned()
            ]
        );
        let end = bench.thread.read(file, Some(6), 1).unwrap();
        assert_eq!(end.status, NtStatus::END_OF_FILE);
        bench.thread.close(file).unwrap();
        assert!(found(bench, "swapper").is_empty());
    }
}

#[test]
fn defects_of_a_swapper_are_found() {
    const NEVER_COMPLETED: &str = "DEFECT=4";
    let run = |defect: &str| {
        let bench = loaded("swapper", &[defect], MachineConfig::default());
        let file = opened(&bench.thread, &named(README, 3));
        if defect == NEVER_COMPLETED {
            bench.machine.set_time_limit(Duration::from_secs(1));
        }
        let read = bench.thread.read(file, Some(0), 100);
        (bench, read)
    };
    let (bench, read) = run("DEFECT=1");
    // The change does not count: the program gets what is on the disk, inverted by what was never filled in.
    assert!(read.is_ok());
    assert!(found(bench, "swapper").contains(&"changed-without-dirty".to_owned()));
    let (bench, _) = run("DEFECT=2");
    assert_eq!(found(bench, "swapper"), ["pool-leak"]);
    let (bench, read) = run("DEFECT=3");
    assert!(read.is_ok());
    assert_eq!(found(bench, "swapper"), ["swapped-mdl-freed"]);
    let (_bench, read) = run(NEVER_COMPLETED);
    assert!(
        matches!(read, Err(ntbench::MachineError::TimeLimit { .. })),
        "{read:?}"
    );
}
