import { dirname, join } from "node:path";

/*
 * A folder that answers writes as cgroup v2 does, as far as the sandbox's code can tell: a new group has the files of the
 * controllers that the group above it has enabled, a process is in one group at a time, one that holds processes can be
 * removed by nobody, and no file can be made. For machines that mount `memory` and `pids` in version 1.
 */

/** Not imported: its users mock that. */
const fs = process.getBuiltinModule("node:fs");

const always = { "cgroup.procs": "", "cgroup.subtree_control": "", "cgroup.kill": "" };
const files: Record<string, Record<string, string>> = {
  memory: {
    "memory.max": "max",
    "memory.oom.group": "0",
    "memory.swap.max": "max",
    "memory.events": "low 0\noom_kill 0\n",
  },
  pids: { "pids.max": "max" },
};

const read = (group: string, file: string) => fs.readFileSync(join(group, file), "utf8");
const failure = (code: string, path: string) =>
  Object.assign(new Error(`${code}: ${path}`), { code });

/** Makes the top of a hierarchy, which holds no process. */
export function makeHierarchy(root: string): void {
  fs.mkdirSync(root, { recursive: true });
  fill(root, ["memory", "pids"]);
}

function fill(group: string, controllers: readonly string[]): void {
  const own = controllers.flatMap((name) => Object.entries(files[name] ?? {}));
  const all = {
    ...always,
    ...Object.fromEntries(own),
    "cgroup.controllers": controllers.join(" "),
  };
  for (const [name, text] of Object.entries(all)) {
    if (name === "cgroup.controllers" || !fs.existsSync(join(group, name)))
      fs.writeFileSync(join(group, name), text);
  }
}

export function makeGroup(group: string): void {
  fs.mkdirSync(group);
  fill(group, read(dirname(group), "cgroup.subtree_control").split(" ").filter(Boolean));
}

export function writeGroup(path: string, text: string): void {
  const [group, file] = [dirname(path), path.slice(dirname(path).length + 1)];
  if (!fs.existsSync(path)) throw failure("ENOENT", path);
  if (file === "cgroup.procs") return move(group, text);
  if (file === "cgroup.kill") return fs.writeFileSync(join(group, "cgroup.procs"), "");
  if (file !== "cgroup.subtree_control") return fs.writeFileSync(path, text);
  // No internal processes: what shares out its memory holds none itself.
  if (read(group, "cgroup.procs") !== "") throw failure("EBUSY", path);
  const wanted = text.split(" ").map((word) => word.replace("+", ""));
  const has = read(group, "cgroup.controllers").split(" ");
  if (wanted.some((name) => !has.includes(name))) throw failure("ENOENT", path);
  const enabled = new Set([...read(group, file).split(" ").filter(Boolean), ...wanted]);
  fs.writeFileSync(path, [...enabled].join(" "));
  // The groups within get the controllers at once.
  for (const entry of fs.readdirSync(group, { withFileTypes: true })) {
    if (entry.isDirectory()) fill(join(group, entry.name), [...enabled]);
  }
}

/** A process, and a child of it that is about to end: the kernel takes that one's number and leaves it where it is. */
export const [starting, exiting] = [4_194_401, 4_194_402];

function move(group: string, pid: string): void {
  const path = join(group, "cgroup.procs");
  if (Number(pid) === exiting) return;
  // What a shell writes of itself, when the code tries whether it may.
  if (pid.trim() === "0") return;
  fs.writeFileSync(path, `${fs.readFileSync(path, "utf8")}${pid}\n`);
}

export function removeGroup(group: string): void {
  if (!fs.existsSync(group)) throw failure("ENOENT", group);
  const nested = fs.readdirSync(group, { withFileTypes: true }).some((each) => each.isDirectory());
  // A shell that has moved itself, as 0, has ended by now.
  const processes = read(group, "cgroup.procs").split("\n").filter(Number);
  if (nested || processes.length > 0) throw failure("EBUSY", group);
  fs.rmSync(group, { recursive: true });
}
