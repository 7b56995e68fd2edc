import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import {
  type ApprovalStatus,
  isRunEnded,
  type RunStatus,
  runStatuses,
} from "../../../machines/contracts/domain/status.ts";
import type { Audit } from "./audit.ts";
import {
  type Agent,
  type AgentVersion,
  type Approval,
  type Run,
  seedIds,
  type Step,
  type Tool,
} from "./documents.ts";
import type { ApiKey } from "./keys.ts";
import type { KeptPolicy } from "./policy.ts";
import type { openSpending } from "./spending.ts";
import type { Tenant } from "./tenants.ts";
import type { Workflow } from "./workflows/tables.ts";

/*
 * What is kept, as one tenant sees it. Whoever serves a tenant is given these rows and nothing else: what belongs to
 * another is not found, exactly like what was never there, is in no list and in no count, and can't be overwritten. The
 * rows of nobody in particular (`null`: the operator, and the passing of time) are all there are.
 *
 * Each table has a column `tenant`; a document without one was written before there were tenants, and is the operator's.
 */

export interface Page {
  limit: number;
  offset: number;
}

/** Which runs are listed; null for all. */
export interface RunFilter {
  projectId: string;
  status: RunStatus | null;
  agentId: string | null;
  /** What stands in the run's id, input, output, reason or error, in upper or lower case. */
  text: string | null;
}

/** Where something is looked up by its name: names are unique in there. */
export interface Place {
  tenantId: string;
  projectId: string;
}

export type Rows = ReturnType<ReturnType<typeof openRows>>;

/** Characters of documents in one page of a list: what is longer comes with the next one. */
const mostInPage = 8 * 1024 * 1024;

/** A text is looked for in the newest runs only, of a tenant in its own: it is found by reading them. */
const mostSearched = 20_000;

/** A document's text is JSON: what is looked for is written as JSON writes it. */
function filterOf({ projectId, status, agentId, text }: RunFilter, searchedAfter: number) {
  const written = text === null ? null : JSON.stringify(text).slice(1, -1);
  return [projectId, status, agentId, written, searchedAfter, written] as const;
}

type Owner = string | null;

/** @returns the rows of one tenant, or all of them for null */
export function openRows(
  db: DatabaseSync,
  audit: Pick<Audit, "ofRun">,
  spending: Pick<ReturnType<typeof openSpending>, "of">,
) {
  /** One statement for all rows, one for a tenant's own. */
  const scoped = (select: string, condition: string, rest = "") => {
    const all = db.prepare(`${select} WHERE ${condition} ${rest}`);
    const own = db.prepare(`${select} WHERE tenant = ? AND ${condition} ${rest}`);
    const of = (owner: Owner, ...params: SQLInputValue[]) =>
      owner === null ? all.iterate(...params) : own.iterate(owner, ...params);
    return of;
  };
  const collection = <T extends { id: string; tenantId: string }>(table: string) => {
    const byId = db.prepare(`SELECT doc FROM ${table} WHERE id = ?`);
    const upsert = db.prepare(
      `INSERT INTO ${table} (id, doc) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc`,
    );
    const drop = db.prepare(`DELETE FROM ${table} WHERE id = ?`);
    const find = (owner: Owner, id: string): T | undefined => {
      const doc = readDoc<T>(byId.get(id));
      return owner === null || doc?.tenantId === owner ? doc : undefined;
    };
    return {
      find,
      put(owner: Owner, doc: T): void {
        // A mistake of ours, not of whoever calls: nothing of another tenant is ever handed out to be changed.
        if (owner !== null && doc.tenantId !== owner)
          throw new Error(`${table}: ${doc.id} belongs to another tenant`);
        upsert.run(doc.id, JSON.stringify(doc));
      },
      remove(owner: Owner, id: string): void {
        if (find(owner, id) !== undefined) drop.run(id);
      },
      query(condition: string, rest = "") {
        const rows = scoped(`SELECT doc FROM ${table}`, condition, rest);
        return (owner: Owner, ...params: SQLInputValue[]): T[] =>
          [...rows(owner, ...params)].flatMap((row) => readDoc<T>(row) ?? []);
      },
      /** A page of a list, which ends early where its documents are long. */
      page(condition: string, rest: string) {
        const rows = scoped(`SELECT doc FROM ${table}`, condition, `${rest} LIMIT ? OFFSET ?`);
        return (owner: Owner, params: SQLInputValue[], { limit, offset }: Page): T[] => {
          const read: T[] = [];
          let length = 0;
          for (const row of rows(owner, ...params, limit, offset)) {
            length += String(row["doc"]).length;
            if (read.length > 0 && length > mostInPage) break;
            read.push(...[readDoc<T>(row)].filter((doc) => doc !== undefined));
          }
          return read;
        };
      },
    };
  };

  const runs = collection<Run>("runs");
  const wantedRuns = `project = ? AND status = coalesce(?, status)
    AND doc ->> 'agentId' = coalesce(?, doc ->> 'agentId') AND (? IS NULL OR rowid IN (
      SELECT rowid FROM runs WHERE rowid > ?
        AND instr(lower(id || ' ' || (doc -> 'input') || ' ' || (doc -> 'output') || ' ' ||
          (doc -> 'statusReason') || ' ' || (doc -> 'error')), lower(?)) > 0))`;
  const unsearched = scoped(
    "SELECT rowid AS n FROM runs",
    "TRUE",
    `ORDER BY rowid DESC LIMIT 1 OFFSET ${mostSearched}`,
  );
  const listRuns = runs.page(wantedRuns, "ORDER BY rowid DESC");
  const countRuns = scoped("SELECT count(*) AS n FROM runs", wantedRuns);
  const openRuns = runs.query(
    `status IN (${runStatuses.filter((status) => !isRunEnded(status)).map((status) => `'${status}'`)})`,
    "ORDER BY rowid DESC LIMIT ?",
  );
  const byRequest = runs.query("doc ->> 'requestKey' = ? AND doc ->> 'requestKey' IS NOT NULL");
  const ofWorkflow = runs.page("doc ->> 'workflowId' = ?", "ORDER BY rowid DESC");

  const steps = collection<Step>("steps");
  const stepsAfter = steps.page("run = ? AND number > ?", "ORDER BY number");
  const ofStatuses = (statuses: string) => `run = ? AND doc ->> 'status' IN (${statuses})`;
  const openSteps = steps.query(
    ofStatuses("'pending', 'running', 'waiting_approval'"),
    "ORDER BY number",
  );
  const waitingSteps = steps.query(
    `${ofStatuses("'waiting_approval'")} AND number > ?`,
    "ORDER BY number LIMIT ?",
  );
  const failedSteps = steps.query(ofStatuses("'failed'"), "ORDER BY number");
  const lastCompleted = steps.query(
    "run = ? AND doc ->> 'status' = 'completed'",
    "ORDER BY number DESC LIMIT 1",
  );
  const heldBackSteps = steps.query(
    `${ofStatuses("'pending'")} AND doc ->> 'enqueuedAt' IS NULL`,
    "ORDER BY number LIMIT ?",
  );
  const pageOfSteps = steps.page("run = ?", "ORDER BY number");
  const silentSteps = steps.query(
    `doc ->> 'status' IN ('pending', 'running', 'waiting_approval') AND doc ->> 'enqueuedAt' IS NOT NULL
      AND coalesce(doc ->> 'heardAt', doc ->> 'enqueuedAt') <= ?`,
    "ORDER BY coalesce(doc ->> 'heardAt', doc ->> 'enqueuedAt') LIMIT 100",
  );

  const approvals = collection<Approval>("approvals");
  const ofStatus = "status = coalesce(?, status) AND run = coalesce(?, run)";
  const oldestApprovals = approvals.page(ofStatus, "ORDER BY rowid");
  const newestApprovals = approvals.page(ofStatus, "ORDER BY rowid DESC");
  const countPending = scoped("SELECT count(*) AS n FROM approvals", "status = 'pending'");
  const dueApprovals = approvals.query("status = 'pending' AND expires <= ?");
  const pendingOfRun = approvals.query("run = ? AND status = 'pending'", "LIMIT ?");
  const ofStep = approvals.query("step = ?");
  const byAction = approvals.query("step = ? AND digest = ?");

  const agents = collection<Agent>("agents");
  const agentBySlug = agents.query("slug = ?");
  const activeAgents = agents.query(
    "project = ? AND status = 'active'",
    "ORDER BY rowid LIMIT ? OFFSET ?",
  );

  const versions = collection<AgentVersion>("versions");
  const versionsOfAgent = versions.query("agent = ?", "ORDER BY rowid DESC LIMIT ?");

  const tools = collection<Tool>("tools");
  const toolsOfProject = tools.query("project = ?", "ORDER BY rowid LIMIT ? OFFSET ?");
  const toolBySlug = tools.query("project = ? AND slug = ?");

  const policies = collection<KeptPolicy>("policies");
  const policiesOfProject = policies.query("project = ?", "ORDER BY rowid");

  const workflows = collection<Workflow>("workflows");
  const workflowByDigest = workflows.query("digest = ?");
  const listWorkflows = workflows.page("project = ?", "ORDER BY rowid DESC");

  const keys = collection<ApiKey>("keys");
  const keyByHash = keys.query("(hash = ? OR previous = ?)");
  const allKeys = keys.query("TRUE", "ORDER BY rowid LIMIT ? OFFSET ?");

  const tenants = collection<Tenant>("tenants");
  const tenantBySlug = tenants.query("slug = ?");
  const allTenants = tenants.query("TRUE", "ORDER BY rowid LIMIT ? OFFSET ?");

  return (owner: string | null) => {
    /** Names are looked for among one's own; the operator's own, for the operator. */
    const home = owner ?? seedIds.tenant;
    const filtered = (wanted: RunFilter) =>
      filterOf(wanted, wanted.text === null ? 0 : countOf(unsearched(owner)));
    return {
      /** To whom belongs what is made here and stands below nothing else. */
      home,
      runs: {
        find: (id: string) => runs.find(owner, id),
        put: (run: Run) => runs.put(owner, run),
        /** The newest that have not ended. */
        open: (limit: number) => openRuns(owner, limit),
        findByRequest: (key: string) => byRequest(owner, key)[0],
        /** Newest first. */
        list: (wanted: RunFilter, page: Page) => listRuns(owner, [...filtered(wanted)], page),
        count: (wanted: RunFilter) => countOf(countRuns(owner, ...filtered(wanted))),
        /** Newest first. */
        ofWorkflow: (id: string, page: Page) => ofWorkflow(owner, [id], page),
      },
      steps: {
        find: (id: string) => steps.find(owner, id),
        put: (step: Step) => steps.put(owner, step),
        ofRun: (runId: string, page: Page) => pageOfSteps(owner, [runId], page),
        /** Those after a number, as many as a page holds: all of them may be more than there is room for. */
        after: (runId: string, number: number) =>
          stepsAfter(owner, [runId, number], { limit: 1_000, offset: 0 }),
        /** Those that have not ended. */
        open: (runId: string) => openSteps(owner, runId),
        /** Those after a number that wait for people, the first of them. */
        waiting: (runId: string, after: number, most: number) =>
          waitingSteps(owner, runId, after, most),
        failed: (runId: string) => failedSteps(owner, runId),
        lastCompleted: (runId: string) => lastCompleted(owner, runId)[0],
        /** Not put on the stream yet, the first of them. */
        heldBack: (runId: string, most: number) => heldBackSteps(owner, runId, most),
        /** Enqueued, not ended, and not heard of since then; a hundred at most, the longest silent first. */
        silentSince: (time: number) => silentSteps(owner, time),
      },
      approvals: {
        find: (id: string) => approvals.find(owner, id),
        put: (approval: Approval) => approvals.put(owner, approval),
        /** The open ones oldest first, for people to answer in that order; any others newest first. */
        list(status: ApprovalStatus | null, runId: string | null, page: Page) {
          const list = status === "pending" ? oldestApprovals : newestApprovals;
          return list(owner, [status, runId], page);
        },
        countPending: () => countOf(countPending(owner)),
        due: (now: number) => dueApprovals(owner, now),
        /** At most so many; -1 for all. */
        pendingOfRun: (runId: string, most = -1) => pendingOfRun(owner, runId, most),
        ofStep: (stepId: string) => ofStep(owner, stepId),
        findByAction: (stepId: string, digest: string) => byAction(owner, stepId, digest)[0],
      },
      agents: {
        put: (agent: Agent) => agents.put(owner, agent),
        /** By id or slug. */
        find: (key: string) => agents.find(owner, key) ?? agentBySlug(home, key)[0],
        active: (projectId: string, page: Page) =>
          activeAgents(owner, projectId, page.limit, page.offset),
        activeOf: ({ tenantId, projectId }: Place, limit: number) =>
          activeAgents(tenantId, projectId, limit, 0),
      },
      versions: {
        find: (id: string) => versions.find(owner, id),
        put: (version: AgentVersion) => versions.put(owner, version),
        /** Newest first. */
        ofAgent: (agentId: string) => versionsOfAgent(owner, agentId, -1),
        latest: (agentId: string) => versionsOfAgent(owner, agentId, 1)[0],
        /** What runs use where no version is named: the promoted one, or the newest. */
        current: ({ id, promotedId }: Agent) =>
          promotedId === undefined
            ? versionsOfAgent(owner, id, 1)[0]
            : versions.find(owner, promotedId),
      },
      tools: {
        find: (id: string) => tools.find(owner, id),
        put: (tool: Tool) => tools.put(owner, tool),
        list: (projectId: string, page: Page) =>
          toolsOfProject(owner, projectId, page.limit, page.offset),
        /** All of them, for a check of a call. */
        of: ({ tenantId, projectId }: Place) => toolsOfProject(tenantId, projectId, -1, 0),
        findBySlug: (projectId: string, slug: string) => toolBySlug(home, projectId, slug)[0],
      },
      policies: {
        find: (id: string) => policies.find(owner, id),
        put: (policy: KeptPolicy) => policies.put(owner, policy),
        remove: (id: string) => policies.remove(owner, id),
        /** Oldest first. */
        ofProject: (projectId: string) => policiesOfProject(owner, projectId),
        of: ({ tenantId, projectId }: Place) => policiesOfProject(tenantId, projectId),
        /** The operator's, which bind every tenant; nobody else is shown them. */
        ofOperator: () => policiesOfProject(seedIds.tenant, seedIds.project),
      },
      workflows: {
        find: (id: string) => workflows.find(owner, id),
        add: (workflow: Workflow) => workflows.put(owner, workflow),
        findByDigest: (digest: string) => workflowByDigest(home, digest)[0],
        /** Newest first. */
        list: (projectId: string, page: Page) => listWorkflows(owner, [projectId], page),
      },
      keys: {
        find: (id: string) => keys.find(owner, id),
        put: (key: ApiKey) => keys.put(owner, key),
        /** By the SHA-256 of a secret, its present one or the one before. */
        findByHash: (hash: string) => keyByHash(owner, hash, hash)[0],
        list: (page: Page) => allKeys(owner, page.limit, page.offset),
      },
      tenants: {
        /** By id or slug. */
        find: (key: string) => tenants.find(owner, key) ?? tenantBySlug(owner, key)[0],
        put: (tenant: Tenant) => tenants.put(owner, tenant),
        list: (page: Page) => allTenants(owner, page.limit, page.offset),
      },
      /** What the runs of an agent or a tenant of these have spent and reserved. */
      spending: spending.of,
      /** What the audit says of a run. */
      auditOf: (run: Run, page: Page) =>
        runs.find(owner, run.id) === undefined ? [] : audit.ofRun(run.id, page.limit, page.offset),
    };
  };
}

const countOf = (rows: Iterable<Record<string, unknown>>): number =>
  Number([...rows][0]?.["n"] ?? 0);

/** Documents are written here alone, under a checked schema version: no second check. */
function readDoc<T extends { tenantId: string }>(
  row: Record<string, unknown> | undefined,
): T | undefined {
  if (row === undefined) return undefined;
  const doc = JSON.parse(String(row["doc"])) as T;
  doc.tenantId ??= seedIds.tenant;
  return doc;
}
