import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { createLog } from "../../adapters/telemetry/log.ts";

/*
 * A process of its own, which logs many lines to its standard error, makes `FILE.written` when it has, and says in the file
 * at its end how its loop fared.
 */
const [file = "", lines = "0", waitMs = "0"] = process.argv.slice(2);
const log = createLog({ level: "info", name: "test" });
let slowest = 0;
let seen = performance.now();
const beat = setInterval(() => {
  slowest = Math.max(slowest, performance.now() - seen);
  seen = performance.now();
}, 20);
for (let n = 0; n < Number(lines); n += 1) {
  log.info({ n, text: "x".repeat(1_000) }, "a line");
  if (n % 100 === 99) await sleep(5);
}
appendFileSync(`${file}.written`, "");
await sleep(Number(waitMs));
log.error({}, "the last words");
clearInterval(beat);
appendFileSync(file, `${JSON.stringify({ slowest, memory: process.memoryUsage().rss })}\n`);
