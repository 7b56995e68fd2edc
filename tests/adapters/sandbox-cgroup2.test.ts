import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { nameOf } from "../../adapters/sandbox/owner.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

/*
 * What the code writes of cgroup version 2, on a folder that answers as its kernel would; machines that mount it with both
 * controllers run tests/adapters/sandbox-cgroup.test.ts on the real one.
 */

const at = useTemporaryFolder();
const root = join(at, "cgroup");
const host = { root, own: "/" };
const most = { memoryBytes: 2 ** 26, processes: 16 };

vi.mock("node:fs", async (importOriginal) => {
  const real = await importOriginal<typeof import("node:fs")>();
  const fake = await import("../support/fake-cgroup2.ts");
  const isInside = (path: unknown) => String(path).startsWith(`${host.root}/`);
  const proc: Record<string, () => string> = {
    "/proc/self/mountinfo": () => `30 1 0:26 / ${host.root} rw - cgroup2 cgroup2 rw\n`,
    "/proc/self/cgroup": () => `0::${host.own}\n`,
    [`/proc/${fake.starting}/task/${fake.starting}/children`]: () => `${fake.exiting} `,
    [`/proc/${fake.exiting}/stat`]: () => `${fake.exiting} (a b) R 1 1 1 0 -1 4194572 0 0 0`,
  };
  return {
    ...real,
    readFileSync: (path: string, as: "utf8") => proc[path]?.() ?? real.readFileSync(path, as),
    writeFileSync: (path: string, text: string) =>
      isInside(path) ? fake.writeGroup(path, text) : real.writeFileSync(path, text),
    mkdirSync: (path: string, options?: { recursive: boolean }) => {
      if (!isInside(path)) return real.mkdirSync(path, options);
      return options?.recursive && real.existsSync(path) ? undefined : fake.makeGroup(path);
    },
    rmdirSync: (path: string) => fake.removeGroup(path),
  };
});
vi.mock("node:fs/promises", async (importOriginal) => {
  const real = await importOriginal<typeof import("node:fs/promises")>();
  const fake = await import("../support/fake-cgroup2.ts");
  return {
    ...real,
    writeFile: async (path: string, text: string) => fake.writeGroup(path, text),
    rmdir: async (path: string) => fake.removeGroup(path),
  };
});
/** A hierarchy with nothing in it, and the code as in a new process of this user. */
async function startAnew({ user = 0, own = "/" } = {}) {
  const fake = await import("../support/fake-cgroup2.ts");
  rmSync(root, { recursive: true, force: true });
  fake.makeHierarchy(root);
  host.own = own;
  vi.resetModules();
  const getuid = vi.spyOn(process, "getuid").mockReturnValue(user);
  onTestFinished(() => getuid.mockRestore());
  const { findCgroups } = await import("../../adapters/sandbox/cgroup.ts");
  return { fake, findCgroups };
}
const text = (...path: string[]) => readFileSync(join(...path), "utf8");

test("[sandbox.cgroup] version 2: a run's group has both limits before a process is in it, and is killed and removed as one", async () => {
  const { findCgroups } = await startAnew();
  const cgroups = findCgroups();
  if ("missing" in cgroups) throw new Error(cgroups.missing);
  expect(cgroups.version).toBe(2);
  const ours = join(root, "stateplane-sandbox");
  for (const above of [root, ours]) {
    expect(text(above, "cgroup.subtree_control")).toBe("memory pids");
  }
  expect(readdirSync(ours).filter((name) => name.startsWith("stateplane-"))).toEqual([]);
  const group = cgroups.make(most);
  const [folder = "", ...more] = group.folders;
  expect(more).toEqual([]);
  expect(
    ["memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cgroup.procs"].map((name) =>
      text(folder, name),
    ),
  ).toEqual([String(most.memoryBytes), "0", "1", "16", ""]);

  await group.take(process.pid);
  expect(text(folder, "cgroup.procs").split("\n")).toContain(`${process.pid}`);
  expect(group.ranOut()).toBe(false);
  const events = "low 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 1\n";
  writeFileSync(join(folder, "memory.events"), events);
  expect(group.ranOut()).toBe(true);
  await group.end();
  expect(existsSync(folder)).toBe(false);
});

test("[sandbox.cgroup] version 2: another user's groups are beside its own, where that holds no process", async () => {
  const { fake, findCgroups } = await startAnew({ user: 1000, own: "/service/worker" });
  fake.writeGroup(join(root, "cgroup.subtree_control"), "+memory +pids");
  for (const name of ["service", "service/worker"]) fake.makeGroup(join(root, name));
  const cgroups = findCgroups();
  if ("missing" in cgroups) throw new Error(cgroups.missing);
  const group = cgroups.make(most);
  expect(group.folders.map((path) => path.slice(root.length))).toEqual([
    expect.stringMatching(/^\/service\/stateplane-sandbox\/stateplane-/u),
  ]);
  await group.end();

  const busy = await startAnew({ user: 1000, own: "/service/worker" });
  busy.fake.writeGroup(join(root, "cgroup.subtree_control"), "+memory +pids");
  for (const name of ["service", "service/worker"]) busy.fake.makeGroup(join(root, name));
  busy.fake.writeGroup(join(root, "service/cgroup.procs"), "1");
  expect(busy.findCgroups()).toEqual({ missing: expect.stringContaining("version 2: EBUSY") });
});

test("[sandbox.cgroup] version 2: a process that is about to end, and waits for a processor, is none outside", async () => {
  const { fake, findCgroups } = await startAnew();
  const cgroups = findCgroups();
  if ("missing" in cgroups) throw new Error(cgroups.missing);
  const group = cgroups.make(most);
  await group.take(fake.starting);
  expect(text(group.folders[0] ?? "", "cgroup.procs")).toBe(`${fake.starting}\n`);
  await group.end();
});

test("[sandbox.cgroup] version 2: what somebody tidied away is made again, and what is of the dead is removed", async () => {
  const { fake, findCgroups } = await startAnew();
  const cgroups = findCgroups();
  if ("missing" in cgroups) throw new Error(cgroups.missing);
  const ours = join(root, "stateplane-sandbox");
  rmSync(ours, { recursive: true });
  const group = cgroups.make(most);
  expect(text(group.folders[0] ?? "", "memory.max")).toBe(String(most.memoryBytes));
  await group.end();

  // Of a process that is gone, of one that lives, and of another process namespace.
  const name = nameOf("a");
  const dead = name.replace(/-\d+-a$/u, "-1-a");
  const foreign = name.replace(/x\d+-/u, "x1-");
  for (const each of [name, dead, foreign]) fake.makeGroup(join(ours, each));
  fake.writeGroup(join(ours, dead, "cgroup.procs"), "999999999");
  vi.resetModules();
  (await import("../../adapters/sandbox/cgroup.ts")).findCgroups();
  await expect.poll(() => existsSync(join(ours, dead))).toBe(false);
  expect([name, foreign].filter((each) => !existsSync(join(ours, each)))).toEqual([]);
});
