import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openCheckpoints } from "../../evals/checkpoints.ts";
import { report } from "./eval-report.ts";

/*
 * The checkpoints of an eval on a file system of 256 kilobytes, the folder that is given: it is filled, and then there is
 * room again. Says what was seen as JSON.
 */
const [, , folder = ""] = process.argv;
const file = join(folder, "checkpoints.jsonl");
const filler = join(folder, "filler");
const [first, long, last] = report(3, () => true).tasks.flatMap(({ trials }) => trials);
if (first === undefined || long === undefined || last === undefined) throw new Error("no trials");
const checkpoints = await openCheckpoints(file);
await checkpoints.finish(first);
writeFileSync(filler, "x".repeat(128 * 1024));
const refused = await checkpoints.finish({ ...long, error: "e".repeat(200_000) }).then(
  () => "it was written",
  (error: unknown) => String(error),
);
rmSync(filler);
await checkpoints.finish(last);
await checkpoints.close();
const { finished } = await openCheckpoints(file);
const said = { refused, finished: [...finished.values()].map(({ task_id: id }) => id) };
process.stdout.write(
  JSON.stringify({ ...said, all: [first, long, last].map((one) => one.task_id) }),
);
