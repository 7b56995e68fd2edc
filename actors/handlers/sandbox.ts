import { fail, ok, type Outcome, terminal } from "../../machines/contracts/domain/failure.ts";
import { sandboxInput } from "../../machines/contracts/domain/step-input.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { SandboxFile } from "../../machines/contracts/ports/sandbox.ts";
import type { RuntimePorts } from "../ports.ts";
import type { StepHandler, StepScope } from "./handler.ts";
import { withoutSecrets } from "./attachments.ts";
import { refusalOf } from "./incoming.ts";
import { told } from "./tool.ts";

/**
 * Runs code in the sandbox. A time-out or a kill fails the step, with what was printed; so does a non-zero exit, unless
 * the job says `fail_on_nonzero: false`.
 */
export function sandboxHandler({
  sandbox,
  artifacts,
}: Pick<RuntimePorts, "sandbox" | "artifacts">): StepHandler {
  return async ({ job, effect, screening }) => {
    if ("missing" in sandbox) {
      return { kind: "failed", failure: terminal("unavailable", sandbox.missing) };
    }
    const input = sandboxInput().assert(job.input);
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
      ...(input.outputs?.length
        ? {
            outputs: {
              // A folder may be named with the slash that tells it from a file.
              paths: input.outputs.map((path) => path.replace(/(?<=[^/])\/$/u, "")),
              maxFiles: input.max_output_files ?? Number.MAX_SAFE_INTEGER,
              maxBytes: (input.max_output_mib ?? 1_024) * 1_048_576,
            },
          }
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
        const { files, leftOut, ...ended } = run.value;
        const { stdout, stderr } = ended;
        const { value, findings, isRefused } = screening.screen({ stdout, stderr });
        if (isRefused) return fail(refusalOf("the code's output", findings));
        const printed = value as { stdout: string; stderr: string };
        if (files === undefined) return ok({ ...ended, ...printed, ...told(findings) });
        const kept = await keepFiles(artifacts, { job, screening }, files);
        if (!kept.ok) return kept;
        const left = (leftOut ?? []).map(({ path, reason }) => ({
          path: screening.hideInText(path),
          reason,
        }));
        const about = { artifacts: kept.value, artifacts_left_out: left };
        return ok({ ...ended, ...printed, ...told(findings), ...about });
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

/** An artifact of the step, as its output lists it. */
interface KeptFile {
  id: string;
  path: string;
  bytes: number;
  sha256: string;
}

/** What can't be kept fails the effect: the code may run again, and what is put twice is kept once. */
async function keepFiles(
  artifacts: ArtifactStore,
  { job, screening }: Pick<StepScope, "job" | "screening">,
  files: readonly SandboxFile[],
): Promise<Outcome<KeptFile[]>> {
  const kept: KeptFile[] = [];
  for (const file of files) {
    const path = screening.hideInText(file.path);
    const content = withoutSecrets(file.content, screening.hideInText);
    const put = await artifacts.put(job, { name: path, kind: "file", content });
    if (!put.ok) return put;
    const { id, sha256, size } = put.value;
    kept.push({ id, path, bytes: size, sha256 });
  }
  return ok(kept);
}
