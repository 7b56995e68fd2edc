import { existsSync } from "node:fs";
import type { DeadLetter, StepQueue } from "../../machines/contracts/ports/step-backend.ts";
import { parseJob } from "../../machines/contracts/domain/job.ts";
import type { Command, Context } from "../command.ts";
import { chooseStore } from "../compose/choose-store.ts";
import { consumerName } from "../supervise-processes.ts";
import { readDevNote } from "../dev-note.ts";
import { CliError } from "../output/errors.ts";
import { readLimit } from "./with-control-plane.ts";

/** `dlq list`. */
export const listLetters: Command = (context) => {
  const { output, invocation } = context;
  const limit = readLimit(invocation);
  return withQueue(context, async (queue) => {
    const letters = await queue.deadLetters(limit);
    if (output.isJson) {
      output.json(letters);
      return 0;
    }
    const rows = letters.map((letter) => [
      letter.id,
      new Date(letter.at).toISOString(),
      step(letter),
      String(letter.deliveries),
      letter.reason,
    ]);
    output.table(["LETTER", "SINCE", "STEP", "DELIVERIES", "REASON"], rows);
    return 0;
  });
};

/** `dlq show`. */
export const showLetter: Command = (context) =>
  withQueue(context, async (queue) => {
    const { output, invocation } = context;
    const id = invocation.args[0] ?? "";
    const letter = await queue.findDeadLetter(id);
    if (letter === null) throw unknown(id);
    if (output.isJson) output.json(letter);
    else output.document(letter);
    return 0;
  });

/** `dlq retry` and `dlq drop`. */
export const changeLetter =
  (verb: "retry" | "drop"): Command =>
  (context) =>
    withQueue(context, async (queue) => {
      const { output, invocation } = context;
      const id = invocation.args[0] ?? "";
      const isDone =
        verb === "retry" ? await queue.retryDeadLetter(id) : await queue.dropDeadLetter(id);
      if (!isDone) throw unknown(id);
      const done = verb === "retry" ? "is back on the stream" : "is thrown away";
      if (output.isJson) output.json({ id, [verb === "retry" ? "retried" : "dropped"]: true });
      else output.line(`${id} ${done}`);
      return 0;
    });

/** The queue of the configuration, or that of the `stateplane dev` which runs in this folder. */
async function withQueue(
  { config }: Context,
  work: (queue: StepQueue) => Promise<number>,
): Promise<number> {
  const { settings, sources } = config;
  const note = settings.redisUrl === null ? await readDevNote(settings.dataDir) : null;
  if (settings.redisUrl === null && note === null && !existsSync(settings.dataDir)) {
    throw new CliError(2, `no store: REDIS_URL is not set, and there is no ${settings.dataDir}`);
  }
  const isDefault = sources.store === "default";
  const store = note?.store === "sqlite" && isDefault ? "sqlite" : settings.store;
  const here = { settings: { ...settings, store }, sources };
  const chosen = await chooseStore(here, consumerName(`${settings.workerName}-dlq`));
  try {
    return await work(chosen.backend.queue);
  } finally {
    await chosen.close();
  }
}

const unknown = (id: string) =>
  new CliError(2, `there is no dead letter ${id}; see: stateplane dlq list`);

/** The step a letter is about, where the job can be read. */
function step({ fields }: DeadLetter): string {
  const parsed = parseJob(fields);
  const { runId, stepId } = parsed.valid ? parsed.job : parsed.invalid;
  return [runId, stepId].filter((id) => id !== null).join("/") || "unknown";
}
