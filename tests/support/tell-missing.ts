import { installCommand, findPackageManager, missingNeeds } from "../../cli/needs.ts";

/** Vitest runs it before all tests: what then fails for want of a program fails in hundreds of odd ways. */
export function setup(): void {
  const { PATH: path } = process.env;
  const missing = missingNeeds(path, process.platform);
  if (missing.length === 0) return;
  const names = missing.map(({ programs }) => programs.join(" or ")).join(", ");
  const install = installCommand(missing, findPackageManager(path));
  process.stderr.write(
    `Not on the PATH: ${names}. The tests that need them will fail; \`npm run setup\` gets them, or \`${install}\` as root.\n`,
  );
}
