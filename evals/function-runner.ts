import { messageOf } from "../machines/contracts/domain/users-code.ts";
import type { Observation } from "./contracts.ts";
import type { SuiteDefinition } from "./define.ts";
import { inputOf, type TrialRunner } from "./trial.ts";

/** Tests a function of the suite's own, in this process. What it throws is the run's failure, not the infrastructure's. */
export function functionRunner(tested: NonNullable<SuiteDefinition["run"]>): TrialRunner {
  return {
    place: "in-process",
    async run({ task, epoch, folder, signal }) {
      const begun = performance.now();
      const given = { ...task, input: inputOf(task, folder) };
      const place = { folder: folder?.folder ?? null, epoch, signal };
      // What the function does not tell, nobody knows.
      const base: Pick<Observation, "usage"> = {
        usage: { input_tokens: null, output_tokens: null, tool_calls: null, cost_microusd: null },
      };
      const took = () => Math.round(performance.now() - begun);
      try {
        // A function that does not listen to the signal is left behind.
        const answered = await Promise.race([tested(given, place), aborted(signal)]);
        const observation = { run_status: "completed", duration_ms: took(), ...base, ...answered };
        return { kind: "seen", observation };
      } catch (error) {
        const run_status = signal.aborted ? "cancelled" : "failed";
        const output = { error: messageOf(error) };
        return {
          kind: "seen",
          observation: { ...base, run_status, output, duration_ms: took() },
        };
      }
    },
  };
}

function aborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = () => reject(new Error("the trial was cancelled"));
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop, { once: true });
  return promise;
}
