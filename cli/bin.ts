#!/usr/bin/env node
import { main } from "./main.ts";

process.exitCode = await main(process.argv.slice(2));
// What will not close keeps nobody waiting; the rest has been closed in order.
setTimeout(() => process.exit(), 3_000).unref();
