// What of a snapshot the host needs and the bench does not have: types, and a thread object that leads to the segments.

import { fileURLToPath } from "node:url";
import { kernelThread } from "./kthread.mjs";
import { FILTER_MANAGER, WINDOWS_10 } from "./types.mjs";

/** The script under test. */
export const SCRIPT = fileURLToPath(new URL("../headroom.js", import.meta.url));

/** Where the made-up thread object lies: nothing of the bench is there. */
const THREAD = 0xffff_a20e_0000_1000n;

export function targetOf(snapshot) {
    const types = { ...WINDOWS_10, ...FILTER_MANAGER };
    const threads = snapshot.threads.map((thread, index) => ({
        id: thread.id,
        frames: thread.frames,
        object: thread.segments.length === 0 ? 0 : kernelThread(snapshot.memory, types, THREAD + BigInt(index) * 0x1000n, thread.segments),
    }));
    return { ...snapshot, types, threads };
}
