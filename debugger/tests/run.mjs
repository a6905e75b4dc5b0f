// Runs headroom.js over a snapshot: node run.mjs SNAPSHOT.json        everything, as JSON
//                                   node run.mjs SNAPSHOT.json TEXT    what a command prints (hrrecords, hrstacks, …)
//                                   node run.mjs MEMORY.DMP FRAMES.json [TEXT]    the same over a complete memory dump,
//                                       its frames as `headroom dump MEMORY.DMP --json` prints them
//                                   node run.mjs --layout              the layouts that the script knows
// What this cannot prove is listed in README.md beside it, and printed with --cannot.

import fs from "node:fs";
import { fileURLToPath } from "node:url";
import { dumped } from "./dump.mjs";
import { Memory, debuggerWith, load, shown } from "./host.mjs";
import { SCRIPT, targetOf } from "./target.mjs";

const here = (file) => fileURLToPath(new URL(file, import.meta.url));

function everything(session) {
    const model = session.aliases.headroom();
    const result = {};
    for (const name of ["Records", "UnderWay", "Losses", "Watermarks", "Config", "Analysis"]) {
        try {
            result[name] = shown(model[name]);
            result[`${name}Text`] = String(model[name]);
        } catch (error) {
            result[name] = { error: error.message };
        }
    }
    result.Sentence = String(model);
    return result;
}

/** A list of frames, or the one in what `headroom dump --json` prints, where addresses are numbers. */
function framesOf(text) {
    const parsed = JSON.parse(text.replace(/([:\s])(\d{15,})/g, '$1"$2"'));
    return (parsed.frames ?? parsed).map((frame) => ({
        childSp: frame.childSp ?? frame.child_sp, symbol: frame.symbol, instruction: frame.instruction ?? frame.address,
    }));
}

const [first, ...more] = process.argv.slice(2);
const isDump = /\.dmp$/i.test(first ?? "");
const frames = isDump ? framesOf(fs.readFileSync(more.shift(), "utf8")) : [];
const [command, ...rest] = more;
if (first === "--cannot") {
    const text = fs.readFileSync(here("README.md"), "utf8");
    process.stdout.write(text.slice(text.indexOf("## What it cannot prove")));
} else if (first === "--layout") {
    const nothing = { memory: new Memory(), modules: [], symbols: {}, threads: [], process: { name: "", id: 0 } };
    const session = debuggerWith(SCRIPT, nothing);
    process.stdout.write(JSON.stringify(session.evaluate("({ LAYOUT, STATICS, NAMES })")));
} else if (first !== undefined) {
    const session = debuggerWith(SCRIPT, isDump ? dumped(first, frames) : targetOf(load(first)));
    if (command === undefined) {
        process.stdout.write(JSON.stringify(everything(session)));
    } else if (command === "headroom") {
        process.stdout.write(`${session.aliases.headroom()}\n`);
    } else {
        session.aliases[command](...rest.map(Number));
        process.stdout.write(session.output.join(""));
    }
}
