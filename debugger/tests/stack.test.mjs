// The segments of a stack: the chain that the kernel keeps, what can be told without it, and which crashes speak of it.

import assert from "node:assert/strict";
import test from "node:test";
import { STACK, session, target, thread } from "./made.mjs";
import { WINDOWS_10, WINDOWS_7 } from "./types.mjs";

const NEWER = { low: 0xffff_c58d_0a30_9000n, high: 0xffff_c58d_0a31_0000n };
/** Two segments and a processor's own stack, on which a double fault is handled. */
const FRAMES = [
    [0xffff_f802_1555_0e38n, "nt!KeBugCheckEx"], [0xffff_f802_1555_0e40n, "nt!KiBugCheckDispatch+0x69"], [0xffff_f802_1555_0f80n, "nt!KiDoubleFaultAbort+0x2c3"],
    [NEWER.low + 0x40n, "rdbss!RxCommonCreate"], [NEWER.low + 0x1040n, "headroom!run+0x16f"], [NEWER.high - 0x100n, "nt!KxSwitchKernelStackCallout+0x2e"],
    [STACK.high - 0x2000n, "nt!KeExpandKernelStackAndCalloutEx+0x2e1"], [STACK.high - 0x400n, "nt!KiSystemServiceCopyEnd+0x25"],
    [0x0000_0089_9ff8_f5a8n, "ntdll!NtCreateFile+0x14"],
];
const parameters = (...values) => [0, 1, 2, 3].map((at) => values[at] ?? 0);
const analysis = (made, options) => session(made, options).aliases.headroom().Analysis;

function deep(more = {}, options = {}) {
    return thread(target(more), [NEWER, STACK], FRAMES, options);
}

for (const [name, types, below] of [
    ["at InitialStack, Windows 8 and later", WINDOWS_10, 0x370], ["at the very top", WINDOWS_10, 0x30], ["before Windows 8", WINDOWS_7, 0x240],
]) {
    test(`the chain of segments is followed: ${name}`, () => {
        for (const options of [{}, { signedParts: true }]) {
            const stack = session(deep({ types }, { below }), options).host.currentThread.KernelStack;
            assert.equal(stack.Notes.length, 0);
            assert.deepEqual(Array.from(stack.Segments, (one) => [one.Number, one.Size, one.InUse, one.Left, one.Frames.length]),
                [[2, 0x7000, 0x6fc0, 0x40, 3], [1, 0x6000, 0x2000, 0x4000, 2]]);
            assert.deepEqual(Array.from(stack.Segments[0].Modules, (sum) => [sum.Module, sum.Bytes]), [["headroom", 0x5ec0], ["rdbss", 0x1000], ["nt", 0x100]]);
            assert.deepEqual(Array.from(stack.Elsewhere, (frame) => frame.Module), ["nt", "nt", "nt", "ntdll"]);
        }
    });
}

test("a control block that names another base is not believed", () => {
    const made = thread(target(), [STACK], [[STACK.low + 0x1000n, "nt!KiSwapContext"]]);
    made.memory.add(STACK.high - 0x370n, Buffer.alloc(0x30, 0x41));
    const stack = session(made).host.currentThread.KernelStack;
    assert.equal(stack.Segments.length, 1);
    assert.match(stack.Notes[0], /no control block that fits segment ffffc58d`0a1b6000/);
});

test("a chain that bites its tail ends", () => {
    const made = thread(target(), [NEWER, STACK], FRAMES);
    const again = Buffer.alloc(0x30);
    [STACK.high, STACK.low, NEWER.high, NEWER.low, NEWER.low, NEWER.high - 0x370n].forEach((value, at) => again.writeBigUInt64LE(value, at * 8));
    made.memory.add(STACK.high - 0x370n, again);
    const stack = session(made).host.currentThread.KernelStack;
    assert.equal(stack.Segments.length, 2);
    assert.match(stack.Notes[0], /the chain of segments is damaged/);
});

test("without the kernel's types the frames alone tell of segments, and it is said", () => {
    const made = thread(target({ types: {} }), [], FRAMES.slice(3));
    const stack = session(made).host.currentThread.KernelStack;
    assert.match(stack.Notes[0], /nt!_KTHREAD cannot be read .*: is this a kernel target with nt's symbols\?/);
    assert.deepEqual(Array.from(stack.Segments, (one) => [one.From, one.Frames.length]), [["frames alone", 3], ["frames alone", 2]]);
    assert.equal(stack.Segments[0].Frames[0].Bytes, 0x1000);
    assert.deepEqual(Array.from(stack.Elsewhere, (frame) => frame.Name), ["ntdll!NtCreateFile + 0x14"]);
});

test("a double fault: which thread, which segment, who filled it", () => {
    const said = analysis(deep({ bugcheck: { code: 0x7f, parameters: parameters(8, 0xffff_f802_1555_0f80n, 0xffff_c58d_0a30_8ff0n) } }));
    assert.equal(said.StackOverflow, true);
    assert.equal(said.Sentence, "Bug check 0x7F UNEXPECTED_KERNEL_MODE_TRAP (0x8), a double fault, which is what a stack that has no room "
        + "for a trap frame ends in: thread 0x1a4 of explorer.exe ran out of segment 2 of 2 (ffffc58d`0a309000 to ffffc58d`0a310000, 28,672 bytes), "
        + "64 bytes above its limit in rdbss!RxCommonCreate; it was filled by headroom 24,256 in 1 frame, rdbss 4,096 in 1 frame, nt 256 in 1 frame.");
});

test("a page fault in the guard page of the older segment names that one", () => {
    const said = analysis(deep({ bugcheck: { code: 0x50, parameters: parameters(STACK.low - 8n, 2) } }));
    assert.match(said.Sentence, /^Bug check 0x50 PAGE_FAULT_IN_NONPAGED_AREA .*ffffc58d`0a1afff8 is 8 bytes below segment 1's limit: its guard page was hit/);
});

test("other bug checks that speak of the stack", () => {
    assert.equal(analysis(deep({ bugcheck: { code: 0x1e, parameters: parameters(0xffff_ffff_c000_00fdn) } })).StackOverflow, true);
    assert.equal(analysis(deep({ bugcheck: { code: 0x2b, parameters: parameters(1) } })).StackOverflow, true);
    assert.match(analysis(deep({ bugcheck: { code: 0x107, parameters: parameters(1) } })).Sentence, /ended while a callout of KeExpandKernelStackAndCalloutEx was running/);
});

test("a stack switched to by hand is Driver Verifier's to find", () => {
    assert.match(analysis(deep({ bugcheck: { code: 0xc4, parameters: parameters(0x91) } })).Sentence,
        /^Bug check 0xC4 DRIVER_VERIFIER_DETECTED_VIOLATION \(0x91\): Driver Verifier saw thread 0x1a4 of explorer.exe on a stack/);
});

test("bug checks that do not", () => {
    for (const [code, first] of [[0x7f, 0], [0xd1, 0x28], [0x50, STACK.low - 0x3000n], [0x1e, 0xffff_ffff_c000_0005n], [0xe2, 0], [0xc4, 0x90]]) {
        const said = analysis(deep({ bugcheck: { code, parameters: parameters(first) } }));
        assert.equal(said.StackOverflow, false);
        assert.match(said.Sentence, /does not speak of a stack that ran out: thread 0x1a4 of explorer.exe has 64 bytes left of segment 2 of 2/);
    }
});

test("a live kernel has none, and its own copy of the data is the second choice", () => {
    assert.match(analysis(deep({ bugcheck: { code: 0, parameters: parameters() } })).Sentence, /^No bug check; thread 0x1a4 of explorer.exe has 64 bytes left/);
    const made = deep({ modules: [{ name: "nt.exe", base: 0, size: 0 }], symbols: { "nt!KiBugCheckData": 0xffff_f802_1600_0000n } });
    const data = Buffer.alloc(40);
    [0x7fn, 8n].forEach((value, at) => data.writeBigUInt64LE(value, at * 8));
    made.memory.add(0xffff_f802_1600_0000n, data);
    assert.equal(analysis(made).StackOverflow, true);
    assert.match(analysis(deep()).Sentence, /^No bug check/);
});

test("a stack that is merely shown is not walked", () => {
    const made = deep();
    Object.defineProperty(made.threads[0], "frames", { get() { throw new Error("walked"); } });
    const lazy = session(made).host.currentThread.KernelStack;
    assert.equal(String(lazy), "thread 0x1a4: 2 segments");
    assert.throws(() => lazy.Segments, { message: "walked" });
});

test("every thread's segments are printed, with what could not be found out", () => {
    const made = deep();
    made.threads.push({ id: 0x1a8, object: 0, frames: [] });
    const one = session(made);
    one.aliases.hrstacks(1);
    const text = one.output.join("");
    assert.match(text, /thread 0x1a4: 2 segments, 64 bytes left on the newest/);
    assert.match(text, /by module: headroom 24,256, rdbss 4,096, nt 256/);
    assert.match(text, /on none of them .*: nt!KeBugCheckEx, nt!KiBugCheckDispatch \+ 0x69, nt!KiDoubleFaultAbort \+ 0x2c3, ntdll!NtCreateFile \+ 0x14/);
    assert.match(text, /thread 0x1a8: 0 segments\n {2}note: nt!_KTHREAD cannot be read/);
});
