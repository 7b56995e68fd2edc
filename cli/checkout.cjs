"use strict";

/*
 * Loaded before a file of a checkout is: an older Node can't read TypeScript and answers with a stack, and so does any
 * Node where the packages are not installed. Written so that every Node can read it.
 *
 * And what one start has compiled the next one reads, from the first file on: cli/bin.ts can only ask for it once it has
 * been stripped of its types itself, by a compiler that stays in memory.
 */
const fs = require("fs");
const path = require("path");
const { enableCompileCache } = require("module");

const version = process.versions.node.split(".").map(Number);
const isOld = version[0] < 22 || (version[0] === 22 && version[1] < 19);
// They bring a Node of their own, which npm's scripts find first: without them an old one is no fault.
if (!fs.existsSync(path.join(__dirname, "../node_modules/xstate"))) {
  const brings = isOld ? `, which brings a Node that fits (this is ${process.version})` : "";
  stop(`stateplane: its packages are not installed; run: npm ci${brings}`);
}
if (isOld) stop(`stateplane needs Node 22.19 or later; this is ${process.version}`);
if (enableCompileCache !== undefined) enableCompileCache();

function stop(line) {
  process.stderr.write(`${line}\n`);
  process.exit(2);
}
