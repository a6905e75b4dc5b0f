// The script's text: ECMAScript 6 and no more, no global but those of the language and `host`, of which only what is
// documented.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import test from "node:test";
import { SCRIPT } from "./target.mjs";

/** The parser: Debian's nodejs depends on it as a package, others carry it within. */
function parse(ecmaVersion) {
    let acorn;
    try {
        acorn = createRequire(import.meta.url)("/usr/share/nodejs/acorn");
    } catch {
        const program = `const { parse } = require("internal/deps/acorn/acorn/dist/acorn");
            const source = require("fs").readFileSync(process.argv[1], "utf8");
            process.stdout.write(JSON.stringify(parse(source, { ecmaVersion: ${ecmaVersion}, sourceType: "script", locations: true })));`;
        const options = { maxBuffer: 1 << 26, stdio: ["ignore", "pipe", "pipe"] };
        return JSON.parse(execFileSync(process.execPath, ["--expose-internals", "-e", program, SCRIPT], options));
    }
    return acorn.parse(fs.readFileSync(SCRIPT, "utf8"), { ecmaVersion, sourceType: "script", locations: true });
}

const tree = parse(2015);

function* nodes(node) {
    if (Array.isArray(node)) {
        for (const one of node) yield* nodes(one);
    } else if (node && typeof node.type === "string") {
        yield node;
        for (const [key, child] of Object.entries(node)) if (key !== "loc") yield* nodes(child);
    }
}

/** Names that a pattern binds. */
function* bound(pattern) {
    if (!pattern) return;
    if (pattern.type === "Identifier") yield pattern.name;
    if (pattern.type === "AssignmentPattern") yield* bound(pattern.left);
    if (pattern.type === "RestElement") yield* bound(pattern.argument);
    if (pattern.type === "ArrayPattern") for (const element of pattern.elements) yield* bound(element);
    if (pattern.type === "ObjectPattern") for (const property of pattern.properties) yield* bound(property.value);
}

test("is strict ECMAScript 6", () => {
    assert.equal(tree.body[0].directive, "use strict");
});

test("uses no global but the language's and host", () => {
    const declared = new Set(["host"]);
    for (const node of nodes(tree)) {
        if (/Function|Class/.test(node.type) && node.id) declared.add(node.id.name);
        if (/Function/.test(node.type)) node.params.forEach((one) => [...bound(one)].forEach((name) => declared.add(name)));
        if (node.type === "VariableDeclarator") [...bound(node.id)].forEach((name) => declared.add(name));
        if (node.type === "CatchClause" && node.param) [...bound(node.param)].forEach((name) => declared.add(name));
    }
    const language = ["Array", "Date", "Error", "JSON", "Map", "Math", "Number", "Object", "RangeError", "RegExp", "Set", "String",
        "Symbol", "parseInt", "undefined"];
    const used = new Set();
    for (const node of nodes(tree)) {
        for (const [key, child] of Object.entries(node)) {
            const name = (node.type === "MemberExpression" && key === "property" && !node.computed)
                || (/^(Property|MethodDefinition)$/.test(node.type) && key === "key" && !node.computed);
            for (const one of [child].flat()) if (!name && one?.type === "Identifier") used.add(one.name);
        }
    }
    assert.deepEqual([...used].filter((name) => !declared.has(name) && !language.includes(name)), []);
});

test("uses only what is documented of host", () => {
    const documented = [
        "Int64", "apiVersionSupport", "createTypedObject", "currentProcess", "currentSession", "currentThread", "diagnostics",
        "functionAlias", "getModuleSymbolAddress", "getModuleType", "indexedValue", "memory", "namedModelParent", "namespace",
        "parseInt64",
    ];
    const used = new Set();
    for (const node of nodes(tree)) {
        if (node.type === "MemberExpression" && node.object.type === "Identifier" && node.object.name === "host") used.add(node.property.name);
    }
    assert.deepEqual([...used].sort(), documented.sort());
});

test("names no method of 64-bit values that is not documented", () => {
    const text = fs.readFileSync(SCRIPT, "utf8");
    assert.doesNotMatch(text, /\.(compareTo|equals|greaterThan|lessThan|asNumber|convertToNumber)\(/);
});
