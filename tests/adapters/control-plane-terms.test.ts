import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { createControlPlane } from "../../adapters/control-plane/client.ts";
import { keysApi, type MadeKey } from "../../adapters/control-plane/keys-api.ts";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();
let plane: TestPlane;
beforeEach(async () => {
  plane = await startTestPlane();
});
afterEach(() => plane.close());

const create = async (name: string, scopes: string[], roles: string[] = []): Promise<MadeKey> =>
  value(await keysApi(plane.api).create({ name, scopes, roles, expiresInMs: null }, signal));
const as = (key: MadeKey, method: string, path: string, body?: unknown) =>
  plane.fetch(method, path, body, { authorization: `Bearer ${key.key}` });
const policy = (approval: object | null, over = {}) =>
  plane.fetch("POST", "/v1/policies", {
    name: "careful",
    effect: "require_approval",
    conditions: { tools: ["write"] },
    approval,
    ...over,
  });
/** A question about `write`, put with `worker` in a run that `starter` started. */
const ask = async (starter: MadeKey, worker: MadeKey, digest = "d") => {
  const run = await as(starter, "POST", "/v1/runs", { agent_id: "helper", input: { task: "t" } });
  const runId = String(run.body["id"]);
  const { body } = await plane.fetch("GET", `/v1/runs/${runId}/steps`);
  const stepId = (body as unknown as { id: string }[])[0]?.id ?? "";
  const api = createControlPlaneApi({ url: plane.url, apiKey: worker.key, timeoutMs: 5_000 });
  const action = { kind: "tool", name: "write", input: { a: 1 } } as const;
  const question = { digest, action, reason: "r", approvalId: null, expiresAt: null };
  const asked = await createControlPlane(api).requestApproval({ runId, stepId }, question, signal);
  await api.close();
  return value(asked);
};
const answer = async (key: MadeKey, id: string, approved: boolean) =>
  (await as(key, "PUT", `/v1/approvals/${id}`, { approved })).status;

describe("the terms of a question", () => {
  it("of four eyes: no key approves what it started or asked, whatever it may else [approval.four-eyes]", async () => {
    await policy({ four_eyes: true });
    const person = await create("person", ["write", "work", "approve", "admin"]);
    const other = await create("other", ["write", "work", "approve"]);
    const keys = { person, other };
    const names = fc.constantFrom("person" as const, "other" as const);
    await fc.assert(
      fc.asyncProperty(names, names, names, fc.boolean(), async (starter, worker, by, yes) => {
        const { id } = await ask(keys[starter], keys[worker]);
        const isOwn = by === starter || by === worker;
        expect(await answer(keys[by], id, yes)).toBe(yes && isOwn ? 403 : 200);
        const { body } = await plane.fetch("GET", `/v1/approvals/${id}`);
        expect(body["status"]).toBe(yes ? (isOwn ? "pending" : "approved") : "rejected");
      }),
      { numRuns: 16 },
    );
  });

  it("of a role: no key without it answers, yes or no [approval.role]", async () => {
    await policy({ role: "release" });
    const worker = await create("worker", ["write", "work"]);
    const plain = await create("plain", ["approve"]);
    const wrong = await create("wrong", ["approve"], ["sales"]);
    const right = await create("right", ["approve"], ["release"]);
    const asked = await ask(worker, worker);
    expect(asked).toMatchObject({ role: "release", four_eyes: false, asked_by: worker.id });
    for (const key of [plain, wrong]) {
      expect(await answer(key, asked.id, true)).toBe(403);
      expect(await answer(key, asked.id, false)).toBe(403);
    }
    expect(await answer(right, asked.id, true)).toBe(200);
  });

  it("are the deciding policy's, as they were when the question was put", async () => {
    const made = await policy({ four_eyes: true, expires_in_ms: 60_000 });
    const one = await create("one", ["write", "work", "approve"]);
    const asked = await ask(one, one);
    expect(asked.expires_at).toBe(new Date(plane.clock.now + 60_000).toISOString());
    await plane.fetch("PATCH", `/v1/policies/${String(made.body["id"])}`, { approval: null });
    expect(await answer(one, asked.id, true)).toBe(403);
    const later = await ask(one, one, "e");
    expect(await answer(one, later.id, true)).toBe(200);
  });

  it("are none where no policy has any: one key may do everything, as in dev", async () => {
    const one = await create("one", ["admin"]);
    const { id } = await ask(one, one);
    expect(await answer(one, id, true)).toBe(200);
  });

  it("are refused for a policy that asks nobody", async () => {
    expect((await policy({ four_eyes: true }, { effect: "deny" })).status).toBe(422);
    expect((await policy({ fore_eyes: true })).status).toBe(422);
    const { body } = await policy({ role: "x" });
    const changed = await plane.fetch("PATCH", `/v1/policies/${String(body["id"])}`, {
      effect: "allow",
    });
    expect(changed.status).toBe(422);
  });
});
