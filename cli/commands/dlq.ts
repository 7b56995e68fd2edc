import type { DeadLetter } from "../../machines/contracts/ports/step-backend.ts";
import { parseJob } from "../../machines/contracts/domain/job.ts";
import type { Command } from "../command.ts";
import { withBackend } from "../compose/choose-store.ts";
import { CliError } from "../output/errors.ts";
import { readLimit } from "./with-control-plane.ts";
import { commandLine } from "../called-as.ts";

/** `dlq list`. */
export const listLetters: Command = (context) => {
  const { output, invocation } = context;
  const limit = readLimit(invocation);
  return withBackend(context.config, "dlq", async ({ queue }) => {
    const letters = await queue.deadLetters(limit);
    if (output.isJson) {
      output.json(letters);
      return 0;
    }
    if (letters.length === 0) {
      output.remark("there are no dead letters");
      return 0;
    }
    const rows = letters.map((letter) => [
      letter.id,
      new Date(letter.at).toISOString(),
      step(letter),
      String(letter.deliveries),
      letter.reason,
      letter.lastTrouble ?? "",
    ]);
    output.table(["LETTER", "SINCE", "STEP", "DELIVERIES", "FIRST ERROR", "LAST ERROR"], rows);
    return 0;
  });
};

/** `dlq show`. */
export const showLetter: Command = (context) =>
  withBackend(context.config, "dlq", async ({ queue }) => {
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
    withBackend(context.config, "dlq", async ({ queue }) => {
      const { output, invocation } = context;
      const id = invocation.args[0] ?? "";
      const isDone =
        verb === "retry" ? await queue.retryDeadLetter(id) : await queue.dropDeadLetter(id);
      if (!isDone) throw unknown(id);
      const done = verb === "retry" ? "its job is back on the stream" : "deleted";
      if (output.isJson) output.json({ id, [verb === "retry" ? "retried" : "dropped"]: true });
      else output.line(`dead letter ${id}: ${done}`);
      return 0;
    });

const unknown = (id: string) =>
  new CliError(2, `there is no dead letter ${id}; see: ${commandLine("dlq list")}`);

/** The step a letter is about, where the job can be read. */
function step({ fields }: DeadLetter): string {
  const parsed = parseJob(fields);
  const { runId, stepId } = parsed.valid ? parsed.job : parsed.invalid;
  return [runId, stepId].filter((id) => id !== null).join("/") || "unknown";
}
