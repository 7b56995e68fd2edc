import { appendFile, mkdir, readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import writeFileAtomic from "write-file-atomic";
import { gather } from "../../evals/observe.ts";
import { recordRun, taskOfRun } from "../../evals/replay/run-recording.ts";
import { parseJson, isJsonObject } from "../../machines/contracts/domain/json.ts";
import type { StepRecording } from "../../machines/contracts/domain/recording.ts";
import { isRunEnded } from "../../machines/contracts/domain/status.ts";
import type { Command } from "../command.ts";
import { withBackend } from "../compose/choose-store.ts";
import { artifactsOf } from "../compose/compose-ports.ts";
import { CliError } from "../output/errors.ts";
import { loadRecording } from "../replay/load-recording.ts";
import { secrets } from "../secrets.ts";
import { withControlPlane } from "./with-control-plane.ts";

/** `eval from-run RUN`: a line of a dataset, and the recording of its effects beside it. */
export const taskFromRun: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { config, output, invocation, folder } = context;
    const [runId = ""] = invocation.args;
    const run = await value(api.run(runId, signal));
    if (!isRunEnded(run.status)) {
      throw new CliError(
        2,
        `run ${runId} has not ended (it is ${run.status}): it can't be a task yet`,
      );
    }
    const steps = await value(api.steps(runId, signal));
    const artifacts = artifactsOf(config);
    const found: StepRecording[] = [];
    const missing: string[] = [];
    await withBackend(config, "steps", async (backend) => {
      for (const { id: stepId } of steps) {
        const loaded = await loadRecording({ runId, stepId }, backend, artifacts);
        if (loaded === null) missing.push(stepId);
        else found.push(loaded.recording);
      }
    });
    const recording = recordRun(run, found, missing);
    const expects =
      invocation.flags["expect"] === true
        ? await value(gather({ api, artifacts }, runId, signal))
        : null;
    const out = invocation.flags["out"];
    const file = resolve(folder, typeof out === "string" ? out : "tasks.jsonl");
    const name = join("recordings", `${runId}.json`);
    const task = taskOfRun(recording, name, expects);
    await refuseTwice(file, runId);
    await mkdir(join(dirname(file), "recordings"), { recursive: true });
    const text = secrets.redact(`${JSON.stringify(recording, null, 1)}\n`);
    await writeFileAtomic(join(dirname(file), name), text, { mode: 0o600 });
    await appendFile(file, secrets.redact(`${JSON.stringify(task)}\n`));
    const place = join(dirname(file), name);
    if (output.isJson) {
      output.json({
        dataset: file,
        recording: place,
        steps: found.length,
        missing,
        redacted: recording.redacted,
      });
      return 0;
    }
    output.pairs([
      ["dataset", file],
      ["recording", place],
      ["steps", String(found.length)],
      ["redacted", `${recording.redacted} texts`],
    ]);
    if (missing.length > 0) {
      output.remark(
        `nothing is recorded of ${missing.join(", ")}: set WORKER_KEEP_JOURNALS=on for the workers whose runs are to be replayed`,
      );
    }
    return 0;
  });

/** Two tasks of one id would make the dataset unusable. */
async function refuseTwice(file: string, runId: string): Promise<void> {
  const text = await readFile(file, "utf8").catch(() => "");
  const has = text.split("\n").some((line) => {
    const read = parseJson(line);
    return read.ok && isJsonObject(read.value) && read.value["id"] === runId;
  });
  if (has) throw new CliError(2, `${file} already has a task of run ${runId}`);
}
