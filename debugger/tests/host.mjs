// A host for headroom.js: the object model of WinDbg's JavaScript provider, as far as Microsoft documents it ("Native
// Debugger Objects in JavaScript Extensions", "JavaScript Debugger Scripting"), over memory that was really written by the
// driver. The script runs unmodified in a context of its own, where there is nothing but ECMAScript 6 and `host`.

import fs from "node:fs";
import path from "node:path";
import vm from "node:vm";
import { makeInt64 } from "./int64.mjs";
import { typeSystem } from "./types.mjs";

/** Regions of memory that are there; everything else cannot be read. */
export class Memory {
    constructor() { this.regions = []; }
    add(start, bytes) { this.regions.unshift({ start: BigInt(start), bytes }); }
    read(start, length) {
        const bytes = Buffer.alloc(length);
        for (let at = 0; at < length;) {
            const address = start + BigInt(at);
            const region = this.regions.find((one) => address >= one.start && address < one.start + BigInt(one.bytes.length));
            if (region === undefined) throw new Error(`Unable to read memory at Address 0x${address.toString(16)}`);
            const from = Number(address - region.start);
            const part = region.bytes.subarray(from, Math.min(region.bytes.length, from + length - at));
            part.copy(bytes, at);
            at += part.length;
        }
        return bytes;
    }
}

/** A snapshot from a file: see the harness's tests/debugger.rs, which writes them. */
export function load(file) {
    const snapshot = JSON.parse(fs.readFileSync(file, "utf8"));
    const memory = new Memory();
    for (const region of snapshot.regions) {
        memory.add(region.start, fs.readFileSync(path.join(path.dirname(file), region.file)));
    }
    return { ...snapshot, memory };
}

/** What was added to the language after ECMAScript 6 is not there. */
const LATER = `
    delete Array.prototype.includes; delete String.prototype.padStart; delete String.prototype.padEnd;
    delete Object.values; delete Object.entries; delete Object.fromEntries; delete Array.prototype.flat;
    delete Array.prototype.flatMap; delete Array.prototype.at; delete String.prototype.at; delete String.prototype.matchAll;
    delete String.prototype.replaceAll; delete String.prototype.trimStart; delete String.prototype.trimEnd;
    delete globalThis.BigInt; delete globalThis.BigInt64Array; delete globalThis.BigUint64Array; delete Promise.allSettled;
    delete globalThis.WebAssembly; delete globalThis.SharedArrayBuffer; delete globalThis.Atomics; delete globalThis.globalThis;
`;

/**
 * Loads the script over a target: { memory, modules, symbols, types, bugcheck, threads, process }.
 * Addresses in it are anything that BigInt takes.
 */
export function debuggerWith(script, target, options = {}) {
    const Int64 = makeInt64(options);
    const int64 = (value) => Int64.of(BigInt.asUintN(64, BigInt(value)));
    const bits = (location) => {
        if (location instanceof Int64) return location.__value;
        if (typeof location === "number") {
            if (!Number.isSafeInteger(location)) throw new Error("a number that is no address");
            return BigInt(location);
        }
        if (location && location.address instanceof Int64) return location.address.__value;
        throw new Error(`no location: ${String(location)}`);
    };
    const output = [];
    const types = typeSystem(target, int64, bits);

    class Registration { constructor(kind, object, name) { Object.assign(this, { kind, object, name }); } }
    const host = {
        // Phase 1: what is there while initializeScript runs.
        Int64,
        parseInt64: (text, radix = 10) => {
            const digits = radix === 16 ? text.replace(/^0x/i, "") : text;
            if (!(radix === 16 ? /^[0-9a-f]{1,16}$/i : /^\d+$/).test(digits)) throw new Error(`no number: ${text}`);
            return int64(radix === 16 ? `0x${digits}` : digits);
        },
        apiVersionSupport: class { constructor(major, minor) { Object.assign(this, { kind: "version", major, minor }); } },
        functionAlias: class extends Registration { constructor(object, name) { super("alias", object, name); } },
        namedModelParent: class extends Registration { constructor(object, name) { super("parent", object, name); } },
        diagnostics: { debugLog: (...parts) => { output.push(parts.map(String).join("")); } },
    };
    const context = vm.createContext({ host });
    vm.runInContext(LATER, context);
    vm.runInContext(fs.readFileSync(script, "utf8"), context, { filename: script });
    const registrations = vm.runInContext("initializeScript()", context);
    const aliases = {};
    const models = {};
    for (const one of registrations) {
        if (one.kind === "alias") aliases[one.name] = one.object;
        if (one.kind === "parent") models[one.name] = one.object;
    }
    const extend = (object, model) => {
        const prototype = models[model]?.prototype;
        if (prototype) Object.defineProperties(object, Object.getOwnPropertyDescriptors(prototype));
        return object;
    };

    // Phase 2.
    const known = (name) => target.modules.find((module) => module.name.replace(/\.[^.]*$/, "") === name.replace(/\.[^.]*$/, ""));
    const modules = target.modules.map((module) => ({
        Name: module.path ?? module.name, BaseAddress: int64(module.base), Size: int64(module.size), toString: () => module.name,
    }));
    const threads = target.threads.map((thread) => extend({
        Id: int64(thread.id),
        get KernelObject() { return types.object(thread.object, "nt", "_ETHREAD"); },
        Stack: {
            // Unwound when asked for.
            get Frames() { return thread.frames.map((frame, index) => ({
                Attributes: {
                    InstructionOffset: int64(frame.instruction ?? 0), ReturnOffset: int64(0), FrameOffset: int64(frame.childSp),
                    StackOffset: int64(frame.childSp), Virtual: true, FrameNumber: index,
                },
                toString: () => frame.symbol.replace(/\+(0x[0-9a-f]+)/, " + $1"),
            })); },
        },
    }, "Debugger.Models.Thread"));
    const process = { Name: target.process.name, Id: int64(target.process.id), Modules: modules, Threads: threads };
    const processes = { getValueAt: (id) => {
        if (bits(id) !== 4n) throw new RangeError("no such process");
        return { Name: "System", Id: int64(4), Modules: modules, Threads: [] };
    } };
    Object.assign(host, {
        indexedValue: class { constructor(value, indicies) { Object.assign(this, { value, indicies }); } },
        currentProcess: process,
        currentThread: threads[0],
        currentSession: extend({ Processes: processes }, "Debugger.Models.Session"),
        memory: {
            readMemoryValues: (location, number, size = 1, signed = false) => {
                if (size !== 1 || signed) throw new Error("this host offers bytes only");
                return new Uint8Array(target.memory.read(bits(location), number));
            },
            readWideString: (location, length) => target.memory.read(bits(location), length * 2).toString("utf16le"),
        },
        getModuleSymbolAddress: (module, symbol) => {
            const found = known(module) && target.symbols[`${module}!${symbol}`];
            if (found === undefined) throw new Error(`Unable to find module or symbol '${module}!${symbol}'`);
            return int64(found);
        },
        getModuleType: (module, name) => types.type(module, name),
        createTypedObject: (location, module, name) => types.object(bits(location), module, name),
        namespace: { Debugger: { Utility: {
            Control: { ExecuteCommand: (command) => execute(command, target) },
            Collections: { FromListEntry: (head, type, field) => types.list(head, type, field) },
        } } },
    });
    return { host, aliases, models, output, context, evaluate: (text) => vm.runInContext(text, context) };
}

/** .bugcheck, in the form that the debugger prints it. */
function execute(command, target) {
    if (command !== ".bugcheck" || target.bugcheck === undefined) throw new Error(`no such command here: ${command}`);
    const { code, parameters } = target.bugcheck;
    const word = (value) => BigInt(value).toString(16).padStart(16, "0").replace(/(.{8})/, "$1`");
    return [`Bugcheck code ${code.toString(16).toUpperCase().padStart(8, "0")}`, `Arguments ${parameters.map(word).join(" ")}`];
}

/** What `dx` would show: properties and getters whose names do not begin with two underscores, then what is iterated. */
export function shown(value, depth = 8) {
    if (value === null || value === undefined || typeof value !== "object") return value;
    if (typeof value.getHighPart === "function") return value.toString();
    if (depth === 0) return "…";
    if (Array.isArray(value)) return value.map((one) => shown(one, depth - 1));
    const seen = {};
    for (let from = value; Object.getPrototypeOf(from) !== null; from = Object.getPrototypeOf(from)) {
        for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(from))) {
            const method = property.get === undefined && typeof property.value === "function";
            if (!name.startsWith("__") && !method && !(name in seen)) seen[name] = shown(value[name], depth - 1);
        }
    }
    if (typeof value[Symbol.iterator] === "function") {
        seen.items = Array.from(value, (one) => "indicies" in Object(one)
            ? { index: one.indicies[0], ...shown(one.value, depth - 1) }
            : shown(one, depth - 1));
    }
    return seen;
}
