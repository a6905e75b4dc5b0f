//! One step of a scenario file: which fields each operation has, and what becomes of them.

use ntbench::wire::{CreateFile, FileCall};
use ntbench::{NtStatus, ReparsePoint};
use serde::Deserialize;
use toml::Spanned;

use super::file::{Mistake, place};
use super::model::{Act, Actor, Step};
use super::names::{self, Words};

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
    paging: Option<Spanned<bool>>,
    port: Option<Spanned<String>>,
    times: Option<Spanned<u32>>,
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
    ("attributes", &["path"], &[]),
    ("read", &["length"], &["offset", "paging", "expect-text"]),
    ("write", &[], &["offset", "paging", "text", "hex"]),
    ("query", &["class"], &["length"]),
    ("set", &["class", "hex"], &[]),
    ("rename", &["to"], &["replace"]),
    ("link", &["to"], &["replace"]),
    ("delete", &[], &[]),
    ("undelete", &[], &[]),
    ("list", &[], &["pattern", "expect-text"]),
    ("notify", &[], &[]),
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
    ("connect", &[], &["port", "text", "hex"]),
    ("send", &[], &["text", "hex", "output"]),
    ("fuzz", &[], &["times"]),
    ("disconnect", &[], &[]),
    ("together", &["threads"], &["times"]),
];
const CREATE: &[&str] = &["access", "share", "disposition", "options", "attributes"];

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
            ("paging", at(self.paging.as_ref())),
            ("port", at(self.port.as_ref())),
            ("times", at(self.times.as_ref())),
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
    let Some(hex) = &raw.hex else {
        let text = raw.text.as_ref();
        return Ok(text.map_or_else(Vec::new, |text| text.get_ref().clone().into_bytes()));
    };
    if let Some(text) = &raw.text {
        return Err(Mistake::at(
            text,
            "either `text` or `hex`: both say what the bytes are",
        ));
    }
    let wrong = || Mistake::at(hex, "expected bytes as pairs of hexadecimal digits");
    let digits: Vec<u8> = hex
        .get_ref()
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    if !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let pair = |pair: &[u8]| {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let value = digit(pair[0])? * 16 + digit(pair[1])?;
        u8::try_from(value).ok()
    };
    digits
        .chunks(2)
        .map(|two| pair(two).ok_or_else(wrong))
        .collect()
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
        file: name(&raw.file, "file"),
        expect,
        expect_text: raw.expect_text.as_ref().map(|text| text.get_ref().clone()),
        act: act(raw, text)?,
    })
}

fn act(raw: Raw, text: &str) -> Result<Act, Mistake> {
    // What is needed is there: `check` has looked.
    let path = |field: &Option<Spanned<String>>| {
        field
            .as_ref()
            .map_or_else(String::new, |path| path.get_ref().clone())
    };
    let yes = |field: &Option<Spanned<bool>>| field.as_ref().is_some_and(|yes| *yes.get_ref());
    let length = raw.length.as_ref().map(|length| *length.get_ref());
    let offset = raw.offset.as_ref().map(|offset| *offset.get_ref());
    let replace = yes(&raw.replace);
    let word = raw.r#do.get_ref().clone();
    let call = |call: FileCall, told: String| Ok(Act::Call(call, told));
    match word.as_str() {
        "create" | "open" => create(&raw, word == "create"),
        "close" | "disconnect" => Ok(Act::Close),
        "attributes" => Ok(Act::Attributes(path(&raw.path))),
        "read" => call(
            FileCall::Read {
                length: length.unwrap_or(0),
                offset,
                paging: yes(&raw.paging),
            },
            told("read", length, offset),
        ),
        "write" => {
            let data = bytes(&raw)?;
            let told = told("write", u32::try_from(data.len()).ok(), offset);
            let paging = yes(&raw.paging);
            call(
                FileCall::Write {
                    data,
                    offset,
                    paging,
                },
                told,
            )
        }
        "query" | "volume" => {
            let words = if word == "query" {
                names::INFORMATION
            } else {
                names::VOLUME
            };
            let class = raw
                .class
                .as_ref()
                .map_or(Ok(0), |class| number(class, words))?;
            let length = length.unwrap_or(4096);
            let told = format!("{word} {}", class_name(raw.class.as_ref()));
            match word.as_str() {
                "query" => call(FileCall::QueryInformation { class, length }, told),
                _ => call(FileCall::QueryVolume { class, length }, told),
            }
        }
        "set" => {
            let class = raw
                .class
                .as_ref()
                .map_or(Ok(0), |class| number(class, names::INFORMATION))?;
            let told = format!("set {}", class_name(raw.class.as_ref()));
            call(
                FileCall::SetInformation {
                    class,
                    data: bytes(&raw)?,
                },
                told,
            )
        }
        "rename" => Ok(Act::Rename {
            to: path(&raw.to),
            replace,
        }),
        "link" => Ok(Act::Link {
            to: path(&raw.to),
            replace,
        }),
        "delete" => Ok(Act::Delete(true)),
        "undelete" => Ok(Act::Delete(false)),
        "list" => Ok(Act::List(
            raw.pattern.map(|pattern| pattern.get_ref().clone()),
        )),
        "notify" => call(
            FileCall::NotifyDirectory {
                filter: 0x7,
                length: 4096,
            },
            word,
        ),
        "security" => call(
            FileCall::QuerySecurity {
                information: 0x7,
                length: length.unwrap_or(4096),
            },
            word,
        ),
        "control" | "device-control" => {
            let code = raw
                .code
                .as_ref()
                .map_or(Ok(0), |code| number(code, names::CONTROLS))?;
            let input = bytes(&raw)?;
            let output = raw.output.as_ref().map_or(4096, |output| *output.get_ref());
            let told = format!("{word} {}", class_name(raw.code.as_ref()));
            let control = if word == "control" {
                FileCall::FsControl {
                    code,
                    input,
                    output,
                }
            } else {
                FileCall::DeviceControl {
                    code,
                    input,
                    output,
                }
            };
            call(control, told)
        }
        "set-symlink" => Ok(Act::SetReparse(ReparsePoint::Symlink {
            target: path(&raw.to),
            relative: yes(&raw.relative),
        })),
        "set-mount-point" => Ok(Act::SetReparse(ReparsePoint::MountPoint {
            target: path(&raw.to),
        })),
        "set-reparse-point" => Ok(Act::SetReparse(ReparsePoint::Other(bytes(&raw)?))),
        "delete-reparse-point" => Ok(Act::DeleteReparse(raw.tag.map_or(0, |tag| *tag.get_ref()))),
        "flush" => call(FileCall::Flush, word),
        "lock" => call(
            FileCall::Lock {
                offset: offset.unwrap_or(0),
                length: length.unwrap_or(0).into(),
                key: 0,
                exclusive: yes(&raw.exclusive),
                fail_immediately: true,
            },
            told("lock", length, offset),
        ),
        "unlock" => call(
            FileCall::Unlock {
                offset: offset.unwrap_or(0),
                length: length.unwrap_or(0).into(),
                key: 0,
            },
            told("unlock", length, offset),
        ),
        "connect" => Ok(Act::Connect {
            port: raw
                .port
                .as_ref()
                .map_or_else(|| "{port}".to_owned(), |port| port.get_ref().clone()),
            context: bytes(&raw)?,
        }),
        "send" => Ok(Act::Send {
            input: bytes(&raw)?,
            output: raw.output.as_ref().map_or(4096, |output| *output.get_ref()),
        }),
        "fuzz" => Ok(Act::Fuzz {
            count: raw.times.map_or(1000, |times| (*times.get_ref()).into()),
        }),
        _ => together(raw, text),
    }
}

fn told(verb: &str, length: Option<u32>, offset: Option<i64>) -> String {
    let length = length.unwrap_or(0);
    match offset {
        Some(offset) => format!("{verb} {length} bytes at {offset}"),
        None => format!("{verb} {length} bytes"),
    }
}

fn class_name(field: Option<&Spanned<Word>>) -> String {
    match field.map(Spanned::get_ref) {
        Some(Word::Name(name)) => name.clone(),
        Some(Word::Number(number)) if *number > 0xFFFF => format!("{number:#X}"),
        Some(Word::Number(number)) => number.to_string(),
        None => String::new(),
    }
}

fn create(raw: &Raw, creates: bool) -> Result<Act, Mistake> {
    let default = CreateFile::default();
    let disposition = match &raw.disposition {
        None if creates => 2,
        None => 1,
        Some(word) => names::find(names::DISPOSITION, word.get_ref()).ok_or_else(|| {
            Mistake::at(
                word,
                format!(
                    "expected {}, not `{}`",
                    names::list(names::DISPOSITION),
                    word.get_ref()
                ),
            )
        })?,
    };
    // Whoever creates usually writes, and whoever opens usually reads.
    let usual = if creates { 0x0013_019F } else { 0x0012_0089 };
    Ok(Act::Create(CreateFile {
        name: raw
            .path
            .as_ref()
            .map_or_else(String::new, |path| path.get_ref().clone()),
        access: bits(raw.access.as_ref(), names::ACCESS)?.unwrap_or(usual) | 0x0010_0000,
        share: bits(raw.share.as_ref(), names::SHARE)?.unwrap_or(default.share),
        disposition,
        options: bits(raw.options.as_ref(), names::OPTIONS)?.unwrap_or(0) | 0x20,
        attributes: bits(raw.attributes.as_ref(), names::ATTRIBUTES)?.unwrap_or(default.attributes),
        ..default
    }))
}

fn together(raw: Raw, text: &str) -> Result<Act, Mistake> {
    let times = raw.times.map_or(1, |times| *times.get_ref());
    let mut threads = Vec::new();
    for (index, actor) in raw
        .threads
        .map_or_else(Vec::new, Spanned::into_inner)
        .into_iter()
        .enumerate()
    {
        let mut steps = Vec::new();
        for raw in actor.step {
            steps.push(step(raw, text, false)?);
        }
        threads.push(Actor {
            name: actor
                .name
                .unwrap_or_else(|| format!("thread {}", index + 1)),
            steps,
        });
    }
    Ok(Act::Together { threads, times })
}
