import { Ajv2020 } from "ajv/dist/2020.js";
import { writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createWorkflowEngine } from "../../actors/workflow/engine.ts";
import { createApp } from "../../adapters/control-plane/embedded/app.ts";
import { scopes } from "../../adapters/control-plane/embedded/keys.ts";
import { createEvalReports } from "../../cli/compose/eval-reports.ts";
import { writeReport } from "../../evals/report-file.ts";
import { createWorkflowReader } from "../../adapters/workflows/step-request.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { type JsonObject, parseJson } from "../../machines/contracts/domain/json.ts";
import {
  type ApiDocument,
  type MadeRequest,
  operationsOf,
  requestsOf,
} from "../support/api-requests.ts";
import { report } from "../support/eval-report.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { sqliteBackends } from "../support/backends.ts";
import { listen } from "../support/listen.ts";
import {
  apiKey,
  soundJob,
  startTestPlane,
  type TestPlane,
} from "../support/embedded-control-plane.ts";

/** How many requests are made; more of them than the suite has time for by `API_FUZZ_REQUESTS`. */
const numRuns = Number(process.env["API_FUZZ_REQUESTS"] ?? 300);

const folder = useTemporaryFolder();
let plane: TestPlane;
let backend: StepBackend;
let receiver: Server;
let document: ApiDocument;
/** Whoever may call: all scopes, each scope, a revoked key, none, nonsense. */
const callers: (string | null)[] = [apiKey];
const callersIds = new Set<string>();
const failures: string[] = [];
/** The step that the workers' store has a record of. */
let keptStep: Record<string, string> = {};
/** Of everything that was seen, by the names that parameters have. */
const ids = new Map<string, string[]>();
beforeAll(async () => {
  const say = (fields: object, message: string) =>
    void failures.push(`${message} ${JSON.stringify(fields)}`);
  backend = await sqliteBackends().backend("control-plane-openapi");
  receiver = createServer((request, response) => {
    let raw = "";
    request.on("data", (chunk: Buffer) => (raw += chunk.toString()));
    request.on("end", () => {
      const [, token] = /#([\w-]{43})"/.exec(raw) ?? [];
      if (token !== undefined) ids.set("token", [...(ids.get("token") ?? []), token].slice(-6));
      response.end();
    });
  });
  const evals = report(3, (at) => at > 0);
  await writeReport(join(folder, "one.json"), evals);
  await writeFile(join(folder, "none.json"), "{}");
  ids.set("eval_id", [evals.id]).set(
    "task_id",
    evals.tasks.map(({ id }) => id),
  );
  const url = `http://127.0.0.1:${await listen(receiver)}/`;
  const webhook = { name: "w", url, secret: null, keyId: null };
  plane = await startTestPlane({
    notices: { webhooks: [webhook], publicUrl: null, remindBeforeMs: 0 },
    steps: backend,
    evals: createEvalReports(folder),
    async publish(fields) {
      plane.jobs.push(soundJob(fields));
      await backend.queue.publish(fields);
    },
    workflows: createWorkflowEngine(createWorkflowReader()),
    log: {
      debug() {},
      info() {},
      warn() {},
      error: (fields: object, message: string) =>
        say({ ...fields, stack: String((fields as { err?: Error }).err?.stack) }, message),
    },
  });
  document = (await plane.fetch("GET", "/openapi.json")).body as unknown as ApiDocument;
  for (const scope of [...scopes, "revoked"]) {
    const of = scope === "revoked" ? "read" : scope;
    const { body } = await plane.fetch("POST", "/v1/api-keys", {
      name: scope,
      scopes: [of],
      roles: ["r"],
    });
    callers.push(String(body["key"]));
    callersIds.add(String(body["id"]));
    if (scope === "revoked") await plane.fetch("POST", `/v1/api-keys/${String(body["id"])}/revoke`);
  }
  callers.push(null, "nonsense");
  await makeExamples();
});
afterAll(async () => {
  await plane.close();
  await backend.close();
  receiver.closeAllConnections();
  receiver.close();
});

describe("/openapi.json", () => {
  it("describes every route that is served, and no other [plane.described]", () => {
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    // Routes take hold of what they need when they are called.
    const app = createApp({ now: Date.now, workflows: null } as never, {
      apiKey: "key",
      host: "127.0.0.1",
      publicUrl: null,
      site: undefined,
      log,
    });
    const served = app.routes
      .filter(({ method }) => method !== "ALL")
      .map(({ method, path }) => `${method} ${path.replaceAll(/:\w+/g, "{}")}`);
    const described = operationsOf(document).map(
      ({ method, path }) => `${method} ${path.replaceAll(/\{\w+\}/g, "{}")}`,
    );
    expect(described.toSorted()).toEqual([...new Set(served)].toSorted());
  });

  it(
    "is what every answer keeps to, whatever is asked and by whom [plane.answers]",
    async () => {
      const check = checkerOf(document);
      const succeeded = new Set<string>();
      let asked = 0;
      await fc.assert(
        fc.asyncProperty(requestsOf(document, callers.length), async (made) => {
          if (++asked % 40 === 0) await makeQuestion();
          const answer = await send(made);
          if (answer === null) return;
          const { method, path } = made.operation;
          const problem = check(made, answer);
          expect(
            problem,
            `${method} ${path}, ${answer.status}: ${answer.text.slice(0, 600)} ${failures.join("; ")}`,
          ).toBeNull();
          if (answer.status < 300) succeeded.add(`${method} ${path}`);
          if (answer.status < 300 && path.endsWith("/retry")) await makeLetter();
          // A budget that was set would end every run after it.
          if (answer.status < 300 && method === "PATCH" && !path.includes("policies")) {
            const budgets = { day: null, month: null, total: null };
            for (const owner of ["registry/agents/helper", "tenants/operator"])
              await plane.fetch("PATCH", `/v1/${owner}`, { budgets });
          }
          learn(answer.text);
        }),
        // Made smaller against what a failed request has left behind, it would be another failure.
        { numRuns, endOnFailure: true },
      );
      expect(failures).toEqual([]);
      const never = operationsOf(document)
        .map(({ method, path }) => `${method} ${path}`)
        .filter((each) => !succeeded.has(each));
      // Most of the API was really reached: refusing everything would keep to its schema too.
      expect(never.length, never.join(", ")).toBeLessThan(numRuns >= 10_000 ? 1 : 30);
    },
    60_000 + numRuns * 200,
  );
});

interface Answer {
  status: number;
  media: string;
  text: string;
}

/** One of each kind, so that the first calls find something. */
async function makeExamples(): Promise<void> {
  const make = async (path: string, body: object) => {
    const made = await plane.fetch("POST", path, body);
    expect(made.status, JSON.stringify(made.body)).toBeLessThan(300);
    learn(JSON.stringify(made.body));
    return made.body;
  };
  learn(JSON.stringify((await plane.fetch("GET", "/v1/registry/agents")).body));
  const { runId: run_id, stepId: step_id } = await plane.createRun();
  learn(`${run_id} ${step_id}`);
  await make("/v1/approvals", { run_id, step_id, action_type: "tool", digest: "d", reason: "r" });
  await make("/v1/api-keys", { name: "n", scopes: ["read"] });
  const [server, slug] = ["m", "read"];
  const tool = { name: "n", slug, mcp_server: server, risk_level: "read", input_schema: {} };
  await make("/v1/registry/tools", tool);
  const conditions = { tools: ["read"], time: { days: ["mon"] } };
  await make("/v1/policies", { name: "p", effect: "allow", conditions });
  const definition = { steps: [{ id: "one", type: "llm", config: { system_prompt: "Hi." } }] };
  const workflow = await make("/v1/workflows", { name: "w", version: "1.0.0", definition });
  const run = { workflow_id: workflow["id"], input: {}, agent_id: "helper" };
  await make("/v1/workflow-runs", run);
  await make("/v1/tenants", { slug: "other" });
  // What a worker has of a step, and one that no retry mended.
  const { signal } = new AbortController();
  const [kept] = await backend.queue.read(1, 2_000, signal);
  if (kept === undefined) throw new Error("expected a job");
  const job = soundJob(kept.fields);
  await backend.store.open(kept.entryId, job, 600_000, kept.fields);
  keptStep = { run_id: job.runId, step_id: job.stepId };
  await makeLetter();
}

/** An open question of a run that goes on: those of before are answered sooner or later. */
async function makeQuestion(): Promise<void> {
  const run = await plane.fetch("POST", "/v1/runs", { agent_id: "helper", input: { task: "t" } });
  const { body } = await plane.fetch("GET", `/v1/runs/${String(run.body["id"])}/steps`);
  const [step] = Array.isArray(body) ? (body as JsonObject[]) : [];
  const of = { run_id: run.body["id"] ?? null, step_id: step?.["id"] ?? null };
  const question = { ...of, action_type: "tool", digest: "d", reason: "r" };
  learn(JSON.stringify((await plane.fetch("POST", "/v1/approvals", question)).body));
}

/** A dead letter, of whatever job is on the stream. */
async function makeLetter(): Promise<void> {
  const [broken] = await backend.queue.read(1, 0, new AbortController().signal);
  const { entryId, fields } = broken ?? { entryId: "1-1", fields: {} };
  const letter = { fields, reason: "it broke", stateHistory: [], snapshot: null };
  await backend.queue.deadLetter(entryId, { ...letter, deliveries: 1, at: plane.clock.now });
  const letters = await backend.queue.deadLetters(10);
  ids.set(
    "letter_id",
    letters.map(({ id }) => id),
  );
}

/** Null where an HTTP client makes another path of this one, by `..` say. */
async function send({
  operation,
  caller,
  job: nth,
  path,
  query,
  headers,
  body,
}: MadeRequest): Promise<Answer | null> {
  const job = nth === null ? undefined : plane.jobs.at(-1 - (nth % plane.jobs.length));
  const fill = (text: string) =>
    text.replaceAll(/@(\w+?):(\d+)/g, (_, name: string, at: string) => {
      if (operation.path.endsWith("/record") && nth !== null && name in keptStep)
        return keptStep[name] ?? "";
      if (job !== undefined && name === "run_id") return job.runId;
      if (job !== undefined && name === "step_id") return job.stepId;
      const known = ids.get(name) ?? [];
      return known[Number(at) % Math.max(1, known.length)] ?? "none";
    });
  let target = operation.path;
  for (const [name, value] of Object.entries(path)) {
    const text = fill(value);
    const part = text === "%zz" || text === "%00" ? text : encodeURIComponent(text.toWellFormed());
    if (part === "") return null;
    target = target.replace(`{${name}}`, () => part);
  }
  const asked = query.map(([name, value]) => `${name}=${encodeURIComponent(value.toWellFormed())}`);
  const key = callers[caller];
  const stop = new AbortController();
  const ask = () =>
    fetch(`${plane.url}${target}?${asked.join("&")}`, {
      method: operation.method,
      headers: {
        ...(headers as Record<string, string>),
        ...(key == null ? {} : { authorization: `Bearer ${key}` }),
      },
      ...(body === null ? {} : { body: fill(body) }),
      signal: AbortSignal.any([stop.signal, AbortSignal.timeout(60_000)]),
    });
  // A connection that was idle while this process was busy may end just when it is used.
  const response = await ask().catch(ask);
  const media = (response.headers.get("content-type") ?? "").split(";")[0] ?? "";
  const isEndless = media === "text/event-stream";
  const text = isEndless ? "" : await response.text();
  if (isEndless) stop.abort();
  return { status: response.status, media, text };
}

/** Ids of everything that was seen, by the names that parameters have. */
function learn(text: string): void {
  const names = {
    run: "run_id",
    wfr: "run_id",
    stp: "step_id",
    apr: "approval_id",
    agt: "agent_id",
    agv: "version_id",
    tol: "tool_id",
    key: "key_id",
    wf: "workflow_id",
    pol: "policy_id",
    ten: "tenant_id",
  };
  for (const [id = "", prefix = ""] of text.matchAll(/\b([a-z]{2,3})_[0-9A-HJKMNP-TV-Z]{26}\b/g)) {
    const name = (names as Record<string, string>)[prefix];
    if (name === undefined || callersIds.has(id)) continue;
    const known = ids.get(name) ?? [];
    if (!known.includes(id))
      // The first ones stand: they are known to be usable.
      ids.set(name, [...known.slice(0, 2), ...[...known.slice(2), id].slice(-6)]);
  }
}

function checkerOf(api: ApiDocument): (made: MadeRequest, answer: Answer) => string | null {
  const ajv = new Ajv2020({ strict: false, allErrors: false });
  ajv.addSchema(api, "api");
  return ({ operation }, { status, media, text }) => {
    const described = operation.responses[status];
    if (described === undefined) return `the document has no answer ${status}`;
    const content = described.content[media];
    if (content === undefined) return `the document has no answer of ${media}`;
    if (content.schema === undefined) return null;
    const parts = [
      "paths",
      operation.path,
      operation.method.toLowerCase(),
      "responses",
      String(status),
      "content",
      media,
      "schema",
    ];
    const pointer = parts
      .map((part) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1")))
      .join("/");
    const read = parseJson(text);
    if (!read.ok) return "the answer is no JSON";
    const validate = ajv.getSchema(`api#/${pointer}`);
    if (validate === undefined) return "the answer has no schema";
    return validate(read.value) === true ? null : ajv.errorsText(validate.errors);
  };
}
