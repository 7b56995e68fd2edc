import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openStore } from "../../adapters/control-plane/embedded/store.ts";
import { countResults } from "./count-results.ts";
import type { Touch } from "./ledger.ts";

type Store = ReturnType<typeof openStore>;
type Step = Parameters<Store["steps"]["put"]>[0];
type Approval = Parameters<Store["approvals"]["put"]>[0];

let folder: string;
let path: string;
let store: Store;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "stateplane-counts-"));
  path = join(folder, "control-plane.sqlite");
  store = openStore(path);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

let audits = 0;
function step(id: string, results: number): void {
  const status = results === 0 ? "running" : "completed";
  store.steps.put({ id, runId: "run_1", name: id, number: audits, status, error: null } as Step);
  audits += 1;
  for (let result = 0; result < results; result += 1) {
    audits += 1;
    const details = { step_id: id };
    const event = { id: `aud_${audits}`, runId: "run_1", event: "step.completed", details, at: 0 };
    store.audit.append(event);
  }
}

function yes(stepId: string, kind: "repeat" | "tool", name: string, resolvedAt: number): void {
  const id = `apr_${stepId}_${name}_${resolvedAt}`;
  const action = { actionDetails: { kind, name }, status: "approved", resolvedAt };
  store.approvals.put({ id, stepId, digest: id, runId: "run_1", ...action } as unknown as Approval);
}

const touch = (order: string, effect: string, repeat: Touch["repeat"], at: number): Touch => ({
  kind: "touch",
  order,
  effect,
  repeat,
  idempotencyKey: null,
  pid: 1,
  at,
});

function counted(...touches: Touch[]) {
  store.close();
  return countResults(path, touches);
}

it("counts a second result as a duplicate, and a step without one as lost", () => {
  step("one", 1);
  step("twice", 2);
  step("never", 0);
  expect(counted()).toMatchObject({ steps: 3, reports: 3, duplicates: 1, lost: 1 });
});

it("counts an unsafe effect that ran again with nobody's yes, and no safe one", () => {
  step("a", 1);
  step("b", 1);
  const unsafe = [touch("a", "post", "unsafe", 1), touch("a", "post", "unsafe", 2)];
  const safe = [touch("b", "put", "safe", 1), touch("b", "put", "safe", 2)];
  expect(counted(...unsafe, ...safe)).toMatchObject({ repeated: 1 });
});

it("needs one yes for each repeat, of the same step and effect, and before it happened", () => {
  for (const id of ["fine", "late", "thrice", "other"]) step(id, 1);
  yes("fine", "repeat", "tool:post", 5);
  yes("late", "repeat", "tool:post", 50);
  yes("thrice", "repeat", "act", 5);
  yes("other", "repeat", "tool:put", 5);
  const twice = (order: string) => [1, 10].map((at) => touch(order, "post", "unsafe", at));
  const thrice = [1, 10, 11].map((at) => touch("thrice", "act", "unsafe", at));
  const result = counted(...twice("fine"), ...twice("late"), ...thrice, ...twice("other"));
  expect(result).toMatchObject({ repeated: 3, questions: { policy: 0, inDoubt: 4 } });
});

it("counts a deed that policy wants asked about and that came before the yes", () => {
  step("asked", 1);
  step("unasked", 1);
  yes("asked", "tool", "post-asked", 5);
  const made = ["asked", "unasked"].map((order) => touch(order, "post-asked", "unsafe", 10));
  expect(counted(...made)).toMatchObject({ unpermitted: 1, repeated: 0 });
});
