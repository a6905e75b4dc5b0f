// What is damaged, of another version, or not in the dump: refused by name, and never taken for data.

import assert from "node:assert/strict";
import test from "node:test";
import { IMAGE, RING, anchor, driver, fill, session, slot, target } from "./made.mjs";
import { shown } from "./host.mjs";

const records = (made, options) => shown(session(made, options).aliases.headroom().Records).items;
const refused = (made, name, pattern) => assert.throws(() => shown(session(made).aliases.headroom()[name]), { message: pattern });

test("the anchor is found by its signature, past places that merely know it", () => {
    const made = driver({ 0x10: Buffer.from("HEADROOM ANCHOR\0"), 0x2040: anchor() });
    made.memory.add(RING, Buffer.concat(Array.from({ length: 16 }, (_, n) => (n === 3 ? slot(3, { BeforeRemaining: 77 }) : Buffer.alloc(512)))));
    assert.deepEqual(records(made).map((one) => [one.index, one.Before]), [[3, 77]]);
});

test("the driver's name decides where is searched", () => {
    refused(target({ modules: [{ name: "other.sys", base: IMAGE, size: 0x1000 }] }), "Records", /not among the loaded modules/);
    refused(driver({}), "Records", /no HEADROOM_RECORDER in the image of headroom\.sys/);
});

test("another layout version is refused by symbol and by signature", () => {
    const made = driver({ 0x2040: anchor({ Version: 2 }) });
    refused(made, "Records", /layout version 2, this script knows version 1: use the script that came with that driver/);
    made.symbols["headroom!HEADROOM_RECORDER"] = IMAGE + 0x2040n;
    refused(made, "Records", /^HEADROOM_RECORDER at fffff802`1a402040: the driver's .* version 2/);
});

test("a size that contradicts the version is damage", () => {
    refused(driver({ 0x2040: anchor({ SlotBytes: 520 }) }), "Records", /SlotBytes reads 520, where this layout version has 512/);
});

test("private symbols have the statics under their paths", () => {
    const made = driver({ 0x2040: anchor({ Skipped: 7 }), 0x100: anchor() });
    made.symbols["headroom!headroom::recorder::HEADROOM_RECORDER"] = IMAGE + 0x2040n;
    assert.equal(session(made).aliases.headroom().Losses.Skipped, 7);
});

test("symbols of another build lead to something else", () => {
    const made = driver({ 0x2040: anchor() });
    made.symbols["headroom!HEADROOM_RECORDER"] = IMAGE + 0x1000n;
    refused(made, "Losses", /something else stands there/);
});

test("a ring that is not in the dump, or not all of it", () => {
    refused(driver({ 0x2040: anchor() }), "Records", /the ring at ffffa20e`50000000 cannot be read: a small dump has no pool/);
    const half = driver({ 0x2040: anchor() });
    half.memory.add(RING + 0x1000n, Buffer.concat(Array.from({ length: 8 }, (_, n) => slot(n + 8))));
    const said = shown(session(half).aliases.headroom().Records);
    assert.deepEqual(said.items.map((one) => one.index), [8, 9, 10, 11, 12, 13, 14, 15]);
    const printed = session(half);
    printed.aliases.hrrecords();
    assert.match(printed.output.join(""), /8 slots of the ring could not be read/);
});

test("no ring, no records; a capacity that no driver has", () => {
    assert.deepEqual(records(driver({ 0x2040: anchor({ Ring: 0, Capacity: 0 }) })), []);
    refused(driver({ 0x2040: anchor({ Capacity: 12 }) }), "Records", /12 slots, which no driver of this version has/);
    refused(driver({ 0x2040: anchor({ Capacity: 0xffff_ffff_ffff_ffffn }) }), "Records", /the anchor is damaged/);
});

test("only whole slots are records", () => {
    const slots = Array.from({ length: 16 }, () => Buffer.alloc(512));
    slots[1] = slot(1, { phase: 0 });
    slots[2] = slot(2, { phase: 0x80 });
    slots[3] = slot(3, { phase: 0x7f });
    slots[4] = slot(4, { phase: 0xff });
    slots[5] = slot(5);
    fill("Record", { Sequence: 21 }, slots[5], 16);
    slots[6] = slot(6, { completion: (6n << 33n) | (1n << 32n) | 0xc000_0034n });
    slots[7] = slot(7, { completion: (6n << 33n) | (1n << 32n) | 0xc000_0034n });
    const made = driver({ 0x2040: anchor() });
    made.memory.add(RING, Buffer.concat(slots));
    const printed = session(made);
    printed.aliases.hrrecords();
    assert.match(printed.output.join(""), /under way, their records not finished: 2\n/);
    assert.deepEqual(Array.from(session(made).aliases.headroom().UnderWay, (one) => one.Sequence), [2, 4]);
    assert.deepEqual(records(made).map((one) => [one.index, one.Status]),
        [[3, "not known"], [6, "STATUS_OBJECT_NAME_NOT_FOUND"], [7, "not known"]]);
});

test("sequences beyond 32 bits, and values that no version names", () => {
    const sequence = 0x12_3456_7890n;
    const made = driver({ 0x2040: anchor() });
    const slots = Array.from({ length: 16 }, () => Buffer.alloc(512));
    slots[0] = slot(sequence, {
        Outcome: 200, Policy: 9, Flags: 0x8000_0001, ReservationStatus: 0xdead_beef,
        completion: ((sequence & 0x7fff_ffffn) << 33n) | (1n << 32n),
    });
    made.memory.add(RING, Buffer.concat(slots));
    for (const options of [{}, { signedParts: true }, { strict: false }]) {
        const [one] = records(made, options);
        assert.equal(one.index, Number(sequence));
        assert.deepEqual([one.Outcome, one.Policy, one.Flags, one.ReservationStatus, one.Status],
            ["0xc8", "0x09", "before, status, 0x80000000", "0xDEADBEEF", "STATUS_SUCCESS"]);
    }
});

test("marks of an older generation are no marks", () => {
    const marks = fill("Watermarks", {
        Signature: "HEADROOM MARKS\0\0", Version: 1, Bytes: 5504, MarkBytes: 40, ProcessBytes: 64, NestSlots: 32, ProcessSlots: 64, Generation: 3,
    });
    fill("MarkWords", { LowestBefore: (2n << 32n) | 0xffff_f000n, LowestInside: (3n << 32n) | 0xffff_f000n, Creates: (3n << 48n) | 5n }, marks, 88);
    const said = shown(session(driver({ 0x40: marks })).aliases.headroom().Watermarks);
    assert.deepEqual(said.System, { LowestBefore: null, LowestInside: 0xfff, MostSpent: null, Deepest: null, Creates: 5 });
    assert.deepEqual([said.Depths.items, said.Images.items], [[], []]);
});

test("a command's error is one line", () => {
    const one = session(target());
    one.aliases.hrrecords();
    one.aliases.hrconfig();
    assert.deepEqual(one.output.map((line) => line.split(" ").slice(0, 2).join(" ")), ["headroom: headroom.sys", "headroom: headroom.sys"]);
});
