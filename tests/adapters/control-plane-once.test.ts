import * as fc from "fast-check";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";

let plane: TestPlane;
beforeEach(async () => {
  plane = await startTestPlane();
});
afterEach(() => plane.close());

const post = (key: string, task: string, more: Record<string, string> = {}) =>
  plane.fetch(
    "POST",
    "/v1/runs",
    { agent_id: "helper", input: { task } },
    { "idempotency-key": key, ...more },
  );

it("makes one run a key, however many ask at once, and one for each key [run.once]", async () => {
  const asked = fc.array(fc.nat(3), { minLength: 1, maxLength: 12 });
  let round = 0;
  await fc.assert(
    fc.asyncProperty(asked, async (keys) => {
      const before = plane.jobs.length;
      const name = (key: number) => `${round}-${key}`;
      round += 1;
      const answers = await Promise.all(keys.map((key) => post(name(key), `task ${key}`)));
      expect(answers.map(({ status }) => status)).toEqual(keys.map(() => 201));
      const ids = new Map(keys.map((key, at) => [key, answers[at]?.body["id"]]));
      expect(answers.map(({ body }) => body["id"])).toEqual(keys.map((key) => ids.get(key)));
      const made = new Set(ids.values()).size;
      expect(made).toBe(new Set(keys).size);
      const replayed = answers.filter(({ headers }) => headers.has("idempotency-replayed"));
      expect(replayed).toHaveLength(keys.length - made);
      await plane.job(before + made);
    }),
    { numRuns: 20 },
  );
});

it("answers a repeat with the run as it stands, after its first answer was lost", async () => {
  const { body } = await post("k", "t");
  await plane.fetch("POST", `/v1/runs/${String(body["id"])}/cancel`);
  const again = await post("k", "t", { traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01` });
  expect(again.body).toMatchObject({ id: body["id"], status: "cancelled" });
  expect(plane.jobs).toHaveLength(1);
});

it("refuses a key for another request, and takes the same one of another caller", async () => {
  const first = await post("k", "t");
  expect(await post("k", "other")).toMatchObject({
    status: 422,
    body: { error: { code: "IDEMPOTENCY_KEY_REUSED" } },
  });
  const made = await plane.fetch("POST", "/v1/api-keys", { name: "n", scopes: ["write"] });
  const other = await post("k", "other", { authorization: `Bearer ${String(made.body["key"])}` });
  expect(other.status).toBe(201);
  expect(other.body["id"]).not.toBe(first.body["id"]);
  expect((await post("k".repeat(256), "t")).status).toBe(400);
});

it("keeps no key of a request that was refused", async () => {
  const bad = { agent_id: "nobody", input: { task: "t" } };
  const headers = { "idempotency-key": "k" };
  expect((await plane.fetch("POST", "/v1/runs", bad, headers)).status).toBe(404);
  expect((await post("k", "t")).status).toBe(201);
});
