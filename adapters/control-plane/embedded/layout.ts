import { closeSync, existsSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { databaseTrouble } from "./database-trouble.ts";
import { chainAudit } from "./audit.ts";
import { seedIds } from "./documents.ts";
import { recountSpending, spendingLayout } from "./spending.ts";
import { operatorTenant } from "./tenants.ts";
import { workflowLayout } from "./workflows/tables.ts";

/** Documents as JSON, with a generated column for each thing they are looked up by. */
const documents = `
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
`;

/** Made at each opening: an index is no part of what an earlier version reads. */
const indexes = `
CREATE UNIQUE INDEX IF NOT EXISTS runs_by_request ON runs (doc ->> 'requestKey')
  WHERE doc ->> 'requestKey' IS NOT NULL;
CREATE INDEX IF NOT EXISTS runs_of_tenant ON runs (tenant);
CREATE INDEX IF NOT EXISTS steps_by_status
  ON steps (run, doc ->> 'status', number, doc ->> 'enqueuedAt');
CREATE INDEX IF NOT EXISTS steps_out ON steps (coalesce(doc ->> 'heardAt', doc ->> 'enqueuedAt'))
  WHERE doc ->> 'status' IN ('pending', 'running', 'waiting_approval') AND doc ->> 'enqueuedAt' IS NOT NULL;
`;

const keys = `
CREATE TABLE keys (id TEXT PRIMARY KEY, doc TEXT NOT NULL,
  hash TEXT AS (doc ->> 'hash'), previous TEXT AS (doc ->> '$.previous.hash'));
CREATE UNIQUE INDEX keys_by_hash ON keys (hash);
CREATE INDEX keys_by_previous ON keys (previous) WHERE previous IS NOT NULL;
`;

const policies = `
CREATE TABLE policies (id TEXT PRIMARY KEY, doc TEXT NOT NULL, project TEXT AS (doc ->> 'projectId'));
CREATE INDEX policies_by_project ON policies (project);
`;

/** Of documents that name none: they were written before there were tenants, and are the operator's. */
const owner = `tenant TEXT AS (coalesce(doc ->> 'tenantId', '${seedIds.tenant}'))`;
const owned = [
  "runs",
  "steps",
  "approvals",
  "agents",
  "versions",
  "tools",
  "policies",
  "workflows",
  "keys",
];
const tenants = `
${owned.map((table) => `ALTER TABLE ${table} ADD COLUMN ${owner};`).join("\n")}
CREATE TABLE tenants (id TEXT PRIMARY KEY, doc TEXT NOT NULL, ${owner}, slug TEXT AS (doc ->> 'slug'));
CREATE UNIQUE INDEX tenants_by_slug ON tenants (slug);
CREATE INDEX runs_by_tenant ON runs (tenant, project, status);
CREATE INDEX approvals_by_tenant ON approvals (tenant, status);
CREATE INDEX policies_by_tenant ON policies (tenant, project);
DROP INDEX agents_by_slug;
CREATE UNIQUE INDEX agents_by_slug ON agents (tenant, slug);
DROP INDEX tools_by_slug;
CREATE UNIQUE INDEX tools_by_slug ON tools (tenant, project, slug);
DROP INDEX workflows_by_digest;
CREATE UNIQUE INDEX workflows_by_digest ON workflows (tenant, digest);
`;

function addTenants(db: DatabaseSync): void {
  db.exec(tenants);
  const add = db.prepare("INSERT INTO tenants (id, doc) VALUES (?, ?)");
  add.run(seedIds.tenant, JSON.stringify(operatorTenant()));
}

/** What each layout adds to the one before it; the file keeps how many it has as `user_version`. Never changed, only added to. */
const layouts: readonly (string | ((db: DatabaseSync) => void))[] = [
  documents,
  keys,
  chainAudit,
  workflowLayout,
  policies,
  addTenants,
  spendingLayout,
  recountSpending,
];

/**
 * Opens the file, makes it where it is missing, and brings one of an earlier version to today's layout.
 *
 * @throws Error when another process holds the file, or a later version of us wrote it
 */
export function openDatabase(path: string): DatabaseSync {
  if (path !== ":memory:") {
    makeFolder(dirname(path));
    // Created for its owner alone: runs hold prompts and what tools read.
    closeSync(openSync(path, "a", 0o600));
  }
  const db = new DatabaseSync(path);
  try {
    // Exclusive: two control planes on one file would each publish the other's outbox.
    db.exec(
      "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
    );
    migrate(db, path);
    return db;
  } catch (error) {
    db.close();
    if (error instanceof Error && /database is locked/.test(error.message)) {
      throw new Error(`${path} is held by another control plane: stop it, or use another file`, {
        cause: error,
      });
    }
    const trouble = databaseTrouble(error, path);
    throw trouble === null ? error : new Error(trouble, { cause: error });
  }
}

/** Node's own way (`recursive`) never ends where a system answers ENOENT for a folder whose parent is there. */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  if (dirname(path) !== path) makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another process may have been faster.
    if (!existsSync(path)) throw error;
  }
}

/** All or nothing: what stops in the middle leaves the layout that there was. */
function migrate(db: DatabaseSync, path: string): void {
  db.exec("BEGIN EXCLUSIVE");
  const version = Number(db.prepare("PRAGMA user_version").get()?.["user_version"]);
  if (version > layouts.length) {
    throw new Error(
      `${path} has schema version ${version}; this Stateplane reads up to version ${layouts.length}: update Stateplane, or use another file`,
    );
  }
  for (const layout of layouts.slice(version)) {
    if (typeof layout === "string") db.exec(layout);
    else layout(db);
  }
  db.exec(`PRAGMA user_version = ${layouts.length}`);
  db.exec(indexes);
  db.exec("COMMIT");
}
