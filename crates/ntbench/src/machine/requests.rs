//! What each request does, and on which thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use super::modules::{self, Module};
use super::{lives, measure, ports, reply, worker};
use crate::abi::io::{
    IRP_MJ_PNP, IRP_MN_CANCEL_REMOVE_DEVICE, IRP_MN_QUERY_REMOVE_DEVICE, IRP_MN_REMOVE_DEVICE,
    IRP_MN_SURPRISE_REMOVAL,
};
use crate::cpu::memory;
use crate::loader;
use crate::symbols::Symbols;
use crate::thread::{self, Thread};
use crate::wire::{
    Completion, DriverSpec, FinalReport, LoadedDriver, MachineConfig, NtStatus, PlugAndPlay,
    Refusal, Reply, Request, SystemCall, ThreadState, Usage,
};
use crate::{bugcheck, debugger, faults, fltmgr, ntos, schedule, stack, trace, verifier};

/// A debugger's read; more is a mistake.
const LARGEST_READ: usize = 256 << 20;

/// How much of its stack a create finds, where it is not all.
static LOW_STACK: OnceLock<Option<u32>> = OnceLock::new();

/// Does a request, or has a thread do it; the reply goes out when it is done.
pub(super) fn dispatch(id: u64, request: Request) {
    match request {
        Request::Boot(config) => boot(id, *config),
        Request::LoadDriver(spec) => on_system(id, move || load(&spec)),
        Request::InstallDriver(spec) => {
            install(&named(&spec));
            reply(id, Reply::Done);
        }
        Request::UnloadDriver { service, mandatory } => {
            on_system(id, move || unload(&service, mandatory));
        }
        Request::PlugAndPlay { device, what } => {
            on_system(id, move || plug_and_play(&device, what));
        }
        Request::Shutdown => on_system(id, shutdown),
        Request::SystemCall { thread, call } => on(id, thread, move || system_call(&call)),
        Request::Port { thread, call } => on(id, thread, move || ports::call(call)),
        Request::Measure {
            thread,
            measure: what,
        } => on(id, thread, move || measure::run(&what)),
        Request::StartThread(spec) => lives::start_thread(id, spec),
        Request::StartProcess { thread, spec } => lives::start_process(id, thread, spec),
        Request::EndProcess { pid } => on_system(id, move || lives::end_process(pid)),
        Request::EndThread { thread } => lives::end_thread(id, thread),
        Request::Symbol { name } => reply(id, symbol(&name)),
        Request::Read { address, length } => reply(id, read(address, length)),
        Request::Trace => reply(id, Reply::Trace(trace::take())),
        Request::Modules => reply(id, Reply::Modules(modules::infos())),
        Request::Usage => reply(id, Reply::Usage(usage())),
        Request::Threads => reply(id, Reply::Threads(threads())),
        Request::Ports => reply(id, Reply::Names(fltmgr::port::names())),
        Request::Filters => reply(id, Reply::Names(fltmgr::filter_names())),
        Request::Together { threads } => {
            let tickets: Vec<_> = threads.into_iter().filter_map(worker::ticket).collect();
            schedule::together(&tickets);
            reply(id, Reply::Done);
        }
        Request::Leave { thread } => {
            if let Some(ticket) = worker::ticket(thread) {
                schedule::leave(ticket);
            }
            reply(id, Reply::Done);
        }
        Request::Interrogate => worker::interrogate(),
        Request::SetFaults(rules) => {
            faults::set(rules);
            reply(id, Reply::Done);
        }
    }
}

pub(super) fn refused(text: String) -> Reply {
    Reply::Refused(Refusal::Config(text))
}

fn not_there(text: String) -> Reply {
    Reply::Refused(Refusal::NotThere(text))
}

pub(super) fn no_thread(thread: u32) -> Reply {
    not_there(format!("there is no thread {thread} (was it ended?)"))
}

pub(super) fn on(id: u64, thread: u32, job: impl FnOnce() -> Reply + Send + 'static) {
    if !worker::post(thread, move || reply(id, job())) {
        reply(id, no_thread(thread));
    }
}

fn on_system(id: u64, job: impl FnOnce() -> Reply + Send + 'static) {
    on(id, worker::SYSTEM, move || stack::system_thread(job));
}

fn boot(id: u64, config: MachineConfig) {
    trace::set_capacity(config.trace_capacity);
    schedule::configure(config.schedule);
    faults::gather(config.call_stacks.clone());
    faults::set(config.faults.clone());
    faults::fail_at_gate(&config.fail_also);
    stack::configure(&config);
    debugger::configure(config.debugger);
    if let Err(error) = ntos::special::configure(&config.verifier) {
        return reply(id, refused(format!("special pool: {error}")));
    }
    let _ = LOW_STACK.set(config.low_stack);
    verifier::stack_use::configure(config.verifier.stack_limit);
    ntos::quota::configure(config.verifier.pool_limit);
    worker::set_limited(config.limited.clone());
    if let Some(path) = &config.crash_dump {
        bugcheck::dump::request(path.clone());
    }
    match worker::start_system() {
        Ok(_) => on_system(id, move || match ntos::boot(&config) {
            Ok(()) => Reply::Done,
            Err(refusal) => Reply::Refused(refusal),
        }),
        Err(error) => reply(
            id,
            refused(format!("the system thread could not be started: {error}")),
        ),
    }
}

/// The services that are installed: what a filter may have loaded.
static INSTALLED: Mutex<Vec<DriverSpec>> = Mutex::new(Vec::new());

/// What came of loading an installed driver.
pub(crate) enum Load {
    /// There is no such service, or no image for it.
    Unknown,
    Already,
    /// It waits for the last of its devices to be closed.
    Unloading,
    /// What its `DriverEntry` returned.
    Entered(NtStatus),
}

/// A driver with the service's name that it has where none is given.
fn named(spec: &DriverSpec) -> DriverSpec {
    let mut spec = spec.clone();
    if spec.service.is_empty() {
        spec.service = spec
            .image
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    }
    spec
}

fn install(spec: &DriverSpec) {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    installed.retain(|other| !other.service.eq_ignore_ascii_case(&spec.service));
    installed.push(spec.clone());
}

/// Does something in a thread of the system's, where drivers are loaded, and waits for it.
fn in_system<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    if thread::current().is_system() {
        return work();
    }
    let done = Arc::new((Mutex::new(None), Condvar::new()));
    let told = Arc::clone(&done);
    ntos::worker::queue(move || {
        let result = work();
        *told.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        told.1.notify_all();
    });
    let (slot, condition) = &*done;
    let mut result = slot.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        match result.take() {
            Some(result) => return result,
            None => result = schedule::wait(condition, slot, result, None),
        }
    }
}

/// Loads the driver of an installed service for a driver that asks.
pub(crate) fn load_installed(service: &str) -> Load {
    let installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |spec: &&DriverSpec| spec.service.eq_ignore_ascii_case(service);
    let Some(spec) = installed.iter().find(same).cloned() else {
        return Load::Unknown;
    };
    drop(installed);
    if ntos::driver::waits_for_its_devices(service) {
        return Load::Unloading;
    }
    let loaded = |module: &Module| module.service.eq_ignore_ascii_case(service);
    if modules::find(loaded).is_some() {
        return Load::Already;
    }
    match in_system(move || load(&spec)) {
        Reply::Loaded(driver) => Load::Entered(driver.status),
        _ => Load::Unknown,
    }
}

/// Unloads a filter for a driver that asks, as `fltmc unload` does.
pub(crate) fn unload_filter(service: &str) -> NtStatus {
    let service = service.to_owned();
    match in_system(move || unload(&service, false)) {
        Reply::Unloaded(status) => status,
        _ => NtStatus::FLT_FILTER_NOT_FOUND,
    }
}

fn load(spec: &DriverSpec) -> Reply {
    let spec = named(spec);
    install(&spec);
    let same = |module: &Module| module.service.eq_ignore_ascii_case(&spec.service);
    if let Some(module) = modules::find(same) {
        let service = &spec.service;
        let text = match modules::importer(&module.image) {
            Some(importer) if module.kept.load(Ordering::Acquire) => format!(
                "the image of service {service} is still in memory, for {} imports from it: unload that first",
                importer.service
            ),
            _ => format!("a driver of service {service} is loaded already"),
        };
        return Reply::Refused(Refusal::Image(text));
    }
    let image = match loader::load(&spec.image, spec.pdb.as_deref()) {
        Ok(image) => Arc::new(image),
        Err(error) => return Reply::Refused(Refusal::Image(error.to_string())),
    };
    let module = Module {
        image: Arc::clone(&image),
        symbols: Symbols::default(),
        service: spec.service.clone(),
        kept: AtomicBool::new(false),
    };
    if !modules::add(module) {
        return Reply::Refused(Refusal::Image("too many drivers are loaded".to_owned()));
    }
    let info = modules::info(&image);
    if let Some(module) = modules::find(|module| Arc::ptr_eq(&module.image, &image)) {
        debugger::announce(&image, &module.symbols);
    }
    loader::declare(&image);
    ntos::notify::driver_loaded(&image);
    let status = ntos::load_driver(&image, &spec);
    if status.is_success() {
        loader::discard_init(&image);
    } else {
        modules::remove(&image);
    }
    Reply::Loaded(LoadedDriver {
        status,
        module: info,
    })
}

fn unload(service: &str, mandatory: bool) -> Reply {
    let loaded = |module: &Module| {
        module.service.eq_ignore_ascii_case(service) && !module.kept.load(Ordering::Acquire)
    };
    let Some(module) = modules::find(loaded) else {
        return not_there(format!("no driver of service {service} is loaded"));
    };
    match ntos::unload_driver(service, mandatory) {
        Some(status) => {
            if status.is_success() && status != NtStatus::PENDING {
                modules::remove(&module.image);
            }
            Reply::Unloaded(status)
        }
        None => not_there(format!("no driver of service {service} is loaded")),
    }
}

/// Goes on with an unload that has waited for the last file on the driver's devices, in the system's thread.
pub(crate) fn unload_later(service: &str) {
    let service = service.to_owned();
    worker::post(worker::SYSTEM, move || {
        stack::system_thread(|| {
            unload(&service, true);
        });
    });
}

fn system_call(call: &SystemCall) -> Reply {
    if let SystemCall::File(io) = call {
        return Reply::Transferred(stack::system_call(|| ntos::syscall::file_call(io)));
    }
    // What opens by name is what descends furthest.
    let opens = matches!(
        call,
        SystemCall::CreateFile(_) | SystemCall::QueryAttributes { .. }
    );
    let left = LOW_STACK.get().copied().flatten().filter(|_| opens);
    let serve = || match call {
        SystemCall::File(_) => status(NtStatus::INVALID_PARAMETER),
        SystemCall::CreateFile(create) => ntos::syscall::nt_create_file(create),
        SystemCall::QueryAttributes { name, root } => {
            ntos::syscall::nt_query_attributes_file(name, *root)
        }
        SystemCall::CancelIo { tid } => status(ntos::syscall::nt_cancel_synchronous_io(*tid)),
        SystemCall::CreateTransaction => Completion {
            handle: ntos::transaction::nt_create(),
            ..status(NtStatus::SUCCESS)
        },
        SystemCall::EndTransaction { handle, commit } => {
            status(ntos::transaction::nt_end(*handle, *commit))
        }
        SystemCall::OpenProcess { pid, access } => {
            match ntos::ps_query::nt_open_process(*pid, *access) {
                Ok((handle, granted)) => Completion {
                    handle,
                    information: granted.into(),
                    ..status(NtStatus::SUCCESS)
                },
                Err(failed) => status(failed),
            }
        }
        SystemCall::Registry(call) => status(ntos::registry::client::nt_registry(call)),
        SystemCall::Instance(call) => status(fltmgr::instance_call(call)),
        SystemCall::Close { handle } => status(ntos::syscall::nt_close(*handle)),
    };
    Reply::Completion(stack::system_call(|| stack::with_left(left, serve)))
}

fn status(status: NtStatus) -> Completion {
    Completion {
        status,
        information: 0,
        handle: 0,
        attributes: 0,
    }
}

fn symbol(name: &str) -> Reply {
    let Some((module, symbol)) = name.split_once('!') else {
        return not_there(format!("{name}: a symbol is written module!name"));
    };
    let Some(found) = modules::find(|found| found.image.name.eq_ignore_ascii_case(module)) else {
        return not_there(format!("{name}: no image {module} is loaded"));
    };
    match found.symbols.rva(&found.image, symbol) {
        Some(rva) => Reply::Address(found.image.base as u64 + u64::from(rva)),
        None => {
            let pdb = found
                .image
                .pdb
                .as_ref()
                .map_or_else(|| "no .pdb".to_owned(), |pdb| pdb.display().to_string());
            not_there(format!(
                "{name}: {module} has no such symbol (symbols from {pdb})"
            ))
        }
    }
}

fn read(address: u64, length: usize) -> Reply {
    if length > LARGEST_READ {
        return not_there(format!(
            "{length:#x} bytes are more than one read gives ({LARGEST_READ:#x})"
        ));
    }
    let mut bytes = vec![0; length];
    let readable =
        usize::try_from(address).is_ok_and(|address| memory::read_checked(address, &mut bytes));
    if readable {
        Reply::Memory(bytes)
    } else {
        not_there(format!(
            "memory at {address:#x}, {length:#x} bytes, is not all there"
        ))
    }
}

fn usage() -> Usage {
    let (pool_blocks, pool_bytes) = ntos::pool::held();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| {
        let kilobytes = line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?;
        kilobytes.parse::<u64>().ok()
    });
    Usage {
        pool_blocks,
        pool_bytes,
        resident_bytes: resident.unwrap_or(0) << 10,
        work_under_way: ntos::worker::under_way(),
    }
}

fn threads() -> Vec<ThreadState> {
    let state = |thread: &Thread| ThreadState {
        tid: thread.tid,
        waits: thread.waits(),
    };
    thread::all().into_iter().map(state).collect()
}

fn plug_and_play(device: &str, what: PlugAndPlay) -> Reply {
    let minor = match what {
        PlugAndPlay::QueryRemove => IRP_MN_QUERY_REMOVE_DEVICE,
        PlugAndPlay::CancelRemove => IRP_MN_CANCEL_REMOVE_DEVICE,
        PlugAndPlay::Remove => IRP_MN_REMOVE_DEVICE,
        PlugAndPlay::SurpriseRemoval => IRP_MN_SURPRISE_REMOVAL,
    };
    match fltmgr::volume_named(device) {
        Some(volume) => Reply::Completion(status(
            fltmgr::send_to_volume(&volume, IRP_MJ_PNP, minor).status,
        )),
        None => not_there(format!("there is no volume {device}")),
    }
}

fn shutdown() -> Reply {
    ntos::shutdown();
    verifier::stack_use::judge();
    Reply::Final(FinalReport {
        findings: verifier::all(),
        stack_use: verifier::stack_use::all(),
        trace: trace::take(),
        faults: faults::counts(),
        call_stacks: faults::call_stacks(),
    })
}
