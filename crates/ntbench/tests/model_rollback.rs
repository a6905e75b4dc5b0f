//! What is done to files in a transaction: undone by a rollback, kept by a commit, with a filter on the way.

mod model;
mod volume;

use model::{compile, lines, rules, spec};
use ntbench::NtStatus;
use ntbench::wire::CreateFile;
use volume::{CREATE, DELETE, OPEN, OVERWRITE, READ, SYNCHRONIZE, VolumeBench, WRITE};

const DIRECTORY: u32 = 1;
const DELETE_ON_CLOSE: u32 = 0x1000;

/// Everything in the volume's folder, by name, with what it holds.
fn all(bench: &VolumeBench) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = std::fs::read_dir(&bench.folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let held = std::fs::read_to_string(entry.path()).unwrap_or("folder".to_owned());
            (entry.file_name().into_string().unwrap(), held)
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_rollback_undoes_what_was_done_to_files_and_a_commit_keeps_it() {
    for commit in [false, true] {
        let bench = VolumeBench::new();
        for (name, text) in [("b.txt", "bee"), ("c.txt", "sea"), ("d.txt", "dee")] {
            std::fs::write(bench.folder.join(name), text).unwrap();
        }
        let image = compile("census", &[]);
        let loaded = bench.machine.load_driver(spec(image, "370000")).unwrap();
        assert_eq!(loaded.status, NtStatus::SUCCESS);
        let before = all(&bench);
        let transaction = bench.thread.create_transaction().unwrap().handle;
        let open = |name: &str, disposition: u32, options: u32| {
            let create = CreateFile {
                name: format!("\\??\\C:\\{name}"),
                access: READ | WRITE | DELETE | SYNCHRONIZE,
                disposition,
                options: options | 0x20,
                transaction,
                ..CreateFile::default()
            };
            bench.create(&create).unwrap().0
        };
        // Written to twice, and cut.
        let file = open("a.txt", OPEN, 0);
        for text in [&b"other"[..], b"more"] {
            assert_eq!(
                bench.thread.write(file, Some(2), text).unwrap().status,
                NtStatus::SUCCESS
            );
        }
        assert_eq!(bench.set(file, 20, &3_i64.to_le_bytes()), NtStatus::SUCCESS);
        bench.close(file);
        // Replaced and renamed; written to and deleted.
        let file = open("b.txt", OVERWRITE, 0);
        bench.thread.write(file, Some(0), b"new").unwrap();
        let renamed = bench.thread.rename(file, "e.txt", 0, false).unwrap();
        assert_eq!(renamed.status, NtStatus::SUCCESS);
        bench.close(file);
        let file = open("c.txt", OPEN, DELETE_ON_CLOSE);
        bench.thread.write(file, Some(0), b"xxx").unwrap();
        bench.close(file);
        // Made, and linked.
        bench.close(open("made", CREATE, 0));
        bench.close(open("shelf", CREATE, DIRECTORY));
        let file = open("d.txt", OPEN, 0);
        let linked = bench.thread.hard_link(file, "link", 0, false).unwrap();
        assert_eq!(linked.status, NtStatus::SUCCESS);
        bench.close(file);

        // Everybody sees it meanwhile.
        let after = all(&bench);
        let text = |name: &str, held: &str| (name.to_owned(), held.to_owned());
        assert_eq!(
            after,
            [
                text("Folder", "folder"),
                text("a.txt", "tem"),
                text("d.txt", "dee"),
                text("e.txt", "new"),
                text("link", "dee"),
                text("made", ""),
                text("shelf", "folder"),
            ]
        );
        let seen = bench.machine.trace().unwrap();
        assert!(lines(&seen).contains(&"pre IRP_MJ_WRITE offset=2 length=5 paging=0 mdl=0"));
        let ended = bench.thread.end_transaction(transaction, commit).unwrap();
        assert_eq!(ended.status, NtStatus::SUCCESS);
        assert_eq!(all(&bench), if commit { after } else { before });
        assert_eq!(rules(&bench.machine.shutdown().unwrap()), [""; 0]);
    }
}
