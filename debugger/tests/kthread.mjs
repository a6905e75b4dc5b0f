// What the kernel keeps of a thread's stack, written over a target's memory: the thread object, and at the top of each
// segment the control block that leads to the next older one. The bench has neither, so this part of the chain is made
// here, after the types given, and proves only that the script follows what such types say.

const word = (buffer, at, value) => buffer.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), at);

/**
 * Writes a thread of these segments ({ low, high }, newest first) at `at`, and returns its address.
 * `below`: how far below a segment's base its control block lies.
 */
export function kernelThread(memory, types, at, segments, { below = 0x370, sp = segments[0].low } = {}) {
    const initial = (segment) => BigInt(segment.high) - BigInt(below);
    const thread = Buffer.alloc(types["nt!_ETHREAD"].size);
    const fields = types["nt!_KTHREAD"].fields;
    word(thread, fields.InitialStack[0], initial(segments[0]));
    word(thread, fields.StackLimit[0], segments[0].low);
    word(thread, fields.StackBase[0], segments[0].high);
    word(thread, fields.KernelStack[0], sp);
    memory.add(at, thread);
    segments.forEach((segment, index) => {
        const older = segments[index + 1];
        const values = older === undefined ? [0, 0, 0, 0] : [older.high, older.low, older.low, initial(older)];
        const modern = types["nt!_KSTACK_CONTROL"];
        const block = Buffer.alloc((modern ?? types["nt!_KERNEL_STACK_CONTROL"]).size);
        word(block, 0, segment.high);
        word(block, 8, modern ? BigInt(segment.low) | (older ? 1n : 0n) : segment.low);
        values.forEach((value, field) => word(block, (modern ? 16 : 32) + field * 8, value));
        memory.add(initial(segment), block);
    });
    return at;
}
