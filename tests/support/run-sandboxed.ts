import { findSandbox } from "../../adapters/sandbox/find.ts";
import type {
  Sandbox,
  SandboxRequest,
  SandboxRun,
} from "../../machines/contracts/ports/sandbox.ts";

const never = new AbortController().signal;

/** The sandbox of this driver, or an error that says what this machine lacks for it. */
export async function startSandbox(driver: string): Promise<Sandbox> {
  const found = await findSandbox({ only: driver });
  if ("missing" in found) throw new Error(`this test needs ${driver}: ${found.missing}`);
  return found.sandbox;
}

/** Runs code in it; what is no result is thrown. */
export async function runSandboxed(
  driver: string,
  language: SandboxRequest["language"],
  code: string,
  more: Partial<SandboxRequest> = {},
): Promise<SandboxRun> {
  const sandbox = await startSandbox(driver);
  const request = { language, code, files: {}, env: {}, timeoutMs: 60_000, ...more };
  const outcome = await sandbox.run(request, never);
  if (!outcome.ok) throw new Error(outcome.failure.message);
  return outcome.value;
}
