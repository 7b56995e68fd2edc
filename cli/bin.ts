#!/usr/bin/env node
import { main } from "./main.ts";

// A reader that has seen enough (`| head`) is no error.
process.stdout.on("error", () => process.exit(0));
process.exitCode = await main(process.argv.slice(2));
// What will not close keeps nobody waiting; the rest has been closed in order.
setTimeout(() => process.exit(), 3_000).unref();
