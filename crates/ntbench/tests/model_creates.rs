//! What a create asks of a filter that keeps an oplock: by its key, for an oplock of its own.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;
mod volume;
mod warden;

use model::until_waits;
use ntbench::NtStatus;
use ntbench::wire::CreateFile;
use volume::{READ, SYNCHRONIZE, WRITE};
use warden::{
    CANNOT_BREAK, CHECK, FILTER, LOOK, Mode, NOT_GRANTED, READ_WRITE, REQUIRING, RESERVE, Warden,
};

#[test]
fn a_key_is_taken_from_either_extra_parameter_if_it_is_the_files_own() {
    let warden = Warden::new();
    let first = warden.open(READ, 0).unwrap();
    let key = |key| Mode {
        flags: 2,
        key,
        ..CHECK
    };
    // The first file has none.
    warden.mode(first, key(1));
    warden.open(READ, 0).unwrap();
    assert_eq!(
        warden.lines(),
        ["IRP_MJ_CREATE 0 00000000", "like the first 0"]
    );
    warden.end();
    // The old parameter's, the new one's for the file, and the new one's for its folder alone.
    for (mine, others) in [(1, "1 1 0"), (2, "1 1 0"), (3, "0 0 0")] {
        let warden = Warden::new();
        let opener = warden.open(LOOK, 0).unwrap();
        let answers = [1, 2, 3].map(|number| {
            warden.mode(
                opener,
                Mode {
                    first: 1,
                    ..key(mine)
                },
            );
            let first = warden.open(READ, 0).unwrap();
            warden.mode(opener, key(number));
            let second = warden.open(READ, 0).unwrap();
            let seen = warden.lines();
            warden.bench.close(second);
            warden.bench.close(first);
            let answer = seen.last().unwrap().strip_prefix("like the first ");
            answer.unwrap().to_owned()
        });
        assert_eq!(answers.join(" "), others, "{mine}");
        warden.end();
    }
}

#[test]
fn a_create_reserves_a_filter_oplock_until_its_handle_asks() {
    let warden = Warden::new();
    let (bench, breaker) = (&warden.bench, &warden.breaker);
    let first = warden.open(LOOK, RESERVE).unwrap();
    assert_eq!(
        warden.lines(),
        ["IRP_MJ_CREATE 0 00000000", "asked 4 00000000 held=1"]
    );
    // Not for who wants more, or comes second.
    assert_eq!(warden.open(READ, RESERVE), Err(NOT_GRANTED));
    assert_eq!(warden.open(LOOK, RESERVE), Err(NOT_GRANTED));
    std::thread::scope(|scope| {
        warden.lines();
        let held = scope.spawn(|| warden.holder.fs_control(first, FILTER, &[], 0).unwrap());
        let line = "fsctrl 2 held=1 handles=0";
        model::until(&bench.machine, line, |told| told == line);
        // Who reads does not disturb it, who writes waits until the handle is closed.
        let reader = warden.open(READ, 0).unwrap();
        assert!(!held.is_finished());
        let writes = scope.spawn(|| {
            let create = CreateFile {
                name: r"\??\C:\a.txt".to_owned(),
                access: WRITE | SYNCHRONIZE,
                ..CreateFile::default()
            };
            breaker.create_file(&create).unwrap().status
        });
        assert_eq!(held.join().unwrap().status, NtStatus::SUCCESS);
        until_waits(&bench.machine, breaker);
        assert!(!writes.is_finished());
        bench.close(first);
        assert_eq!(writes.join().unwrap(), NtStatus::SUCCESS);
        bench.close(reader);
    });
    warden.end();
}

#[test]
fn a_create_that_requires_an_oplock_breaks_nobodys() {
    let warden = Warden::new();
    let first = warden.open(READ | WRITE, REQUIRING).unwrap();
    assert_eq!(
        warden.lines(),
        ["IRP_MJ_CREATE 0 00000000", "asked 4 00000000 held=1"]
    );
    std::thread::scope(|scope| {
        let held = warden.hold(scope, first, READ_WRITE);
        warden.lines();
        assert_eq!(warden.open(READ, REQUIRING), Err(CANNOT_BREAK));
        assert_eq!(warden.lines(), ["IRP_MJ_CREATE 4 c0000909"]);
        assert!(!held.is_finished());
        warden.bench.close(first);
        assert_eq!(held.join().unwrap().status, NtStatus::OPLOCK_HANDLE_CLOSED);
    });
    // One whose create fails later is taken back.
    let looker = warden.open(LOOK, 0).unwrap();
    warden.mode(looker, Mode { flags: 4, ..CHECK });
    warden.open(READ, REQUIRING).unwrap();
    let seen = warden.lines();
    assert_eq!(seen[2..], ["asked 4 00000000 held=1", "taken back, held=0"]);
    warden.end();
}
