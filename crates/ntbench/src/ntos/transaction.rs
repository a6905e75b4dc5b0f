//! Kernel transactions: who commits them, and who is in them.
//!
//! A program makes one, opens files in it (`CreateFileTransacted`) and commits it or rolls it back; closing its last
//! handle rolls it back. Filters see it in `FLT_RELATED_OBJECTS` and are told of its end. Where Windows differs: what is
//! done to files in a transaction is done at once and seen by all until a rollback undoes it ([`crate::namespace::undo`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::handle::{self, Target};
use super::memory::Guest;
use super::object::{self, Counted, Kind};
use super::{ObjectType, irql};
use crate::abi::flt::{KERNEL_MODE, USER_MODE};
use crate::namespace::undo;
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};
use crate::{faults, fltmgr};

/// `TXF_MINIVERSION_DEFAULT_VIEW`: the view of a file that its open has when it asks for none.
pub(crate) const DEFAULT_VIEW: u16 = 0xFFFE;

/// How far a transaction is: `TRANSACTION_OUTCOME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Undetermined = 1,
    Committed = 2,
    Aborted = 3,
}

struct Transaction {
    number: u64,
    outcome: Outcome,
}

static TYPE: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);
static ALL: LazyLock<Mutex<HashMap<usize, Transaction>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Transaction>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last reference is gone: what nobody committed has been rolled back when its last handle was closed.
fn gone(address: usize) {
    lock().remove(&address);
}

/// Makes one, with one reference.
pub(crate) fn make() -> Arc<Counted> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let made = Counted::make("transaction", TYPE.value, gone);
    let transaction = Transaction {
        number: NUMBER.fetch_add(1, Ordering::Relaxed),
        outcome: Outcome::Undetermined,
    };
    lock().insert(made.address(), transaction);
    made
}

/// Whether that is a transaction's address.
pub(crate) fn is(address: usize) -> bool {
    lock().contains_key(&address)
}

/// The transaction at that address.
pub(crate) fn at(address: usize) -> Option<Arc<Counted>> {
    match object::at(address) {
        Some(Kind::Counted(counted)) if counted.object_type == TYPE.value => Some(counted),
        _ => None,
    }
}

/// The transaction of a handle.
pub(crate) fn of_handle(handle: u64, mode: i8) -> Result<Arc<Counted>, NtStatus> {
    match handle::look_up(handle, mode)?.0 {
        Target::Counted(counted) if counted.object_type == TYPE.value => Ok(counted),
        _ => Err(NtStatus::OBJECT_TYPE_MISMATCH),
    }
}

/// Whether anything can still be done in it.
pub(crate) fn active(address: usize) -> Result<(), NtStatus> {
    match lock().get(&address) {
        Some(transaction) if transaction.outcome == Outcome::Undetermined => Ok(()),
        _ => Err(NtStatus::TRANSACTION_NOT_ACTIVE),
    }
}

fn end(address: usize, outcome: Outcome) -> Result<(), NtStatus> {
    let mut all = lock();
    let transaction = all.get_mut(&address).ok_or(NtStatus::INVALID_HANDLE)?;
    match transaction.outcome {
        Outcome::Undetermined => transaction.outcome = outcome,
        Outcome::Committed => return Err(NtStatus::TRANSACTION_ALREADY_COMMITTED),
        Outcome::Aborted => return Err(NtStatus::TRANSACTION_ALREADY_ABORTED),
    }
    drop(all);
    Ok(())
}

/// `*TmTransactionObjectType`.
pub(super) fn object_type() -> usize {
    TYPE.value
}

/// Commits it.
pub(crate) fn commit(address: usize) -> NtStatus {
    if let Err(status) = end(address, Outcome::Committed) {
        return status;
    }
    undo::end(address, true);
    fltmgr::transaction_ended(address, true);
    NtStatus::SUCCESS
}

/// Rolls it back.
pub(crate) fn roll_back(address: usize) -> NtStatus {
    if let Err(status) = end(address, Outcome::Aborted) {
        return status;
    }
    undo::end(address, false);
    fltmgr::transaction_ended(address, false);
    NtStatus::SUCCESS
}

/// The last handle of something is closed: if that was a transaction which nobody has ended, it is rolled back.
pub(crate) fn handles_closed(counted: &Counted) {
    if counted.object_type == TYPE.value && active(counted.address()).is_ok() {
        roll_back(counted.address());
    }
}

/// A program's handle for a new transaction.
pub(crate) fn nt_create() -> u64 {
    let made = make();
    made.add_handle();
    made.dereference();
    handle::open(Target::Counted(made), 0x1F_003F, 0, USER_MODE)
}

/// Ends the transaction of a program's handle.
pub(crate) fn nt_end(handle: u64, committed: bool) -> NtStatus {
    match of_handle(handle, USER_MODE) {
        Ok(found) if committed => commit(found.address()),
        Ok(found) => roll_back(found.address()),
        Err(status) => status,
    }
}

/// `TRANSACTION_BASIC_INFORMATION` and `TRANSACTION_PROPERTIES_INFORMATION`, the latter without a description.
fn told(address: usize, class: u32) -> Result<Vec<u8>, NtStatus> {
    let all = lock();
    let transaction = all.get(&address).ok_or(NtStatus::INVALID_HANDLE)?;
    let outcome = transaction.outcome as u32;
    // TransactionStateNormal, or TransactionStateCommittedNotify.
    let state = if transaction.outcome == Outcome::Committed {
        3_u32
    } else {
        1
    };
    let mut bytes = Vec::new();
    match class {
        0 => {
            bytes.extend(*b"ntbench\0");
            bytes.extend(transaction.number.to_be_bytes());
            bytes.extend(state.to_le_bytes());
            bytes.extend(outcome.to_le_bytes());
        }
        1 => {
            // Isolation level and flags, and a time limit: none.
            bytes.extend([0; 16]);
            bytes.extend(outcome.to_le_bytes());
            bytes.extend(0_u32.to_le_bytes());
        }
        _ => return Err(NtStatus::INVALID_INFO_CLASS),
    }
    drop(all);
    Ok(bytes)
}

exports! { "ntoskrnl.exe";
    data TmTransactionObjectType = || TYPE.variable;

    /// What a transaction is.
    partial "TransactionBasicInformation and TransactionPropertiesInformation"
    fn ZwQueryInformationTransaction(
        handle: u64, class: u32, buffer: Guest<u8>, length: u32, returned: Guest<u32>,
    ) -> NtStatus {
        irql::at_most("ZwQueryInformationTransaction", PASSIVE_LEVEL);
        if let Some(status) = faults::check("ZwQueryInformationTransaction") {
            return status;
        }
        let found = match of_handle(handle, KERNEL_MODE) {
            Ok(found) => found,
            Err(status) => return status,
        };
        match told(found.address(), class) {
            Ok(bytes) if bytes.len() <= length as usize => {
                buffer.write_many(&bytes);
                returned.write_opt(u32::try_from(bytes.len()).unwrap_or(0));
                NtStatus::SUCCESS
            }
            Ok(_) => NtStatus::INFO_LENGTH_MISMATCH,
            Err(status) => status,
        }
    }

    /// In which transaction a file object was opened; NULL: in none.
    fn IoGetTransactionParameterBlock(file: usize) -> usize {
        irql::at_most("IoGetTransactionParameterBlock", APC_LEVEL);
        object::file(file, "IoGetTransactionParameterBlock").transaction_block()
    }
}
