//! Steps as a table tells them.

use ntbench::wire::InstanceCall;

use super::model::{Act, Step};

/// A step as a table tells it.
pub(super) fn told(step: &Step) -> String {
    let of = |verb: &str| {
        if step.file == "file" {
            verb.to_owned()
        } else {
            format!("{verb} ({})", step.file)
        }
    };
    match &step.act {
        Act::Create {
            create,
            transaction,
        } => {
            let verb = match create.disposition {
                0 => "supersede",
                1 => "open",
                2 => "create",
                3 => "open or create",
                4 => "overwrite",
                _ => "overwrite or create",
            };
            let path = if create.name.is_empty() {
                "."
            } else {
                &create.name
            };
            match transaction {
                Some(transaction) => format!("{verb} {path} in {transaction}"),
                None => format!("{verb} {path}"),
            }
        }
        Act::Begin => format!("begin {}", step.file),
        Act::End { commit: true } => format!("commit {}", step.file),
        Act::End { commit: false } => format!("roll back {}", step.file),
        Act::Close => of("close"),
        Act::Attributes(path) => format!("attributes of {path}"),
        Act::Call(_, told) => of(told),
        Act::Rename { to, replace: true } => format!("{} to {to}, replacing", of("rename")),
        Act::Rename { to, .. } => format!("{} to {to}", of("rename")),
        Act::Link { to, .. } => format!("{} as {to}", of("link")),
        Act::Delete(true) => of("delete"),
        Act::Delete(false) => of("undelete"),
        Act::List(Some(pattern)) => format!("{} {pattern}", of("list")),
        Act::List(None) => of("list"),
        Act::SetReparse(ntbench::ReparsePoint::Symlink { target, .. }) => {
            format!("{} to {target}", of("symbolic link"))
        }
        Act::SetReparse(ntbench::ReparsePoint::MountPoint { target }) => {
            format!("{} to {target}", of("mount point"))
        }
        Act::SetReparse(_) => of("set reparse point"),
        Act::DeleteReparse(tag) => format!("{} {tag:#X}", of("delete reparse point")),
        Act::Connect { port, .. } if port == "{port}" => of("connect"),
        Act::Connect { port, .. } => format!("connect to {port}"),
        Act::Send { input, .. } => format!("send {} bytes", input.len()),
        Act::Fuzz { count } => format!("send {count} random messages"),
        Act::Registry { told, .. } => told.clone(),
        Act::Instance(call) => instance(call),
        Act::Start { image, .. } => format!("start {image}"),
        Act::Exit if step.file == "process" => "exit".to_owned(),
        Act::Exit => format!("exit ({})", step.file),
        Act::Together { threads, times } => format!("{} threads, {times} times", threads.len()),
    }
}

/// An attachment as a table tells it: what the place says already is left out.
fn instance(call: &InstanceCall) -> String {
    let (verb, preposition, filter, volume, instance, altitude) = match call {
        InstanceCall::Attach {
            filter,
            volume,
            instance,
            altitude,
        } => ("attach", "to", filter, volume, instance, altitude.as_ref()),
        InstanceCall::Detach {
            filter,
            volume,
            instance,
        } => ("detach", "from", filter, volume, instance, None),
    };
    let mut told = verb.to_owned();
    for name in [Some(filter), instance.as_ref()].into_iter().flatten() {
        if name != "{filter}" {
            told = format!("{told} {name}");
        }
    }
    if volume != "{volume}" {
        told = format!("{told} {preposition} {volume}");
    }
    match altitude {
        Some(altitude) => format!("{told} at {altitude}"),
        None => told,
    }
}
