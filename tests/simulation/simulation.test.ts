import { spawnSync } from "node:child_process";
import { beforeAll, describe, expect, it } from "vitest";
import { drawPlan } from "./draw-plan.ts";
import { isPlantName, plants } from "./plants.ts";
import type { Broken } from "./promises.ts";
import { effects } from "./promises/effects.ts";
import { ends } from "./promises/ends.ts";
import type { Promises } from "./promises/history.ts";
import { permission } from "./promises/permission.ts";
import { silence } from "./promises/silence.ts";
import { clocks, endedRuns, trouble } from "./promises/trouble.ts";
import { simulate } from "./simulate.ts";
import { shrink } from "./shrink.ts";

const seeds = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

/** The first of 200 seeds in which a planted bug shows, and the promise that it broke. */
async function find(plant: keyof typeof plants) {
  for (const seed of seeds(200)) {
    const { broken } = await simulate(drawPlan(seed), plant);
    if (broken[0] === undefined) continue;
    // It is the bug that shows, not the history.
    expect((await simulate(drawPlan(seed))).broken, `seed ${seed} without a bug`).toEqual([]);
    return { seed, promise: broken[0].promise };
  }
  return null;
}

describe("simulated histories of whole workers", () => {
  const broken: Broken[] = [];
  const struck = new Set<string>();
  beforeAll(async () => {
    for (const seed of seeds(80)) {
      const played = await simulate(drawPlan(seed));
      broken.push(
        ...played.broken.map(({ promise, how }) => ({ promise, how: `${seed}: ${how}` })),
      );
      for (const kind of Object.keys(played.faults)) struck.add(kind);
    }
  });

  /** None of these promises was broken, and not for want of what could break them. */
  function expectKept(kept: Promises, faults: string[]): void {
    expect(broken.filter(({ promise }) => Object.hasOwn(kept, promise))).toEqual([]);
    expect([...struck]).toEqual(expect.arrayContaining(faults));
  }

  it("end, whatever goes wrong, and report each step once", () => {
    expectKept(ends, ["crash", "pause-past-lease", "drain", "duplicate", "store-away"]);
  });

  it("repeat nothing unseen, not even from a dead letter that is put back [history.repeat]", () => {
    expectKept(effects, ["crash", "tool-in-doubt", "letters-retried"]);
  });

  it("use a permission only where it holds [history.permission]", () => {
    expectKept(permission, ["cancel-parked", "tools-changed", "cancel"]);
  });

  it("tell an agent's model of each call what became of it [history.agent]", () => {
    expectKept({ ...effects, ...permission }, ["turn-cut", "tools-away", "tools-changed"]);
  });

  it("never take trouble for the step's fault, nor lose what was paid for [history.trouble]", () => {
    expectKept(trouble, ["store-full", "store-read-only", "key-refused", "artifacts-refusing"]);
  });

  it("take nothing but the control plane for the control plane [history.plane]", () => {
    expectKept({ ...ends, ...trouble }, ["misanswered", "proxy-answers", "health-slow"]);
  });

  it("leave what has ended as it ended, by FerrumDeck's rules too [history.ended]", () => {
    expectKept(endedRuns, ["cancel", "answer-lost"]);
  });

  it("end a step whose entry vanished or whose last writes were lost [history.vanished]", () => {
    expectKept(ends, ["entry-vanished", "writes-lost"]);
  });

  it("follow no worker's clock [history.clocks]", () => {
    expectKept(clocks, ["clock-jump"]);
  });

  it("are said in the log [history.silence]", () => {
    expectKept(silence, ["crash", "answer-lost"]);
  });

  it("are the same whenever the same seed is played", async () => {
    for (const seed of [7, 15, 23, 55]) {
      const first = await simulate(drawPlan(seed));
      const second = await simulate(drawPlan(seed));
      expect(second.history).toEqual(first.history);
      expect(second.faults).toEqual(first.faults);
      expect(first.history.length).toBeGreaterThan(20);
    }
  });

  it("differ from seed to seed", async () => {
    const [one, two] = [await simulate(drawPlan(1)), await simulate(drawPlan(2))];
    expect(one.history).not.toEqual(two.history);
  });
});

describe("a planted bug", () => {
  it.each(Object.keys(plants).filter(isPlantName))(
    "%s is found within 200 seeds",
    async (plant) => {
      expect(await find(plant)).not.toBeNull();
    },
    120_000,
  );

  it("is shrunk to a smaller history that still shows it", async () => {
    const found = await find("no-fence");
    const plan = drawPlan(found?.seed ?? 0);
    const small = await shrink(plan, found?.promise ?? "", "no-fence");
    expect(small.steps.length + small.faults.length).toBeLessThan(
      plan.steps.length + plan.faults.length,
    );
    const { broken } = await simulate(small, "no-fence");
    expect(broken.map(({ promise }) => promise)).toContain(found?.promise);
  });
});

describe("the command", () => {
  const run = (...args: string[]) =>
    spawnSync(process.execPath, ["tests/simulation/main.ts", ...args], { encoding: "utf8" });

  it("says in JSON what it did", () => {
    const { status, stdout } = run("--seeds", "5", "--json");
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ seeds: 5, clean: 5, failures: [] });
  });

  it("prints a failing seed, the broken promise and how to repeat it, and exits 1", () => {
    const { status, stdout } = run("--seeds", "200", "--plant", "double-report");
    expect(status).toBe(1);
    expect(stdout).toMatch(
      /seed (\d+) breaks a promise\n {2}a step has exactly one accepted report/,
    );
    expect(stdout).toMatch(/repeat it: npm run simulate -- --seed \d+ --plant double-report/);
  });

  it("refuses what it does not know, naming what it expected", () => {
    const { status, stderr } = run("--plant", "no-such-bug");
    expect(status).toBe(2);
    expect(stderr).toContain("--plant: expected one of no-fence, no-journal");
  });
});
