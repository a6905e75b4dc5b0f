//! Saved data: what is written is read back, and what cannot be read says where and what to do.

mod made_up;

use std::path::Path;

use headroom_harness::report::saved::{self, Saved};

fn message(text: &str) -> String {
    saved::parse(Path::new("run.json"), text)
        .expect_err("it cannot be read")
        .to_string()
}

#[test]
fn a_report_is_read_back_as_it_was() {
    let report = made_up::report(8);
    let json = report.json().unwrap();
    let Saved::Report(read) = saved::parse(Path::new("run.json"), &json).unwrap() else {
        panic!("it is a report");
    };
    assert_eq!(read.json().unwrap(), json);
}

#[test]
fn records_are_read_line_by_line() {
    let run = made_up::always(8);
    let mut lines = String::from("{\"format\":\"headroom records\",\"schema\":1}\n");
    for record in &run.records {
        lines += &(serde_json::to_string(record).unwrap() + "\n");
    }
    lines +=
        "{\"losses\":{\"written\":8,\"overwritten\":0,\"skipped\":0,\"skipped_low_stack\":0}}\n";
    for text in [lines.as_str(), lines.split_once('\n').unwrap().1] {
        let Saved::Records(read) = saved::parse(Path::new("log.jsonl"), text).unwrap() else {
            panic!("they are records");
        };
        assert_eq!(
            serde_json::to_value(&read.records).unwrap(),
            serde_json::to_value(&run.records).unwrap()
        );
        assert_eq!(read.losses.map(|losses| losses.written), Some(8));
    }
    let (whole, _) = lines.split_at(lines.len() - 40);
    let cut = message(whole);
    assert!(
        cut.contains("run.json:10:") && cut.contains("remove its last line"),
        "{cut}"
    );
}

#[test]
fn a_file_that_cannot_be_used_says_where_and_what_to_do() {
    let json = made_up::report(8).json().unwrap();
    let cut = message(&json[..json.len() / 2]);
    assert!(
        cut.contains("cut off") && cut.contains("save or copy it again"),
        "{cut}"
    );
    let line: usize = cut.split(':').nth(1).unwrap().parse().unwrap();
    assert!(line > 100, "{cut}");

    let newer = message(&json.replacen("\"schema\": 1", "\"schema\": 7", 1));
    assert!(
        newer.contains("schema 7") && newer.contains("newer headroom"),
        "{newer}"
    );
    let older = message(
        &json
            .replacen("\"format\": \"headroom report\",", "", 1)
            .replacen("\"schema\": 1,", "", 1),
    );
    assert!(
        older.contains("schema 0") && older.contains("run again"),
        "{older}"
    );

    let changed = message(&json.replacen("STATUS_SUCCESS", "STATUS_SPLENDID", 1));
    assert!(
        changed.contains("STATUS_SPLENDID") && changed.contains("run again"),
        "{changed}"
    );

    for (text, says) in [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("{\"a\": 1}", "nothing that headroom saved"),
        ("[1, 2]", "run.json:1:"),
        ("<html></html>", "this is not JSON"),
        ("sequence,path\n1,x\n", "this is not JSON"),
    ] {
        let message = message(text);
        assert!(
            message.contains(says) && message.contains("run.json"),
            "{text}: {message}"
        );
    }
    let missing = saved::read(Path::new("no/such/file.json"))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("no/such/file.json"), "{missing}");
}
