#!/usr/bin/env node
import { enableCompileCache } from "node:module";
import { main } from "./main.ts";

// What one start has compiled the next one reads; where nothing can be kept, nothing is.
enableCompileCache();

process.exitCode = await main(process.argv.slice(2));
// What will not close keeps nobody waiting; the rest has been closed in order.
setTimeout(() => process.exit(), 3_000).unref();
