//! The parser against another one: slow, with copies, by splitting at the backslashes.

use proptest::prelude::*;
use uncpath::{Form, NotUnc, UncPath, parse};

const BACKSLASH: u16 = b'\\' as u16;
const COLON: u16 = b':' as u16;
/// A name in a path has at most this many units: a `UNICODE_STRING`'s length is 16 bits of bytes. An interpreter takes minutes for such a one.
const LONGEST: usize = if cfg!(miri) { 120 } else { 32_767 };

type Name = Vec<u16>;

/// What a path is made of.
#[derive(Debug, PartialEq)]
struct Parts {
    form: Form,
    provider: Option<Name>,
    server: Name,
    share: Name,
    root: Name,
    components: Vec<Name>,
    stream: Option<Name>,
    /// Their lengths: each is a prefix of the path.
    ancestors: Vec<usize>,
}

fn wide(text: &str) -> Name {
    text.encode_utf16().collect()
}

fn is(name: &[u16], text: &str) -> bool {
    String::from_utf16(name).is_ok_and(|name| name.eq_ignore_ascii_case(text))
}

fn join(names: &[Name]) -> Name {
    names.join(&BACKSLASH)
}

fn before_colon(name: &[u16]) -> Name {
    name.split(|&unit| unit == COLON).next().unwrap().to_vec()
}

/// The form, and how many of the names belong to its prefix.
fn form(names: &[Name]) -> Result<(Form, usize), NotUnc> {
    let starts = |texts: &[&str]| {
        names.len() > texts.len()
            && names[1..]
                .iter()
                .zip(texts)
                .all(|(name, text)| is(name, text))
    };
    let known = [
        (Form::Mup, &["Device", "Mup"][..]),
        (Form::Redirector, &["Device", "LanmanRedirector"]),
        (Form::Redirector, &["Device", "WebDavRedirector"]),
        (Form::Nt, &["??", "UNC"]),
        (Form::Nt, &["DosDevices", "UNC"]),
        (Form::Nt, &["GLOBAL??", "UNC"]),
        (Form::Verbatim, &["", "?", "UNC"]),
        (Form::Verbatim, &["", ".", "UNC"]),
    ];
    if let Some((form, texts)) = known.iter().find(|(_, texts)| starts(texts)) {
        return Ok((*form, texts.len() + 1));
    }
    if names.len() < 3 || !names[1].is_empty() {
        return Err(NotUnc::OtherDevice);
    }
    let device = is(&names[2], "?") || is(&names[2], ".");
    if device && names.len() > 3 {
        return Err(NotUnc::OtherDevice);
    }
    Ok((Form::Win32, 2))
}

fn reference(path: &[u16]) -> Result<Parts, NotUnc> {
    match path.first() {
        None => return Err(NotUnc::Empty),
        Some(&BACKSLASH) => {}
        Some(_) => return Err(NotUnc::Relative),
    }
    let names: Vec<Name> = path
        .split(|&unit| unit == BACKSLASH)
        .map(<[u16]>::to_vec)
        .collect();
    let (form, mut at) = form(&names)?;
    let mut provider = None;
    while let Some(name) = names
        .get(at)
        .filter(|name| name.first() == Some(&u16::from(b';')))
    {
        provider.get_or_insert_with(|| name[1..].to_vec());
        at += 1;
    }
    let there = |at: usize| names.get(at).filter(|name| !name.is_empty()).cloned();
    let server = there(at).ok_or(NotUnc::NoServer)?;
    let share = there(at + 1).ok_or(NotUnc::NoShare)?;
    let root = &names[..at + 2];
    let below = &names[at + 2..];
    let last = below.len().saturating_sub(1);
    let full: Vec<usize> = (0..below.len())
        .filter(|&index| !below[index].is_empty())
        .collect();
    let components = full.iter().map(|&index| {
        let name = &below[index];
        if index == last {
            before_colon(name)
        } else {
            name.clone()
        }
    });
    let stream = below.last().and_then(|name| {
        let colon = name.iter().position(|&unit| unit == COLON)?;
        Some(name[colon + 1..].to_vec())
    });
    // The root's, then each name's end: all but the last name's.
    let length = |names: &[Name]| names.iter().map(|name| name.len() + 1).sum::<usize>();
    let root_end = length(root) - 1;
    let ends = below.iter().scan(root_end, |end, name| {
        *end += 1 + name.len();
        Some((*end, name))
    });
    let ends = ends
        .filter(|(_, name)| !name.is_empty())
        .map(|(end, _)| end);
    let ancestors = std::iter::once(root_end)
        .chain(ends)
        .take(full.len())
        .collect();
    Ok(Parts {
        form,
        provider,
        server,
        share,
        root: join(root),
        components: components.collect(),
        stream,
        ancestors,
    })
}

fn parsed(path: &[u16]) -> Result<Parts, NotUnc> {
    let unc: UncPath<'_> = parse(path)?;
    Ok(Parts {
        form: unc.form(),
        provider: unc.provider().map(<[u16]>::to_vec),
        server: unc.server().to_vec(),
        share: unc.share().to_vec(),
        root: unc.root().to_vec(),
        components: unc.components().map(<[u16]>::to_vec).collect(),
        stream: unc.stream().map(<[u16]>::to_vec),
        ancestors: unc
            .ancestors()
            .inspect(|ancestor| assert_eq!(ancestor.as_ptr(), path.as_ptr(), "a prefix"))
            .map(<[u16]>::len)
            .collect(),
    })
}

const PREFIXES: [&str; 17] = [
    "",
    r"\",
    r"\\",
    r"\\?\",
    r"\\.\",
    r"\\?\UNC\",
    r"\\.\UNC\",
    r"\??\UNC",
    r"\??\UNC\",
    r"\DosDevices\UNC\",
    r"\GLOBAL??\UNC\",
    r"\Device\Mup",
    r"\Device\Mup\",
    r"\Device\LanmanRedirector\",
    r"\Device\WebDavRedirector\",
    r"\Device\Mup\;LanmanRedirector\;Z:0000000000012345\",
    r"\Device\HarddiskVolume1\",
];

/// Of these, those that a server's name may follow.
fn share_prefix() -> impl Strategy<Value = &'static str> {
    let ends =
        |prefix: &&str| prefix.ends_with(r"UNC\") || prefix.ends_with(r"r\") || *prefix == r"\\";
    let more = [
        r"\Device\Mup\",
        r"\Device\Mup\;LanmanRedirector\;Z:0000000000012345\",
    ];
    let prefixes: Vec<_> = PREFIXES.into_iter().filter(ends).chain(more).collect();
    prop::sample::select(prefixes)
}

fn unit() -> impl Strategy<Value = u16> {
    prop_oneof![
        4 => Just(BACKSLASH),
        2 => prop_oneof![Just(b':'), Just(b';'), Just(b'?'), Just(b'.')].prop_map(u16::from),
        4 => (b'a'..=b'd').prop_map(u16::from),
        1 => any::<u16>(),
    ]
}

/// A prefix in any case, and any units behind it.
fn path() -> impl Strategy<Value = Name> {
    let rest = prop::collection::vec(unit(), 0..40);
    (prop::sample::select(&PREFIXES[..]), any::<u64>(), rest)
        .prop_map(|(prefix, cases, rest)| [recased(&wide(prefix), cases), rest].concat())
}

/// ASCII letters in the other case, where a bit says so.
fn recased(units: &[u16], cases: u64) -> Name {
    let other = |(index, &unit): (usize, &u16)| match u8::try_from(unit) {
        Ok(letter) if letter.is_ascii_alphabetic() && cases >> (index % 64) & 1 == 1 => unit ^ 0x20,
        _ => unit,
    };
    units.iter().enumerate().map(other).collect()
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9$ ._-]{1,12}".prop_filter("a device", |name| name != "." && name != "?")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 8_000 }))]

    #[test]
    fn the_parser_agrees_with_the_slow_one(path in path()) {
        prop_assert_eq!(parsed(&path), reference(&path));
    }

    #[test]
    fn a_path_that_is_made_of_parts_has_those_parts(
        prefix in share_prefix(),
        server in name(),
        share in name(),
        names in prop::collection::vec(name(), 0..10),
        stream in prop::option::of(name()),
        separators in 1..4_usize,
    ) {
        let between = r"\".repeat(separators);
        let mut text = format!(r"{prefix}{server}\{share}");
        for name in &names {
            text += &format!("{between}{name}");
        }
        if let (Some(stream), false) = (&stream, names.is_empty()) {
            text += &format!(":{stream}");
        }
        let path = wide(&text);
        let unc = parse(&path).unwrap();
        prop_assert_eq!((unc.server(), unc.share()), (&wide(&server)[..], &wide(&share)[..]));
        let expected: Vec<Name> = names.iter().map(|name| wide(name)).collect();
        prop_assert!(unc.components().eq(expected.iter().map(Vec::as_slice)));
        let stream = stream.filter(|_| !names.is_empty());
        prop_assert_eq!(unc.stream().map(<[u16]>::to_vec), stream.map(|stream| wide(&stream)));
        prop_assert_eq!(unc.depth(), names.len());
        prop_assert_eq!(unc.ancestors().count(), names.len());
    }

    /// The root is what it was parsed as, and in another case has the same parts.
    #[test]
    fn a_root_is_its_own_root_in_any_case(path in path(), cases in any::<u64>()) {
        let Ok(unc) = parse(&path) else { return Ok(()) };
        let root = parse(unc.root()).unwrap();
        prop_assert!(root.is_root() && root.root() == unc.root() && root.form() == unc.form());
        let other = recased(unc.root(), cases);
        let other = parse(&other).unwrap();
        prop_assert_eq!((other.form(), other.share_kind()), (unc.form(), unc.share_kind()));
        prop_assert_eq!(other.root().len(), unc.root().len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 30 }))]

    /// As long as a name can be: mostly separators, mostly one name, or anything.
    #[test]
    fn the_longest_paths_agree_too(
        prefix in prop::sample::select(&PREFIXES[..]),
        block in prop::collection::vec(unit(), 1..30),
        short in 0..3_usize,
    ) {
        let mut path = wide(prefix);
        path.extend(block.iter().copied().cycle().take(LONGEST - short - path.len()));
        prop_assert_eq!(parsed(&path), reference(&path));
    }
}
