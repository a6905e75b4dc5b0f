//! The functions by which filters use contexts: what each kind is linked to, and under which name it fails.

use super::context::{
    FILE, INSTANCE, Place, STREAM, STREAM_HANDLE, TRANSACTION, VOLUME, allocate, get, give_back,
    lend, owner, place, release, set, take, unlink,
};
use super::objects;
use crate::faults;
use crate::namespace::open::OpenFile;
use crate::ntos::memory::Guest;
use crate::ntos::{irql, object};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL};

/// The place of a file or stream; `Err`: the file is not open, or has no identity.
fn stream(instance: usize, file: usize, kind: u16, function: &str) -> Result<Place, NtStatus> {
    let instance = objects::instance(instance, function).address;
    let file = object::file(file, function);
    let id = if kind == FILE {
        OpenFile::file_id
    } else {
        OpenFile::id
    };
    let id = file
        .with_open(id)
        .flatten()
        .ok_or(NtStatus::NOT_SUPPORTED)?;
    Ok(Place::Stream { kind, instance, id })
}

fn handle(instance: usize, file: usize, function: &str) -> Result<Place, NtStatus> {
    let instance = objects::instance(instance, function).address;
    let file = object::file(file, function);
    // Before the create there is no open to link to.
    file.with_open(|_| ()).ok_or(NtStatus::NOT_SUPPORTED)?;
    Ok(Place::Handle {
        instance,
        file: file.address(),
    })
}

fn volume(filter: usize, volume: usize, function: &str) -> Place {
    Place::Volume {
        filter: objects::filter(filter, function).address,
        volume: objects::volume(volume, function).address,
    }
}

fn of_instance(instance: usize, function: &str) -> Place {
    Place::Instance {
        instance: objects::instance(instance, function).address,
    }
}

exports! { "fltmgr.sys";
    /// Makes a context of a registered kind and size.
    fn FltAllocateContext(filter: usize, kind: u16, size: usize, pool_type: u32, out: Guest<usize>) -> NtStatus {
        irql::at_most("FltAllocateContext", APC_LEVEL);
        let filter = objects::filter(filter, "FltAllocateContext");
        out.write(0);
        if let Some(status) = faults::check("FltAllocateContext") {
            return status;
        }
        match allocate(&filter, kind, size, pool_type) {
            Ok(address) => {
                out.write(address);
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Takes a reference.
    fn FltReferenceContext(context: usize) {
        irql::at_most("FltReferenceContext", DISPATCH_LEVEL);
        lend(context, "FltReferenceContext");
    }

    /// Gives one back.
    fn FltReleaseContext(context: usize) {
        irql::at_most("FltReleaseContext", DISPATCH_LEVEL);
        give_back(context, "FltReleaseContext");
    }

    /// Takes a context from whatever it is linked to.
    fn FltDeleteContext(context: usize) {
        irql::at_most("FltDeleteContext", APC_LEVEL);
        if let Some(found) = place(context, "FltDeleteContext").and_then(take) {
            release(found, "FltDeleteContext");
        }
    }

    /// Links a context to a volume.
    fn FltSetVolumeContext(address: usize, operation: u32, new: usize, old: Guest<usize>) -> NtStatus {
        let place = volume(owner(new, "FltSetVolumeContext"), address, "FltSetVolumeContext");
        set(place, VOLUME, operation, new, old, "FltSetVolumeContext")
    }

    /// A volume's context.
    fn FltGetVolumeContext(filter: usize, address: usize, out: Guest<usize>) -> NtStatus {
        get(volume(filter, address, "FltGetVolumeContext"), out, "FltGetVolumeContext")
    }

    /// Takes it away.
    fn FltDeleteVolumeContext(filter: usize, address: usize, old: Guest<usize>) -> NtStatus {
        unlink(volume(filter, address, "FltDeleteVolumeContext"), old, "FltDeleteVolumeContext")
    }

    /// Links a context to an instance.
    fn FltSetInstanceContext(instance: usize, operation: u32, new: usize, old: Guest<usize>) -> NtStatus {
        let place = of_instance(instance, "FltSetInstanceContext");
        set(place, INSTANCE, operation, new, old, "FltSetInstanceContext")
    }

    /// An instance's context.
    fn FltGetInstanceContext(instance: usize, out: Guest<usize>) -> NtStatus {
        get(of_instance(instance, "FltGetInstanceContext"), out, "FltGetInstanceContext")
    }

    /// Takes it away.
    fn FltDeleteInstanceContext(instance: usize, old: Guest<usize>) -> NtStatus {
        unlink(of_instance(instance, "FltDeleteInstanceContext"), old, "FltDeleteInstanceContext")
    }

    /// Links a context to a file.
    fn FltSetFileContext(instance: usize, file: usize, operation: u32, new: usize, old: Guest<usize>) -> NtStatus {
        old.write_opt(0);
        match stream(instance, file, FILE, "FltSetFileContext") {
            Ok(place) => set(place, FILE, operation, new, old, "FltSetFileContext"),
            Err(status) => status,
        }
    }

    /// A file's context.
    fn FltGetFileContext(instance: usize, file: usize, out: Guest<usize>) -> NtStatus {
        // Whatever fails, the variable is NULL: callers release what they find in it.
        out.write(0);
        match stream(instance, file, FILE, "FltGetFileContext") {
            Ok(place) => get(place, out, "FltGetFileContext"),
            Err(status) => status,
        }
    }

    /// Links a context to a stream.
    fn FltSetStreamContext(instance: usize, file: usize, operation: u32, new: usize, old: Guest<usize>) -> NtStatus {
        old.write_opt(0);
        match stream(instance, file, STREAM, "FltSetStreamContext") {
            Ok(place) => set(place, STREAM, operation, new, old, "FltSetStreamContext"),
            Err(status) => status,
        }
    }

    /// A stream's context.
    fn FltGetStreamContext(instance: usize, file: usize, out: Guest<usize>) -> NtStatus {
        out.write(0);
        match stream(instance, file, STREAM, "FltGetStreamContext") {
            Ok(place) => get(place, out, "FltGetStreamContext"),
            Err(status) => status,
        }
    }

    /// Links a context to an open.
    fn FltSetStreamHandleContext(
        instance: usize, file: usize, operation: u32, new: usize, old: Guest<usize>,
    ) -> NtStatus {
        old.write_opt(0);
        match handle(instance, file, "FltSetStreamHandleContext") {
            Ok(place) => set(place, STREAM_HANDLE, operation, new, old, "FltSetStreamHandleContext"),
            Err(status) => status,
        }
    }

    /// An open's context.
    fn FltGetStreamHandleContext(instance: usize, file: usize, out: Guest<usize>) -> NtStatus {
        out.write(0);
        match handle(instance, file, "FltGetStreamHandleContext") {
            Ok(place) => get(place, out, "FltGetStreamHandleContext"),
            Err(status) => status,
        }
    }

    /// Takes it away.
    fn FltDeleteStreamHandleContext(instance: usize, file: usize, old: Guest<usize>) -> NtStatus {
        match handle(instance, file, "FltDeleteStreamHandleContext") {
            Ok(place) => unlink(place, old, "FltDeleteStreamHandleContext"),
            Err(status) => status,
        }
    }

    /// Whether contexts can be linked to opens of a file.
    fn FltSupportsStreamHandleContexts(file: usize) -> u8 {
        u8::from(object::file(file, "FltSupportsStreamHandleContexts").with_open(|_| ()).is_some())
    }

    /// Whether contexts can be linked to a file's stream.
    fn FltSupportsStreamContexts(file: usize) -> u8 {
        let file = object::file(file, "FltSupportsStreamContexts");
        u8::from(file.with_open(OpenFile::id).flatten().is_some())
    }
}

/// The rest: deleting, asking whether contexts are possible, and all at once.
pub(super) mod more {
    use super::{
        FILE, Guest, INSTANCE, NtStatus, OpenFile, Place, STREAM, STREAM_HANDLE, TRANSACTION,
        VOLUME, get, give_back, handle, irql, object, of_instance, stream, unlink,
    };
    use crate::abi::flt::RelatedObjects;
    use crate::thread::APC_LEVEL;

    /// `FLT_RELATED_CONTEXTS`: volume, instance, file, stream, stream handle, transaction.
    type Contexts = [usize; 6];
    /// `FLT_RELATED_CONTEXTS_EX`: those, and the section's.
    const EX_BYTES: usize = size_of::<Contexts>() + size_of::<usize>();
    const KINDS: [u16; 6] = [VOLUME, INSTANCE, FILE, STREAM, STREAM_HANDLE, TRANSACTION];

    /// Where a context of a kind would be for these objects.
    fn place(objects: &RelatedObjects, kind: u16) -> Option<Place> {
        const NAME: &str = "FltGetContexts";
        let instance = objects.instance.expose_provenance();
        let file = objects.file_object.expose_provenance();
        match kind {
            VOLUME => Some(super::volume(
                objects.filter.expose_provenance(),
                objects.volume.expose_provenance(),
                NAME,
            )),
            INSTANCE => Some(of_instance(instance, NAME)),
            FILE | STREAM if file != 0 => stream(instance, file, kind, NAME).ok(),
            STREAM_HANDLE if file != 0 => handle(instance, file, NAME).ok(),
            TRANSACTION if !objects.transaction.is_null() => Some(Place::Transaction {
                instance: super::objects::instance(instance, NAME).address,
                transaction: objects.transaction.expose_provenance(),
            }),
            _ => None,
        }
    }

    exports! { "fltmgr.sys";
        /// Takes a file's context away.
        fn FltDeleteFileContext(instance: usize, file: usize, old: Guest<usize>) -> NtStatus {
            match stream(instance, file, FILE, "FltDeleteFileContext") {
                Ok(place) => unlink(place, old, "FltDeleteFileContext"),
                Err(status) => status,
            }
        }

        /// Takes a stream's context away.
        fn FltDeleteStreamContext(instance: usize, file: usize, old: Guest<usize>) -> NtStatus {
            match stream(instance, file, STREAM, "FltDeleteStreamContext") {
                Ok(place) => unlink(place, old, "FltDeleteStreamContext"),
                Err(status) => status,
            }
        }

        /// Whether contexts can be linked to a file.
        fn FltSupportsFileContexts(file: usize) -> u8 {
            let file = object::file(file, "FltSupportsFileContexts");
            u8::from(file.with_open(OpenFile::id).flatten().is_some())
        }

        /// The same, whoever keeps them.
        fn FltSupportsFileContextsEx(file: usize, _instance: usize) -> u8 {
            FltSupportsFileContexts(file)
        }

        /// All contexts of an operation's objects that are there.
        fn FltGetContexts(objects: Guest<RelatedObjects>, wanted: u16, out: Guest<Contexts>) {
            irql::at_most("FltGetContexts", APC_LEVEL);
            let objects = objects.read();
            let mut found: Contexts = [0; 6];
            for (kind, slot) in KINDS.iter().zip(&mut found) {
                if wanted & kind != 0
                    && let Some(place) = place(&objects, *kind)
                {
                    // What is not there stays 0.
                    let _ = get(place, Guest(&raw mut *slot), "FltGetContexts");
                }
            }
            out.write(found);
        }

        /// The same with the section's, which no operation here has.
        fn FltGetContextsEx(objects: Guest<RelatedObjects>, wanted: u16, size: usize, out: Guest<Contexts>) -> NtStatus {
            irql::at_most("FltGetContextsEx", APC_LEVEL);
            if size < EX_BYTES {
                return NtStatus::INVALID_PARAMETER_3;
            }
            FltGetContexts(objects, wanted, out);
            Guest::<usize>::at(out.address() + size_of::<Contexts>()).write(0);
            NtStatus::SUCCESS
        }

        /// Gives them back.
        fn FltReleaseContextsEx(size: usize, contexts: Guest<[usize; 7]>) {
            irql::at_most("FltReleaseContextsEx", APC_LEVEL);
            if size < EX_BYTES {
                return;
            }
            for context in contexts.read().into_iter().filter(|context| *context != 0) {
                give_back(context, "FltReleaseContextsEx");
            }
            contexts.write([0; 7]);
        }

        /// Gives them back.
        fn FltReleaseContexts(contexts: Guest<Contexts>) {
            irql::at_most("FltReleaseContexts", APC_LEVEL);
            for context in contexts.read().into_iter().filter(|context| *context != 0) {
                give_back(context, "FltReleaseContexts");
            }
            contexts.write([0; 6]);
        }
    }
}
