//! Event Tracing for Windows, a provider's side: registering, being enabled, writing events.
//!
//! The machine's configuration plays the sessions: it says which providers are enabled, at what level and for which
//! keywords, from the start on. What an enabled provider writes goes into the trace with its bytes as they are.

use std::collections::HashMap;
use std::sync::{OnceLock, PoisonError, RwLock};

use super::memory::Guest;
use super::{driver, irql};
use crate::abi::base::Guid;
use crate::abi::etw::{Data, Descriptor};
use crate::status::NtStatus;
use crate::thread::{self, APC_LEVEL, PASSIVE_LEVEL};
use crate::wire::{EtwEvent, EtwSession, TraceEvent};
use crate::{faults, gate, trace, verifier};

// EVENT_DATA_DESCRIPTOR.Type.
pub(super) const USER_DATA: u8 = 0;
const EVENT_METADATA: u8 = 1;
const PROVIDER_METADATA: u8 = 2;

/// `MAX_EVENT_DATA_DESCRIPTORS`.
const MOST_DATA: u32 = 128;
/// What an event can be long, with its header.
const LONGEST: usize = 64 * 1024;
/// `EVENT_HEADER`.
const EVENT_HEADER: usize = 80;
/// `EventProviderSetTraits`.
const SET_TRAITS: u32 = 2;
/// `EVENT_CONTROL_CODE_ENABLE_PROVIDER`.
const ENABLE: u64 = 1;
/// What makes a handle look like none of anything else.
const HANDLE_BASE: u64 = 0xE70_0000;

struct Provider {
    id: Guid,
    /// From its traits.
    name: Option<String>,
    session: Option<EtwSession>,
    service: String,
    site: usize,
}

static PROVIDERS: RwLock<Option<HashMap<u64, Provider>>> = RwLock::new(None);
static SESSIONS: OnceLock<Vec<EtwSession>> = OnceLock::new();

/// Says which providers are enabled.
pub(super) fn boot(sessions: &[EtwSession]) -> Result<(), String> {
    for session in sessions {
        if session.provider != "*" && !is_guid(&session.provider) {
            return Err(format!(
                "etw: {:?} is no provider: write its GUID as 8-4-4-4-12 hexadecimal digits, or *",
                session.provider
            ));
        }
    }
    let _ = SESSIONS.set(sessions.to_vec());
    Ok(())
}

fn is_guid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12] && groups.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn text(id: &Guid) -> String {
    let [a, b, rest @ ..] = id.data4;
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{:08x}-{:04x}-{:04x}-{a:02x}{b:02x}-{rest}",
        id.data1, id.data2, id.data3
    )
}

fn session(id: &Guid) -> Option<EtwSession> {
    let id = text(id);
    let sessions = SESSIONS.get()?;
    let own = sessions
        .iter()
        .find(|session| session.provider.eq_ignore_ascii_case(&id));
    own.or_else(|| sessions.iter().find(|session| session.provider == "*"))
        .cloned()
}

/// Whether a session wants events of that level and keyword.
fn wants(session: &EtwSession, level: u8, keyword: u64) -> bool {
    let any = keyword == 0 || keyword & session.any != 0;
    level <= session.level && any && (keyword == 0 || keyword & session.all == session.all)
}

/// What of a provider can be asked at any time.
fn with<R>(handle: u64, ask: impl FnOnce(&mut Provider) -> R) -> Option<R> {
    let mut providers = PROVIDERS.write().unwrap_or_else(PoisonError::into_inner);
    providers.as_mut()?.get_mut(&handle).map(ask)
}

fn enabled(handle: u64, level: u8, keyword: u64) -> bool {
    let wanted = |provider: &mut Provider| {
        provider
            .session
            .as_ref()
            .is_some_and(|session| wants(session, level, keyword))
    };
    with(handle, wanted).unwrap_or(false)
}

/// Reports providers that a driver that goes away has left registered: their enable callback would be called in code
/// that is gone.
pub(super) fn report_leaks(service: &str) {
    let left: Vec<Provider> = {
        let mut providers = PROVIDERS.write().unwrap_or_else(PoisonError::into_inner);
        providers.as_mut().map_or_else(Vec::new, |providers| {
            let mine = providers.extract_if(|_, provider| provider.service == service);
            mine.map(|(_, provider)| provider).collect()
        })
    };
    for provider in left {
        verifier::finding_at(
            "etw-provider-leak",
            provider.site,
            format!(
                "{service} went away with the event provider {} registered",
                text(&provider.id)
            ),
        );
    }
}

pub(super) fn write(
    handle: u64,
    descriptor: Guest<Descriptor>,
    activity: Guest<Guid>,
    count: u32,
    data: Guest<Data>,
) -> NtStatus {
    let Some((id, name, session)) = with(handle, |provider| {
        (provider.id, provider.name.clone(), provider.session.clone())
    }) else {
        return NtStatus::INVALID_HANDLE;
    };
    if count > MOST_DATA || (count != 0 && data.is_null()) {
        return NtStatus::INVALID_PARAMETER;
    }
    let descriptor = descriptor.read();
    if !session.is_some_and(|session| wants(&session, descriptor.level, descriptor.keyword)) {
        return NtStatus::SUCCESS;
    }
    let (mut metadata, mut payload, mut length) = (Vec::new(), Vec::new(), EVENT_HEADER);
    for index in 0..count as usize {
        let item = data.add(index).read();
        length += item.size as usize;
        if length > LONGEST {
            return NtStatus::BUFFER_OVERFLOW;
        }
        let address = usize::try_from(item.address).unwrap_or(0);
        let bytes = Guest::<u8>::at(address).read_many(item.size as usize);
        match item.kind {
            USER_DATA => payload.extend(bytes),
            EVENT_METADATA => metadata.extend(bytes),
            PROVIDER_METADATA => {}
            _ => return NtStatus::INVALID_PARAMETER,
        }
    }
    trace::push(TraceEvent::Etw(Box::new(EtwEvent {
        tid: thread::current().tid,
        provider: text(&id),
        provider_name: name,
        name: event_name(&metadata),
        id: descriptor.id,
        version: descriptor.version,
        channel: descriptor.channel,
        level: descriptor.level,
        opcode: descriptor.opcode,
        task: descriptor.task,
        keyword: descriptor.keyword,
        activity: activity.read_opt().map(|activity| text(&activity)),
        metadata,
        payload,
    })));
    NtStatus::SUCCESS
}

/// The name in TraceLogging metadata: a length, tags of which the last has its high bit clear, the name.
fn event_name(metadata: &[u8]) -> Option<String> {
    let tags = metadata.get(2..)?;
    let last = tags.iter().position(|tag| tag & 0x80 == 0)?;
    zero_terminated(tags.get(last + 1..)?)
}

fn zero_terminated(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(bytes.get(..end)?).into_owned())
}

exports! { "ntoskrnl.exe";
    /// Registers a provider; where a session has enabled it already its callback hears so before this returns.
    partial "sessions are the machine's configuration and do not change while it runs"
    fn EtwRegister(id: Guest<Guid>, callback: usize, context: usize, handle: Guest<u64>) -> NtStatus {
        irql::at_most("EtwRegister", PASSIVE_LEVEL);
        if let Some(status) = faults::check("EtwRegister") {
            return status;
        }
        if id.is_null() || handle.is_null() {
            return NtStatus::INVALID_PARAMETER;
        }
        let id = id.read();
        let session = session(&id);
        let provider = Provider {
            id,
            name: None,
            session: session.clone(),
            service: driver::calling().map_or_else(String::new, |driver| driver.service.clone()),
            site: verifier::here(),
        };
        let number = {
            let mut providers = PROVIDERS.write().unwrap_or_else(PoisonError::into_inner);
            let providers = providers.get_or_insert_default();
            let mut number = HANDLE_BASE;
            while providers.contains_key(&number) {
                number += 0x10;
            }
            providers.insert(number, provider);
            number
        };
        handle.write(number);
        if let Some(session) = session.filter(|_| callback != 0) {
            let source = Guid { data1: 0, data2: 0, data3: 0, data4: [0; 8] };
            let source = (&raw const source).expose_provenance() as u64;
            let arguments = [source, ENABLE, session.level.into(), session.any, session.all, 0, context as u64];
            let entered = super::Entered::now();
            // SAFETY: the driver registered this callback, which takes these.
            unsafe { gate::call(callback, &arguments) };
            entered.check("the enable callback", "the event provider");
        }
        NtStatus::SUCCESS
    }

    /// Takes a provider back.
    fn EtwUnregister(handle: u64) -> NtStatus {
        irql::at_most("EtwUnregister", PASSIVE_LEVEL);
        let mut providers = PROVIDERS.write().unwrap_or_else(PoisonError::into_inner);
        match providers.as_mut().and_then(|providers| providers.remove(&handle)) {
            Some(_) => NtStatus::SUCCESS,
            None => NtStatus::INVALID_HANDLE,
        }
    }

    /// Tells about a provider; of the classes its traits are read for its name.
    partial "provider traits are read; other classes change nothing"
    fn EtwSetInformation(handle: u64, class: u32, information: Guest<u8>, length: u32) -> NtStatus {
        irql::at_most("EtwSetInformation", APC_LEVEL);
        let bytes = information.read_many(length as usize);
        let known = with(handle, |provider| {
            if class == SET_TRAITS {
                provider.name = bytes.get(2..).and_then(zero_terminated);
            }
        });
        if known.is_some() { NtStatus::SUCCESS } else { NtStatus::INVALID_HANDLE }
    }

    /// Writes an event.
    fn EtwWrite(
        handle: u64,
        descriptor: Guest<Descriptor>,
        activity: Guest<Guid>,
        count: u32,
        data: Guest<Data>,
    ) -> NtStatus {
        write(handle, descriptor, activity, count, data)
    }

    /// Writes an event that belongs to another activity.
    partial "the related activity is not kept"
    fn EtwWriteTransfer(
        handle: u64,
        descriptor: Guest<Descriptor>,
        activity: Guest<Guid>,
        _related: Guest<Guid>,
        count: u32,
        data: Guest<Data>,
    ) -> NtStatus {
        write(handle, descriptor, activity, count, data)
    }

    /// Whether a session wants events of that level and keyword.
    fn EtwProviderEnabled(handle: u64, level: u8, keyword: u64) -> u8 {
        u8::from(enabled(handle, level, keyword))
    }

    /// Whether a session wants that event.
    fn EtwEventEnabled(handle: u64, descriptor: Guest<Descriptor>) -> u8 {
        let descriptor = descriptor.read();
        u8::from(enabled(handle, descriptor.level, descriptor.keyword))
    }
}
