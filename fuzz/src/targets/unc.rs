//! The UNC grammar.

use uncpath::{Form, NotUnc, parse};

use crate::corpus::Seed;

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

pub(super) fn seeds() -> Vec<Seed> {
    [
        r"\Device\Mup\server\share\a\b:stream:$DATA",
        r"\Device\Mup\;LanmanRedirector\;Z:0000000000012345\server\share\a\\b\",
        r"\Device\LanmanRedirector\;Z:0000\server\IPC$\wkssvc",
        r"\??\UNC\server\share\a\b",
        r"\DosDevices\UNC\server\pipe\x",
        r"\\?\UNC\server\MAILSLOT\browse",
        r"\\server\share\..\a\.\b",
    ]
    .into_iter()
    .map(|path| Seed::new(path, wide(path)))
    .collect()
}

/// The parts make up the whole, and each ancestor is a path on the same share, one level deeper than the one before.
pub(super) fn check(input: &[u8]) {
    let path: Vec<u16> = input
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .collect();
    let unc = match parse(&path) {
        Ok(unc) => unc,
        Err(why) => {
            assert_eq!(why == NotUnc::Empty, path.is_empty());
            return;
        }
    };
    assert_eq!(unc.whole(), path);
    assert_eq!([unc.root(), unc.rest()].concat(), path);
    assert!(!unc.server().is_empty() && !unc.share().is_empty());
    assert!(unc.root().ends_with(unc.share()));
    let empty = unc.components().filter(|name| name.is_empty()).count();
    assert!(empty == 0 || (empty == 1 && unc.stream().is_some()));
    assert_eq!(unc.components().count(), unc.depth());
    let _ = unc.share_kind();
    if let Some(stream) = unc.stream() {
        assert!(path.ends_with(stream));
    }

    let (mut level, mut before): (usize, Option<&[u16]>) = (0, None);
    // A path of 32,000 characters has as many ancestors; each is parsed again, so only the first of them here.
    for ancestor in unc.ancestors() {
        assert!(path.starts_with(ancestor) && ancestor.len() < path.len());
        if let Some(before) = before {
            assert!(ancestor.starts_with(before) && ancestor.len() > before.len() + 1);
        }
        if level < 64 {
            let again = parse(ancestor).expect("an ancestor is a path on the same share");
            assert_eq!((again.depth(), again.share()), (level, unc.share()));
            assert_eq!((again.server(), again.form()), (unc.server(), unc.form()));
        }
        before = Some(ancestor);
        level += 1;
    }
    assert_eq!(level, unc.depth());
    assert_eq!(before, unc.parent());
    assert_eq!(level == 0, unc.is_root());
    composed(&unc);
}

/// Server, share and rest written in another spelling are the same path.
fn composed(unc: &uncpath::UncPath<'_>) {
    for (prefix, form) in [(r"\??\UNC\", Form::Nt), (r"\Device\Mup\", Form::Mup)] {
        let separator = [u16::from(b'\\')];
        let prefix: Vec<u16> = prefix.encode_utf16().collect();
        let path = [&prefix, unc.server(), &separator, unc.share(), unc.rest()].concat();
        let again = parse(&path).expect("a path on a share, spelled anew");
        assert_eq!(again.form(), form);
        assert_eq!((again.server(), again.share()), (unc.server(), unc.share()));
        assert_eq!((again.rest(), again.depth()), (unc.rest(), unc.depth()));
        assert_eq!(
            (again.stream(), again.share_kind()),
            (unc.stream(), unc.share_kind())
        );
    }
}
