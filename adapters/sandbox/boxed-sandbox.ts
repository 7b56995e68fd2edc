import type { Sandbox } from "../../machines/contracts/ports/sandbox.ts";
import type { BoxBuilder } from "./confined-shell.ts";
import { interpreterOf, writeProgram } from "./program.ts";
import { runBoxed } from "./run-boxed.ts";

/** A {@link Sandbox} over whatever builds its boxes. */
export function createBoxedSandbox(driver: string, build: BoxBuilder): Sandbox {
  return {
    driver,
    async run(request, signal) {
      const program = writeProgram(request);
      if (!program.ok) return program;
      const { timeoutMs } = request;
      const interpreter = interpreterOf(request.language);
      const command = build(timeoutMs);
      return runBoxed({ command, program: program.value, timeoutMs, interpreter }, signal);
    },
  };
}
