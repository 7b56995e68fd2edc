import { fail, ok, terminal } from "../../machines/contracts/domain/failure.ts";
import { sandboxInput } from "../../machines/contracts/domain/step-input.ts";
import type { RuntimePorts } from "../ports.ts";
import type { StepHandler } from "./handler.ts";
import { refusalOf } from "./incoming.ts";
import { told } from "./tool.ts";

/**
 * Runs code in the sandbox. A time-out or a kill fails the step, with what was printed; so does a non-zero exit, unless
 * the job says `fail_on_nonzero: false`.
 */
export function sandboxHandler({ sandbox }: Pick<RuntimePorts, "sandbox">): StepHandler {
  return async ({ job, effect, screening }) => {
    if ("missing" in sandbox) {
      return { kind: "failed", failure: terminal("unavailable", sandbox.missing) };
    }
    const input = sandboxInput.assert(job.input);
    const request = {
      language: input.language ?? "python",
      code: input.code,
      files: input.files ?? {},
      env: input.env ?? {},
      ...(input.args ? { args: input.args } : {}),
      ...(typeof input.stdin === "string" ? { stdin: input.stdin } : {}),
      ...(typeof input.memory_mib === "number"
        ? { memoryBytes: input.memory_mib * 1_048_576 }
        : {}),
      timeoutMs: (input.timeout_seconds ?? 30) * 1_000,
    };
    const ran = await effect({
      name: "sandbox",
      input: request,
      repeat: "safe",
      run: async (signal) => {
        const run = await sandbox.run(request, signal);
        if (!run.ok) return run;
        const { stdout, stderr } = run.value;
        const { value, findings, isRefused } = screening.screen({ stdout, stderr });
        if (isRefused) return fail(refusalOf("the code's output", findings));
        const printed = value as { stdout: string; stderr: string };
        return ok({ ...run.value, ...printed, ...told(findings) });
      },
    });
    if (!ran.ok) return ran.result;
    const { exitCode, timedOut, killed, stdout, stderr, truncated, leftOutBytes, ...rest } =
      ran.value;
    const status = timedOut
      ? "timeout"
      : killed
        ? "killed"
        : exitCode === 0
          ? "completed"
          : "error";
    const output = {
      status,
      exit_code: exitCode,
      stdout,
      stderr,
      truncated,
      left_out_bytes: leftOutBytes,
      language: request.language,
      mode: sandbox.driver,
      ...rest,
    };
    const isAccepted = status === "error" && input.fail_on_nonzero === false;
    if (status === "completed" || isAccepted) return { kind: "done", output };
    const message = timedOut
      ? `the code was stopped after ${request.timeoutMs} ms`
      : killed
        ? "the code was killed: it held too much memory, or sent itself a SIGKILL"
        : `the code ended with exit code ${exitCode}`;
    return {
      kind: "failed",
      failure: { kind: "sandbox_failed", message, retryable: false, details: output },
    };
  };
}
