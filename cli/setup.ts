import { spawnSync } from "node:child_process";
import {
  findPackageManager,
  findProgram,
  installCommand,
  missingNeeds,
  type Need,
} from "./needs.ts";

/** `npm run setup`: installs what the tests need and this machine lacks. Asks nothing. */
const { PATH: path } = process.env;
const platform = process.platform;
process.exitCode = setUp(missingNeeds(path, platform));

function setUp(missing: readonly Need[]): number {
  if (missing.length === 0) {
    say("redis-server, bubblewrap, git and python3 are installed: there is nothing to do");
    return 0;
  }
  const names = missing.map(({ programs }) => programs.join(" or ")).join(", ");
  const manager = findPackageManager(path);
  if (manager === null) {
    say(`missing: ${names}. There is no apt-get and no brew here: install them by hand`);
    return 1;
  }
  const commands = installation(manager, missing);
  if (commands === null) {
    const command = installCommand(missing, manager);
    say(`missing: ${names}. We are not root and there is no sudo: run \`${command}\` as root`);
    return 1;
  }
  say(`missing: ${names}`);
  for (const [program = "", ...args] of commands) {
    say(`running: ${[program, ...args].join(" ")}`);
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    const { status, error } = spawnSync(program, args, { stdio: "inherit", env });
    if (status !== 0) {
      const why = error === undefined ? `exit ${status}` : error.message;
      say(`that failed (${why}); run it by hand: ${installCommand(missing, manager)}`);
      return 1;
    }
  }
  const left = missingNeeds(path, platform).map(({ programs }) => programs.join(" or "));
  if (left.length === 0) return 0;
  say(`installed, and still not on the PATH: ${left.join(", ")}`);
  return 1;
}

/** Null where it takes a root that we can't become without asking. */
function installation(manager: "apt-get" | "brew", missing: readonly Need[]): string[][] | null {
  const packages = missing.map((need) => need.packages[manager]).filter((name) => name !== "");
  if (manager === "brew") return [["brew", "install", ...packages]];
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && findProgram(["sudo"], path) === null) return null;
  const asRoot = isRoot ? [] : ["sudo", "-n"];
  return [
    [...asRoot, "apt-get", "update", "-qq"],
    [...asRoot, "apt-get", "install", "-y", "--no-install-recommends", ...packages],
  ];
}

function say(text: string): void {
  process.stdout.write(`setup: ${text}\n`);
}
