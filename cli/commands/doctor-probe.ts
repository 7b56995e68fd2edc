import { userInfo } from "node:os";
import { limitedBy, probeDrivers } from "../../adapters/sandbox/find.ts";
import { driverWithoutBoundary } from "../../machines/contracts/ports/sandbox.ts";
import type { Output } from "../output/output.ts";

/**
 * `doctor --probe`: runs the battery that a worker runs before its first sandbox job, on every driver.
 *
 * @returns 0 if a driver holds against all of it
 */
export async function probeSandboxes(
  output: Output,
  options: Parameters<typeof probeDrivers>[0],
): Promise<number> {
  const drivers = (await probeDrivers(options)).map((found) => ({
    ...found,
    holds:
      found.problem === null &&
      found.probes.every(({ state }) => state === "held" || state === "unprobed"),
  }));
  const holds = drivers.some((driver) => driver.holds);
  if (output.isJson) {
    output.json({ ok: holds, user: process.getuid?.(), limits: limitedBy(), drivers });
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
  for (const driver of drivers) output.prose(summary(driver));
  if (drivers.length > 0) output.prose(`Outside containers, ${limitedBy()}.`);
  if (drivers.length === 0) output.prose("No sandbox driver runs on this system: it needs Linux.");
  return holds ? 0 : 1;
}

function summary(found: Awaited<ReturnType<typeof probeDrivers>>[number] & { holds: boolean }) {
  const { driver, problem, probes, holds } = found;
  if (problem !== null) return `${driver}: can't be used here.`;
  const count = (state: string) => probes.filter((probe) => probe.state === state).length;
  const unprobed = count("unprobed") === 0 ? "" : `, ${count("unprobed")} could not be tried`;
  const isBare = driver === driverWithoutBoundary;
  const verdict = holds
    ? "it is used"
    : isBare && count("open") === 0
      ? "it has no boundary, and is used because SANDBOX_WITHOUT_BOUNDARY is on"
      : "it is not used";
  const by = `as ${userInfo().username}`;
  return `${driver} ${by}: ${count("held")} of ${probes.length} probes held${unprobed}; ${verdict}.`;
}
