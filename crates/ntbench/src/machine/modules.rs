//! The images that are mapped now.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::loader::{self, Image};
use crate::symbols::Symbols;
use crate::verifier::stack_use;
use crate::wire::ModuleInfo;

/// A mapped driver and its symbols.
pub(crate) struct Module {
    /// The image.
    pub(crate) image: Arc<Image>,
    /// Its symbols.
    pub(crate) symbols: Symbols,
    /// The service that it was loaded for.
    pub(crate) service: String,
    /// Whether its driver is gone, and the image is kept for those that import from it.
    pub(crate) kept: AtomicBool,
}

impl Module {
    fn imports_from(&self, other: &Image) -> bool {
        self.image.base != other.base && self.image.imported.iter().any(|at| other.contains(*at))
    }
}

static MODULES: RwLock<Vec<Arc<Module>>> = RwLock::new(Vec::new());

/// The images' ranges once more, for a signal handler, which may not wait for a lock.
static RANGES: [(AtomicUsize, AtomicUsize); MOST] =
    [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; MOST];
const MOST: usize = 64;

/// Adds an image; false: there are too many.
pub(super) fn add(module: Module) -> bool {
    let (base, end) = (module.image.base, module.image.base + module.image.size);
    let Some(range) = RANGES
        .iter()
        .find(|range| range.1.load(Ordering::Acquire) == 0)
    else {
        return false;
    };
    range.0.store(base, Ordering::Release);
    range.1.store(end, Ordering::Release);
    MODULES
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Arc::new(module));
    true
}

/// A driver that is no longer there.
#[derive(Clone)]
pub(crate) struct Unloaded {
    /// Its name.
    pub(crate) name: String,
    /// Where it lay.
    pub(crate) base: usize,
    size: usize,
}

static UNLOADED: Mutex<Vec<Unloaded>> = Mutex::new(Vec::new());

/// The driver that once lay at an address. Its addresses are never used again.
pub(crate) fn unloaded_at(address: usize) -> Option<Unloaded> {
    let unloaded = UNLOADED.lock().unwrap_or_else(PoisonError::into_inner);
    unloaded
        .iter()
        .find(|driver| (driver.base..driver.base + driver.size).contains(&address))
        .cloned()
}

/// A driver is gone. Its image goes as well, whoever may still hold it, unless another image imports from it: then it goes with the
/// last of those, as in Windows, which counts an image's importers.
pub(super) fn remove(image: &Arc<Image>) {
    if let Some(module) = find(|module| Arc::ptr_eq(&module.image, image)) {
        module.kept.store(true, Ordering::Release);
    }
    let unneeded =
        |module: &Module| module.kept.load(Ordering::Acquire) && importer(&module.image).is_none();
    while let Some(module) = find(unneeded) {
        take_away(&module.image);
    }
}

/// A module that imports from that image.
pub(super) fn importer(image: &Image) -> Option<Arc<Module>> {
    all().into_iter().find(|module| module.imports_from(image))
}

fn take_away(image: &Arc<Image>) {
    stack_use::about_to_go(image);
    MODULES
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|module| !Arc::ptr_eq(&module.image, image));
    let unloaded = Unloaded {
        name: image.name.clone(),
        base: image.base,
        size: image.size,
    };
    UNLOADED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(unloaded);
    loader::retire(image);
    for range in &RANGES {
        if range.0.load(Ordering::Acquire) == image.base {
            range.1.store(0, Ordering::Release);
            range.0.store(0, Ordering::Release);
        }
    }
}

/// Whether an address lies in an image. Safe in a signal handler.
pub(crate) fn in_image(address: usize) -> bool {
    RANGES.iter().any(|(base, end)| {
        (base.load(Ordering::Acquire)..end.load(Ordering::Acquire)).contains(&address)
    })
}

/// Whether an address lies in the code of an image.
pub(crate) fn in_code(address: usize) -> bool {
    in_image(address)
        && module_at(address).is_some_and(|module| {
            let rva = u32::try_from(address - module.image.base);
            rva.is_ok_and(|rva| module.image.is_code(rva))
        })
}

/// The module at an address.
pub(crate) fn module_at(address: usize) -> Option<Arc<Module>> {
    find(|module| module.image.contains(address))
}

/// The first module that is as asked.
pub(super) fn find(wanted: impl Fn(&Module) -> bool) -> Option<Arc<Module>> {
    let modules = MODULES.read().unwrap_or_else(PoisonError::into_inner);
    modules.iter().find(|module| wanted(module)).cloned()
}

/// All modules.
pub(crate) fn all() -> Vec<Arc<Module>> {
    MODULES
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// All modules, as the wire has them.
pub(super) fn infos() -> Vec<ModuleInfo> {
    MODULES
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .map(|module| info(&module.image))
        .collect()
}

/// An image as the wire has it.
pub(super) fn info(image: &Image) -> ModuleInfo {
    ModuleInfo {
        name: image.name.clone(),
        base: image.base as u64,
        size: image.size as u64,
        pdb: image.pdb.clone(),
        stale_pdb: image.stale_pdb.clone(),
    }
}
