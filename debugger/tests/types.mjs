// Typed objects over a target's memory, with types as a symbol file would give them. The offsets of nt's and fltmgr's types
// differ between builds of Windows; a target may bring others, since the script is to take them from here.

const SIZES = { u8: 1, u16: 2, u32: 4, u64: 8, pointer: 8 };

/** Names, fields and offsets that public symbols of one Windows have: nt of Windows 10, and made-up ones where marked. */
export const WINDOWS_10 = {
    "nt!_ETHREAD": { size: 0x900, fields: { Tcb: [0, "nt!_KTHREAD"] } },
    "nt!_KTHREAD": {
        size: 0x600,
        fields: { InitialStack: [0x28, "pointer"], StackLimit: [0x30, "pointer"], StackBase: [0x38, "pointer"], KernelStack: [0x58, "pointer"] },
    },
    "nt!_KERNEL_STACK_SEGMENT": {
        size: 0x20,
        fields: { StackBase: [0, "u64"], StackLimit: [8, "u64"], KernelStack: [16, "u64"], InitialStack: [24, "u64"] },
    },
    "nt!_KSTACK_CONTROL": {
        size: 0x30,
        fields: { StackBase: [0, "u64"], ActualLimit: [8, "u64"], Previous: [16, "nt!_KERNEL_STACK_SEGMENT"] },
    },
};

/** The same before Windows 8. */
export const WINDOWS_7 = {
    "nt!_ETHREAD": WINDOWS_10["nt!_ETHREAD"],
    "nt!_KTHREAD": {
        size: 0x360,
        fields: { InitialStack: [0x28, "pointer"], StackLimit: [0x30, "pointer"], KernelStack: [0x38, "pointer"], StackBase: [0x278, "pointer"] },
    },
    "nt!_KERNEL_STACK_SEGMENT": WINDOWS_10["nt!_KERNEL_STACK_SEGMENT"],
    "nt!_KERNEL_STACK_CONTROL": {
        size: 0x40,
        fields: { Current: [0, "nt!_KERNEL_STACK_SEGMENT"], Previous: [0x20, "nt!_KERNEL_STACK_SEGMENT"] },
    },
};

/** The Filter Manager's: field names as fltmgr's symbols have them, offsets made up. */
export const FILTER_MANAGER = {
    "nt!_LIST_ENTRY": { size: 16, fields: { Flink: [0, "pointer"], Blink: [8, "pointer"] } },
    "nt!_UNICODE_STRING": { size: 16, fields: { Length: [0, "u16"], MaximumLength: [2, "u16"], Buffer: [8, "pointer"] } },
    "fltmgr!_FLT_RESOURCE_LIST_HEAD": { size: 0x80, fields: { rList: [0x68, "nt!_LIST_ENTRY"], rCount: [0x78, "u32"] } },
    "fltmgr!_FLT_FILTER": { size: 0x300, fields: { InstanceList: [0x70, "fltmgr!_FLT_RESOURCE_LIST_HEAD"] } },
    "fltmgr!_FLT_VOLUME": { size: 0x100, fields: { DeviceName: [0x60, "nt!_UNICODE_STRING"] } },
    "fltmgr!_FLT_INSTANCE": {
        size: 0x150,
        fields: { Volume: [0x38, "pointer:fltmgr!_FLT_VOLUME"], Altitude: [0x50, "nt!_UNICODE_STRING"], Name: [0x60, "nt!_UNICODE_STRING"], FilterLink: [0x70, "nt!_LIST_ENTRY"] },
    },
};

export function typeSystem(target, int64, bits) {
    const types = target.types ?? {};
    const number = (at, size) => target.memory.read(at, size).reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n);
    const lookup = (module, name) => {
        const found = types[name.includes("!") ? name : `${module}!${name}`];
        if (found === undefined) throw new Error(`Unable to find type '${module}!${name}'`);
        return found;
    };
    const field = (at, type) => {
        const [kind, pointee] = type.split(":");
        if (kind === "pointer") {
            const address = number(at, 8);
            const pointer = { address: int64(address), isNull: address === 0n };
            // A property that a pointer does not have is looked up in what it points to; nothing is to be found in void.
            return new Proxy(pointer, { get: (own, name) => {
                if (name in own || typeof name === "symbol") return own[name];
                if (!pointee) throw new Error(`Unable to bind name '${name}': the pointer is to void`);
                return object(address, "", pointee)[name];
            } });
        }
        if (SIZES[kind] !== undefined) return kind === "u64" ? int64(number(at, 8)) : Number(number(at, SIZES[kind]));
        return object(at, "", type);
    };
    const object = (at, module, name) => {
        const type = lookup(module, name);
        const start = BigInt(at);
        const made = { __at: start };
        for (const [key, [offset, of]] of Object.entries(type.fields)) {
            Object.defineProperty(made, key, { enumerable: true, get: () => field(start + BigInt(offset), of) });
        }
        return made;
    };
    const list = function* (head, name, link) {
        const type = lookup("", name);
        for (let at = bits(head.Flink); at !== head.__at;) {
            const entry = object(at - BigInt(type.fields[link][0]), "", name);
            yield entry;
            at = bits(entry[link].Flink);
        }
    };
    return { object, list, type: (module, name) => ({ name, size: int64(lookup(module, name).size) }) };
}
