//! Tokens: who a process is.

use std::sync::{LazyLock, Mutex, PoisonError};

use super::sid::{make, nt, paged};
use crate::maps::HashMap;
use crate::ntos::memory::Guest;
use crate::ntos::{attach, irql, object, pool, ps};
use crate::status::NtStatus;
use crate::thread::{PASSIVE_LEVEL, Process};
use crate::{bugcheck, faults};

const TAG: u32 = u32::from_le_bytes(*b"SeTi");

/// Who a token stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    System,
    Administrator,
    User,
}

#[derive(Clone, Copy)]
struct Token {
    address: usize,
    who: Who,
    session: u32,
}

/// Primary tokens by their processes' objects.
static TOKENS: LazyLock<Mutex<HashMap<usize, Token>>> = LazyLock::new(Mutex::default);

fn who(process: &Process) -> Who {
    match (process.pid, process.administrator) {
        (crate::thread::SYSTEM_PID, _) => Who::System,
        (_, true) => Who::Administrator,
        (_, false) => Who::User,
    }
}

/// A process's primary token.
pub(super) fn of_process(process: &Process) -> usize {
    let mut tokens = TOKENS.lock().unwrap_or_else(PoisonError::into_inner);
    let token = tokens.entry(process.object).or_insert_with(|| Token {
        address: object::allocate(0x100),
        who: who(process),
        session: ps::session(process),
    });
    token.address
}

fn find(address: usize) -> Option<Token> {
    let tokens = TOKENS.lock().unwrap_or_else(PoisonError::into_inner);
    tokens
        .values()
        .find(|token| token.address == address)
        .copied()
}

/// What a token stands for; what is no token is a bug check.
fn token(call: &str, address: usize) -> Token {
    find(address).unwrap_or_else(|| {
        bugcheck::raise(
            0x3B,
            [0xC000_0005, 0, address as u64, 0],
            format!("{call} was given {address:#x}, which is no token"),
        )
    })
}

/// Who a token stands for.
pub(super) fn who_of(call: &str, address: usize) -> Who {
    token(call, address).who
}

impl Who {
    /// The user.
    fn user(self) -> Vec<u8> {
        match self {
            Self::System => nt(&[18]),
            // A local account, and the number of the first or second one.
            Self::Administrator => nt(&[21, 1, 2, 3, 500]),
            Self::User => nt(&[21, 1, 2, 3, 1001]),
        }
    }

    /// The groups: everyone, authenticated users, and those that tell the three apart.
    fn groups(self) -> Vec<Vec<u8>> {
        let mut groups = vec![make(1, &[0]), nt(&[11])];
        match self {
            Self::System => groups.push(nt(&[32, 544])),
            Self::Administrator => groups.extend([nt(&[32, 544]), nt(&[32, 545]), nt(&[4])]),
            Self::User => groups.extend([nt(&[32, 545]), nt(&[4])]),
        }
        groups
    }

    /// Whether an entry for that identity is one for this token.
    pub(super) fn is(self, sid: &[u8]) -> bool {
        self.user() == sid || self.groups().iter().any(|group| group == sid)
    }

    /// Whether it has a privilege: SeChangeNotifyPrivilege (23) everybody, the others the system and its administrators.
    pub(super) fn has(self, privilege: u64) -> bool {
        privilege == 23 || self != Self::User
    }

    /// The mandatory level: `S-1-16-…`.
    fn level(self) -> u32 {
        match self {
            Self::System => 0x4000,
            Self::Administrator => 0x3000,
            Self::User => 0x2000,
        }
    }

    /// The logon session's id.
    fn logon(self) -> u64 {
        match self {
            Self::System => 0x3E7,
            Self::Administrator => 0x1_2345,
            Self::User => 0x2_3456,
        }
    }
}

/// `SID_AND_ATTRIBUTES` of these, at `address`, behind `head` bytes; the identifiers behind them.
fn identities(address: usize, head: &[u8], sids: &[(Vec<u8>, u32)]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    let mut at = address + head.len() + sids.len() * 16;
    for (sid, attributes) in sids {
        bytes.extend((at as u64).to_le_bytes());
        bytes.extend(u64::from(*attributes).to_le_bytes());
        at += sid.len();
    }
    for (sid, _) in sids {
        bytes.extend(sid);
    }
    bytes
}

/// What a class tells, for a block at `address`: how long it is does not depend on where.
fn told(token: Token, class: u32, address: usize) -> Option<Vec<u8>> {
    let who = token.who;
    // SE_GROUP_MANDATORY, …ENABLED_BY_DEFAULT, …ENABLED.
    let enabled = |sid| (sid, 7);
    let count = |count: usize| (count as u64).to_le_bytes();
    Some(match class {
        // TokenUser, TokenOwner, TokenPrimaryGroup
        1 => identities(address, &[], &[(who.user(), 0)]),
        2 => {
            let groups: Vec<_> = who.groups().into_iter().map(enabled).collect();
            identities(address, &count(groups.len()), &groups)
        }
        4 | 5 => {
            let mut bytes = ((address + 8) as u64).to_le_bytes().to_vec();
            bytes.extend(who.user());
            bytes
        }
        // TokenType: primary.
        8 => 1_u32.to_le_bytes().to_vec(),
        // TokenSessionId: the session itself is the pointer, as SeQueryInformationToken documents.
        // TokenElevationType, TokenElevation
        18 => (1 + u32::from(who == Who::Administrator))
            .to_le_bytes()
            .to_vec(),
        20 => u32::from(who != Who::User).to_le_bytes().to_vec(),
        // TokenIntegrityLevel
        25 => identities(address, &[], &[(make(16, &[who.level()]), 0x60)]),
        _ => return None,
    })
}

exports! { "ntoskrnl.exe";
    /// A process's primary token, referenced.
    fn PsReferencePrimaryToken(process: usize) -> usize {
        irql::at_most("PsReferencePrimaryToken", PASSIVE_LEVEL);
        let Some(process) = ps::process_at(process) else {
            bugcheck::raise(0x3B, [0xC000_0005, 0, process as u64, 0], "PsReferencePrimaryToken was given what is no process")
        };
        let token = of_process(&process);
        object::lend(token, "token");
        token
    }

    /// Gives the reference back.
    fn PsDereferencePrimaryToken(token: usize) {
        irql::at_most("PsDereferencePrimaryToken", PASSIVE_LEVEL);
        object::ObfDereferenceObject(token);
    }

    /// The token that a thread impersonates: none does.
    partial "NULL always: nobody impersonates"
    fn PsReferenceImpersonationToken(_thread: usize, _copy: Guest<u8>, _effective: Guest<u8>, _level: Guest<u32>) -> usize {
        0
    }

    /// Gives a reference back.
    partial "nobody impersonates"
    fn PsDereferenceImpersonationToken(token: usize) {
        if token != 0 {
            object::ObfDereferenceObject(token);
        }
    }

    /// Whether a token is an administrator's.
    fn SeTokenIsAdmin(address: usize) -> u8 {
        paged("SeTokenIsAdmin");
        u8::from(token("SeTokenIsAdmin", address).who != Who::User)
    }

    /// Whether a token is restricted: none is.
    partial "FALSE always: no token is restricted"
    fn SeTokenIsRestricted(address: usize) -> u8 {
        token("SeTokenIsRestricted", address);
        0
    }

    /// Whether a token is primary.
    partial "TokenPrimary always: nobody impersonates"
    fn SeTokenType(address: usize) -> u32 {
        token("SeTokenType", address);
        1
    }

    /// The id of the logon session that a token is of.
    partial "the system's; one for all administrators, one for all others"
    fn SeQueryAuthenticationIdToken(address: usize, id: Guest<u64>) -> NtStatus {
        paged("SeQueryAuthenticationIdToken");
        id.write(token("SeQueryAuthenticationIdToken", address).who.logon());
        NtStatus::SUCCESS
    }

    /// A token's session.
    fn SeQuerySessionIdToken(address: usize, session: Guest<u32>) -> NtStatus {
        paged("SeQuerySessionIdToken");
        session.write(token("SeQuerySessionIdToken", address).session);
        NtStatus::SUCCESS
    }

    /// What a class tells of a token, in pool that the caller frees.
    partial "user, groups, owner, primary group, type, session, elevation and integrity level; STATUS_INVALID_INFO_CLASS for other classes"
    fn SeQueryInformationToken(address: usize, class: u32, out: Guest<usize>) -> NtStatus {
        irql::at_most("SeQueryInformationToken", PASSIVE_LEVEL);
        if let Some(status) = faults::check("SeQueryInformationToken") {
            return status;
        }
        let token = token("SeQueryInformationToken", address);
        // TokenSessionId and TokenIntegrityLevel are told in the pointer's place.
        match class {
            12 => {
                Guest::<u32>::at(out.address()).write(token.session);
                return NtStatus::SUCCESS;
            }
            25 => {
                Guest::<u32>::at(out.address()).write(token.who.level());
                return NtStatus::SUCCESS;
            }
            _ => {}
        }
        let Some(length) = told(token, class, 0).map(|bytes| bytes.len()) else {
            return NtStatus::INVALID_INFO_CLASS;
        };
        let Some(block) = pool::allocate(length, TAG, pool::Kind::Paged, true) else {
            return NtStatus::INSUFFICIENT_RESOURCES;
        };
        Guest::<u8>::at(block).write_many(&told(token, class, block).unwrap_or_default());
        out.write(block);
        NtStatus::SUCCESS
    }
}

/// The current process's primary token.
pub(super) fn current() -> usize {
    attach::with(|process| of_process(process))
}
