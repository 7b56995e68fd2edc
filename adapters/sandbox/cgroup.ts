import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { readdir, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isLeftOver, nameOf } from "./owner.ts";

/*
 * Each run has a cgroup of its own where this user may make one, which limits the memory and the processes of all of it,
 * the kernel's share included, and by which whatever is left of it is killed. Of version 2 root takes the hierarchy's top,
 * another user the group above its own, where that is delegated to it and holds no process itself (systemd's `Delegate=yes`
 * with `DelegateSubgroup=`, or a user's own manager). Of version 1 root takes the top of `memory` and of `pids`. Below that
 * stands one folder of ours, and in it one a run, named after its worker, so that the next one removes what a crashed one
 * left. No process that is not a run's is ever moved.
 */

export interface RunGroup {
  readonly folders: readonly string[];
  /**
   * Moves a process into the group with all that it has started; what they start from then on is in it by itself.
   *
   * @throws Error where one of them can't be moved
   */
  take(pid: number): Promise<void>;
  /** Whether the kernel ended a process of it because its memory was used up. */
  ranOut(): boolean;
  kill(): void;
  /** Kills what is left and removes the group. */
  end(): Promise<void>;
}

export interface Cgroups {
  version: 1 | 2;
  /** @throws Error where none can be made any more */
  make(most: Most): RunGroup;
}

interface Most {
  memoryBytes: number;
  processes: number;
}

const folderName = "stateplane-sandbox";
let found: Cgroups | { missing: string } | null = null;

/** Tries it once, by making a group with both limits, entering it, and removing it again. */
export function findCgroups(): Cgroups | { missing: string } {
  return (found ??= lookForCgroups());
}

function lookForCgroups(): Cgroups | { missing: string } {
  const reasons: string[] = [];
  for (const [version, bases] of [
    [2, basesOf2()],
    [1, basesOf1()],
  ] as const) {
    if (bases === null) continue;
    try {
      const folders = bases.map((base) => prepare(base, version));
      for (const folder of folders) sweep(folder);
      tryGroup(makeGroup(folders, version, { memoryBytes: 2 ** 26, processes: 16 }));
      const make = (most: Most) => groupOf(makeGroup(folders, version, most), version);
      const prepareAgain = () => bases.forEach((base) => prepare(base, version));
      return { version, make: (most) => twice(() => make(most), prepareAgain) };
    } catch (error) {
      reasons.push(`version ${version}: ${error instanceof Error ? error.message : error}`);
    }
  }
  return { missing: reasons.join("; ") || "no hierarchy that this user may use is mounted" };
}

/** Whoever tidies up a hierarchy while we run takes our folder, or what is enabled in it, with the rest. */
function twice<T>(act: () => T, mend: () => void): T {
  try {
    return act();
  } catch {
    mend();
    return act();
  }
}

/** A group that may be made need not be one that may be entered, and its runs would never begin. */
function tryGroup(groups: readonly string[]): void {
  try {
    const enter = 'for group; do echo 0 > "$group/cgroup.procs" || exit 1; done';
    const tried = spawnSync("/bin/sh", ["-c", enter, "sh", ...groups], {
      timeout: 10_000,
      env: {},
    });
    if (tried.status === 0) return;
    throw new Error(tried.stderr?.toString().trim() || `${tried.error ?? tried.signal}`);
  } finally {
    removeGroup(groups);
  }
}

/** The folder that is to hold ours; null where there is none for this user. */
function basesOf2(): string[] | null {
  const [top] = mounts().filter(({ type }) => type === "cgroup2");
  if (top === undefined || !has(top.place, "memory") || !has(top.place, "pids")) return null;
  if (process.getuid?.() === 0) return [top.place];
  const own = /^0::(\/.*)$/mu.exec(readText("/proc/self/cgroup"))?.[1] ?? "/";
  return own === "/" || own.includes("/..") ? null : [dirname(join(top.place, own))];
}

function basesOf1(): string[] | null {
  if (process.getuid?.() !== 0) return null;
  const all = mounts().filter(({ type }) => type === "cgroup");
  const places = ["memory", "pids"].map(
    (name) => all.find(({ options }) => options.includes(name))?.place,
  );
  const known = places.filter((place) => place !== undefined);
  return known.length < places.length ? null : [...new Set(known)];
}

const has = (folder: string, controller: string) =>
  readText(join(folder, "cgroup.controllers")).split(/\s/u).includes(controller);

function prepare(base: string, version: 1 | 2): string {
  const folder = join(base, folderName);
  mkdirSync(folder, { recursive: true });
  if (version === 1) return folder;
  for (const at of [base, folder]) {
    const enabled = readText(join(at, "cgroup.subtree_control")).split(/\s/u);
    const lacks = ["memory", "pids"].filter((name) => !enabled.includes(name));
    if (lacks.length > 0) write(at, "cgroup.subtree_control", `+${lacks.join(" +")}`);
  }
  return folder;
}

/** Removes the groups of workers that are gone. */
function sweep(folder: string): void {
  for (const name of readdirSync(folder)) {
    const group = join(folder, name);
    const { mtimeMs } = lstatSync(group, { throwIfNoEntry: false }) ?? {};
    if (mtimeMs !== undefined && isLeftOver(name, mtimeMs)) void endGroup([group]);
  }
}

function makeGroup(
  folders: readonly string[],
  version: 1 | 2,
  { memoryBytes, processes }: Most,
): string[] {
  // Drawn, not counted: each thread of a worker would count for itself.
  const name = nameOf(randomBytes(6).toString("hex"));
  const groups: string[] = [];
  try {
    for (const folder of folders) {
      mkdirSync(join(folder, name));
      groups.push(join(folder, name));
    }
    const [memory = "", pids = memory] = groups;
    write(pids, "pids.max", String(processes));
    if (version === 2) {
      write(memory, "memory.max", String(memoryBytes));
      write(memory, "memory.oom.group", "1");
      tryTo(() => write(memory, "memory.swap.max", "0"));
    } else {
      write(memory, "memory.limit_in_bytes", String(memoryBytes));
      tryTo(() => write(memory, "memory.memsw.limit_in_bytes", String(memoryBytes)));
    }
    return groups;
  } catch (error) {
    removeGroup(groups);
    throw error;
  }
}

function groupOf(groups: readonly string[], version: 1 | 2): RunGroup {
  const [memory = ""] = groups;
  const events = join(memory, version === 2 ? "memory.events" : "memory.oom_control");
  return {
    folders: groups,
    take: (pid) => takeAll(groups, pid),
    ranOut: () => Number(/^oom_kill (\d+)$/mu.exec(readText(events))?.[1] ?? 0) > 0,
    kill: () => groups.forEach(killAll),
    end: () => endGroup(groups),
  };
}

/*
 * To move a process the kernel may wait for every core, 10 to 20 ms where nobody did so lately. So a run is moved while its
 * box is being built, by our own programs alone, and what is to run in it is handed in afterwards. A process that one starts
 * before it is moved is found by the next look, and what that one starts by the one after it, be it gone by then. When two
 * looks in a row found nobody to move, whatever comes later is inside, too. One that ends meanwhile is in no list of a group,
 * though it was inside from its beginning: a script starts many such.
 */
async function takeAll(groups: readonly string[], pid: number): Promise<void> {
  for (let look = 0, quiet = 0; look < mostLooks; look += 1) {
    const all = processesBelow(pid);
    let moved = 0;
    for (const group of groups) {
      const procs = join(group, "cgroup.procs");
      const inside = new Set(readText(procs).split("\n").map(Number));
      // One that ends, or that nobody has waited for yet, can be moved for ever: the kernel says yes, and leaves it.
      for (const one of all.filter((each) => !inside.has(each) && !hasEnded(each))) {
        const problem = await writeFile(procs, String(one), { flag: "r+" }).then(
          () => null,
          (error: NodeJS.ErrnoException) => error,
        );
        if (problem === null) moved += 1;
        else if (problem.code !== "ESRCH") throw problem;
        // It has ended, and with the first one everything.
        else if (one === pid) return;
      }
    }
    quiet = moved === 0 ? quiet + 1 : 0;
    if (quiet === 2) return;
  }
  throw new Error(`processes outside of ${groups.join(" and ")} are started all the time`);
}

const mostLooks = 100;

/**
 * proc(5): the state stands behind the name in parentheses, and the kernel's flags five numbers after it. One that is about to
 * end may wait for a processor for long; it starts nothing any more.
 */
function hasEnded(pid: number): boolean {
  const [state, flags] =
    /^[^]*\) (\w)(?: -?\d+){5} (\d+)/u.exec(readText(`/proc/${pid}/stat`))?.slice(1) ?? [];
  return state === "Z" || state === "X" || (Number(flags) & flagExiting) !== 0;
}

/** `PF_EXITING` of the kernel's linux/sched.h. */
const flagExiting = 0x4;

/** The few that build a box; read at once, since the run waits. */
function processesBelow(pid: number): number[] {
  const children = readText(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean);
  return [pid, ...children.flatMap((child) => processesBelow(Number(child)))];
}

/** A process that was killed is in its group until its parent has seen it end. */
async function endGroup(groups: readonly string[]): Promise<void> {
  for (const group of groups) {
    for (let tries = 0; tries < 50; tries += 1) {
      killAll(group);
      const problem = await removeTree(group);
      if (problem !== "EBUSY") break;
      await sleep(Math.min(2 ** tries, 100));
    }
  }
}

/** What has no boundary may have made groups in its own: a container engine does. */
async function removeTree(group: string): Promise<string | undefined> {
  for (const nested of await nestedIn(group)) await removeTree(nested);
  return rmdir(group).then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error.code,
  );
}

async function nestedIn(group: string): Promise<string[]> {
  const entries = await readdir(group, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(group, name));
}

function killAll(group: string): void {
  // Since Linux 5.14, of version 2; it reaches what is forked meanwhile, and nested groups.
  if (tryTo(() => write(group, "cgroup.kill", "1"))) return;
  const pids = readText(join(group, "cgroup.procs")).split("\n").map(Number);
  // A process of another namespace is a 0, which would mean ourselves.
  for (const pid of pids) if (pid > 1) tryTo(() => process.kill(pid, "SIGKILL"));
  tryTo(() => {
    for (const entry of readdirSync(group, { withFileTypes: true })) {
      if (entry.isDirectory()) killAll(join(group, entry.name));
    }
  });
}

function removeGroup(groups: readonly string[]): void {
  for (const group of groups) tryTo(() => rmdirSync(group));
}

/** Never makes a file: where a cgroup has none of that name, it fails. */
const write = (group: string, file: string, text: string) =>
  writeFileSync(join(group, file), text, { flag: "r+" });

function tryTo(act: () => unknown): boolean {
  try {
    act();
    return true;
  } catch {
    return false;
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** proc(5), mountinfo: what is mounted where, and with which options of its file system. */
function mounts(): { place: string; type: string; options: string[] }[] {
  return readText("/proc/self/mountinfo")
    .split("\n")
    .filter((line) => line.includes(" - cgroup"))
    .map((line) => {
      const [own = "", system = ""] = line.split(" - ");
      const place = (own.split(" ")[4] ?? "").replaceAll(/\\(\d{3})/gu, (_, code: string) =>
        String.fromCharCode(Number.parseInt(code, 8)),
      );
      const [type = "", , options = ""] = system.split(" ");
      return { place, type, options: options.split(",") };
    });
}
