import { userInfo } from "node:os";
import { probeDrivers } from "../../adapters/sandbox/find.ts";
import type { Output } from "../output/output.ts";

/**
 * `doctor --probe`: runs the battery that a worker runs before its first sandbox job, on every driver.
 *
 * @returns 0 if a driver holds against all of it
 */
export async function probeSandboxes(output: Output, image: string | null): Promise<number> {
  const drivers = (await probeDrivers(image)).map((found) => ({
    ...found,
    holds: found.problem === null && found.probes.every(({ state }) => state !== "open"),
  }));
  const holds = drivers.some((driver) => driver.holds);
  if (output.isJson) {
    output.json({ ok: holds, user: process.getuid?.(), drivers });
    return holds ? 0 : 1;
  }
  const rows = drivers.flatMap(({ driver, problem, probes }) =>
    problem !== null
      ? [[driver, "does not work here", problem]]
      : probes.map(({ name, state, detail }) => [
          driver,
          name,
          detail === "" ? state : `${state}: ${detail}`,
        ]),
  );
  output.table(["DRIVER", "PROBE", "RESULT"], rows);
  for (const driver of drivers) output.line(summary(driver));
  if (drivers.length === 0) output.line("No sandbox driver runs on this system: it needs Linux.");
  return holds ? 0 : 1;
}

function summary(found: Awaited<ReturnType<typeof probeDrivers>>[number] & { holds: boolean }) {
  const { driver, problem, probes, holds } = found;
  if (problem !== null) return `${driver}: can't be used here.`;
  const count = (state: string) => probes.filter((probe) => probe.state === state).length;
  const unprobed = count("unprobed") === 0 ? "" : `, ${count("unprobed")} could not be tried`;
  const verdict = holds ? "it is used" : "it is not used";
  const by = `as ${userInfo().username}`;
  return `${driver} ${by}: ${count("held")} of ${probes.length} probes held${unprobed}; ${verdict}.`;
}
