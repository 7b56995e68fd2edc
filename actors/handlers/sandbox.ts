import { terminal } from "../../machines/contracts/domain/failure.ts";
import { sandboxInput } from "../../machines/contracts/domain/step-input.ts";
import type { RuntimePorts } from "../ports.ts";
import type { StepHandler } from "./handler.ts";

/** Runs code in the sandbox. A non-zero exit or a time-out fails the step, with what was printed. */
export function sandboxHandler({ sandbox }: Pick<RuntimePorts, "sandbox">): StepHandler {
  return async ({ job, effect }) => {
    if ("missing" in sandbox) {
      return { kind: "failed", failure: terminal("unavailable", sandbox.missing) };
    }
    const input = sandboxInput.assert(job.input);
    const request = {
      language: input.language ?? "python",
      code: input.code,
      files: input.files ?? {},
      env: input.env ?? {},
      timeoutMs: (input.timeout_seconds ?? 30) * 1_000,
    };
    const ran = await effect({
      name: "sandbox",
      input: request,
      repeat: "safe",
      run: async (signal) => {
        const run = await sandbox.run(request, signal);
        return run.ok ? { ok: true, value: { ...run.value } } : run;
      },
    });
    if (!ran.ok) return ran.result;
    const { exitCode, timedOut, stdout, stderr, truncated } = ran.value;
    const output = {
      status: timedOut ? "timeout" : exitCode === 0 ? "completed" : "error",
      exit_code: exitCode,
      stdout,
      stderr,
      truncated,
      language: request.language,
      mode: sandbox.driver,
    };
    if (output.status === "completed") return { kind: "done", output };
    const message = timedOut
      ? `the code was stopped after ${request.timeoutMs} ms`
      : `the code ended with exit code ${exitCode}`;
    return {
      kind: "failed",
      failure: { kind: "sandbox_failed", message, retryable: false, details: output },
    };
  };
}
