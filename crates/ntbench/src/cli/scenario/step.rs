//! One step of a scenario file: which fields each operation has, and what becomes of them.

mod act;

use ntbench::NtStatus;
use serde::Deserialize;
use toml::Spanned;

use super::file::{Mistake, place};
use super::model::Step;
use super::names::{self, Words};
use crate::cli::hex;

/// A step as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Raw {
    r#do: Spanned<String>,
    path: Option<Spanned<String>>,
    file: Option<Spanned<String>>,
    thread: Option<Spanned<String>>,
    access: Option<Spanned<OneOrMore>>,
    share: Option<Spanned<OneOrMore>>,
    disposition: Option<Spanned<String>>,
    options: Option<Spanned<OneOrMore>>,
    attributes: Option<Spanned<OneOrMore>>,
    offset: Option<Spanned<i64>>,
    length: Option<Spanned<u32>>,
    text: Option<Spanned<String>>,
    hex: Option<Spanned<String>>,
    class: Option<Spanned<Word>>,
    code: Option<Spanned<Word>>,
    output: Option<Spanned<u32>>,
    pattern: Option<Spanned<String>>,
    to: Option<Spanned<String>>,
    replace: Option<Spanned<bool>>,
    relative: Option<Spanned<bool>>,
    tag: Option<Spanned<u32>>,
    exclusive: Option<Spanned<bool>>,
    filter: Option<Spanned<OneOrMore>>,
    tree: Option<Spanned<bool>>,
    wait: Option<Spanned<bool>>,
    paging: Option<Spanned<bool>>,
    port: Option<Spanned<String>>,
    volume: Option<Spanned<String>>,
    instance: Option<Spanned<String>>,
    altitude: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
    name: Option<Spanned<String>>,
    number: Option<Spanned<u32>>,
    image: Option<Spanned<String>>,
    command_line: Option<Spanned<String>>,
    times: Option<Spanned<u32>>,
    transaction: Option<Spanned<String>>,
    answer: Option<Spanned<String>>,
    answer_text: Option<Spanned<String>>,
    answer_hex: Option<Spanned<String>>,
    then_send: Option<Spanned<Vec<Spanned<String>>>>,
    threads: Option<Spanned<Vec<RawActor>>>,
    expect: Option<Spanned<OneOrMore>>,
    expect_text: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawActor {
    name: Option<String>,
    step: Vec<Spanned<Raw>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a word, or a list of words")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn words(&self) -> &[String] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::More(words) => words,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a word or a number")]
enum Word {
    Name(String),
    Number(u32),
}

/// Each operation, the fields that it needs, and those that it may have.
const OPERATIONS: &[(&str, &[&str], &[&str])] = &[
    ("create", &["path"], CREATE),
    ("open", &["path"], CREATE),
    ("close", &[], &[]),
    ("begin", &[], &[]),
    ("commit", &[], &[]),
    ("rollback", &[], &[]),
    ("attributes", &["path"], &[]),
    ("read", &["length"], &["offset", "paging", "expect-text"]),
    ("write", &[], &["offset", "paging", "text", "hex"]),
    ("mapped-read", &["offset", "length"], &["expect-text"]),
    ("mapped-write", &["offset"], &["text", "hex"]),
    ("mdl-read", &["offset", "length"], &["expect-text"]),
    ("mdl-write", &["offset"], &["text", "hex"]),
    ("query", &["class"], &["length"]),
    ("set", &["class", "hex"], &[]),
    ("rename", &["to"], &["replace"]),
    ("link", &["to"], &["replace"]),
    ("delete", &[], &[]),
    ("undelete", &[], &[]),
    ("list", &[], &["pattern", "expect-text"]),
    (
        "notify",
        &[],
        &["filter", "tree", "length", "wait", "expect-text"],
    ),
    ("volume", &["class"], &["length"]),
    ("security", &[], &["length"]),
    ("control", &["code"], &["hex", "output"]),
    ("device-control", &["code"], &["hex", "output"]),
    ("set-symlink", &["to"], &["relative"]),
    ("set-mount-point", &["to"], &[]),
    ("set-reparse-point", &["hex"], &[]),
    ("delete-reparse-point", &["tag"], &[]),
    ("flush", &[], &[]),
    ("lock", &["offset", "length"], &["exclusive"]),
    ("unlock", &["offset", "length"], &[]),
    (
        "connect",
        &[],
        &[
            "port",
            "text",
            "hex",
            "answer",
            "answer-text",
            "answer-hex",
            "then-send",
        ],
    ),
    ("send", &[], &["text", "hex", "output"]),
    ("fuzz", &[], &["times"]),
    ("disconnect", &[], &[]),
    ("attach", &[], &["filter", "volume", "instance", "altitude"]),
    ("detach", &[], &["filter", "volume", "instance"]),
    ("create-key", &["key"], &[]),
    ("open-key", &["key"], &[]),
    ("delete-key", &["key"], &[]),
    ("set-value", &["key", "name"], &["text", "number", "hex"]),
    ("query-value", &["key", "name"], &[]),
    ("delete-value", &["key", "name"], &[]),
    ("start", &["image"], &["command-line"]),
    ("exit", &[], &[]),
    ("together", &["threads"], &["times"]),
];
const CREATE: &[&str] = &[
    "access",
    "share",
    "disposition",
    "options",
    "attributes",
    "transaction",
];

/// Fields that every step may have.
const COMMON: &[&str] = &["file", "thread", "expect"];

impl Raw {
    /// The fields that are there, and where their values are.
    fn given(&self) -> Vec<(&'static str, usize)> {
        fn at<T>(field: Option<&Spanned<T>>) -> Option<usize> {
            field.map(|field| field.span().start)
        }
        let all = [
            ("path", at(self.path.as_ref())),
            ("file", at(self.file.as_ref())),
            ("thread", at(self.thread.as_ref())),
            ("access", at(self.access.as_ref())),
            ("share", at(self.share.as_ref())),
            ("disposition", at(self.disposition.as_ref())),
            ("options", at(self.options.as_ref())),
            ("attributes", at(self.attributes.as_ref())),
            ("offset", at(self.offset.as_ref())),
            ("length", at(self.length.as_ref())),
            ("text", at(self.text.as_ref())),
            ("hex", at(self.hex.as_ref())),
            ("class", at(self.class.as_ref())),
            ("code", at(self.code.as_ref())),
            ("output", at(self.output.as_ref())),
            ("pattern", at(self.pattern.as_ref())),
            ("to", at(self.to.as_ref())),
            ("replace", at(self.replace.as_ref())),
            ("relative", at(self.relative.as_ref())),
            ("tag", at(self.tag.as_ref())),
            ("exclusive", at(self.exclusive.as_ref())),
            ("filter", at(self.filter.as_ref())),
            ("tree", at(self.tree.as_ref())),
            ("wait", at(self.wait.as_ref())),
            ("paging", at(self.paging.as_ref())),
            ("port", at(self.port.as_ref())),
            ("volume", at(self.volume.as_ref())),
            ("instance", at(self.instance.as_ref())),
            ("altitude", at(self.altitude.as_ref())),
            ("key", at(self.key.as_ref())),
            ("name", at(self.name.as_ref())),
            ("number", at(self.number.as_ref())),
            ("image", at(self.image.as_ref())),
            ("command-line", at(self.command_line.as_ref())),
            ("times", at(self.times.as_ref())),
            ("transaction", at(self.transaction.as_ref())),
            ("answer", at(self.answer.as_ref())),
            ("answer-text", at(self.answer_text.as_ref())),
            ("answer-hex", at(self.answer_hex.as_ref())),
            ("then-send", at(self.then_send.as_ref())),
            ("threads", at(self.threads.as_ref())),
            ("expect", at(self.expect.as_ref())),
            ("expect-text", at(self.expect_text.as_ref())),
        ];
        let given = |(name, at): (&'static str, Option<usize>)| Some((name, at?));
        all.into_iter().filter_map(given).collect()
    }

    /// Looks whether the operation has these fields, and all that it needs.
    fn check(&self, at: usize) -> Result<(), Mistake> {
        let word = self.r#do.get_ref();
        let Some((_, needed, allowed)) = OPERATIONS.iter().find(|(name, ..)| name == word) else {
            let all: Vec<&str> = OPERATIONS.iter().map(|(name, ..)| *name).collect();
            return Err(Mistake::at(
                &self.r#do,
                format!("expected one of {}, not `{word}`", all.join(", ")),
            ));
        };
        let given = self.given();
        for (name, at) in &given {
            if ![*needed, *allowed, COMMON]
                .iter()
                .any(|list| list.contains(name))
            {
                let has = [*needed, *allowed].concat().join(", ");
                let has = if has.is_empty() {
                    "none but `file`, `thread` and `expect`"
                } else {
                    &has
                };
                return Err(Mistake {
                    at: *at,
                    what: format!("`{word}` has no `{name}`; it has {has}"),
                });
            }
        }
        match needed
            .iter()
            .find(|name| !given.iter().any(|(known, _)| known == *name))
        {
            Some(missing) => Err(Mistake {
                at,
                what: format!("`{word}` needs `{missing}`"),
            }),
            None => Ok(()),
        }
    }
}

fn bits(field: Option<&Spanned<OneOrMore>>, words: Words) -> Result<Option<u32>, Mistake> {
    let Some(field) = field else { return Ok(None) };
    let mut sum = 0;
    for word in field.get_ref().words() {
        match names::find(words, word) {
            Some(bits) => sum |= bits,
            None => {
                return Err(Mistake {
                    at: field.span().start + 1,
                    what: format!("expected {}, not `{word}`", names::list(words)),
                });
            }
        }
    }
    Ok(Some(sum))
}

fn number(field: &Spanned<Word>, words: Words) -> Result<u32, Mistake> {
    match field.get_ref() {
        Word::Number(number) => Ok(*number),
        Word::Name(name) => names::find(words, name).ok_or_else(|| {
            Mistake::at(
                field,
                format!("expected a number or {}, not `{name}`", names::list(words)),
            )
        }),
    }
}

fn bytes(raw: &Raw) -> Result<Vec<u8>, Mistake> {
    match (&raw.hex, &raw.text) {
        (Some(_), Some(text)) => Err(Mistake::at(
            text,
            "either `text` or `hex`: both say what the bytes are",
        )),
        (Some(hex), None) => from_hex(hex),
        (None, Some(text)) => Ok(text.get_ref().clone().into_bytes()),
        (None, None) => Ok(Vec::new()),
    }
}

fn from_hex(text: &Spanned<String>) -> Result<Vec<u8>, Mistake> {
    hex::bytes(text.get_ref())
        .ok_or_else(|| Mistake::at(text, "expected bytes as pairs of hexadecimal digits"))
}

fn expected(field: Option<&Spanned<OneOrMore>>) -> Result<Vec<NtStatus>, Mistake> {
    let Some(field) = field else {
        return Ok(Vec::new());
    };
    let status = |word: &String| {
        NtStatus::parse(word).ok_or_else(|| {
            Mistake::at(
                field,
                format!(
                    "expected the name of a status (STATUS_SUCCESS) or a number (0xC0000022), not `{word}`"
                ),
            )
        })
    };
    field.get_ref().words().iter().map(status).collect()
}

/// Reads a step; `outermost`: it may start threads.
pub(super) fn step(raw: Spanned<Raw>, text: &str, outermost: bool) -> Result<Step, Mistake> {
    let at = raw.span().start;
    let line = place(text, at).0;
    let raw = raw.into_inner();
    raw.check(at)?;
    if raw.r#do.get_ref() == "together" && !outermost {
        return Err(Mistake::at(
            &raw.r#do,
            "threads of a `together` start no threads of their own",
        ));
    }
    let expect = expected(raw.expect.as_ref())?;
    let name = |field: &Option<Spanned<String>>, default: &str| {
        field
            .as_ref()
            .map_or_else(|| default.to_owned(), |name| name.get_ref().clone())
    };
    Ok(Step {
        line,
        thread: name(&raw.thread, "main"),
        file: name(
            &raw.file,
            match raw.r#do.get_ref().as_str() {
                "begin" | "commit" | "rollback" => "transaction",
                "start" | "exit" => "process",
                _ => "file",
            },
        ),
        expect,
        expect_text: raw.expect_text.as_ref().map(|text| text.get_ref().clone()),
        act: act::act(raw, text)?,
    })
}
