import * as fc from "fast-check";
import { ulid } from "ulid";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createWorkflowEngine } from "../../actors/workflow/engine.ts";
import { createWorkflowReader } from "../../adapters/workflows/step-request.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { type ApiDocument, operationsOf, requestsOf } from "../support/api-requests.ts";
import { sqliteBackends } from "../support/backends.ts";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";

/** What one tenant has: its key, and an id of each kind, by the names that parameters have. */
interface Party {
  key: string;
  mark: string;
  ids: Record<string, string>;
}

let plane: TestPlane;
let backend: StepBackend;
let api: ApiDocument;
let one: Party;
let other: Party;
beforeAll(async () => {
  backend = await sqliteBackends().backend("control-plane-tenants");
  plane = await startTestPlane({
    workflows: createWorkflowEngine(createWorkflowReader()),
    steps: backend,
    publish: (fields) => backend.queue.publish(fields),
  });
  api = (await plane.fetch("GET", "/openapi.json")).body as unknown as ApiDocument;
  one = await party("one");
  other = await party("other");
});
afterAll(async () => {
  await plane.close();
  await backend.close();
});

const as = ({ key }: Party) => ({ authorization: `Bearer ${key}` });

async function made(who: Party | null, path: string, body: object): Promise<JsonObject> {
  const answer = await plane.fetch("POST", path, body, who === null ? {} : as(who));
  expect(answer.status, `${path} ${JSON.stringify(answer.body)}`).toBeLessThan(300);
  return answer.body;
}

/** Everything of a tenant, under the same names as the other tenant's, with a mark in every text. */
async function party(slug: string): Promise<Party> {
  const mark = `mark-of-${slug}-${ulid()}`;
  const tenant = await made(null, "/v1/tenants", { slug, name: mark });
  const asked = { name: mark, scopes: ["admin"], tenant_id: slug };
  const key = await made(null, "/v1/api-keys", asked);
  const who: Party = { key: String(key["key"]), mark, ids: {} };
  const keep = (name: string, { id }: JsonObject) => void (who.ids[name] = String(id));
  keep("tenant_id", tenant);
  keep("key_id", key);
  keep("agent_id", await made(who, "/v1/registry/agents", { name: mark, slug: "same" }));
  const version = { version: "1", system_prompt: mark, allowed_tools: ["read"] };
  keep("version_id", await made(who, "/v1/registry/agents/same/versions", version));
  const tool = { name: mark, slug: "read", mcp_server: "srv", risk_level: "read" };
  keep("tool_id", await made(who, "/v1/registry/tools", { ...tool, input_schema: { mark } }));
  const policy = { name: "same", effect: "allow", description: mark };
  keep("policy_id", await made(who, "/v1/policies", policy));
  const steps = [{ id: "ask", type: "approval", config: { message: "Go on?" } }];
  const workflow = { name: "same", version: "1.0.0", definition: { steps } };
  keep("workflow_id", await made(who, "/v1/workflows", workflow));
  const begun = { workflow_id: who.ids["workflow_id"], input: { mark } };
  keep("workflow_run", await made(who, "/v1/workflow-runs", begun));
  const run = await made(who, "/v1/runs", { agent_id: "same", input: { task: mark } });
  keep("run_id", run);
  const [step] = (await plane.fetch("GET", `/v1/runs/${who.ids["run_id"]}/steps`))
    .body as unknown as JsonObject[];
  keep("step_id", step ?? {});
  const { run_id, step_id } = who.ids;
  // Workers are the operator's.
  const question = { run_id, step_id, action_type: "tool", digest: "d", reason: mark };
  keep("approval_id", await made(null, "/v1/approvals", question));
  who.ids["letter_id"] = await deadLetter(who);
  return who;
}

async function deadLetter({ ids: { run_id, step_id }, mark }: Party): Promise<string> {
  const { signal } = new AbortController();
  for (;;) {
    const [delivery] = await backend.queue.read(1, 2_000, signal);
    if (delivery === undefined) throw new Error("the run's job is not on the stream");
    const { entryId, fields } = delivery;
    const isOwn = JSON.stringify(fields).includes(String(step_id));
    const letter = { fields, reason: isOwn ? mark : "other", stateHistory: [], snapshot: null };
    await backend.queue.deadLetter(entryId, { ...letter, deliveries: 1, at: plane.clock.now });
    if (!isOwn) continue;
    const letters = await backend.queue.deadLetters(100);
    const own = letters.find(({ reason }) => reason === mark);
    expect(JSON.stringify(own?.fields)).toContain(run_id);
    return own?.id ?? "";
  }
}

const isLeakOf = ({ mark, ids }: Party, text: string) =>
  // A dead letter's id is a plain number; its reason is the mark.
  [mark, ...Object.values(ids).filter((id) => id.length > 20)].filter((each) =>
    text.includes(each),
  );

/** An answer with what is another one each time made alike. */
const shapeOf = (text: string, sent: readonly string[]) =>
  sent
    .reduce(
      (rest, id) => rest.replaceAll(new RegExp(`(?<![\\w-])${id}(?![\\w-])`, "g"), "SENT"),
      text,
    )
    .replaceAll(/\b[a-z]{2,4}_[0-9A-HJKMNP-TV-Z]{26}\b/g, "ID")
    .replaceAll(/"(?:hint|key)":"[^"]*"/g, "SECRET");

describe("tenants", () => {
  it("never learn of each other: an id of another's is answered exactly like one that nobody has, whatever is asked [tenant.unseen]", async () => {
    const unknown = new Map<string, string>();
    const inventedFor = (id: string) => {
      const known =
        unknown.get(id) ?? (/^\d+$/.test(id) ? "4000" : `${id.split("_")[0]}_${ulid()}`);
      unknown.set(id, known);
      return known;
    };
    const reached = new Set<string>();
    const before = await everythingOf(other);
    const withIds = requestsOf(api, 1).filter((request) => JSON.stringify(request).includes("@"));
    await fc.assert(
      fc.asyncProperty(withIds, async (request) => {
        const { operation, path, query, headers, body } = request;
        let isForeign = false;
        const fill = (text: string, invent: boolean) =>
          text.replaceAll(/@(\w+?):\d+/g, (_, name: string) => {
            const id = other.ids[name];
            if (id === undefined) return "none";
            isForeign = true;
            return invent ? inventedFor(id) : id;
          });
        const send = async (invent: boolean) => {
          let target = operation.path;
          for (const [name, value] of Object.entries(path)) {
            const part = encodeURIComponent(fill(value, invent).toWellFormed());
            if (part === "") return null;
            target = target.replace(`{${name}}`, () => part);
          }
          const asked = query.map(
            ([name, value]) => `${name}=${encodeURIComponent(value.toWellFormed())}`,
          );
          const response = await fetch(`${plane.url}${target}?${asked.join("&")}`, {
            method: operation.method,
            headers: { ...(headers as Record<string, string>), ...as(one) },
            ...(body === null ? {} : { body: fill(body, invent) }),
            signal: AbortSignal.timeout(20_000),
          });
          const isEndless = response.headers.get("content-type")?.includes("event-stream");
          if (isEndless === true) {
            await response.body?.cancel();
            return null;
          }
          return { status: response.status, text: await response.text() };
        };
        const foreign = await send(false);
        if (foreign === null) return;
        const label = `${operation.method} ${operation.path}: ${foreign.text.slice(0, 400)}`;
        // What was sent may be said again where it is refused.
        const said = foreign.status < 300 ? foreign.text : "";
        expect(said.includes(other.mark), label).toBe(false);
        if (!isForeign) {
          expect(isLeakOf(other, said), label).toEqual([]);
          return;
        }
        reached.add(`${operation.method} ${operation.path}`);
        const invented = await send(true);
        const ids = [...Object.values(other.ids), ...unknown.values()];
        expect([foreign.status, shapeOf(foreign.text, ids)], label).toEqual([
          invented?.status,
          shapeOf(invented?.text ?? "", ids),
        ]);
      }),
      { numRuns: 150 },
    );
    expect(await everythingOf(other)).toEqual(before);
    // Most of what takes an id was asked with one of the other's.
    const takesId = operationsOf(api).filter(({ path }) => /^\/v1\/.*\{/.test(path));
    expect(reached.size).toBeGreaterThan(takesId.length * 0.6);
  });

  it("have lists of their own, and the operator has all [tenant.lists]", async () => {
    const lists = operationsOf(api).filter(
      ({ method, path }) =>
        method === "GET" && !path.includes("{") && !/backup|\/ev|answer/.test(path),
    );
    const scoped = [
      ...lists.map(({ path }) => path),
      "/v1/approvals?status=all",
      "/v1/workflow-runs/{}",
    ];
    for (const path of scoped) {
      for (const [who, foe] of [
        [one, other],
        [other, one],
      ] as const) {
        const target = path.replace("{}", who.ids["workflow_run"] ?? "");
        const { status, body } = await plane.fetch("GET", target, undefined, as(who));
        const text = JSON.stringify(body);
        expect(isLeakOf(foe, text), path).toEqual([]);
        if (path.startsWith("/v1/audit")) expect(status, path).toBe(403);
        else expect(status, path).toBe(200);
        // Each has something in it, which is its own.
        if (path.startsWith("/v1/") && status === 200 && !/mcp|count/.test(path))
          expect(isLeakOf(who, text).length, `${path} ${text}`).toBeGreaterThan(0);
      }
      const all = JSON.stringify(
        (await plane.fetch("GET", path.replace("{}", one.ids["workflow_run"] ?? ""))).body,
      );
      if (!path.startsWith("/v1/") || /mcp|count|head|\{\}/.test(path)) continue;
      for (const who of [one, other]) expect(isLeakOf(who, all).length, path).toBeGreaterThan(0);
    }
    for (const query of ["runs?agent=", "approvals?status=all&run_id="]) {
      const id = query.startsWith("runs") ? other.ids["agent_id"] : other.ids["run_id"];
      const { body } = await plane.fetch("GET", `/v1/${query}${id}`, undefined, as(one));
      expect(isLeakOf(other, JSON.stringify(body))).toEqual([]);
    }
    for (const whole of ["/v1/backup", "/v1/evals", "/v1/evals/e", "/v1/evals/e/tasks/t"])
      expect((await plane.fetch("GET", whole, undefined, as(one))).status, whole).toBe(403);
  });

  it("hear of their own runs alone in the stream of events, live, resumed and begun anew [tenant.events]", async () => {
    const told = async (who: Party, until: string, lastId?: string) => {
      const stop = new AbortController();
      const response = await fetch(`${plane.url}/v1/events`, {
        headers: { ...as(who), ...(lastId === undefined ? {} : { "last-event-id": lastId }) },
        signal: stop.signal,
      });
      let text = "";
      const read = async () => {
        for await (const chunk of response.body ?? []) {
          text += Buffer.from(chunk).toString();
          if (text.includes(until)) break;
        }
        stop.abort();
        return text;
      };
      return { read };
    };
    const first = await (await told(one, "event: connected")).read();
    const lastId = /id: (\S+)/.exec(first)?.[1];
    const live = await told(one, "the last text");
    const run = async (who: Party) =>
      String((await made(who, "/v1/runs", { agent_id: "same", input: { task: "t" } }))["id"]);
    const [foreign, own] = [await run(other), await run(one)];
    const say = async (of: Party, text: string) => {
      const { run_id, step_id } = of.ids;
      await made(null, "/v1/events/text", { texts: [{ run_id, step_id, text }] });
    };
    await say(other, "not for one");
    await say(one, "the last text");
    for (const text of [
      await live.read(),
      await (await told(one, "event: connected", lastId)).read(),
    ]) {
      expect(text).toContain(own);
      expect(text).not.toContain(foreign);
      expect(text).not.toContain("not for one");
    }
    const missed = await (await told(one, "event: missed", "000000000000-1")).read();
    expect(missed).toContain(own);
    expect(isLeakOf(other, missed)).toEqual([]);
    expect(missed).not.toContain(foreign);
  });

  it("can't tell by any number how much others do [tenant.volume]", async () => {
    const asked = { name: "k", scopes: ["admin"] };
    /** What a new tenant sees of one run of its own, with so many of others' between each two of its calls. */
    const seenBeside = async (foreign: number) => {
      const slug = `beside-${foreign}`;
      await made(null, "/v1/tenants", { slug });
      const own = await made(null, "/v1/api-keys", { ...asked, tenant_id: slug });
      const who: Party = { key: String(own["key"]), mark: "", ids: {} };
      const headers = as(who);
      await made(who, "/v1/registry/agents", { name: "n", slug: "same" });
      const version = { version: "1", system_prompt: "", allowed_tools: [] };
      await made(who, "/v1/registry/agents/same/versions", version);
      const stop = new AbortController();
      const { signal } = stop;
      const stream = await fetch(`${plane.url}/v1/events`, { headers, signal });
      const run = { agent_id: "same", input: { task: "rare words" } };
      const busy = () =>
        Promise.all(Array.from({ length: foreign }, () => made(other, "/v1/runs", run)));
      await busy();
      const { id } = await made(who, "/v1/runs", run);
      await busy();
      await plane.fetch("POST", `/v1/runs/${String(id)}/cancel`, undefined, headers);
      let told = "";
      for await (const chunk of stream.body ?? [])
        if ((told += Buffer.from(chunk).toString()).includes("cancelled")) break;
      stop.abort();
      const get = async (path: string) => (await plane.fetch("GET", path, undefined, headers)).body;
      const audit = await get(`/v1/runs/${String(id)}/audit`);
      const seen = [audit, await get("/v1/runs?text=rare"), told.match(/^id: .*/gm)];
      const numbers = JSON.stringify(seen)
        .replaceAll(/"[0-9a-f]{12}-/g, '"LIFE-')
        .replaceAll(/"trace_id":"[0-9a-f]{32}"/g, '"trace_id":"ID"');
      return shapeOf(numbers.replaceAll(/id: [0-9a-f]{12}/g, "id: LIFE"), [slug]);
    };
    const alone = await seenBeside(0);
    expect(alone).toContain('"seq":2');
    expect(alone).toContain("id: LIFE-2");
    expect(await seenBeside(4)).toEqual(alone);
  });

  it("use one idempotency key for a run each, and have no worker's key [tenant.keys]", async () => {
    const asked = { agent_id: "same", input: { task: "t" } };
    const ids = new Set<unknown>();
    for (const who of [one, other, one]) {
      const headers = { ...as(who), "idempotency-key": "the same" };
      ids.add((await plane.fetch("POST", "/v1/runs", asked, headers)).body["id"]);
    }
    expect(ids.size).toBe(2);
    const worker = { name: "w", scopes: ["work"] };
    for (const [body, headers] of [
      [worker, as(one)],
      [{ ...worker, tenant_id: "one" }, {}],
    ] as const) {
      expect((await plane.fetch("POST", "/v1/api-keys", body, headers)).status).toBe(422);
    }
    const { run_id } = one.ids;
    const check = { tool_name: "read" };
    const own = await plane.fetch("POST", `/v1/runs/${run_id}/check-tool`, check, as(one));
    expect(own).toMatchObject({ status: 403, body: { error: { code: "INSUFFICIENT_SCOPE" } } });
  });

  it("are bound by the operator's policies, whatever the priority of their own, and are not shown them [tenant.policies]", async () => {
    const rule = {
      name: "no reading",
      effect: "deny",
      conditions: { tenants: [one.ids["tenant_id"]] },
    };
    const { id } = await made(null, "/v1/policies", rule);
    const mine = await made(one, "/v1/policies", {
      name: "all",
      effect: "allow",
      priority: 1_000_000,
    });
    const path = (who: Party) => `/v1/runs/${who.ids["run_id"]}/check-tool`;
    const check = async (who: Party) =>
      (await made(null, path(who), { tool_name: "read", server: "srv" }))["allowed"];
    expect([await check(one), await check(other)]).toEqual([false, true]);
    const call = { agent: "same", tool_name: "read", server: "srv" };
    const said = await made(one, "/v1/policies/explain", call);
    expect(said).toMatchObject({ effect: "deny", policy: null });
    expect(JSON.stringify(said["considered"])).not.toContain(String(id));
    for (const policy of [id, mine["id"]])
      await plane.fetch("DELETE", `/v1/policies/${String(policy)}`);
    expect(await check(one)).toBe(true);
  });

  it("are held to their rate by all their keys together [tenant.rate]", async () => {
    await plane.fetch("PATCH", "/v1/tenants/other", { per_minute: 3 });
    const second = await made(null, "/v1/api-keys", {
      name: "k",
      scopes: ["read"],
      tenant_id: "other",
    });
    const keys = [other, { ...other, key: String(second["key"]) }];
    const statuses: number[] = [];
    for (let call = 0; call < 4; call += 1) {
      const who = keys[call % 2] ?? other;
      statuses.push((await plane.fetch("GET", "/v1/runs", undefined, as(who))).status);
    }
    expect(statuses).toEqual([200, 200, 200, 429]);
    expect((await plane.fetch("GET", "/v1/runs", undefined, as(one))).status).toBe(200);
    await plane.fetch("PATCH", "/v1/tenants/other", { per_minute: null });
  });
});

/** What the operator sees of a tenant, but for what grows by itself. */
async function everythingOf({ ids }: Party): Promise<unknown[]> {
  const seen: unknown[] = [];
  for (const path of [
    `/v1/runs/${ids["run_id"]}`,
    `/v1/runs/${ids["run_id"]}/steps`,
    `/v1/runs/${ids["run_id"]}/audit`,
    `/v1/workflow-runs/${ids["workflow_run"]}`,
    `/v1/approvals/${ids["approval_id"]}`,
    `/v1/registry/agents/${ids["agent_id"]}`,
    `/v1/registry/agents/${ids["agent_id"]}/versions`,
    `/v1/registry/tools/${ids["tool_id"]}`,
    `/v1/policies/${ids["policy_id"]}`,
    `/v1/api-keys/${ids["key_id"]}`,
    `/v1/tenants/${ids["tenant_id"]}`,
    `/v1/dead-letters/${ids["letter_id"]}`,
  ]) {
    seen.push((await plane.fetch("GET", path)).body);
  }
  return seen;
}
