//! Images for the modules that the machine only models: what a debugger needs of a module to name and unwind its frames.
//!
//! Each is a PE32+ image in memory: headers, code, an export directory with the modelled functions' names and unwind data for them. A
//! function stands once for each shape of its frame, since the model has frames of one function in several sizes. It
//! begins with the prolog that its unwind data describe, has a call before each call site, and is `int 3` elsewhere. No
//! code of Windows is in it, and none of it ever ran.

use std::collections::{BTreeMap, BTreeSet};

use super::frames::{Shape, Site};
use super::pe::{SECTION, export_directory, headers};

/// Where the first image lies, and how far apart they are: where Windows has its own.
const FIRST: u64 = 0xFFFF_F800_0000_0000;
const APART: u64 = 0x100_0000;

/// A call site of which the model has no offset.
const SOMEWHERE: usize = 0x20;
/// Room behind a call site, for the code of an exported function, and of `int 3` between functions.
const BEHIND: usize = 0x10;
/// What the system's own variables take, in the kernel's image alone.
pub(super) const DATA: usize = 0x2000;

/// An image.
pub(super) struct Image {
    /// The file's name.
    pub(super) file: String,
    /// Where it lies.
    pub(super) base: u64,
    /// All of it.
    pub(super) bytes: Vec<u8>,
    /// The exception directory.
    pub(super) pdata: (u32, u32),
    /// Code.
    pub(super) code: (u32, u32),
    /// Variables; empty but for the kernel.
    pub(super) data: (u32, u32),
    /// Where the exports are.
    exports: BTreeMap<String, u32>,
}

/// The images, the kernel first, and what is where in them.
pub(super) struct Images {
    /// The images.
    pub(super) all: Vec<Image>,
    /// The address of each site.
    pub(super) sites: Vec<u64>,
}

impl Images {
    /// The address of an export, `module!name`.
    pub(super) fn address(&self, symbol: &str) -> Option<u64> {
        let (module, name) = symbol.split_once('!')?;
        let file = file(module);
        let image = self.all.iter().find(|image| image.file == file)?;
        Some(image.base + u64::from(*image.exports.get(name)?))
    }
}

/// A module's file.
fn file(module: &str) -> String {
    match module {
        "nt" => "ntoskrnl.exe".to_owned(),
        "fltmgr" => "FLTMGR.SYS".to_owned(),
        other => format!("{other}.sys"),
    }
}

/// `module`, `function`, offset.
fn parts(symbol: &str) -> (&str, &str, Option<usize>) {
    let (module, rest) = symbol.split_once('!').unwrap_or(("nt", symbol));
    match rest.rsplit_once("+0x") {
        Some((function, offset)) => (module, function, usize::from_str_radix(offset, 16).ok()),
        None => (module, rest, None),
    }
}

/// A function of an image: its name, its frame, and the call sites in it.
type Functions = BTreeMap<(String, Shape), BTreeSet<usize>>;

/// Makes the images that these sites lie in and that export these names (`module!name`), functions of which `code` has
/// the code, with `variables` of the kernel at offsets in its data.
pub(super) fn build(
    sites: &[Site],
    names: &[&str],
    code: &[(&str, Vec<u8>)],
    variables: &[(&str, usize)],
) -> Images {
    let mut modules: BTreeMap<&str, Functions> = BTreeMap::new();
    modules.entry("nt").or_default();
    let placed: Vec<(&str, (String, Shape), usize)> = sites
        .iter()
        .map(|site| {
            let (module, function, offset) = parts(site.symbol);
            let least = prolog(site.shape).len() + CALL.len();
            let offset = match offset {
                _ if site.shape == Shape::LEAF => 0,
                Some(offset) => offset.max(least),
                None => SOMEWHERE.max(least),
            };
            (module, (function.to_owned(), site.shape), offset)
        })
        .collect();
    for (module, function, offset) in &placed {
        modules
            .entry(module)
            .or_default()
            .entry(function.clone())
            .or_default()
            .insert(*offset);
    }
    for name in names.iter().chain(code.iter().map(|(name, _)| name)) {
        let (module, function, _) = parts(name);
        let functions = modules.entry(module).or_default();
        if !functions.keys().any(|(known, _)| known == function) {
            functions.insert((function.to_owned(), Shape::LEAF), BTreeSet::from([0]));
        }
    }
    // The kernel is first in the system's list.
    let mut order: Vec<&str> = modules.keys().copied().collect();
    order.sort_by_key(|module| *module != "nt");
    let mut all = Vec::new();
    let mut starts: BTreeMap<(&str, (String, Shape)), u64> = BTreeMap::new();
    for (index, module) in order.into_iter().enumerate() {
        let base = FIRST + APART * index as u64;
        let variables = if module == "nt" { variables } else { &[] };
        let (mut image, places) = image(&file(module), base, &modules[module], variables);
        starts.extend(
            places
                .into_iter()
                .map(|(function, rva)| ((module, function), base + u64::from(rva))),
        );
        for (symbol, code) in code {
            let (of, function, _) = parts(symbol);
            let start = image.exports.get(function).filter(|_| of == module);
            if let Some(to) = start.and_then(|start| {
                let start = *start as usize;
                image.bytes.get_mut(start..start + code.len())
            }) {
                to.copy_from_slice(code);
            }
        }
        all.push(image);
    }
    let sites = placed
        .into_iter()
        .map(|(module, function, offset)| starts[&(module, function)] + offset as u64)
        .collect();
    Images { all, sites }
}

/// `call rax`.
const CALL: [u8; 2] = [0xFF, 0xD0];

/// The prolog of a function with that frame.
fn prolog(shape: Shape) -> Vec<u8> {
    let mut code = Vec::new();
    if shape.allocated > 0 {
        code.extend([0x48, 0x81, 0xEC]); // sub rsp, imm32
        code.extend(shape.allocated.to_le_bytes());
    }
    if shape.saves_rbp {
        code.extend([0x48, 0x89, 0xAC, 0x24]); // mov [rsp + disp32], rbp
        code.extend((shape.allocated - 8).to_le_bytes());
    }
    code
}

/// `UNWIND_INFO` of that prolog ("x64 exception handling": codes in descending order of their place in it).
fn unwind_info(shape: Shape) -> Vec<u8> {
    const PUSH_MACHINE_FRAME: u8 = 10;
    const SAVE_NONVOLATILE: u8 = 4;
    const ALLOCATE_LARGE: u8 = 1;
    const ALLOCATE_SMALL: u8 = 2;
    const RBP: u8 = 5;
    let length = u8::try_from(prolog(shape).len()).unwrap_or(u8::MAX);
    let mut codes: Vec<[u8; 2]> = Vec::new();
    let scaled = |bytes: u32| (bytes / 8) as u16;
    if shape.saves_rbp {
        codes.push([length, RBP << 4 | SAVE_NONVOLATILE]);
        codes.push(scaled(shape.allocated - 8).to_le_bytes());
    }
    let allocated = if shape.saves_rbp { length - 8 } else { length };
    match shape.allocated {
        0 => {}
        small @ 8..=128 => codes.push([allocated, ((small / 8 - 1) as u8) << 4 | ALLOCATE_SMALL]),
        large => {
            codes.push([allocated, ALLOCATE_LARGE]);
            codes.push(scaled(large).to_le_bytes());
        }
    }
    if shape.machine_frame {
        codes.push([0, PUSH_MACHINE_FRAME]);
    }
    let count = u8::try_from(codes.len()).unwrap_or(u8::MAX);
    if codes.len() % 2 == 1 {
        codes.push([0; 2]);
    }
    let mut info = vec![1, length, count, 0];
    info.extend(codes.concat());
    info
}

/// Appends zeroes up to a multiple of `to`.
fn align(bytes: &mut Vec<u8>, to: usize, with: u8) {
    bytes.resize(bytes.len().next_multiple_of(to), with);
}

/// The functions' places.
type Places = Vec<((String, Shape), u32)>;

fn image(
    file: &str,
    base: u64,
    functions: &Functions,
    variables: &[(&str, usize)],
) -> (Image, Places) {
    // Code.
    let mut code = Vec::new();
    let mut places: Vec<((String, Shape), u32, u32)> = Vec::new();
    for (function, sites) in functions {
        align(&mut code, 0x10, 0xCC);
        let start = code.len();
        let last = sites.last().copied().unwrap_or_default();
        code.resize(start + last + BEHIND, 0xCC);
        let prolog = prolog(function.1);
        code[start..start + prolog.len()].copy_from_slice(&prolog);
        for site in sites
            .iter()
            .filter(|site| **site >= prolog.len() + CALL.len())
        {
            let at = start + site - CALL.len();
            code[at..at + CALL.len()].copy_from_slice(&CALL);
        }
        let rva = |offset: usize| (SECTION + offset) as u32;
        places.push((function.clone(), rva(start), rva(code.len())));
        code.resize(code.len() + BEHIND, 0xCC);
    }
    align(&mut code, SECTION, 0xCC);
    // Unwind data, the table first.
    let read_only = SECTION + code.len();
    let table_bytes = places.len() * 12;
    let (mut table, mut infos) = (Vec::new(), Vec::new());
    for ((_, shape), begin, end) in &places {
        let info = read_only + table_bytes + infos.len();
        table.extend([*begin, *end, info as u32].map(u32::to_le_bytes).concat());
        infos.extend(unwind_info(*shape));
    }
    let mut constant = table;
    constant.extend(infos);
    align(&mut constant, 8, 0);
    // Exports.
    let variables_at =
        (read_only + constant.len() + room(file, &places, variables)).next_multiple_of(SECTION);
    let mut exports: BTreeMap<String, u32> = BTreeMap::new();
    for ((name, _), rva, _) in &places {
        exports.entry(name.clone()).or_insert(*rva);
    }
    exports.extend(
        variables
            .iter()
            .map(|(name, at)| ((*name).to_owned(), (variables_at + at) as u32)),
    );
    let directory_at = (read_only + constant.len()) as u32;
    let directory = export_directory(file, directory_at, &exports);
    let directory_bytes = directory.len() as u32;
    constant.extend(directory);
    constant.resize(variables_at - read_only, 0);
    let data_bytes = if variables.is_empty() { 0 } else { DATA };
    let pdata = (read_only as u32, table_bytes as u32);
    let size = variables_at + data_bytes;
    let sections: &[(&str, usize, usize, u32)] = &[
        (".text", SECTION, code.len(), 0x6000_0020),
        (".rdata", read_only, constant.len(), 0x4000_0040),
        (".data", variables_at, data_bytes, 0xC000_0040),
    ];
    let mut bytes = headers(base, size, pdata, (directory_at, directory_bytes), sections);
    bytes.resize(SECTION, 0);
    bytes.extend(&code);
    bytes.extend(constant);
    bytes.resize(size, 0);
    let image = Image {
        file: file.to_owned(),
        base,
        bytes,
        pdata,
        code: (SECTION as u32, code.len() as u32),
        data: (variables_at as u32, data_bytes as u32),
        exports,
    };
    (
        image,
        places
            .into_iter()
            .map(|(function, rva, _)| (function, rva))
            .collect(),
    )
}

/// More than the export directory takes.
fn room(file: &str, places: &[((String, Shape), u32, u32)], variables: &[(&str, usize)]) -> usize {
    let names = places
        .iter()
        .map(|((name, _), _, _)| name.len())
        .chain(variables.iter().map(|(name, _)| name.len()));
    40 + file.len() + 1 + names.map(|length| 10 + length + 1).sum::<usize>()
}
