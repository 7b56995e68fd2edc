import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { drawPlan } from "../simulation/draw-plan.ts";
import { isPlantName, plants } from "../simulation/plants.ts";
import { simulate } from "../simulation/simulate.ts";
import { shrink } from "../simulation/shrink.ts";

const seeds = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

/** The first of 200 seeds in which a planted bug shows, and the promise that it broke. */
async function find(plant: keyof typeof plants) {
  for (const seed of seeds(200)) {
    const { broken } = await simulate(drawPlan(seed), plant);
    if (broken[0] !== undefined) return { seed, promise: broken[0].promise };
  }
  return null;
}

describe("simulated histories of whole workers", () => {
  it("keep every promise, whatever goes wrong", async () => {
    const kinds = new Set<string>();
    for (const seed of seeds(60)) {
      const { broken, faults } = await simulate(drawPlan(seed));
      expect(broken, `seed ${seed}`).toEqual([]);
      for (const kind of Object.keys(faults)) kinds.add(kind);
    }
    // A simulation that injects nothing is clean too.
    expect([...kinds]).toEqual(
      expect.arrayContaining(["crash", "pause-past-lease", "drain", "duplicate", "store-away"]),
    );
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
    60_000,
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
  }, 60_000);
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
