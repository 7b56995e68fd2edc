import { mkdtemp, rm } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startTestPlane } from "../support/embedded-control-plane.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();
let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-plane-layouts-"));
  path = join(folder, "control-plane.sqlite");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** As the first version made it. */
const first = `
CREATE TABLE runs (id TEXT PRIMARY KEY, doc TEXT NOT NULL,
  project TEXT AS (doc ->> 'projectId'), status TEXT AS (doc ->> 'status'));
CREATE INDEX runs_by_project ON runs (project, status);
CREATE TABLE steps (id TEXT PRIMARY KEY, doc TEXT NOT NULL,
  run TEXT AS (doc ->> 'runId'), number INTEGER AS (doc ->> 'number'));
CREATE UNIQUE INDEX steps_by_run ON steps (run, number);
CREATE TABLE approvals (id TEXT PRIMARY KEY, doc TEXT NOT NULL,
  run TEXT AS (doc ->> 'runId'), step TEXT AS (doc ->> 'stepId'), digest TEXT AS (doc ->> 'digest'),
  status TEXT AS (doc ->> 'status'), expires INTEGER AS (doc ->> 'expiresAt'));
CREATE UNIQUE INDEX approvals_by_action ON approvals (step, digest);
CREATE INDEX approvals_by_expiry ON approvals (status, expires);
CREATE INDEX approvals_by_run ON approvals (run);
CREATE TABLE agents (id TEXT PRIMARY KEY, doc TEXT NOT NULL,
  slug TEXT AS (doc ->> 'slug'), project TEXT AS (doc ->> 'projectId'), status TEXT AS (doc ->> 'status'));
CREATE UNIQUE INDEX agents_by_slug ON agents (slug);
CREATE TABLE versions (id TEXT PRIMARY KEY, doc TEXT NOT NULL,
  agent TEXT AS (doc ->> 'agentId'), version TEXT AS (doc ->> 'version'));
CREATE UNIQUE INDEX versions_by_agent ON versions (agent, version);
CREATE TABLE tools (id TEXT PRIMARY KEY, doc TEXT NOT NULL,
  slug TEXT AS (doc ->> 'slug'), project TEXT AS (doc ->> 'projectId'));
CREATE UNIQUE INDEX tools_by_slug ON tools (project, slug);
CREATE TABLE audit (id TEXT PRIMARY KEY, doc TEXT NOT NULL, run TEXT AS (doc ->> 'runId'));
CREATE INDEX audit_by_run ON audit (run);
CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, data TEXT NOT NULL);
PRAGMA user_version = 1;
`;

const run = {
  id: "run_1",
  tenantId: "ten_01JFVX0000000000000000001",
  projectId: "prj_01JFVX0000000000000000001",
  agentId: "agt_1",
  agentVersionId: "agv_1",
  status: "completed",
  statusReason: null,
  input: { task: "t" },
  config: null,
  output: "kept",
  error: null,
  inputTokens: 1,
  outputTokens: 2,
  toolCalls: 0,
  costMicros: 5,
  traceId: null,
  spanId: null,
  createdAt: 1_700_000_000_000,
  startedAt: null,
  completedAt: null,
  waitingSince: null,
  waitedMs: 0,
};

function writeFirst(): void {
  const old = new DatabaseSync(path);
  old.exec(first);
  const put = (table: string, doc: { id: string }) =>
    old.prepare(`INSERT INTO ${table} (id, doc) VALUES (?, ?)`).run(doc.id, JSON.stringify(doc));
  put("runs", run);
  for (const [at, event] of ["run.created", "run.completed"].entries()) {
    put("audit", { id: `aud_${at}`, runId: "run_1", event, details: { at }, at: 5 } as never);
  }
  old.close();
}

it("a file of the first layout is brought to today's, with all that it held [plane.layouts]", async () => {
  writeFirst();
  for (const _opening of ["first", "second"]) {
    const plane = await startTestPlane({ path });
    expect(value(await plane.api.run("run_1", signal))).toMatchObject({
      status: "completed",
      output: "kept",
      cost_micros: 5,
    });
    const { body } = await plane.fetch("GET", "/v1/runs/run_1/audit");
    expect(body).toMatchObject([{ event: "run.created" }, { event: "run.completed" }]);
    const key = { name: "n", scopes: ["read"] };
    expect((await plane.fetch("POST", "/v1/api-keys", key)).status).toBe(201);
    await plane.close();
  }
});
