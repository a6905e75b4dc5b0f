// A 64-bit complete memory dump as the target: what a debugger finds in the file itself. Offsets in the header and of the
// module list are those that the WDK's wdbgexts.h and public symbols have; those of the thread and process are Windows 10's,
// version 2004, whose number the dumps of ntbench carry. The frames come from elsewhere: this is no unwinder.

import fs from "node:fs";
import { FILTER_MANAGER, WINDOWS_10 } from "./types.mjs";

const PAGE = 0x1000n;
const PRESENT = 1n;
const LARGE = 0x80n;
const FRAME = 0x000f_ffff_ffff_f000n;

/** The dump's memory by virtual address, through its own page tables. */
class Paged {
    constructor(file) {
        this.file = file;
        this.header = this.at(0, 0x2000);
        if (this.header.toString("latin1", 0, 8) !== "PAGEDU64") throw new Error("no 64-bit kernel dump");
        const runs = this.header.readUInt32LE(0x88);
        this.runs = [];
        for (let run = 0, offset = 0x2000; run < runs; run++) {
            const base = this.header.readBigUInt64LE(0x98 + run * 16);
            const pages = this.header.readBigUInt64LE(0xa0 + run * 16);
            this.runs.push({ base: base * PAGE, end: (base + pages) * PAGE, offset });
            offset += Number(pages * PAGE);
        }
        this.root = this.word(0x10) & FRAME;
    }
    word(at) { return this.header.readBigUInt64LE(at); }
    at(offset, length) {
        const bytes = Buffer.alloc(length);
        fs.readSync(this.file, bytes, 0, length, offset);
        return bytes;
    }
    physical(address, length) {
        const run = this.runs.find((one) => address >= one.base && address < one.end);
        if (run === undefined) return undefined;
        return this.at(run.offset + Number(address - run.base), length);
    }
    translate(address) {
        let table = this.root;
        for (const shift of [39n, 30n, 21n, 12n]) {
            const entry = this.physical(table + ((address >> shift) & 0x1ffn) * 8n, 8)?.readBigUInt64LE() ?? 0n;
            if ((entry & PRESENT) === 0n) return undefined;
            if (shift === 12n || (shift !== 39n && (entry & LARGE) !== 0n)) {
                const within = (1n << shift) - 1n;
                return (entry & FRAME & ~within) | (address & within);
            }
            table = entry & FRAME;
        }
    }
    read(start, length) {
        const bytes = Buffer.alloc(length);
        for (let done = 0; done < length;) {
            const address = start + BigInt(done);
            const part = Math.min(length - done, Number(PAGE - (address % PAGE)));
            const physical = this.translate(address);
            const page = physical === undefined ? undefined : this.physical(physical, part);
            if (page === undefined) throw new Error(`Unable to read memory at Address 0x${address.toString(16)}`);
            page.copy(bytes, done);
            done += part;
        }
        return bytes;
    }
    long(address) { return this.read(address, 8).readBigUInt64LE(); }
    string(address) {
        const length = this.read(address, 2).readUInt16LE();
        return this.read(this.long(address + 8n), length).toString("utf16le");
    }
}

/** PsLoadedModuleList: KLDR_DATA_TABLE_ENTRYs. */
function modules(memory) {
    const head = memory.word(0x20);
    const found = [];
    for (let entry = memory.long(head); entry !== head; entry = memory.long(entry)) {
        found.push({
            name: memory.string(entry + 0x58n), path: memory.string(entry + 0x48n), base: memory.long(entry + 0x30n),
            size: BigInt(memory.read(entry + 0x40n, 4).readUInt32LE()),
        });
    }
    return found;
}

/** The target, with frames ({ childSp, symbol, instruction }, newest first) of the thread that stopped it. */
export function dumped(path, frames) {
    const memory = new Paged(fs.openSync(path, "r"));
    // KDDEBUGGER_DATA64.KiProcessorBlock, the first processor's KPRCB, its CurrentThread.
    const processor = memory.long(memory.long(memory.word(0x80) + 0x218n));
    const thread = memory.long(processor + 8n);
    const process = memory.long(thread + 0x220n);
    const image = memory.read(process + 0x5a8n, 15).toString("latin1");
    return {
        memory, modules: modules(memory), symbols: {}, types: { ...WINDOWS_10, ...FILTER_MANAGER },
        bugcheck: { code: memory.header.readUInt32LE(0x38), parameters: [0x40, 0x48, 0x50, 0x58].map((at) => memory.word(at)) },
        process: { name: image.slice(0, image.indexOf("\0")), id: memory.long(process + 0x440n) },
        threads: [{ id: memory.long(thread + 0x480n), object: thread, frames }],
    };
}
