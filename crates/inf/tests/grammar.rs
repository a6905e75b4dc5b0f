//! The grammar, feature by feature, and what stands in an error.

use inf::{Encoding, ErrorKind, Position};
use proptest::prelude::*;

fn fields(text: &str) -> Vec<Vec<String>> {
    let inf = inf::parse(format!("[s]\n{text}").as_bytes()).unwrap();
    inf.entries("s")
        .map(|entry| {
            let key = entry.key.iter().map(|key| format!("{}=", key.text));
            key.chain(entry.fields.iter().map(|field| field.text.clone()))
                .collect()
        })
        .collect()
}

fn one(text: &str) -> Vec<String> {
    let mut all = fields(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn keys_fields_and_blanks() {
    assert_eq!(one("  a = b , c d ,, e"), ["a=", "b", "c d", "", "e"]);
    assert_eq!(one("HKR,,x,0,a=b"), ["HKR", "", "x", "0", "a=b"]);
    assert_eq!(one("a="), ["a=", ""]);
    assert_eq!(one("a = b = c"), ["a=", "b = c"]);
}

#[test]
fn quotation_marks() {
    assert_eq!(one(r#"a = " b, c ; d ""e"" ""#), ["a=", " b, c ; d \"e\" "]);
    assert_eq!(one(r#"HKR,"I\"%x%,y"#), ["HKR", r"I\%x%", "y"]);
    assert_eq!(one(r#""k" = v"#), ["k=", "v"]);
    assert_eq!(one(r#"a = """#), ["a=", ""]);
}

#[test]
fn comments_and_continued_lines() {
    assert_eq!(fields("; all\n\n a = b ; c\n"), [["a=", "b"]]);
    assert_eq!(one("a = b,\\ ; goes on\n  c"), ["a=", "b", "c"]);
    assert_eq!(
        one("a = \"Some\\\"\\\n,File"),
        ["a=", "Some\\", "File"],
        "as in the documentation"
    );
    assert_eq!(
        one("a = Some\\\\\n,File"),
        ["a=", "Some", "File"],
        "the first backslash is ignored"
    );
    assert_eq!(one(r"a = x\y\z"), ["a=", r"x\y\z"]);
    assert_eq!(one("a = b\r\n"), ["a=", "b"]);
}

#[test]
fn string_tokens() {
    let inf = inf::parse(
        b"[a]\n%k% = %V%, 50%%, %13%\\x, \"q%v%q\", %none%, 5%\n[Strings]\nv = \"%k%, w\"\nk=key\nV = second\n",
    )
    .unwrap();
    let entry = inf.entries("A").next().unwrap();
    assert!(entry.is("KEY"));
    let texts: Vec<_> = entry.fields.iter().map(|field| &*field.text).collect();
    assert_eq!(
        texts,
        ["%k%, w", "50%", "%13%\\x", "q%k%, wq", "%none%", "5%"],
        "replaced once, not looked into, and the first definition counts"
    );
    let undefined: Vec<_> = inf
        .undefined_tokens
        .iter()
        .map(|(at, name)| (at.to_string(), &**name))
        .collect();
    assert_eq!(
        undefined,
        [("2:35".to_owned(), "none"), ("2:43".to_owned(), "")]
    );
}

#[test]
fn sections_of_one_name_are_one() {
    let inf = inf::parse(b"[One]\na=1\n[two]\nb=2\n[ONE] ; again\na=3\n").unwrap();
    assert_eq!(inf.sections.len(), 2);
    let all: Vec<_> = inf.entries("one").map(|entry| entry.text(0)).collect();
    assert_eq!(all, ["1", "3"]);
    assert_eq!(inf.value("one", "A").unwrap().text, "1");
}

#[test]
fn encodings() {
    let text = "[a]\r\nk = \u{e9}\u{20ac}\r\n";
    let utf16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(text.encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    let marked: Vec<u8> = [0xef, 0xbb, 0xbf].into_iter().chain(text.bytes()).collect();
    let ansi = b"[a]\r\nk = \xe9\x80\r\n".to_vec();
    for (bytes, encoding) in [
        (utf16, Encoding::Utf16),
        (marked, Encoding::Utf8Marked),
        (text.as_bytes().to_vec(), Encoding::Utf8),
        (ansi, Encoding::Ansi),
    ] {
        let inf = inf::parse(&bytes).unwrap();
        assert_eq!(inf.encoding, encoding);
        assert_eq!(inf.value("a", "k").unwrap().text, "\u{e9}\u{20ac}");
    }
    assert_eq!(inf::parse(b"[a]\n").unwrap().encoding, Encoding::Ascii);
}

#[test]
fn an_error_says_where_and_what_was_expected() {
    let long = "x".repeat(5000);
    let cases: &[(&[u8], (usize, usize), &str)] = &[
        (b"", (1, 1), "expected a section, such as [Version]"),
        (b"; nothing\n", (1, 1), "expected a section"),
        (b"\n a=b\n[c]", (2, 2), "before the first entry"),
        (b"[a", (1, 3), "expected `]`"),
        (b"[]", (1, 2), "a section's name"),
        (b"[a] b ; c", (1, 5), "not `b`"),
        (b"[a]\nk = \"open", (2, 5), "expected `\"`"),
        (b"[a]\nk = b\\", (2, 6), "expected another line"),
        (b"[a]\nk = \x01", (2, 5), "U+0001"),
        (b"\xff\xfea\0b", (1, 1), "odd number"),
        (b"\xff\xfe\x00\xd8", (1, 1), "surrogate"),
        (b"\xfe\xff\0[", (1, 1), "UTF-16BE"),
    ];
    for (bytes, (line, column), expected) in cases {
        let error = inf::parse(bytes).unwrap_err();
        let (line, column) = (*line, *column);
        assert_eq!(error.at, Position { line, column }, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let error = inf::parse(format!("[{long}]").as_bytes()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::SectionNameTooLong(5000));
    let error = inf::parse(format!("[a]\nk={long}").as_bytes()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::FieldTooLong(5000));
    let error = inf::read(std::path::Path::new("no/such.inf")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no/such.inf:1:1: cannot be read"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = inf::parse(&bytes);
    }

    #[test]
    fn anything_like_an_inf_is_read_or_refused(text in "(\\[(a|Strings|DefaultInstall(\\.NTamd64)?(\\.Services)?)\\]\n|a|=|,|%|\"|\\\\|;|\n| |HKR,|AddService=|0x|1|AddReg=a\n|ServiceType=2\n|StartType=3\n|ServiceBinary=x\n){0,80}") {
        if let Ok(inf) = inf::parse(text.as_bytes()) {
            let _ = inf::minifilter(&inf, inf::Architecture::Amd64, 26_100);
            let _ = inf::check(&inf, inf::Mode::Windows);
        }
    }

    #[test]
    fn a_quoted_value_comes_back(value in "[ -~\u{e9}\u{4e2d}]{0,60}") {
        let text = format!("[s]\nk = \"{}\"\n", value.replace('"', "\"\"").replace('%', "%%"));
        let inf = inf::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(&inf.value("s", "k").unwrap().text, &value);
    }
}
