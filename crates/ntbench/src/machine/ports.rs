//! What a simulated program does with communication ports.

use std::time::Duration;

use super::buffers::Buffer;
use super::fuzz;
use crate::fltmgr::port;
use crate::stack;
use crate::status::NtStatus;
use crate::wire::{PortAnswer, PortCall, PortMessage, Reply};

/// Does it on the current thread.
pub(super) fn call(call: PortCall) -> Reply {
    let answer = match call {
        PortCall::Connect { name, context } => connect(&name, &context),
        PortCall::Send(message) => match send(&message) {
            Ok(answer) => answer,
            Err(error) => return super::requests::refused(format!("a buffer: {error}")),
        },
        PortCall::Get {
            port,
            capacity,
            limit_ms,
        } => get(port, capacity, limit_ms.map(Duration::from_millis)),
        PortCall::Reply {
            port,
            message_id,
            status,
            body,
        } => ended(stack::system_call(|| {
            port::reply(port, message_id, status, &body)
        })),
        PortCall::Close { port } => ended(stack::system_call(|| port::disconnect(port))),
        PortCall::Fuzz(fuzz) => {
            return match fuzz::run(&fuzz) {
                Ok(report) => Reply::Fuzzed(report),
                Err(error) => super::requests::refused(format!("the fuzzer's buffers: {error}")),
            };
        }
    };
    Reply::Port(answer)
}

fn ended(status: NtStatus) -> PortAnswer {
    PortAnswer {
        status,
        ..PortAnswer::default()
    }
}

fn connect(name: &str, context: &[u8]) -> PortAnswer {
    match stack::system_call(|| port::connect(name, context)) {
        Ok(port) => PortAnswer {
            port,
            ..PortAnswer::default()
        },
        Err(status) => ended(status),
    }
}

fn send(message: &PortMessage) -> std::io::Result<PortAnswer> {
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let input = Buffer::new(
        message.input_kind,
        &message.input,
        message.input.len(),
        message.input_length.unwrap_or(length(message.input.len())),
    )?;
    let backed = message.output_backed.unwrap_or(message.output_length);
    let output = Buffer::new(
        message.output_kind,
        &[],
        usize::try_from(backed).unwrap_or(usize::MAX),
        message.output_length,
    )?;
    let (status, returned) =
        stack::system_call(|| port::send(message.port, input.shown(), output.shown()));
    drop(input);
    Ok(PortAnswer {
        status,
        bytes: output.take(returned),
        ..PortAnswer::default()
    })
}

fn get(port: u64, capacity: u32, limit: Option<Duration>) -> PortAnswer {
    match stack::system_call(|| port::get(port, capacity, limit)) {
        Ok(message) => PortAnswer {
            message_id: message.message_id,
            reply_length: message.reply_length,
            bytes: message.body,
            ..PortAnswer::default()
        },
        Err(status) => ended(status),
    }
}
