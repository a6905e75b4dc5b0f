//! Filters in transactions: their contexts, their enlistments, and what they are told of a transaction's end.
//!
//! On the way to a commit every enlisted filter that asked for it is told of each phase, and the next one begins when
//! all have answered: `TRANSACTION_NOTIFY_PREPREPARE`, `_PREPARE`, `_COMMIT`, and, when all resource managers have
//! committed, `_COMMIT_FINALIZE`. A rollback is `TRANSACTION_NOTIFY_ROLLBACK`. Then the enlistments and the transaction's
//! contexts go.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::callback::{self, About, argument, related};
use super::context::{self, Place, TRANSACTION};
use super::objects::{self, Instance};
use crate::ntos::driver::status_of;
use crate::ntos::memory::Guest;
use crate::ntos::{irql, transaction};
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;
use crate::{bugcheck, faults, schedule, verifier};

const PREPREPARE: u32 = 0x1;
const PREPARE: u32 = 0x2;
const COMMIT: u32 = 0x4;
const ROLLBACK: u32 = 0x8;
const COMMIT_FINALIZE: u32 = 0x4000_0000;
const KNOWN: u32 = PREPREPARE | PREPARE | COMMIT | ROLLBACK | COMMIT_FINALIZE;

/// An instance's part in a transaction.
struct Enlistment {
    instance: Arc<Instance>,
    transaction: usize,
    context: usize,
    mask: u32,
    /// The notification that the filter has not answered yet.
    owed: Option<u32>,
}

static ENLISTED: Mutex<Vec<Enlistment>> = Mutex::new(Vec::new());
static ANSWERED: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Vec<Enlistment>> {
    ENLISTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The transaction commits: the enlisted filters are told, in each phase.
pub(crate) fn committed(address: usize) {
    for phase in [PREPREPARE, PREPARE, COMMIT, COMMIT_FINALIZE] {
        tell_all(address, phase);
    }
    over(address);
}

/// The transaction is rolled back.
pub(crate) fn rolled_back(address: usize) {
    tell_all(address, ROLLBACK);
    over(address);
}

fn tell_all(address: usize, phase: u32) {
    let concerned: Vec<(Arc<Instance>, usize)> = {
        let mut enlisted = lock();
        let wants = |one: &&mut Enlistment| one.transaction == address && one.mask & phase != 0;
        enlisted
            .iter_mut()
            .filter(wants)
            .map(|one| {
                one.owed = Some(phase);
                (Arc::clone(&one.instance), one.context)
            })
            .collect()
    };
    for (instance, context) in concerned {
        let mut objects = related(&instance, None);
        objects.transaction = Guest::at(address).0;
        objects.transaction_context = transaction::DEFAULT_VIEW;
        let about = About {
            filter: &instance.filter.service,
            phase: name(phase),
            operation: "",
            path: instance.volume.name.clone(),
        };
        let routine = instance.filter.registration.transaction_notification;
        let arguments = [argument(&*objects), context as u64, u64::from(phase)];
        let answer = status_of(callback::call(about, routine, &arguments));
        if !matches!(answer, NtStatus::SUCCESS | NtStatus::PENDING) {
            let _blame = verifier::blame_routine(routine);
            verifier::finding(
                "transaction-status",
                format!(
                    "the transaction notification callback of {} returned {answer}; STATUS_SUCCESS and STATUS_PENDING \
                     are documented",
                    instance.filter.service
                ),
            );
        }
        if answer != NtStatus::PENDING {
            answered(&instance, address, phase);
        }
    }
    let mut enlisted = lock();
    while enlisted
        .iter()
        .any(|one| one.transaction == address && one.owed == Some(phase))
    {
        enlisted = schedule::wait(&ANSWERED, &ENLISTED, enlisted, None);
    }
}

fn name(phase: u32) -> &'static str {
    match phase {
        PREPREPARE => "transaction preprepare",
        PREPARE => "transaction prepare",
        COMMIT => "transaction commit",
        COMMIT_FINALIZE => "transaction commit finalize",
        _ => "transaction rollback",
    }
}

fn answered(instance: &Arc<Instance>, transaction: usize, phase: u32) -> bool {
    let mut enlisted = lock();
    let found = enlisted.iter_mut().find(|one| {
        Arc::ptr_eq(&one.instance, instance)
            && one.transaction == transaction
            && one.owed == Some(phase)
    });
    let was = found.map(|one| one.owed = None).is_some();
    drop(enlisted);
    ANSWERED.notify_all();
    was
}

/// A transaction is done: what filters have with it goes.
fn over(address: usize) {
    let done = take(|one| one.transaction == address);
    for one in done {
        context::release(one.context, "the end of a transaction");
    }
    context::transaction_gone(address);
}

/// An instance goes, and takes no part in transactions any more.
pub(super) fn instance_gone(instance: &Instance) {
    for one in take(|one| one.instance.address == instance.address) {
        context::release(one.context, "the end of an instance");
    }
    ANSWERED.notify_all();
}

fn take(which: impl Fn(&Enlistment) -> bool) -> Vec<Enlistment> {
    let mut enlisted = lock();
    let (done, left) = enlisted.drain(..).partition(|one| which(one));
    *enlisted = left;
    drop(enlisted);
    done
}

/// What a driver passes for a transaction must be one.
fn known(address: usize, function: &str) -> usize {
    if !transaction::is(address) {
        bugcheck::no_such(
            address,
            format!("{function} was given {address:#x}, which is no transaction (any more)"),
        );
    }
    address
}

fn place(instance: usize, transaction: usize, function: &str) -> Place {
    Place::Transaction {
        instance: objects::instance(instance, function).address,
        transaction: known(transaction, function),
    }
}

fn enlist(instance: usize, address: usize, context: usize, mask: u32) -> Result<(), NtStatus> {
    const NAME: &str = "FltEnlistInTransaction";
    let instance = objects::instance(instance, NAME);
    known(address, NAME);
    if instance.filter.registration.transaction_notification == 0
        || context::kind(context, NAME) != TRANSACTION
    {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if mask == 0 || mask & !KNOWN != 0 {
        return Err(NtStatus::INVALID_PARAMETER_4);
    }
    if instance.rundown.is_closed() {
        return Err(NtStatus::FLT_DELETING_OBJECT);
    }
    transaction::active(address)?;
    let mut enlisted = lock();
    if enlisted
        .iter()
        .any(|one| Arc::ptr_eq(&one.instance, &instance) && one.transaction == address)
    {
        return Err(NtStatus::FLT_ALREADY_ENLISTED);
    }
    // The context is handed to the callback, and so held until the transaction's end.
    context::reference(context, NAME);
    enlisted.push(Enlistment {
        instance,
        transaction: address,
        context,
        mask,
        owed: None,
    });
    Ok(())
}

/// A filter has dealt with a notification that it had pended.
fn complete(function: &str, instance: usize, address: usize, phase: u32) -> NtStatus {
    irql::at_most(function, APC_LEVEL);
    let instance = objects::instance(instance, function);
    if answered(&instance, known(address, function), phase) {
        NtStatus::SUCCESS
    } else {
        NtStatus::INVALID_PARAMETER
    }
}

exports! { "fltmgr.sys";
    /// Enlists an instance in a transaction.
    fn FltEnlistInTransaction(instance: usize, transaction: usize, context: usize, mask: u32) -> NtStatus {
        irql::at_most("FltEnlistInTransaction", APC_LEVEL);
        if let Some(status) = faults::check("FltEnlistInTransaction") {
            return status;
        }
        match enlist(instance, transaction, context, mask) {
            Ok(()) => NtStatus::SUCCESS,
            Err(status) => status,
        }
    }

    /// A transaction's context.
    fn FltGetTransactionContext(instance: usize, transaction: usize, out: Guest<usize>) -> NtStatus {
        let place = place(instance, transaction, "FltGetTransactionContext");
        context::get(place, out, "FltGetTransactionContext")
    }

    /// Links a context to a transaction.
    fn FltSetTransactionContext(
        instance: usize, transaction: usize, operation: u32, new: usize, old: Guest<usize>,
    ) -> NtStatus {
        let place = place(instance, transaction, "FltSetTransactionContext");
        context::set(place, TRANSACTION, operation, new, old, "FltSetTransactionContext")
    }

    /// Takes it away.
    fn FltDeleteTransactionContext(instance: usize, transaction: usize, old: Guest<usize>) -> NtStatus {
        let place = place(instance, transaction, "FltDeleteTransactionContext");
        context::unlink(place, old, "FltDeleteTransactionContext")
    }

    /// Rolls the whole transaction back.
    fn FltRollbackEnlistment(instance: usize, transaction: usize, _context: usize) -> NtStatus {
        irql::at_most("FltRollbackEnlistment", APC_LEVEL);
        let _ = objects::instance(instance, "FltRollbackEnlistment");
        transaction::roll_back(known(transaction, "FltRollbackEnlistment"))
    }

    /// Answers `TRANSACTION_NOTIFY_PREPREPARE`.
    fn FltPrePrepareComplete(instance: usize, transaction: usize, _context: usize) -> NtStatus {
        complete("FltPrePrepareComplete", instance, transaction, PREPREPARE)
    }

    /// Answers `TRANSACTION_NOTIFY_PREPARE`.
    fn FltPrepareComplete(instance: usize, transaction: usize, _context: usize) -> NtStatus {
        complete("FltPrepareComplete", instance, transaction, PREPARE)
    }

    /// Answers `TRANSACTION_NOTIFY_COMMIT`.
    fn FltCommitComplete(instance: usize, transaction: usize, _context: usize) -> NtStatus {
        complete("FltCommitComplete", instance, transaction, COMMIT)
    }

    /// Answers `TRANSACTION_NOTIFY_COMMIT_FINALIZE`.
    fn FltCommitFinalizeComplete(instance: usize, transaction: usize, _context: usize) -> NtStatus {
        complete("FltCommitFinalizeComplete", instance, transaction, COMMIT_FINALIZE)
    }

    /// Answers `TRANSACTION_NOTIFY_ROLLBACK`.
    fn FltRollbackComplete(instance: usize, transaction: usize, _context: usize) -> NtStatus {
        complete("FltRollbackComplete", instance, transaction, ROLLBACK)
    }
}
