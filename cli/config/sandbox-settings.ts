import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import {
  driverWithoutBoundary,
  isSandboxDriver,
  sandboxDrivers,
} from "../../machines/contracts/ports/sandbox.ts";
import type { Settings } from "./settings.ts";
import { optionalWords } from "./values.ts";

const driverList = `a list of sandbox drivers: ${sandboxDrivers.join(", ")}; or ${driverWithoutBoundary} alone`;

/** The drivers that may be used, in order; null for all but the one that has no boundary. */
export const driversSetting = optionalWords(driverList).narrow(
  (names, ctx) =>
    names === null ||
    (names.length > 0 && names.every((name) => isSandboxDriver(name))) ||
    isWithoutBoundary(names) ||
    ctx.reject({ expected: driverList }),
);

const isWithoutBoundary = (names: readonly string[] | null): boolean =>
  names?.length === 1 && names[0] === driverWithoutBoundary;

type Sandboxing = Pick<
  Settings,
  | "sandboxDrivers"
  | "sandboxImage"
  | "sandboxOutputFiles"
  | "sandboxOutputMib"
  | "sandboxWithoutBoundary"
>;

/**
 * Code that runs as the worker's user takes two words of its owner: one alone may be a slip. A file may be somebody else's,
 * an agent's that writes to the working directory among them, so the second word counts from the environment alone.
 *
 * @throws InvalidSetting naming both
 */
export function refuseUnsaid(settings: Sandboxing, source: string, sourceOfSecond: string): void {
  if (settings.sandboxWithoutBoundary === "on" && !sourceOfSecond.startsWith("environment")) {
    throw new InvalidSetting(
      "sandboxWithoutBoundary",
      sourceOfSecond,
      "it in the environment alone, as SANDBOX_WITHOUT_BOUNDARY=on: whoever may write a file must not let code out of the sandbox",
    );
  }
  if (!isWithoutBoundary(settings.sandboxDrivers) || settings.sandboxWithoutBoundary === "on")
    return;
  throw new InvalidSetting(
    "sandboxDrivers",
    source,
    `a driver with a boundary, or SANDBOX_WITHOUT_BOUNDARY=on beside SANDBOX_DRIVERS=${driverWithoutBoundary}: code of sandbox steps then runs as the worker's user, with its files and its network`,
  );
}

/** What the sandbox is found by. */
export const sandboxOptions = (settings: Sandboxing) => ({
  order: settings.sandboxDrivers,
  image: settings.sandboxImage,
  withoutBoundary: isWithoutBoundary(settings.sandboxDrivers),
  outputs: { maxFiles: settings.sandboxOutputFiles, maxBytes: settings.sandboxOutputMib * 2 ** 20 },
});
