//! The grammar by example, and by properties that hold for every path.

use proptest::prelude::*;
use uncpath::{Form, NotUnc, ShareKind, UncPath, parse};

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

fn text(units: &[u16]) -> String {
    String::from_utf16(units).unwrap()
}

#[track_caller]
fn with<T>(path: &str, look: impl FnOnce(UncPath<'_>) -> T) -> T {
    look(parse(&wide(path)).unwrap_or_else(|why| panic!("{path}: {why:?}")))
}

fn ancestors(path: &str) -> Vec<String> {
    with(path, |path| path.ancestors().map(text).collect())
}

#[test]
fn each_spelling_leads_to_the_same_share() {
    for (path, form) in [
        (r"\Device\Mup\server\share\a\b:stream", Form::Mup),
        (
            r"\device\MUP\;LanmanRedirector\;Z:0000000000012345\server\share\a\b:stream",
            Form::Mup,
        ),
        (
            r"\Device\LanmanRedirector\;Z:0000\server\share\a\b:stream",
            Form::Redirector,
        ),
        (
            r"\Device\LanmanRedirector\server\share\a\b:stream",
            Form::Redirector,
        ),
        (r"\??\UNC\server\share\a\b:stream", Form::Nt),
        (r"\DosDevices\UNC\server\share\a\b:stream", Form::Nt),
        (r"\\?\UNC\server\share\a\b:stream", Form::Verbatim),
        (r"\\server\share\a\b:stream", Form::Win32),
    ] {
        with(path, |unc| {
            assert_eq!(unc.form(), form, "{path}");
            assert_eq!(
                (text(unc.server()), text(unc.share())),
                ("server".into(), "share".into()),
                "{path}"
            );
            assert_eq!(text(unc.rest()), r"\a\b:stream", "{path}");
            assert_eq!(
                unc.components().map(text).collect::<Vec<_>>(),
                ["a", "b"],
                "{path}"
            );
            assert_eq!(unc.stream().map(text).as_deref(), Some("stream"), "{path}");
            assert!(text(unc.root()).ends_with(r"\server\share"), "{path}");
            assert_eq!((unc.depth(), unc.is_root()), (2, false), "{path}");
        });
    }
}

#[test]
fn the_provider_in_front_of_the_server_is_named() {
    with(r"\Device\Mup\;LanmanRedirector\;Z:0\server\share", |unc| {
        assert_eq!(
            unc.provider().map(text).as_deref(),
            Some("LanmanRedirector")
        );
    });
    with(r"\Device\Mup\server\share", |unc| {
        assert_eq!(unc.provider(), None);
    });
}

#[test]
fn what_is_no_path_on_a_share_says_why() {
    for (path, why) in [
        ("", NotUnc::Empty),
        (r"a\b", NotUnc::Relative),
        (r"C:\a", NotUnc::Relative),
        (r"\", NotUnc::OtherDevice),
        (r"\??\C:\a", NotUnc::OtherDevice),
        (r"\\?\C:\a", NotUnc::OtherDevice),
        (r"\\.\pipe\x", NotUnc::OtherDevice),
        (r"\Device\HarddiskVolume1\a", NotUnc::OtherDevice),
        (r"\Device\Mupper\server\share", NotUnc::OtherDevice),
        (r"\Device\Mup", NotUnc::NoServer),
        (r"\Device\Mup\", NotUnc::NoServer),
        (r"\Device\Mup\;LanmanRedirector", NotUnc::NoServer),
        (r"\Device\Mup\;LanmanRedirector\;Z:0", NotUnc::NoServer),
        (r"\Device\Mup\\server\share", NotUnc::NoServer),
        (r"\\", NotUnc::NoServer),
        (r"\??\UNC", NotUnc::NoServer),
        (r"\\server", NotUnc::NoShare),
        (r"\\server\", NotUnc::NoShare),
        (r"\Device\Mup\server\\share", NotUnc::NoShare),
    ] {
        assert_eq!(parse(&wide(path)).unwrap_err(), why, "{path}");
    }
}

#[test]
fn ancestors_go_from_the_share_to_the_parent() {
    assert_eq!(
        ancestors(r"\Device\Mup\s\h\a\bb\c:x"),
        [
            r"\Device\Mup\s\h",
            r"\Device\Mup\s\h\a",
            r"\Device\Mup\s\h\a\bb"
        ]
    );
    assert_eq!(ancestors(r"\\s\h\a"), [r"\\s\h"]);
    assert_eq!(
        ancestors(r"\\s\h\a\"),
        [r"\\s\h"],
        "a trailing backslash makes no level"
    );
    assert_eq!(
        ancestors(r"\\s\h\a\\b"),
        [r"\\s\h", r"\\s\h\a"],
        "nor do two of them"
    );
    assert_eq!(ancestors(r"\\s\h\:x"), [r"\\s\h"], "a stream of the root");
}

#[test]
fn the_root_has_no_ancestor() {
    for path in [r"\\s\h", r"\\s\h\", r"\\s\h\\"] {
        assert!(ancestors(path).is_empty(), "{path}");
        with(path, |unc| {
            assert!(
                unc.is_root() && unc.parent().is_none() && unc.depth() == 0,
                "{path}"
            );
        });
    }
}

#[test]
fn shares_that_have_no_directories_are_known() {
    for (path, kind) in [
        (r"\Device\Mup\s\IPC$", ShareKind::Ipc),
        (r"\Device\Mup\s\ipc$\wkssvc", ShareKind::Ipc),
        (r"\Device\Mup\s\pipe\wkssvc", ShareKind::Pipe),
        (r"\Device\Mup\*\MAILSLOT\browse", ShareKind::Mailslot),
        (r"\Device\Mup\s\pipes\x", ShareKind::Disk),
    ] {
        with(path, |unc| assert_eq!(unc.share_kind(), kind, "{path}"));
    }
}

#[test]
fn a_stream_keeps_its_type_and_belongs_to_the_last_name() {
    with(r"\\s\h\a:b\c:d:$DATA", |unc| {
        assert_eq!(unc.stream().map(text).as_deref(), Some("d:$DATA"));
        assert_eq!(unc.components().map(text).collect::<Vec<_>>(), ["a:b", "c"]);
    });
    with(r"\\s\h\a", |unc| assert_eq!(unc.stream(), None));
}

/// Units that the grammar looks at, mixed with any others.
fn unit() -> impl Strategy<Value = u16> {
    prop_oneof![
        4 => Just(u16::from(b'\\')),
        2 => prop_oneof![Just(b':'), Just(b';'), Just(b'?'), Just(b'.'), Just(b'$')].prop_map(u16::from),
        4 => (b'a'..=b'e').prop_map(u16::from),
        1 => any::<u16>(),
    ]
}

fn path() -> impl Strategy<Value = Vec<u16>> {
    let prefix = prop_oneof![
        Just(""),
        Just(r"\\"),
        Just(r"\Device\Mup\"),
        Just(r"\??\UNC\"),
        Just(r"\\?\UNC\"),
        Just(r"\Device\Mup\s\h"),
        Just(r"\Device\LanmanRedirector\;Z:0\s\h\"),
    ];
    (prefix, prop::collection::vec(unit(), 0..40))
        .prop_map(|(prefix, rest)| [wide(prefix), rest].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn any_units_parse_or_say_why(path in path()) {
        let Ok(unc) = parse(&path) else { return Ok(()) };
        prop_assert_eq!([unc.root(), unc.rest()].concat(), path.clone(), "the parts make up the whole");
        prop_assert!(!unc.server().is_empty() && !unc.share().is_empty());
        prop_assert!(unc.root().ends_with(unc.share()));

        let ancestors: Vec<&[u16]> = unc.ancestors().collect();
        prop_assert_eq!(ancestors.is_empty(), unc.is_root());
        prop_assert_eq!(ancestors.first().copied(), (!unc.is_root()).then(|| unc.root()));
        prop_assert_eq!(ancestors.last().copied(), unc.parent());
        prop_assert_eq!(ancestors.len(), unc.depth());
        for pair in ancestors.windows(2) {
            prop_assert!(pair[1].starts_with(pair[0]) && pair[1].len() > pair[0].len() + 1);
        }
        for (level, ancestor) in ancestors.iter().enumerate() {
            prop_assert!(path.starts_with(ancestor) && ancestor.len() < path.len());
            let again = parse(ancestor).expect("an ancestor is a path on the same share");
            prop_assert_eq!(again.depth(), level);
            prop_assert_eq!(again.share(), unc.share());
        }
    }
}
