import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { sqliteBackends } from "../support/backends.ts";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";

let plane: TestPlane;
let backend: StepBackend;
beforeAll(async () => {
  backend = await sqliteBackends().backend("control-plane-lists");
  plane = await startTestPlane({
    steps: backend,
    publish: (fields) => backend.queue.publish(fields),
  });
});
afterAll(async () => {
  await plane.close();
  await backend.close();
});

const list = async (path: string) =>
  (await plane.fetch("GET", path)).body as unknown as JsonObject[];
const ids = (documents: JsonObject[]) => documents.map(({ id }) => id);

describe("lists of the control plane", () => {
  it("pages a run's steps, and tells all of them where no page is asked for [plane.lists]", async () => {
    const steps = Array.from({ length: 7 }, () => ({ type: "llm", input: {} }));
    const made = await plane.fetch("POST", "/v1/runs", { agent_id: "helper", input: {}, steps });
    const path = `/v1/runs/${String(made.body["id"])}/steps`;
    const all = await list(path);
    expect(all.map((step) => step["step_number"])).toEqual([1, 2, 3, 4, 5, 6, 7]);
    const paged: JsonObject[] = [];
    for (let offset = 0; offset < 9; offset += 3) {
      paged.push(...(await list(`${path}?limit=3&offset=${offset}`)));
    }
    expect(paged).toEqual(all);
    expect(await list(`${path}?offset=5`)).toEqual(all.slice(5));
    expect(await list(`${path}/${String(all[2]?.["id"])}`)).toEqual(all[2]);
    expect((await plane.fetch("GET", `${path}?limit=0`)).status).toBe(422);
  });

  it("finds runs by agent and by a text of theirs, and counts those that were found [plane.lists]", async () => {
    await plane.fetch("POST", "/v1/registry/agents", { name: "Other", slug: "finder" });
    await plane.fetch("POST", "/v1/registry/agents/finder/versions", { version: "1" });
    const odd = 'Größe 100% "quoted"\nline';
    const create = async (input: JsonObject) =>
      (await plane.fetch("POST", "/v1/runs", { agent_id: "finder", input })).body["id"];
    const [first, second] = [await create({ task: odd }), await create({ task: "ELSE" })];
    const found = async (query: Record<string, string>) => {
      const { body } = await plane.fetch("GET", `/v1/runs?${new URLSearchParams(query)}`);
      return { total: body["total"], ids: ids(body["runs"] as JsonObject[]) };
    };
    expect(await found({ agent: "finder" })).toEqual({ total: 2, ids: [second, first] });
    expect(await found({ text: odd })).toEqual({ total: 1, ids: [first] });
    expect(await found({ text: "else", agent: "finder" })).toEqual({ total: 1, ids: [second] });
    expect(await found({ text: String(first) })).toEqual({ total: 1, ids: [first] });
    expect(await found({ agent: "finder", limit: "1", offset: "1" })).toEqual({
      total: 2,
      ids: [first],
    });
    for (const none of [{ agent: "nobody" }, { text: "100_" }, { text: "\u0000" }]) {
      expect(await found(none)).toEqual({ total: 0, ids: [] });
    }
  });

  it("lists approvals of every status, a page at a time [plane.lists]", async () => {
    const asked: unknown[] = [];
    for (const digest of ["a", "b", "c"]) {
      const { runId: run_id, stepId: step_id } = await plane.createRun();
      const question = { run_id, step_id, action_type: "tool", digest, reason: "r" };
      asked.push((await plane.fetch("POST", "/v1/approvals", question)).body["id"]);
    }
    const [one, two, three] = asked;
    await plane.fetch("PUT", `/v1/approvals/${String(two)}`, { approved: true });
    await plane.fetch("PUT", `/v1/approvals/${String(three)}`, { approved: false });
    expect(ids(await list("/v1/approvals"))).toEqual([one]);
    expect(ids(await list("/v1/approvals?status=approved"))).toEqual([two]);
    expect(ids(await list("/v1/approvals?status=all"))).toEqual([three, two, one]);
    expect(ids(await list("/v1/approvals?status=all&limit=1&offset=1"))).toEqual([two]);
    const [{ run_id } = {}] = await list("/v1/approvals?status=rejected");
    expect(ids(await list(`/v1/approvals?status=all&run_id=${String(run_id)}`))).toEqual([three]);
    expect((await plane.fetch("GET", "/v1/approvals?status=odd")).status).toBe(422);
  });
});

describe("what the workers' store has", () => {
  it("shows a step's record, and lists dead letters and puts one back on the stream [plane.dead-letters]", async () => {
    const { signal } = new AbortController();
    for (let read = 1; read > 0;) {
      const before = await backend.queue.read(100, 1, signal);
      await Promise.all(before.map(({ entryId }) => letterOf(entryId, "cleared", {})));
      read = before.length;
    }
    const { runId, stepId } = await plane.createRun();
    const [delivery] = await backend.queue.read(1, 1_000, signal);
    const { entryId = "", fields = {} } = delivery ?? {};
    const opened = await backend.store.open(entryId, { runId, stepId }, 60_000, fields);
    const at = plane.clock.now;
    if (opened.kind !== "opened") throw new Error(opened.kind);
    await backend.store.append(opened.lease, [{ event: "begun", effect: "call", at }]);
    const record = await plane.fetch("GET", `/v1/runs/${runId}/steps/${stepId}/record`);
    expect(record.body).toMatchObject({ phase: "open", journal: [{ effect: "call" }] });
    await letterOf(entryId, "it broke", fields);
    const [letter] = await list("/v1/dead-letters?limit=1");
    expect(letter).toMatchObject({ run_id: runId, step_id: stepId, reason: "it broke" });
    const path = `/v1/dead-letters/${String(letter?.["id"])}`;
    expect((await plane.fetch("GET", path)).body).toMatchObject({
      job: fields,
      journal: [{ effect: "call" }],
    });
    expect((await plane.fetch("POST", `${path}/retry`)).body).toMatchObject({ retried: true });
    expect((await plane.fetch("POST", `${path}/retry`)).status).toBe(404);
    const again = await backend.queue.read(1, 1_000, signal);
    expect(again.map((each) => each.fields)).toEqual([fields]);
    const audit = await list(`/v1/runs/${runId}/audit`);
    expect(audit.map(({ event }) => event)).toContain("dead_letter.retried");
  });
});

const letterOf = (entryId: string, reason: string, fields: Record<string, string>) =>
  backend.queue.deadLetter(entryId, {
    fields,
    reason,
    stateHistory: ["pending"],
    snapshot: null,
    deliveries: 1,
    at: plane.clock.now,
  });
