//! Tokens: who a process is, and whom a thread impersonates ([`super::impersonation`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use super::impersonation;
use super::sid::{make, nt, paged};
use crate::maps::HashMap;
use crate::ntos::memory::Guest;
use crate::ntos::{ObjectType, attach, irql, object, pool, ps};
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
pub(super) struct Token {
    pub(super) address: usize,
    who: Who,
    session: u32,
    /// `SECURITY_IMPERSONATION_LEVEL` of an impersonation token; `None`: it is a primary one.
    pub(super) level: Option<u32>,
    /// Which one it is: `TOKEN_STATISTICS.TokenId`.
    number: u64,
}

/// `*SeTokenObjectType`.
static TYPE: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);
/// Primary tokens by their processes' objects; impersonation tokens by their own addresses.
static TOKENS: LazyLock<Mutex<HashMap<usize, Token>>> = LazyLock::new(Mutex::default);

/// The type of tokens.
pub(crate) fn object_type() -> usize {
    TYPE.value
}

/// Makes a token, which lasts: a pointer to it that is kept too long leads to nothing else.
fn make_token(who: Who, session: u32, level: Option<u32>) -> Token {
    static NUMBER: AtomicU64 = AtomicU64::new(0x1_0000);
    Token {
        address: object::allocate(0x100),
        who,
        session,
        level,
        number: NUMBER.fetch_add(1, Ordering::Relaxed),
    }
}

/// An impersonation token, or a primary one without a level, for whoever another token stands for.
pub(super) fn duplicate(of: Token, level: Option<u32>) -> Token {
    let made = make_token(of.who, of.session, level);
    let mut tokens = TOKENS.lock().unwrap_or_else(PoisonError::into_inner);
    tokens.insert(made.address, made);
    made
}

fn who(process: &Process) -> Who {
    match (process.pid, process.administrator) {
        (crate::thread::SYSTEM_PID, _) => Who::System,
        (_, true) => Who::Administrator,
        (_, false) => Who::User,
    }
}

/// A process's primary token.
pub(crate) fn of_process(process: &Process) -> usize {
    let mut tokens = TOKENS.lock().unwrap_or_else(PoisonError::into_inner);
    let token = tokens
        .entry(process.object)
        .or_insert_with(|| make_token(who(process), ps::session(process), None));
    token.address
}

/// The token at an address.
pub(super) fn find(address: usize) -> Option<Token> {
    let tokens = TOKENS.lock().unwrap_or_else(PoisonError::into_inner);
    tokens
        .values()
        .find(|token| token.address == address)
        .copied()
}

/// What a token stands for; what is no token is a bug check.
pub(super) fn token(call: &str, address: usize) -> Token {
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
    pub(super) fn user(self) -> Vec<u8> {
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
pub(super) fn told(token: Token, class: u32, address: usize) -> Option<Vec<u8>> {
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
        // TokenPrivileges
        3 => privileges(who),
        // TokenDefaultDacl: none, so that the creator's is inherited.
        6 => vec![0; 8],
        // TokenSource
        7 => source(),
        // TokenType
        8 => (1 + u32::from(token.level.is_some()))
            .to_le_bytes()
            .to_vec(),
        // TokenImpersonationLevel
        9 => token.level?.to_le_bytes().to_vec(),
        // TokenStatistics
        10 => statistics(token),
        // TokenSessionId
        12 => token.session.to_le_bytes().to_vec(),
        // TokenHasRestrictions, TokenVirtualizationAllowed, …Enabled, TokenUIAccess, TokenIsAppContainer: none is.
        21 | 23 | 24 | 26 | 29 => vec![0; 4],
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

/// `TOKEN_PRIVILEGES` of all that somebody has, each enabled: numbers from 2, `SeCreateTokenPrivilege`, on.
fn privileges(who: Who) -> Vec<u8> {
    let held: Vec<u64> = (2..=36).filter(|number| who.has(*number)).collect();
    let count = u32::try_from(held.len()).unwrap_or(0);
    let mut bytes = count.to_le_bytes().to_vec();
    for number in held {
        bytes.extend(number.to_le_bytes());
        // SE_PRIVILEGE_ENABLED_BY_DEFAULT, …ENABLED.
        bytes.extend(3_u32.to_le_bytes());
    }
    bytes
}

/// `TOKEN_SOURCE`: the local authority's own.
fn source() -> Vec<u8> {
    let mut bytes = b"*SYSTEM*".to_vec();
    bytes.extend([0; 8]);
    bytes
}

/// `TOKEN_STATISTICS`.
fn statistics(token: Token) -> Vec<u8> {
    let mut bytes = token.number.to_le_bytes().to_vec();
    bytes.extend(token.who.logon().to_le_bytes());
    // Never expires.
    bytes.extend(i64::MAX.to_le_bytes());
    for word in [
        1 + u32::from(token.level.is_some()),
        token.level.unwrap_or(0),
        0,
        0,
        u32::try_from(token.who.groups().len()).unwrap_or(0),
        (2..=36)
            .map(|number| u32::from(token.who.has(number)))
            .sum(),
    ] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(token.number.to_le_bytes());
    bytes
}

/// `TOKEN_CONTROL`: which token, of which logon, and where it came from.
pub(super) fn control(token: Token) -> Vec<u8> {
    let numbers = [token.number, token.who.logon(), token.number];
    let mut bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    bytes.extend(source());
    bytes
}

exports! { "ntoskrnl.exe";
    data SeTokenObjectType = || TYPE.variable;

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
    fn SeTokenType(address: usize) -> u32 {
        1 + u32::from(token("SeTokenType", address).level.is_some())
    }

    /// How far an impersonation token goes.
    fn SeTokenImpersonationLevel(address: usize) -> u32 {
        token("SeTokenImpersonationLevel", address).level.unwrap_or(0)
    }

    /// Whether a token may not write what its restricting identities may not: none is so.
    partial "FALSE always: no token is restricted"
    fn SeTokenIsWriteRestricted(address: usize) -> u8 {
        token("SeTokenIsWriteRestricted", address);
        0
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
    partial "user, groups, privileges, owner, primary group, source, type, level, statistics, session, elevation and integrity level; STATUS_INVALID_INFO_CLASS for other classes"
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

/// The token that counts for the current thread: the one that it impersonates, else its process's.
pub(super) fn current() -> usize {
    let impersonated = impersonation::of_thread(crate::thread::current().object);
    impersonated.map_or_else(
        || attach::with(|process| of_process(process)),
        |impersonated| impersonated.token,
    )
}
