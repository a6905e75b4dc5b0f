"use strict";
//
// Headroom in WinDbg: the driver's records, watermarks, settings and instances, and what the kernel stack of a thread is
// made of, on a live kernel or in a dump.
//
//     .scriptload C:\path\headroom.js
//     !headroom            what happened, in a sentence; after a bug check: who filled the stack
//     !hrrecords 40        the newest 40 records,           dx @$headroom().Records.Where(r => r.Before < 0x1000)
//                          and those under way              dx @$headroom().UnderWay
//     !hrwatermarks        the lowest stack ever            dx @$headroom().Watermarks.Images
//     !hrconfig            the settings in force            dx @$headroom().Config
//     !hrinstances         where the filter is attached     dx @$headroom().Instances
//     !hrstacks            the current thread's segments    dx @$curthread.KernelStack.Segments
//     !hrstacks 1          those of every thread of the current process
//
// The driver is found by its symbols, else by the signatures in its image, so it works without headroom.pdb. Layouts are
// those of crates/protocol, and a test holds LAYOUT below against them. Kernel and Filter Manager structures are read by
// the target's own symbols, never by offsets written here.
//
// The provider promises ECMAScript 6 ("JavaScript Debugger Scripting" in the WDK documentation), so nothing newer is used.
// A 64-bit value enters as a library type that throws where it would lose bits as a number; addresses stay that type here.

// --- 64-bit values ------------------------------------------------------------------------------------------------

/** A number, a 64-bit value or a native pointer as a 64-bit value. */
function u64(value) {
    if (typeof value === "number") {
        if (!Number.isSafeInteger(value) || value < 0) {
            throw new Error("no address: " + value);
        }
        return new host.Int64(value % 0x100000000, Math.floor(value / 0x100000000));
    }
    // Projected onto every native pointer, and looked for first: any other name is looked up in what it points to.
    const address = value.address;
    return address === undefined ? value : u64(address);
}

// Both parts may come as signed numbers.
function high(value) { return value.getHighPart() >>> 0; }
function low(value) { return value.getLowPart() >>> 0; }
function isZero(value) { return high(value) === 0 && low(value) === 0; }
function same(a, b) { return high(a) === high(b) && low(a) === low(b); }

/** Whether a < b, as unsigned numbers. */
function below(a, b) {
    return high(a) !== high(b) ? high(a) < high(b) : low(a) < low(b);
}

/** a - b as a number, which may be negative. */
function distance(a, b) {
    return (high(a) - high(b)) * 0x100000000 + (low(a) - low(b));
}

/** A count as a number; so large a count is damage. */
function count(value) {
    return high(value) < 0x200000 ? high(value) * 0x100000000 + low(value) : Number.MAX_SAFE_INTEGER;
}

function pad(text, width, left) {
    const fill = " ".repeat(Math.max(0, width - String(text).length));
    return left ? text + fill : fill + text;
}

function hex32(value) {
    const digits = (value >>> 0).toString(16);
    return "0".repeat(8 - digits.length) + digits;
}

/** As the debugger writes an address: ffffa20e`1c2d3e40. */
function address(value) {
    return hex32(high(value)) + "`" + hex32(low(value));
}

function hex(value) {
    return "0x" + (high(value) === 0 ? low(value).toString(16) : high(value).toString(16) + hex32(low(value)));
}

/** 21632 as 21,632. */
function bytes(value) {
    return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

// --- the layouts of crates/protocol -------------------------------------------------------------------------------

const LAYOUT = {
    Anchor: {
        size: 128,
        fields: {
            Signature: [0, "u8*16"], Version: [16, "u32"], AnchorBytes: [20, "u32"], RecordBytes: [24, "u32"],
            SlotBytes: [28, "u32"], Ring: [32, "u64"], Capacity: [40, "u64"], QpcFrequency: [48, "u64"],
            Head: [56, "u64"], Written: [64, "u64"], Overwritten: [72, "u64"], Skipped: [80, "u64"],
            SkippedLowStack: [88, "u64"], Voided: [96, "u64"], Abandoned: [104, "u64"], Reserved: [112, "u64*2"]
        }
    },
    SlotHeader: { size: 16, fields: { State: [0, "u64"], Completion: [8, "u64"] } },
    Record: {
        size: 496,
        fields: {
            Sequence: [0, "u64"], Qpc: [8, "u64"], SystemTime: [16, "u64"], InspectTicks: [24, "u64"],
            PathHash: [32, "u64"], BeforeLow: [40, "u64"], BeforeHigh: [48, "u64"], InsideLow: [56, "u64"],
            InsideHigh: [64, "u64"], AfterLow: [72, "u64"], BeforeRemaining: [80, "u32"], InsideRemaining: [84, "u32"],
            AfterRemaining: [88, "u32"], ReservationBytes: [92, "u32"], ReservationStatus: [96, "u32"],
            InspectStatus: [100, "u32"], CreateStatus: [104, "u32"], ProcessId: [108, "u32"], ThreadId: [112, "u32"],
            NestDepth: [116, "u32"], Flags: [120, "u32"], AncestorAttributes: [124, "u32"],
            AncestorReparseTag: [128, "u32"], AncestorsOpened: [132, "u16"], PathLength: [134, "u16"],
            TailLength: [136, "u16"], Policy: [138, "u8"], Outcome: [139, "u8"], Irql: [140, "u8"],
            AncestorScope: [141, "u8"], Reserved: [142, "u16"], ImageName: [144, "u8*16"], PathTail: [160, "u16*168"]
        }
    },
    MarkWords: {
        size: 40,
        fields: {
            LowestBefore: [0, "u64"], LowestInside: [8, "u64"], MostSpent: [16, "u64"], Deepest: [24, "u64"],
            Creates: [32, "u64"]
        }
    },
    ProcessWords: { size: 64, fields: { State: [0, "u64"], ImageName: [8, "u8*16"], Marks: [24, "MarkWords"] } },
    Watermarks: {
        size: 5504,
        fields: {
            Signature: [0, "u8*16"], Version: [16, "u32"], Bytes: [20, "u32"], MarkBytes: [24, "u32"],
            ProcessBytes: [28, "u32"], NestSlots: [32, "u32"], ProcessSlots: [36, "u32"], Generation: [40, "u64"],
            Evicted: [48, "u64"], TurnedAway: [56, "u64"], Skipped: [64, "u64"], Entering: [72, "u64"],
            Reserved: [80, "u64"], System: [88, "MarkWords"], Nest: [128, "MarkWords*32"],
            Processes: [1408, "ProcessWords*64"]
        }
    },
    Config: {
        size: 32,
        fields: {
            Version: [0, "u16"], Bytes: [2, "u16"], ExpandPolicy: [4, "u8"], OnExpandFailure: [5, "u8"],
            AncestorOpens: [6, "u8"], UncOnly: [7, "u8"], DebugPrint: [8, "u8"], Reserved: [9, "u8*3"],
            ReservationBytes: [12, "u32"], RedZoneBytes: [16, "u32"], MinimumStackBytes: [20, "u32"],
            MaxNestDepth: [24, "u32"], LogCapacity: [28, "u32"]
        }
    },
    ConfigBlock: { size: 48, fields: { Signature: [0, "u8*16"], Config: [16, "Config"] } }
};

/** What is found in the driver: symbol, the module it is private to, signature, the layout version that this script knows. */
const STATICS = {
    Anchor: { symbol: "HEADROOM_RECORDER", path: "headroom::recorder::", signature: "HEADROOM ANCHOR\0", version: 1 },
    Watermarks: { symbol: "HEADROOM_WATERMARKS", path: "headroom::recorder::", signature: "HEADROOM MARKS\0\0", version: 1 },
    ConfigBlock: { symbol: "HEADROOM_CONFIG", path: "headroom::config::", signature: "HEADROOM CONFIG\0", version: 1 }
};

const NAMES = {
    Outcome: ["not tried", "direct", "grown", "switched", "not expanded", "failed", "worker"],
    Policy: [null, "Always", "RedZone", "Never"],
    OnExpandFailure: [null, "PassThrough", "Worker", "Deny"],
    AncestorScope: [null, "Below", "Top"],
    Flags: [
        "before", "inside", "after", "status", "nested", "unc", "deferred to a worker", "denied", "skipped: nest bound",
        "skipped: no ancestor", "skipped: opened by id", "skipped: not UNC", "skipped: low stack",
        "skipped: not a disk share", "skipped: cancelled"
    ],
    // [MS-ERREF] 2.3.1, those that a create meets.
    Status: {
        0x00000000: "STATUS_SUCCESS", 0x00000103: "STATUS_PENDING", 0x00000104: "STATUS_REPARSE",
        0x80000002: "STATUS_DATATYPE_MISALIGNMENT", 0x80000005: "STATUS_BUFFER_OVERFLOW",
        0x80000006: "STATUS_NO_MORE_FILES", 0x8000002d: "STATUS_STOPPED_ON_SYMLINK", 0xc0000001: "STATUS_UNSUCCESSFUL",
        0xc0000002: "STATUS_NOT_IMPLEMENTED", 0xc0000003: "STATUS_INVALID_INFO_CLASS",
        0xc0000004: "STATUS_INFO_LENGTH_MISMATCH", 0xc0000005: "STATUS_ACCESS_VIOLATION",
        0xc0000008: "STATUS_INVALID_HANDLE", 0xc000000d: "STATUS_INVALID_PARAMETER",
        0xc000000e: "STATUS_NO_SUCH_DEVICE", 0xc000000f: "STATUS_NO_SUCH_FILE",
        0xc0000010: "STATUS_INVALID_DEVICE_REQUEST", 0xc0000011: "STATUS_END_OF_FILE", 0xc0000017: "STATUS_NO_MEMORY",
        0xc0000022: "STATUS_ACCESS_DENIED", 0xc0000023: "STATUS_BUFFER_TOO_SMALL",
        0xc0000024: "STATUS_OBJECT_TYPE_MISMATCH", 0xc0000033: "STATUS_OBJECT_NAME_INVALID",
        0xc0000034: "STATUS_OBJECT_NAME_NOT_FOUND", 0xc0000035: "STATUS_OBJECT_NAME_COLLISION",
        0xc0000039: "STATUS_OBJECT_PATH_INVALID", 0xc000003a: "STATUS_OBJECT_PATH_NOT_FOUND",
        0xc000003b: "STATUS_OBJECT_PATH_SYNTAX_BAD", 0xc0000043: "STATUS_SHARING_VIOLATION",
        0xc0000056: "STATUS_DELETE_PENDING", 0xc0000059: "STATUS_REVISION_MISMATCH",
        0xc0000061: "STATUS_PRIVILEGE_NOT_HELD", 0xc000006d: "STATUS_LOGON_FAILURE",
        0xc000009a: "STATUS_INSUFFICIENT_RESOURCES", 0xc00000ba: "STATUS_FILE_IS_A_DIRECTORY",
        0xc00000bb: "STATUS_NOT_SUPPORTED", 0xc00000be: "STATUS_BAD_NETWORK_PATH",
        0xc00000c9: "STATUS_NETWORK_NAME_DELETED", 0xc00000cc: "STATUS_BAD_NETWORK_NAME",
        0xc00000d4: "STATUS_NOT_SAME_DEVICE", 0xc00000f1: "STATUS_INVALID_PARAMETER_3",
        0xc00000f2: "STATUS_INVALID_PARAMETER_4", 0xc00000fd: "STATUS_STACK_OVERFLOW",
        0xc0000101: "STATUS_DIRECTORY_NOT_EMPTY", 0xc0000103: "STATUS_NOT_A_DIRECTORY",
        0xc0000106: "STATUS_NAME_TOO_LONG", 0xc0000120: "STATUS_CANCELLED", 0xc0000121: "STATUS_CANNOT_DELETE",
        0xc000014f: "STATUS_UNRECOGNIZED_VOLUME", 0xc0000225: "STATUS_NOT_FOUND", 0xc0000257: "STATUS_PATH_NOT_COVERED",
        0xc000026e: "STATUS_VOLUME_DISMOUNTED", 0xc0000275: "STATUS_NOT_A_REPARSE_POINT",
        0xc0000278: "STATUS_IO_REPARSE_DATA_INVALID", 0xc0000279: "STATUS_IO_REPARSE_TAG_NOT_HANDLED",
        0xc0000280: "STATUS_REPARSE_POINT_NOT_RESOLVED", 0xc0000715: "STATUS_SYMLINK_CLASS_DISABLED",
        0xc01c0001: "STATUS_FLT_NO_HANDLER_DEFINED", 0xc01c0005: "STATUS_FLT_INVALID_NAME_REQUEST",
        0xc01c000a: "STATUS_FLT_INTERNAL_ERROR", 0xc01c000b: "STATUS_FLT_DELETING_OBJECT"
    }
};

/** The name of a value, else the value as 0x07: no value is invalid. */
function named(list, value) {
    return list[value] || "0x" + (value < 16 ? "0" : "") + value.toString(16);
}

function statusName(code) {
    return NAMES.Status[code] || "0x" + hex32(code).toUpperCase();
}

function flagNames(flags) {
    const names = NAMES.Flags.filter((name, bit) => (flags & (1 << bit)) !== 0);
    const unnamed = (flags & ~((1 << NAMES.Flags.length) - 1)) >>> 0;
    return names.concat(unnamed ? ["0x" + unnamed.toString(16)] : []).join(", ");
}

/** One of the structures, over bytes that were read. */
class View {
    constructor(layout, memory, at) {
        this.layout = layout;
        this.memory = memory;
        this.at = at;
    }
    u8(at) { return this.memory[this.at + at]; }
    u16(at) { return this.u8(at) | this.u8(at + 1) << 8; }
    u32(at) { return (this.u16(at) | this.u16(at + 2) << 16) >>> 0; }
    u64(at) { return new host.Int64(this.u32(at), this.u32(at + 4)); }

    /** A field: a number, a 64-bit value, a View, or an array of them. */
    get(name) {
        const field = LAYOUT[this.layout].fields[name];
        const parts = field[1].split("*");
        const one = (at) => LAYOUT[parts[0]] ? new View(parts[0], this.memory, this.at + at) : this[parts[0]](at);
        if (parts.length === 1) {
            return one(field[0]);
        }
        const size = LAYOUT[parts[0]] ? LAYOUT[parts[0]].size : Number(parts[0].slice(1)) / 8;
        const list = [];
        for (let index = 0; index < Number(parts[1]); index++) {
            list.push(one(field[0] + index * size));
        }
        return list;
    }

    text(name, length) {
        const units = this.get(name).slice(0, length);
        const end = length === undefined ? units.indexOf(0) : -1;
        return String.fromCharCode.apply(null, end < 0 ? units : units.slice(0, end));
    }
}

// --- finding the driver -------------------------------------------------------------------------------------------

const PAGE = 0x1000;

/** Bytes of the target, or null where some of them cannot be read. */
function readable(at, size, context) {
    try {
        return host.memory.readMemoryValues(at, size, 1, false, context);
    } catch (error) {
        return null;
    }
}

function read(layout, at, context, what) {
    const memory = readable(at, LAYOUT[layout].size, context);
    if (memory === null) {
        throw new Error(what + " at " + address(at) + " cannot be read: it is not in this dump");
    }
    return new View(layout, memory, 0);
}

/** Why these bytes are not what they were taken for; null: they are. The order is what a person wants to hear first. */
function refusal(kind, view) {
    const known = STATICS[kind];
    if (view.text("Signature", 16) !== known.signature) {
        return "something else stands there";
    }
    const config = kind === "ConfigBlock" ? view.get("Config") : view;
    const version = config.get("Version");
    if (version !== known.version) {
        return "the driver's " + known.symbol + " has layout version " + version + ", this script knows version " +
            known.version + ": use the script that came with that driver";
    }
    const sizes = {
        Anchor: [["AnchorBytes", LAYOUT.Anchor.size], ["RecordBytes", LAYOUT.Record.size],
            ["SlotBytes", LAYOUT.SlotHeader.size + LAYOUT.Record.size]],
        Watermarks: [["Bytes", LAYOUT.Watermarks.size], ["MarkBytes", LAYOUT.MarkWords.size],
            ["ProcessBytes", LAYOUT.ProcessWords.size], ["NestSlots", 32], ["ProcessSlots", 64]],
        ConfigBlock: [["Bytes", LAYOUT.Config.size]]
    };
    for (const entry of sizes[kind]) {
        const found = config.get(entry[0]);
        if (found !== entry[1]) {
            return entry[0] + " reads " + found + ", where this layout version has " + entry[1] + ": it is damaged";
        }
    }
    return null;
}

function fileName(path) {
    return String(path).replace(/^.*[\\\/]/, "");
}

/** The kernel's modules as {name, base, size}. A kernel target lists them in every process, but ask the system's, too. */
function modules() {
    const list = [];
    const take = (process) => {
        for (const module of process.Modules) {
            list.push({ name: fileName(module.Name), base: u64(module.BaseAddress), size: count(u64(module.Size)) });
        }
    };
    take(host.currentProcess);
    if (!list.some((module) => /^headroom/i.test(module.name))) {
        try {
            // Indexed by process id; 4 is the system's.
            take(host.currentSession.Processes.getValueAt(4));
        } catch (error) {
            // What the current process has is what there is.
        }
    }
    return list;
}

/** The address of a static of the driver, under its public name or, where symbols are private, its path; null without symbols. */
function symbol(name, path, context) {
    for (const spelling of [name, path + name]) {
        try {
            return u64(host.getModuleSymbolAddress("headroom", spelling, context));
        } catch (error) {
            // No such module, no symbols for it, or the other spelling.
        }
    }
    return null;
}

/** Where a static of the driver is, by symbol, else by a search of the driver's image for its signature. */
function find(kind, context) {
    const known = STATICS[kind];
    const named = symbol(known.symbol, known.path, context);
    if (named !== null) {
        const why = refusal(kind, read(kind, named, context, known.symbol));
        if (why !== null) {
            throw new Error(known.symbol + " at " + address(named) + ": " + why);
        }
        return { at: named, by: "symbol" };
    }
    const drivers = modules().filter((module) => /^headroom(\.|$)/i.test(module.name));
    if (drivers.length === 0) {
        throw new Error("headroom.sys is not among the loaded modules (lm m headroom*); is it loaded in this target?");
    }
    let refused = null;
    for (const driver of drivers) {
        const first = known.signature.charCodeAt(0);
        for (let page = 0; page < driver.size; page += PAGE) {
            const memory = readable(driver.base.add(page), PAGE, context);
            // Each static is aligned to 16 bytes at least, and so is never split within its signature.
            for (let at = 0; memory !== null && at < PAGE; at += 16) {
                if (memory[at] !== first || new View("Anchor", memory, at).text("Signature", 16) !== known.signature) {
                    continue;
                }
                const found = driver.base.add(page + at);
                const whole = readable(found, LAYOUT[kind].size, context);
                // The signature alone also stands where code merely knows it: decode before believing.
                const why = whole === null ? "it cannot be read" : refusal(kind, new View(kind, whole, 0));
                if (why === null) {
                    return { at: found, by: "signature" };
                }
                refused = refused || address(found) + ": " + why;
            }
        }
    }
    throw new Error("no " + known.symbol + " in the image of " + drivers[0].name + " that this script understands" +
        (refused ? " (" + refused + ")" : ": were its pages written to the dump?"));
}

// --- records ------------------------------------------------------------------------------------------------------

/** One create: what it found of the stack. 0 where a sample was not taken; see BeforeSampled, InsideSampled, AfterSampled. */
class HeadroomRecord {
    constructor(view, completion) {
        const flags = view.get("Flags") | (completion === null ? 0 : 1 << 3);
        this.Sequence = count(view.get("Sequence"));
        this.Before = view.get("BeforeRemaining");
        this.Inside = view.get("InsideRemaining");
        this.After = view.get("AfterRemaining");
        this.BeforeSampled = (flags & 1) !== 0;
        this.InsideSampled = (flags & 2) !== 0;
        this.AfterSampled = (flags & 4) !== 0;
        this.Depth = view.get("NestDepth");
        this.Outcome = named(NAMES.Outcome, view.get("Outcome"));
        this.Policy = named(NAMES.Policy, view.get("Policy"));
        this.Path = (view.get("PathLength") > view.get("TailLength") ? "\u2026" : "") +
            view.text("PathTail", view.get("TailLength"));
        this.PathLength = view.get("PathLength");
        this.PathHash = view.get("PathHash");
        this.Image = view.text("ImageName");
        this.ProcessId = view.get("ProcessId");
        this.ThreadId = view.get("ThreadId");
        this.StatusKnown = (flags & 8) !== 0;
        this.StatusCode = completion === null ? view.get("CreateStatus") : completion;
        this.Status = this.StatusKnown ? statusName(this.StatusCode) : "not known";
        this.ReservationBytes = view.get("ReservationBytes");
        this.ReservationStatus = statusName(view.get("ReservationStatus"));
        this.InspectStatus = statusName(view.get("InspectStatus"));
        this.InspectTicks = view.get("InspectTicks");
        this.Flags = flagNames(flags);
        this.BeforeLow = view.get("BeforeLow");
        this.BeforeHigh = view.get("BeforeHigh");
        this.InsideLow = view.get("InsideLow");
        this.InsideHigh = view.get("InsideHigh");
        this.AfterLow = view.get("AfterLow");
        this.AncestorsOpened = view.get("AncestorsOpened");
        this.AncestorScope = named(NAMES.AncestorScope, view.get("AncestorScope"));
        this.Irql = view.get("Irql");
        this.Qpc = view.get("Qpc");
        this.SystemTime = view.get("SystemTime");
        // The create's date, in UTC: 100 ns units since 1601, more of them than a number counts, and milliseconds since 1970.
        this.Time = isZero(this.SystemTime) ? "" : new Date(count(this.SystemTime.divide(10000)) - 11644473600000).toISOString();
    }

    toString() {
        const sample = (taken, value) => taken ? bytes(value) : "-";
        return "depth " + this.Depth + ": " + sample(this.BeforeSampled, this.Before) + " > " +
            sample(this.InsideSampled, this.Inside) + " > " + sample(this.AfterSampled, this.After) + " " + this.Outcome +
            " " + this.Path;
    }
}

/** The records in the ring, oldest first, indexed by sequence. */
class HeadroomRecords {
    constructor(anchor, context) {
        this.__anchor = anchor;
        this.__context = context;
    }

    /** A slot's record, and whether a writer was filling it; null where there is none that agrees with its slot. */
    __slot(memory, at) {
        const slot = new View("SlotHeader", memory, at);
        const state = slot.get("State");
        const phase = low(state) & 0xff;
        // Sequence in the upper 56 bits; phase 0 vacant, 1 to 0x7f whole, with that many readers less one, else a writer's.
        const sequence = Math.floor(low(state) / 256) + high(state) * 0x1000000;
        const record = new View("Record", memory, at + LAYOUT.SlotHeader.size);
        if (phase === 0 || sequence === 0 || count(record.get("Sequence")) !== sequence) {
            return null;
        }
        // 31 bits of the sequence, a bit "known", 32 bits of value.
        const word = slot.get("Completion");
        const known = (high(word) & 1) !== 0 && high(word) >>> 1 === sequence % 0x80000000;
        return { record: new HeadroomRecord(record, known ? low(word) : null), underWay: phase >= 0x80 };
    }

    /** Every record that is in the target, oldest first: whole ones and those under way; and how many slots are not. */
    __read() {
        const anchor = this.__anchor;
        const ring = anchor.get("Ring");
        const capacity = count(anchor.get("Capacity"));
        const found = { whole: [], underWay: [], unreadable: 0 };
        if (isZero(ring)) {
            return found;
        }
        if (capacity === 0 || capacity > 0x10000 || (capacity & (capacity - 1)) !== 0) {
            throw new Error("the ring has " + capacity + " slots, which no driver of this version has: the anchor is damaged");
        }
        const stride = anchor.get("SlotBytes");
        // A page at a time: a dump may have some of the ring only.
        const slots = Math.min(capacity, PAGE / stride);
        for (let first = 0; first < capacity; first += slots) {
            const memory = readable(ring.add(first * stride), slots * stride, this.__context);
            for (let slot = 0; slot < slots && memory !== null; slot++) {
                const held = this.__slot(memory, slot * stride);
                if (held !== null) {
                    (held.underWay ? found.underWay : found.whole).push(held.record);
                }
            }
            found.unreadable += memory === null ? slots : 0;
        }
        if (found.unreadable === capacity) {
            throw new Error("the ring at " + address(ring) + " cannot be read: a small dump has no pool, a kernel or complete one has");
        }
        for (const list of [found.whole, found.underWay]) {
            list.sort((a, b) => a.Sequence - b.Sequence);
        }
        return found;
    }

    __all() { return this.__read().whole; }

    *[Symbol.iterator]() {
        for (const record of this.__all()) {
            yield new host.indexedValue(record, [record.Sequence]);
        }
    }

    getDimensionality() { return 1; }

    getValueAt(sequence) {
        const wanted = typeof sequence === "number" ? sequence : count(u64(sequence));
        const found = this.__all().filter((record) => record.Sequence === wanted);
        if (found.length === 0) {
            throw new RangeError("record " + wanted + " is not in the ring (any more)");
        }
        return found[0];
    }

    toString() {
        return bytes(count(this.__anchor.get("Written"))) + " written, the newest up to " +
            bytes(count(this.__anchor.get("Capacity"))) + " kept";
    }
}

/** Records that were not kept, by reason. */
class HeadroomLosses {
    constructor(anchor) {
        for (const name of ["Overwritten", "Skipped", "SkippedLowStack", "Voided", "Abandoned"]) {
            this[name] = count(anchor.get(name));
        }
    }

    toString() {
        const lost = Object.keys(this).filter((name) => this[name] > 0);
        return lost.length === 0 ? "none" : lost.map((name) => name + " " + bytes(this[name])).join(", ");
    }
}

// --- watermarks and settings --------------------------------------------------------------------------------------

/** A set of marks: the extremes of its creates. Null where there is no such mark yet. */
class HeadroomMarks {
    constructor(view, generation) {
        // A word of another generation is no mark.
        const of = (name) => {
            const word = view.get(name);
            return high(word) === low(generation) ? low(word) : null;
        };
        const complement = (value) => value === null ? null : ~value >>> 0;
        const creates = view.get("Creates");
        this.LowestBefore = complement(of("LowestBefore"));
        this.LowestInside = complement(of("LowestInside"));
        this.MostSpent = of("MostSpent");
        this.Deepest = of("Deepest");
        // 16 bits of generation, 48 bits of count.
        this.Creates = high(creates) >>> 16 === (low(generation) & 0xffff)
            ? (high(creates) & 0xffff) * 0x100000000 + low(creates) : 0;
    }

    toString() {
        const told = (value) => value === null ? "-" : bytes(value);
        return "lowest " + told(this.LowestBefore) + " before, " + told(this.LowestInside) + " inside; most spent " +
            told(this.MostSpent) + "; deepest " + told(this.Deepest) + "; " + bytes(this.Creates) + " creates";
    }
}

/** Marks of which each has a name or a depth. */
class HeadroomMarkList {
    constructor(entries) { this.__entries = entries; }
    *[Symbol.iterator]() {
        for (const entry of this.__entries) {
            yield new host.indexedValue(entry[1], [entry[0]]);
        }
    }
    getDimensionality() { return 1; }
    getValueAt(key) {
        const found = this.__entries.filter((entry) => String(entry[0]) === String(key));
        if (found.length === 0) {
            throw new RangeError("no marks of " + key);
        }
        return found[0][1];
    }
    toString() { return String(this.__entries.length); }
}

/** The least stack that was ever left, and the most that was ever used: of the system, by nest depth, by image. */
class HeadroomWatermarks {
    constructor(view) {
        const generation = view.get("Generation");
        const marks = (words) => new HeadroomMarks(words, generation);
        this.System = marks(view.get("System"));
        this.Depths = new HeadroomMarkList(view.get("Nest")
            .map((words, depth) => [depth, marks(words)])
            .filter((entry) => entry[1].Creates > 0));
        this.Images = new HeadroomMarkList(view.get("Processes")
            .filter((entry) => {
                const state = entry.get("State");
                // 47 bits of key, a bit "being replaced", 16 bits of users.
                return (high(state) !== 0 || low(state) >>> 17 !== 0) && (low(state) & 0x10000) === 0;
            })
            .map((entry) => [entry.text("ImageName"), marks(entry.get("Marks"))])
            .filter((entry) => entry[1].Creates > 0)
            .sort((a, b) => a[1].LowestBefore - b[1].LowestBefore));
        this.Generation = count(generation);
        this.Evicted = count(view.get("Evicted"));
        this.TurnedAway = count(view.get("TurnedAway"));
        this.Skipped = count(view.get("Skipped"));
    }

    toString() { return this.System.toString(); }
}

/** The settings in force, under the names that they have in the registry. */
class HeadroomConfig {
    constructor(view) {
        this.ExpandPolicy = named(NAMES.Policy, view.get("ExpandPolicy"));
        this.ReservationBytes = view.get("ReservationBytes");
        this.RedZoneBytes = view.get("RedZoneBytes");
        this.MinimumStackBytes = view.get("MinimumStackBytes");
        this.OnExpandFailure = named(NAMES.OnExpandFailure, view.get("OnExpandFailure"));
        this.MaxNestDepth = view.get("MaxNestDepth");
        this.AncestorOpens = named(NAMES.AncestorScope, view.get("AncestorOpens"));
        this.UncOnly = view.get("UncOnly");
        this.LogCapacity = view.get("LogCapacity");
        this.DebugPrint = view.get("DebugPrint");
    }

    toString() {
        return "ExpandPolicy " + this.ExpandPolicy + ", ReservationBytes 0x" + this.ReservationBytes.toString(16);
    }
}

// --- instances ----------------------------------------------------------------------------------------------------

function unicode(string) {
    return host.memory.readWideString(string.Buffer, string.Length / 2);
}

/** The filter's instances, from the Filter Manager's own list, by the types in fltmgr's symbols. */
function instances(context) {
    const cell = symbol("HEADROOM_FILTER", "headroom::", context);
    if (cell === null) {
        throw new Error("the filter is found by the symbol headroom!HEADROOM_FILTER, which is not there: load headroom.pdb, " +
            "or use !fltkd.filters");
    }
    // A pointer to the FLT_FILTER; null before filtering has started.
    const filter = new View("SlotHeader", host.memory.readMemoryValues(cell, 8, 1, false, context), 0).u64(0);
    if (isZero(filter)) {
        return [];
    }
    const list = [];
    try {
        const head = host.createTypedObject(filter, "fltmgr", "_FLT_FILTER", context).InstanceList.rList;
        // Documented in "Debugger.Utility.Collections": walks a LIST_ENTRY by type and field name.
        const entries = host.namespace.Debugger.Utility.Collections.FromListEntry(head, "fltmgr!_FLT_INSTANCE", "FilterLink");
        for (const entry of entries) {
            list.push({
                Name: unicode(entry.Name), Altitude: unicode(entry.Altitude), Volume: unicode(entry.Volume.DeviceName),
                toString() { return this.Name + " at " + this.Altitude + " on " + this.Volume; }
            });
        }
    } catch (error) {
        throw new Error("fltmgr's symbols have no such types here (" + error.message + "): .reload /f fltmgr.sys, or use " +
            "!fltkd.filter " + hex(filter));
    }
    return list;
}

// --- the kernel stack of a thread ---------------------------------------------------------------------------------

/** KERNEL_LARGE_STACK_SIZE on x64: no segment is larger. */
const LARGE_STACK = 0x12000;

/** How a segment's control block is called, and where it says which segment it belongs to. */
const CONTROL_BLOCKS = [
    // Windows 8 and later.
    { type: "_KSTACK_CONTROL", base: (block) => block.StackBase },
    // Before.
    { type: "_KERNEL_STACK_CONTROL", base: (block) => block.Current.StackBase }
];

/**
 * The segment below (older than) this one, from the control block that the kernel keeps at a segment's top.
 * Where it lies differs between versions of Windows, so it is believed only if it names this very segment's base.
 * Returns null where this is the oldest, undefined where no control block can be read.
 */
function older(segment, context) {
    for (const block of CONTROL_BLOCKS) {
        let places;
        try {
            const size = count(u64(host.getModuleType("nt", block.type, context).size));
            places = [segment.Initial, segment.Base.subtract(size)];
        } catch (error) {
            continue;
        }
        for (const place of places) {
            try {
                const control = host.createTypedObject(place, "nt", block.type, context);
                if (!same(u64(block.base(control)), segment.Base)) {
                    continue;
                }
                const previous = control.Previous;
                const base = u64(previous.StackBase);
                return isZero(base) ? null : {
                    Base: base, Limit: u64(previous.StackLimit), Initial: u64(previous.InitialStack), From: "nt!" + block.type
                };
            } catch (error) {
                // Not there.
            }
        }
    }
    return undefined;
}

/** The segments of a thread's stack, newest first, and what could not be found out. */
function segmentChain(thread, context) {
    const notes = [];
    const segments = [];
    let segment = null;
    try {
        // KernelObject is nt!_ETHREAD in a kernel target.
        const kernel = thread.KernelObject.Tcb;
        segment = {
            Base: u64(kernel.StackBase), Limit: u64(kernel.StackLimit), Initial: u64(kernel.InitialStack), From: "nt!_KTHREAD"
        };
    } catch (error) {
        notes.push("nt!_KTHREAD cannot be read (" + error.message + "): is this a kernel target with nt's symbols?");
    }
    while (segment && segments.length < 256) {
        if (!below(segment.Limit, segment.Base) || segments.some((known) => same(known.Base, segment.Base))) {
            notes.push("the chain of segments is damaged at " + address(segment.Base));
            break;
        }
        segments.push(segment);
        segment = older(segment, context);
    }
    if (segment === undefined) {
        notes.push("nt's symbols have no control block that fits segment " + address(segments[segments.length - 1].Base) +
            ": older segments, if there are any, are told by the frames alone");
    }
    return { segments: segments, notes: notes };
}

/** One frame, and the bytes from its Child-SP to the next older one on the same segment. */
class StackFrame {
    constructor(frame, number, list) {
        const attributes = frame.Attributes;
        this.Number = number;
        this.ChildSp = u64(attributes.StackOffset);
        this.Instruction = u64(attributes.InstructionOffset);
        this.Name = String(frame);
        this.Bytes = 0;
        const bang = this.Name.indexOf("!");
        const inside = list.filter((module) => {
            const offset = distance(this.Instruction, module.base);
            return offset >= 0 && offset < module.size;
        });
        const stem = (name) => /^nt(oskrnl|krnlmp)?\./i.test(name) ? "nt" : name.replace(/\.[^.]*$/, "");
        this.Module = bang > 0 ? this.Name.slice(0, bang) : inside.length > 0 ? stem(inside[0].name) : "?";
    }

    toString() { return address(this.ChildSp) + " " + pad(bytes(this.Bytes), 7) + " " + this.Name; }
}

/** One segment and the frames that lie on it, newest first. */
class StackSegment {
    constructor(known, number) {
        this.Number = number;
        this.Base = known.Base;
        this.Limit = known.Limit;
        this.From = known.From;
        this.Frames = [];
    }

    __holds(sp) {
        // Down to a page below the limit: an overflowing frame lies in the guard.
        return distance(this.Base, sp) > 0 && distance(sp, this.Limit) >= -PAGE;
    }

    get Size() { return distance(this.Base, this.Limit); }
    /** Negative where the newest frame overran. */
    get Left() { return this.Frames.length === 0 ? this.Size : distance(this.Frames[0].ChildSp, this.Limit); }
    get InUse() { return this.Size - Math.max(0, this.Left); }

    /** Bytes by module, most first; the oldest frame reaches up to the segment's base, one that overran down to its limit. */
    get Modules() {
        const sums = new Map();
        for (const frame of this.Frames) {
            const sum = sums.get(frame.Module) || { Module: frame.Module, Bytes: 0, Frames: 0 };
            sum.Bytes += Math.max(0, frame.Bytes - Math.max(0, distance(this.Limit, frame.ChildSp)));
            sum.Frames += 1;
            sums.set(frame.Module, sum);
        }
        return Array.from(sums.values()).sort((a, b) => b.Bytes - a.Bytes || (a.Module < b.Module ? -1 : 1));
    }

    toString() {
        return "segment " + this.Number + ": " + address(this.Limit) + " to " + address(this.Base) + ", " +
            bytes(this.InUse) + " of " + bytes(this.Size) + " bytes in use by " + this.Frames.length + " frames";
    }
}

/**
 * A thread's kernel stack: its segments with what lies on each. !stackusage and kf take it for one piece.
 * Frames are walked when they are first asked for: a list of threads that is merely shown must not unwind them all.
 */
class KernelStack {
    constructor(thread, list) {
        this.__thread = thread;
        this.__modules = list;
        this.__walked = null;
        this.Thread = thread.Id === undefined ? "?" : hex(u64(thread.Id));
    }

    /** Newest first. */
    get Segments() { return this.__walk().segments; }
    /** What could not be found out. */
    get Notes() { return this.__walk().notes; }
    /** Frames on none of the segments: a processor's own stack, or user mode. */
    get Elsewhere() { return this.__walk().elsewhere; }
    /** The segment that the newest frame on this stack lies on. */
    get Current() { return this.Segments.filter((segment) => segment.Frames.length > 0)[0]; }

    __walk() {
        if (this.__walked !== null) {
            return this.__walked;
        }
        const chain = segmentChain(this.__thread, this.__thread);
        const list = this.__modules || modules();
        const segments = chain.segments.map((known, index) => new StackSegment(known, chain.segments.length - index));
        const elsewhere = [];
        let number = 0;
        let first = null;
        let last = null;
        for (const native of this.__thread.Stack.Frames) {
            const frame = new StackFrame(native, number++, list);
            let home = segments.filter((segment) => segment.__holds(frame.ChildSp))[0];
            first = first || frame;
            const kernel = high(frame.ChildSp) >>> 31 === high(first.ChildSp) >>> 31;
            if (home === undefined && chain.segments.length === 0 && kernel) {
                // Nothing is known of segments: a jump of more than a large stack begins another.
                home = last && Math.abs(distance(frame.ChildSp, last.ChildSp)) < LARGE_STACK ? segments[segments.length - 1] : undefined;
                if (home === undefined) {
                    home = new StackSegment({ Base: frame.ChildSp, Limit: frame.ChildSp, From: "frames alone" }, segments.length + 1);
                    segments.push(home);
                }
                home.Base = frame.ChildSp.add(8);
            }
            (home === undefined ? elsewhere : home.Frames).push(frame);
            last = frame;
        }
        for (const segment of segments) {
            segment.Frames.forEach((frame, index) => {
                const next = segment.Frames[index + 1];
                frame.Bytes = distance(next === undefined ? segment.Base : next.ChildSp, frame.ChildSp);
            });
        }
        this.__walked = { segments: segments, elsewhere: elsewhere, notes: chain.notes };
        return this.__walked;
    }

    __summary() {
        const current = this.Current;
        return this + (current === undefined ? "" : current.Left < 0 ? ", the newest overrun by " + bytes(-current.Left) + " bytes"
            : ", " + bytes(current.Left) + " bytes left on the newest");
    }

    toString() {
        const known = this.__walked === null ? segmentChain(this.__thread, this.__thread).segments : this.__walked.segments;
        return "thread " + this.Thread + ": " + known.length + " segment" + (known.length === 1 ? "" : "s");
    }
}

class ThreadExtension {
    get KernelStack() { return new KernelStack(this); }
}

// --- bug checks ---------------------------------------------------------------------------------------------------

/** The bug check's code and parameters; null where there is none. */
function bugCheck(context) {
    try {
        // .bugcheck is documented as the more reliable way, also where nt has no symbols.
        const text = Array.from(host.namespace.Debugger.Utility.Control.ExecuteCommand(".bugcheck")).join("\n");
        const code = /code\s+([0-9a-f]+)/i.exec(text);
        const rest = /arguments\s+([0-9a-f`]+)\s+([0-9a-f`]+)\s+([0-9a-f`]+)\s+([0-9a-f`]+)/i.exec(text);
        if (code && rest) {
            const parameters = rest.slice(1, 5).map((word) => host.parseInt64(word.replace(/`/g, ""), 16));
            const number = parseInt(code[1], 16);
            return number === 0 ? null : { code: number, parameters: parameters };
        }
    } catch (error) {
        // Not offered here: the kernel's own copy, then.
    }
    try {
        const at = host.getModuleSymbolAddress("nt", "KiBugCheckData", context);
        const view = new View("SlotHeader", host.memory.readMemoryValues(at, 40, 1, false, context), 0);
        const number = view.u32(0);
        return number === 0 ? null : { code: number, parameters: [8, 16, 24, 32].map((offset) => view.u64(offset)) };
    } catch (error) {
        return null;
    }
}

const BUG_CHECKS = {
    0x0a: "IRQL_NOT_LESS_OR_EQUAL", 0x1e: "KMODE_EXCEPTION_NOT_HANDLED", 0x2b: "PANIC_STACK_SWITCH",
    0x3b: "SYSTEM_SERVICE_EXCEPTION", 0x50: "PAGE_FAULT_IN_NONPAGED_AREA", 0x7e: "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED",
    0x7f: "UNEXPECTED_KERNEL_MODE_TRAP", 0xc4: "DRIVER_VERIFIER_DETECTED_VIOLATION", 0xd1: "DRIVER_IRQL_NOT_LESS_OR_EQUAL",
    0x107: "KERNEL_EXPAND_STACK_ACTIVE", 0x139: "KERNEL_SECURITY_CHECK_FAILURE"
};

/** What of a bug check speaks for a stack that ran out; "" where nothing does. */
function stackFault(check, stack) {
    const first = check.parameters[0];
    if (check.code === 0x7f && isZero(first.subtract(8))) {
        return "a double fault, which is what a stack that has no room for a trap frame ends in";
    }
    if (check.code === 0x2b) {
        return "the kernel had to leave a stack that ran out";
    }
    if ([0x1e, 0x3b, 0x7e].indexOf(check.code) >= 0 && low(first) === 0xc00000fd) {
        return "STATUS_STACK_OVERFLOW was raised";
    }
    if ([0x0a, 0x50, 0xd1].indexOf(check.code) >= 0) {
        const hit = stack.Segments.filter((segment) => {
            const under = distance(segment.Limit, first);
            return segment.Size > 0 && under > 0 && under <= PAGE;
        })[0];
        if (hit) {
            return address(first) + " is " + bytes(distance(hit.Limit, first)) + " bytes below segment " + hit.Number +
                "'s limit: its guard page was hit";
        }
    }
    return "";
}

/** What happened, in a sentence, and the same in parts. */
class HeadroomAnalysis {
    constructor(context) {
        const thread = host.currentThread;
        const check = bugCheck(context);
        this.Stack = new KernelStack(thread);
        this.BugCheck = check === null ? "none" : "0x" + check.code.toString(16).toUpperCase();
        this.Parameters = check === null ? [] : check.parameters.map(hex);
        this.StackOverflow = false;
        const segment = this.Stack.Current;
        const who = "thread " + this.Stack.Thread + " of " + fileName(host.currentProcess.Name);
        const where = segment === undefined ? "" :
            "segment " + segment.Number + " of " + this.Stack.Segments.length + " (" + address(segment.Limit) + " to " +
            address(segment.Base) + ", " + bytes(segment.Size) + " bytes)";
        const spent = segment === undefined ? "" : segment.Modules
            .map((sum) => sum.Module + " " + bytes(sum.Bytes) + (sum.Frames === 1 ? " in 1 frame" : " in " + sum.Frames + " frames"))
            .join(", ");
        if (check === null) {
            this.Sentence = "No bug check; " + who + (segment === undefined ? " has no kernel frames." :
                " has " + bytes(segment.Left) + " bytes left of " + where + ": " + spent + ".");
            return;
        }
        const name = "Bug check " + this.BugCheck + (BUG_CHECKS[check.code] ? " " + BUG_CHECKS[check.code] : "") +
            " (" + this.Parameters[0] + ")";
        const why = stackFault(check, this.Stack);
        if (why !== "" && segment !== undefined) {
            this.StackOverflow = true;
            this.Sentence = name + ", " + why + ": " + who + " ran out of " + where + ", " +
                (segment.Left < 0 ? bytes(-segment.Left) + " bytes beyond its limit" : bytes(segment.Left) + " bytes above its limit") +
                " in " + segment.Frames[0].Name + "; it was filled by " + spent + ".";
        } else if (check.code === 0xc4 && isZero(check.parameters[0].subtract(0x91))) {
            this.Sentence = name + ": Driver Verifier saw " + who + " on a stack that was switched to without " +
                "KeExpandKernelStackAndCalloutEx.";
        } else if (check.code === 0x107) {
            this.Sentence = name + ": " + who + " ended while a callout of KeExpandKernelStackAndCalloutEx was running.";
        } else {
            this.Sentence = name + " does not speak of a stack that ran out" + (segment === undefined ? "." :
                ": " + who + " has " + bytes(segment.Left) + " bytes left of " + where + ".");
        }
    }

    toString() { return this.Sentence; }
}

// --- what the debugger is given -----------------------------------------------------------------------------------

/** @$headroom() */
class Headroom {
    constructor() {
        // Captured once: what is shown belongs to the target and process in which it was asked for.
        this.__context = host.currentProcess;
    }

    get Analysis() { return new HeadroomAnalysis(this.__context); }
    get Records() { return new HeadroomRecords(this.__read("Anchor"), this.__context); }
    /** Creates whose records were not finished: on a thread that crashed, those that were nested on it. */
    get UnderWay() { return new HeadroomRecords(this.__read("Anchor"), this.__context).__read().underWay; }
    get Losses() { return new HeadroomLosses(this.__read("Anchor")); }
    get Watermarks() { return new HeadroomWatermarks(this.__read("Watermarks")); }
    get Config() { return new HeadroomConfig(this.__read("ConfigBlock").get("Config")); }
    get Instances() { return instances(this.__context); }
    get Stack() { return new KernelStack(host.currentThread); }

    __read(kind) {
        return read(kind, find(kind, this.__context).at, this.__context, STATICS[kind].symbol);
    }

    toString() {
        try {
            return this.Analysis.Sentence;
        } catch (error) {
            return error.message;
        }
    }
}

class SessionExtension {
    get Headroom() { return new Headroom(); }
}

function print(line) {
    host.diagnostics.debugLog(line + "\n");
}

/** Prints rows under their headings; a heading that starts with "<" is of a column of text. */
function table(headings, rows) {
    const cells = [headings.map((heading) => heading.replace("<", ""))].concat(rows.map((row) => row.map(String)));
    const widths = headings.map((_, column) => Math.max.apply(null, cells.map((row) => row[column].length)));
    for (const row of cells) {
        print("  " + row.map((cell, column) => pad(cell, widths[column], headings[column][0] === "<")).join("  ").replace(/\s+$/, ""));
    }
}

/** Runs a command; its error is a line, not a stack trace of this script. */
function command(body) {
    try {
        body();
    } catch (error) {
        print("headroom: " + error.message);
    }
}

function headroom() { return new Headroom(); }

function printRecords(number) {
    command(() => {
        const wanted = number === undefined ? 20 : count(u64(number));
        const records = new Headroom().Records;
        const found = records.__read();
        const newest = found.whole.slice(Math.max(0, found.whole.length - wanted));
        const rows = (list) => table(["sequence", "depth", "before", "inside", "after", "<outcome", "<status", "<image", "<path"],
            list.map((record) => [
                record.Sequence, record.Depth, record.BeforeSampled ? bytes(record.Before) : "-",
                record.InsideSampled ? bytes(record.Inside) : "-", record.AfterSampled ? bytes(record.After) : "-", record.Outcome,
                record.Status, record.Image, record.Path
            ]));
        print(newest.length + " of " + found.whole.length + " records; " + records + "; lost: " + new Headroom().Losses);
        rows(newest);
        if (found.underWay.length > 0) {
            print("under way, their records not finished: " + found.underWay.length);
            rows(found.underWay);
        }
        if (found.unreadable > 0) {
            print(found.unreadable + " slots of the ring could not be read");
        }
    });
}

function printWatermarks() {
    command(() => {
        const marks = new Headroom().Watermarks;
        const told = (value) => value === null ? "-" : bytes(value);
        const row = (name, set) => [name, told(set.LowestBefore), told(set.LowestInside), told(set.MostSpent), told(set.Deepest),
            bytes(set.Creates)];
        const rows = [row("the system", marks.System)];
        marks.Depths.__entries.forEach((entry) => rows.push(row("depth " + entry[0], entry[1])));
        marks.Images.__entries.forEach((entry) => rows.push(row(entry[0] || "(name not known)", entry[1])));
        table(["<of", "lowest before", "lowest inside", "most spent", "deepest", "creates"], rows);
        print("  images given up " + bytes(marks.Evicted) + ", turned away " + bytes(marks.TurnedAway) + ", creates not counted " +
            bytes(marks.Skipped));
    });
}

function printConfig() {
    command(() => {
        const config = new Headroom().Config;
        table(["<setting", "<value"], Object.keys(config).map((name) => [name,
            typeof config[name] === "number" && /Bytes$/.test(name) ? "0x" + config[name].toString(16) : config[name]]));
    });
}

function printInstances() {
    command(() => {
        const list = new Headroom().Instances;
        table(["<instance", "<altitude", "<volume"], list.map((instance) => [instance.Name, instance.Altitude, instance.Volume]));
        if (list.length === 0) {
            print("  none");
        }
    });
}

function printStack(stack) {
    print(stack.__summary());
    for (const segment of stack.Segments) {
        print("  " + segment + " (" + segment.From + ")");
        table(["<Child-SP", "bytes", "<frame"], segment.Frames.map((frame) => [address(frame.ChildSp), bytes(frame.Bytes), frame.Name]));
        print("    by module: " + segment.Modules.map((sum) => sum.Module + " " + bytes(sum.Bytes)).join(", "));
    }
    if (stack.Elsewhere.length > 0) {
        print("  on none of them (a processor's own stack, or user mode): " + stack.Elsewhere.map((frame) => frame.Name).join(", "));
    }
    stack.Notes.forEach((note) => print("  note: " + note));
}

function printStacks(every) {
    command(() => {
        const list = modules();
        if (!every) {
            printStack(new KernelStack(host.currentThread, list));
            return;
        }
        for (const thread of host.currentProcess.Threads) {
            printStack(new KernelStack(thread, list));
        }
    });
}

function initializeScript() {
    return [
        new host.apiVersionSupport(1, 7),
        new host.functionAlias(headroom, "headroom"),
        new host.functionAlias(printRecords, "hrrecords"),
        new host.functionAlias(printWatermarks, "hrwatermarks"),
        new host.functionAlias(printConfig, "hrconfig"),
        new host.functionAlias(printInstances, "hrinstances"),
        new host.functionAlias(printStacks, "hrstacks"),
        new host.namedModelParent(SessionExtension, "Debugger.Models.Session"),
        new host.namedModelParent(ThreadExtension, "Debugger.Models.Thread")
    ];
}
