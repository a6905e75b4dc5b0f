//! What each operation of a scenario file becomes.

use ntbench::ReparsePoint;
use ntbench::wire::{CreateFile, FileCall, InstanceCall, RegistryAct, RegistryValue};
use toml::Spanned;

use super::{Raw, Word, bits, bytes, from_hex, number, step};
use crate::cli::scenario::file::Mistake;
use crate::cli::scenario::model::{Act, Actor, Answer};
use crate::cli::scenario::names;
use crate::cli::scenario::pattern::Pattern;

/// What a checked step does.
pub(super) fn act(raw: Raw, text: &str) -> Result<Act, Mistake> {
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
        "begin" => Ok(Act::Begin),
        "commit" | "rollback" => Ok(Act::End {
            commit: word == "commit",
        }),
        "mapped-read" | "mdl-read" => {
            let (offset, length) = (offset.unwrap_or(0), length.unwrap_or(0));
            let told = told(verb(&word), Some(length), Some(offset));
            match word.as_str() {
                "mapped-read" => call(FileCall::MappedRead { offset, length }, told),
                _ => call(FileCall::MdlRead { offset, length }, told),
            }
        }
        "mapped-write" | "mdl-write" => {
            let (offset, data) = (offset.unwrap_or(0), bytes(&raw)?);
            let told = told(verb(&word), u32::try_from(data.len()).ok(), Some(offset));
            match word.as_str() {
                "mapped-write" => call(FileCall::MappedWrite { offset, data }, told),
                _ => call(FileCall::MdlWrite { offset, data }, told),
            }
        }
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
                filter: bits(raw.filter.as_ref(), names::CHANGES)?.unwrap_or(0x1F),
                length: length.unwrap_or(4096),
                tree: yes(&raw.tree),
                extended: false,
                wait: yes(&raw.wait),
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
            context: match (&raw.text, &raw.hex) {
                (None, None) => None,
                _ => Some(bytes(&raw)?),
            },
            answer: answer(&raw)?,
            then: then(&raw)?,
        }),
        "send" => Ok(Act::Send {
            input: bytes(&raw)?,
            output: raw.output.as_ref().map_or(4096, |output| *output.get_ref()),
        }),
        "fuzz" => Ok(Act::Fuzz {
            count: raw.times.map_or(1000, |times| (*times.get_ref()).into()),
        }),
        "attach" | "detach" => instance(raw, word == "attach"),
        "start" => Ok(Act::Start {
            image: path(&raw.image),
            command_line: raw.command_line.map(Spanned::into_inner),
        }),
        "exit" => Ok(Act::Exit),
        "together" => together(raw, text),
        _ => registry(&raw, &word),
    }
}

/// Of which filter an instance is attached or detached, and where: the place's, unless the step says otherwise.
fn instance(raw: Raw, attach: bool) -> Result<Act, Mistake> {
    let filter = match &raw.filter {
        None => "{filter}".to_owned(),
        Some(words) => match words.get_ref().words() {
            [filter] => filter.clone(),
            _ => return Err(Mistake::at(words, "expected the name of one filter")),
        },
    };
    let volume = raw
        .volume
        .map_or_else(|| "{volume}".to_owned(), Spanned::into_inner);
    let instance = raw.instance.map(Spanned::into_inner);
    Ok(Act::Instance(if attach {
        InstanceCall::Attach {
            filter,
            volume,
            instance,
            altitude: raw.altitude.map(Spanned::into_inner),
        }
    } else {
        InstanceCall::Detach {
            filter,
            volume,
            instance,
        }
    }))
}

/// What is done to a registry key.
fn registry(raw: &Raw, word: &str) -> Result<Act, Mistake> {
    let given = |field: &Option<Spanned<String>>| {
        field
            .as_ref()
            .map_or_else(String::new, |text| text.get_ref().clone())
    };
    let (key, name) = (given(&raw.key), given(&raw.name));
    if !key.starts_with('\\')
        && let Some(key) = &raw.key
    {
        return Err(Mistake::at(
            key,
            r"expected a key's whole name, like `\Registry\Machine\Software\Product`",
        ));
    }
    let (verb, of) = word.split_once('-').unwrap_or((word, ""));
    let told = match of {
        "key" => format!("{verb} {key}"),
        _ => format!(r"{verb} {key}\{name}"),
    };
    let act = match word {
        "create-key" => RegistryAct::Create,
        "open-key" => RegistryAct::Open,
        "delete-key" => RegistryAct::Delete,
        "query-value" => RegistryAct::Query { name },
        "delete-value" => RegistryAct::DeleteValue { name },
        _ => RegistryAct::Set {
            name,
            value: value(raw)?,
        },
    };
    Ok(Act::Registry { key, act, told })
}

/// A value for the registry: of the kind that the field says.
fn value(raw: &Raw) -> Result<RegistryValue, Mistake> {
    match (&raw.text, &raw.number, &raw.hex) {
        (Some(text), None, None) => Ok(RegistryValue::Sz(text.get_ref().clone())),
        (None, Some(number), None) => Ok(RegistryValue::Dword(*number.get_ref())),
        (None, None, Some(hex)) => from_hex(hex).map(RegistryValue::Binary),
        _ => Err(Mistake::at(
            &raw.r#do,
            "`set-value` needs one of `text` (REG_SZ), `number` (REG_DWORD) and `hex` (REG_BINARY)",
        )),
    }
}

/// What a program at a port answers with: zeros where nothing is said.
fn answer(raw: &Raw) -> Result<Answer, Mistake> {
    match (&raw.answer, &raw.answer_text, &raw.answer_hex) {
        (None, None, None) => Ok(Answer::Zeros),
        (None, Some(text), None) => Ok(Answer::Bytes(text.get_ref().clone().into_bytes())),
        (None, None, Some(hex)) => from_hex(hex).map(Answer::Bytes),
        (Some(word), None, None) => match word.get_ref().as_str() {
            "zeros" => Ok(Answer::Zeros),
            "silent" => Ok(Answer::Silent),
            other => Err(Mistake::at(
                word,
                format!("expected `zeros` or `silent`, not `{other}`"),
            )),
        },
        (_, Some(second), _) | (Some(_), None, Some(second)) => Err(Mistake::at(
            second,
            "one of `answer`, `answer-text` and `answer-hex`: each says what the answer is",
        )),
    }
}

/// What the program sends after each answer.
fn then(raw: &Raw) -> Result<Vec<Pattern>, Mistake> {
    let Some(messages) = &raw.then_send else {
        return Ok(Vec::new());
    };
    let pattern = |text: &Spanned<String>| {
        Pattern::parse(text.get_ref()).ok_or_else(|| {
            Mistake::at(
                text,
                "expected pairs of hexadecimal digits, and `{8..16}` for bytes of the message that was answered",
            )
        })
    };
    messages.get_ref().iter().map(pattern).collect()
}

/// As a table has room for it.
fn verb(word: &str) -> &'static str {
    match word {
        "mapped-read" => "read by a mapping",
        "mapped-write" => "write by a mapping",
        "mdl-read" => "read by MDL",
        _ => "write by MDL",
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
    let create = CreateFile {
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
    };
    let name = |transaction: &Spanned<String>| transaction.get_ref().clone();
    Ok(Act::Create {
        create,
        transaction: raw.transaction.as_ref().map(name),
    })
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
