import { numberedEffects } from "../../machines/contracts/domain/recording.ts";
import type { Command } from "../command.ts";
import { withBackend } from "../compose/choose-store.ts";
import { artifactsOf } from "../compose/compose-ports.ts";
import { CliError } from "../output/errors.ts";
import { plain } from "../output/plain.ts";
import { loadRecording, noRecording } from "../replay/load-recording.ts";
import { askedReplay, withReplays } from "../replay/replay-plan.ts";
import { endOf, exitCodeOf, replayTeller } from "../replay/tell-replay.ts";
import { namedStep } from "./steps.ts";

/** `steps replay`: walks a recorded step once more, the world untouched; from a fork on it may go its own way. */
export const replayStepCommand: Command = async (context) => {
  const { config, output } = context;
  const key = await namedStep(context);
  const asked = await askedReplay(context);
  const artifacts = artifactsOf(config);
  const loaded = await withBackend(config, "steps", (backend) =>
    loadRecording(key, backend, artifacts),
  );
  if (loaded === null) throw noRecording(key);
  const { recording, from } = loaded;
  const count = numberedEffects(recording);
  if (asked.forkAt !== null && asked.forkAt > count) {
    throw new CliError(2, `--fork-at ${asked.forkAt}: the step has ${count} recorded effects`);
  }
  if (!output.isJson) {
    const how = recording.result?.status ?? "not ended";
    output.line(
      plain(
        `step ${key.stepId} (${recording.job.stepType}), ${how}; effects recorded: ${count}; from ${from}`,
      ),
    );
  }
  return withReplays(context, asked, async ({ replay }) => {
    const end = await replay(recording, artifacts, replayTeller(output));
    if (output.isJson) output.json({ type: "end", ...end });
    else endOf(end, asked.isChanged).forEach((line) => output.line(line));
    return exitCodeOf(end, asked.isChanged);
  });
};
