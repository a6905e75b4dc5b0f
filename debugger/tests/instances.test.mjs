// The instances, from the Filter Manager's list as its symbols describe it.

import assert from "node:assert/strict";
import test from "node:test";
import { IMAGE, driver, session } from "./made.mjs";
import { FILTER_MANAGER } from "./types.mjs";

const FILTER = 0xffff_a20e_6000_0000n;
const LISTED = [["Headroom Instance", "389990.7", "\\Device\\Mup"], ["Second", "370030", "\\Device\\HarddiskVolume3"]];

function attached(filter, listed) {
    const cell = Buffer.alloc(8);
    cell.writeBigUInt64LE(filter);
    const made = driver({ 0x2000: cell });
    made.symbols["headroom!HEADROOM_FILTER"] = IMAGE + 0x2000n;
    const memory = Buffer.alloc(0x4000);
    const offset = (type, field) => FILTER_MANAGER[type].fields[field][0];
    const put = (at, value) => memory.writeBigUInt64LE(value, at);
    const string = (at, text, where) => {
        memory.writeUInt16LE(text.length * 2, at);
        put(at + 8, FILTER + BigInt(where));
        memory.write(text, where, "utf16le");
    };
    const head = offset("fltmgr!_FLT_FILTER", "InstanceList") + offset("fltmgr!_FLT_RESOURCE_LIST_HEAD", "rList");
    let link = head;
    listed.forEach(([name, altitude, volume], index) => {
        const at = 0x1000 + index * 0x1000;
        string(at + offset("fltmgr!_FLT_INSTANCE", "Name"), name, at + 0x400);
        string(at + offset("fltmgr!_FLT_INSTANCE", "Altitude"), altitude, at + 0x500);
        put(at + offset("fltmgr!_FLT_INSTANCE", "Volume"), FILTER + BigInt(at + 0x800));
        string(at + 0x800 + offset("fltmgr!_FLT_VOLUME", "DeviceName"), volume, at + 0x600);
        put(link, FILTER + BigInt(at + offset("fltmgr!_FLT_INSTANCE", "FilterLink")));
        link = at + offset("fltmgr!_FLT_INSTANCE", "FilterLink");
    });
    put(link, FILTER + BigInt(head));
    made.memory.add(FILTER, memory);
    return made;
}

test("name, altitude and volume of each", () => {
    const one = session(attached(FILTER, LISTED));
    assert.deepEqual(Array.from(one.aliases.headroom().Instances, (instance) => [instance.Name, instance.Altitude, instance.Volume]), LISTED);
    one.aliases.hrinstances();
    assert.match(one.output.join(""), /Headroom Instance {2}389990\.7 {2}\\Device\\Mup\n/);
});

test("a filter without instances, and none yet", () => {
    assert.equal(session(attached(FILTER, [])).aliases.headroom().Instances.length, 0);
    assert.equal(session(attached(0n, [])).aliases.headroom().Instances.length, 0);
});

test("symbols that are missing are named, with what to do", () => {
    const untyped = attached(FILTER, LISTED);
    untyped.types = {};
    assert.throws(() => session(untyped).aliases.headroom().Instances, { message: /reload \/f fltmgr\.sys, or use !fltkd\.filter 0xffffa20e60000000/ });
    const unnamed = attached(FILTER, LISTED);
    unnamed.symbols = {};
    assert.throws(() => session(unnamed).aliases.headroom().Instances, { message: /load headroom\.pdb, or use !fltkd\.filters/ });
});
