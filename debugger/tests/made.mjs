// Targets made by hand: a driver image with statics in it, a ring, threads.

import { Memory, debuggerWith } from "./host.mjs";
import { kernelThread } from "./kthread.mjs";
import { SCRIPT } from "./target.mjs";
import { FILTER_MANAGER, WINDOWS_10 } from "./types.mjs";

/** Where things lie: kernel addresses, as on Windows. */
export const IMAGE = 0xffff_f802_1a40_0000n;
export const RING = 0xffff_a20e_5000_0000n;
export const STACK = { low: 0xffff_c58d_0a1b_0000n, high: 0xffff_c58d_0a1b_6000n };
const THREAD = 0xffff_a20e_7000_0080n;

/** The layouts of the script under test; a test in Rust holds them against crates/protocol. */
export const { LAYOUT } = debuggerWith(SCRIPT, target()).evaluate("({ LAYOUT })");

export function target(more = {}) {
    return {
        memory: new Memory(), modules: [], symbols: {}, threads: [], process: { name: "C:\\Windows\\explorer.exe", id: 8 },
        types: { ...WINDOWS_10, ...FILTER_MANAGER }, ...more,
    };
}

/** Writes fields into a structure: numbers, BigInts or strings of bytes. */
export function fill(layout, values, buffer = Buffer.alloc(LAYOUT[layout].size), at = 0) {
    for (const [name, value] of Object.entries(values)) {
        const [offset, type] = LAYOUT[layout].fields[name];
        if (typeof value === "string") buffer.write(value, at + offset, type.startsWith("u16") ? "utf16le" : "latin1");
        else if (type === "u64") buffer.writeBigUInt64LE(BigInt(value), at + offset);
        else buffer.writeUIntLE(value, at + offset, Number(type.slice(1)) / 8);
    }
    return buffer;
}

export const anchor = (values = {}) => fill("Anchor", {
    Signature: "HEADROOM ANCHOR\0", Version: 1, AnchorBytes: 128, RecordBytes: 496, SlotBytes: 512, Ring: RING, Capacity: 16,
    QpcFrequency: 10_000_000, Head: 0, Written: 0, ...values,
});

/** A whole slot of that sequence, or one in another phase. */
export function slot(sequence, { phase = 1, completion = 0n, ...record } = {}) {
    const buffer = Buffer.alloc(512);
    fill("SlotHeader", { State: (BigInt(sequence) << 8n) | BigInt(phase), Completion: completion }, buffer);
    return fill("Record", { Sequence: sequence, Flags: 1, ...record }, buffer, 16);
}

/** A target with the driver's image of four pages, of which `statics` (offset to bytes) are written. */
export function driver(statics, more = {}) {
    const made = target(more);
    const image = Buffer.alloc(0x4000);
    for (const [offset, bytes] of Object.entries(statics)) bytes.copy(image, Number(offset));
    made.memory.add(IMAGE, image);
    made.modules.push({ name: "headroom.sys", path: "\\SystemRoot\\System32\\drivers\\headroom.sys", base: IMAGE, size: 0x4000n });
    return made;
}

/** A thread of these segments (newest first) and frames ([Child-SP, symbol], newest first). */
export function thread(made, segments, frames, options = {}) {
    made.threads.push({
        id: 0x1a4, object: segments.length === 0 ? 0 : kernelThread(made.memory, made.types, THREAD, segments, options),
        frames: frames.map(([childSp, symbol]) => ({ childSp, symbol })),
    });
    return made;
}

export const session = (made, options) => debuggerWith(SCRIPT, made, options);
