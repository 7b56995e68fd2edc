import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Boundary } from "../chaos/boundaries.ts";
import type { StepKind } from "../chaos/plan-step.ts";
import { repeatOf } from "../chaos/plan-step.ts";
import { type CrashStage, openCrashStage } from "../support/crash-stage.ts";
import { startTestRedis, type TestRedis } from "../support/redis.ts";

interface Row {
  at: Boundary;
  /** At which passing of the boundary the first worker dies. */
  count?: number;
  /** What the next worker does. */
  does: string;
  kind: StepKind;
  /** How often each effect touches the world in all. */
  touches: Record<string, number>;
  /** Effects of which a person is asked whether they may run again. */
  doubts?: string[];
  /** Questions that policy puts. */
  questions?: number;
}

const startsAgain = "starts the step again";
const repeats = "repeats that effect alone";
const asks = "asks, then repeats";
const goesOn = "goes on after the last completed effect";
const sends = "sends the recorded report";
const acknowledges = "sends it again under its key, acknowledges";
const once = { put: 1 };
const onceUnsafe = { post: 1 };

const both = (at: Boundary, does: string): Row[] => [
  { at, does, kind: "put", touches: once },
  { at, does, kind: "post", touches: onceUnsafe },
];
const askedFor = (at: Boundary, does: string): Row[] => [
  { at, does, kind: "put-asked", touches: { "put-asked": 1 }, questions: 1 },
  { at, does, kind: "post-asked", touches: { "post-asked": 1 }, questions: 1 },
];
const midway = (at: Boundary): Row[] => [
  { at, does: repeats, kind: "put", touches: { put: 2 } },
  { at, does: asks, kind: "post", touches: { post: 2 }, doubts: ["tool:post"] },
];
const inLoop = (at: Boundary, count: number, more: Pick<Row, "does"> & Partial<Row>): Row => ({
  at,
  count,
  kind: "loop",
  touches: { think: 1, act: 1, "sum-up": 1 },
  ...more,
});

const rows: Row[] = [
  ...both("before:open", startsAgain),
  ...both("after:open", startsAgain),
  ...both("before:checkTool", startsAgain),
  ...both("after:checkTool", startsAgain),
  ...askedFor("before:requestApproval", startsAgain),
  ...askedFor("after:requestApproval", "finds the question put, waits"),
  ...askedFor("before:reportWaiting", "finds the question put, waits"),
  ...askedFor("after:reportWaiting", "finds the question put, waits"),
  ...askedFor("before:park", "finds the question put, waits"),
  ...askedFor("after:park", "goes on when a person has said yes"),
  // A safe effect has no intent in the journal: nothing of it is in doubt.
  { at: "before:begin", does: startsAgain, kind: "post", touches: onceUnsafe },
  { at: "after:begin", does: asks, kind: "post", touches: onceUnsafe, doubts: ["tool:post"] },
  ...midway("during:effect"),
  ...midway("after:effect"),
  ...both("after:complete", goesOn),
  ...both("before:record", goesOn),
  ...both("after:record", sends),
  ...both("before:report", sends),
  ...both("after:report", acknowledges),
  ...both("before:settle", acknowledges),
  ...both("after:settle", "nothing is left to do"),
  { at: "during:effect", does: startsAgain, kind: "retrieve", touches: { retrieve: 2 } },
  inLoop("after:complete", 1, { does: goesOn }),
  inLoop("during:effect", 2, {
    does: asks,
    touches: { think: 1, act: 2, "sum-up": 1 },
    doubts: ["tool:act"],
  }),
  inLoop("after:complete", 2, { does: goesOn }),
  inLoop("during:effect", 3, { does: repeats, touches: { think: 1, act: 1, "sum-up": 2 } }),
  inLoop("after:complete", 3, { does: goesOn }),
];

const threeCalls = { think: 1, put: 1, act: 1, "think-on": 1, post: 1, "sum-up": 1 };
// The model's first answer, then the first two of the agent's three calls.
rows.push({ at: "after:complete", count: 3, does: goesOn, kind: "agent", touches: threeCalls });

const table: string[][] = [["killed", "step", "touches", "asked", "the next worker", "(observed)"]];
const titled = rows.map((row) => ({
  ...row,
  moment: `${row.at}${row.count ? ` ${row.count}` : ""}`,
}));

// Five at once, each a program that starts: a busy machine takes its time over the first ones.
const options = { concurrent: true, timeout: 300_000 };

describe("a worker killed with SIGKILL, and the one that takes over", options, () => {
  let redis: TestRedis;
  beforeAll(async () => {
    redis = await startTestRedis();
  });
  afterAll(async () => {
    await redis.stop();
    process.stdout.write(`\n${format(table)}\n`);
  });

  it.each(titled)(
    "$moment of a $kind step: the next $does [effect.boundaries] [loop.killed]",
    async (row) => {
      const stage = await openCrashStage(redis.url);
      try {
        const { at, count = 1 } = row;
        // Longer than a busy machine has one of them stand still: it would take its own job over.
        const leaseMs = 60_000;
        const first = stage.spawn({ leaseMs, crash: { deed: "kill", at, count } });
        const key = await stage.order(row.kind);
        expect(await first.exited).toMatchObject({ signal: "SIGKILL" });

        await stage.expireLeases();
        const second = await stage.takeOver({ leaseMs });
        const asked = await approveUntilFinished(stage, key);
        const doubts = asked.flatMap(({ action_details: action }) => repeatOf(action) ?? []);
        const touches = stage.ledger.touches();
        const counts: Record<string, number> = {};
        for (const { effect } of touches) counts[effect] = (counts[effect] ?? 0) + 1;

        table.push([
          row.moment,
          row.kind,
          Object.values(counts).join(" "),
          doubts.length > 0 ? "in doubt" : asked.length > 0 ? "by policy" : "",
          row.does,
          observed(stage, second.pid),
        ]);
        expect(await stage.applied(key)).toBe(1);
        expect((await stage.step(key)).status).toBe("completed");
        expect(counts).toEqual(row.touches);
        expect(doubts).toEqual(row.doubts ?? []);
        expect(asked.length - doubts.length).toBe(row.questions ?? 0);
        expect(await stage.backend.queue.stats()).toMatchObject({
          length: 0,
          pending: 0,
          deadLetters: 0,
        });
        // A repeat comes under the key of the first try, where the neighbour is given one.
        const keys = new Set(touches.map((touch) => `${touch.effect} ${touch.idempotencyKey}`));
        expect(keys.size).toBe(Object.keys(counts).length);
      } finally {
        await stage.close();
      }
    },
  );
});

async function approveUntilFinished(stage: CrashStage, key: Parameters<CrashStage["applied"]>[0]) {
  const asked = [];
  const finished = stage.finished([key]).then(() => true);
  while (!(await Promise.race([finished, sleep(20, false)]))) {
    asked.push(...(await stage.approveAll()));
  }
  return asked;
}

/** What the second worker really did, from its own trace. */
function observed(stage: CrashStage, pid: number): string {
  return stage.ledger
    .lines()
    .flatMap((line) => (line.kind === "passed" && line.pid === pid ? [line.boundary] : []))
    .flatMap((boundary) => {
      const [when, what] = boundary.split(":");
      return when === "before" || boundary === "after:effect" ? [] : [what];
    })
    .join(" ");
}

function format(lines: string[][]): string {
  const [head = [], ...body] = lines;
  const inOrder = body.sort((a, b) => place(a) - place(b));
  const widths = head.map((_, column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  );
  return [head, ...inOrder]
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

const place = ([moment, kind]: string[]): number =>
  titled.findIndex((row) => row.moment === moment && row.kind === kind);
