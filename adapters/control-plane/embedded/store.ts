import { setTimeout } from "node:timers/promises";
import { backup, DatabaseSync, type SQLInputValue } from "node:sqlite";
import { openWorkflowTables } from "./workflows/tables.ts";
import {
  type ApprovalStatus,
  isRunEnded,
  type RunStatus,
  runStatuses,
} from "../../../machines/contracts/domain/status.ts";
import type { Agent, AgentVersion, Approval, Run, Step, Tool } from "./documents.ts";
import { openAudit } from "./audit.ts";
import { openNoticeTables } from "./notices/tables.ts";
import type { ApiKey } from "./keys.ts";
import { openDatabase } from "./layout.ts";
import type { Policy } from "./policy.ts";

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

/** A text is looked for in the newest runs only: it is found by reading them. */
const mostSearched = 20_000;

/** A document's text is JSON: what is looked for is written as JSON writes it. */
function filterOf({ projectId, status, agentId, text }: RunFilter) {
  const written = text === null ? null : JSON.stringify(text).slice(1, -1);
  return [projectId, status, agentId, written, written] as const;
}

export type Store = ReturnType<typeof openStore>;

/**
 * The control plane's state in one SQLite file, which one process at a time may hold. Everything is
 * synchronous, so a transaction is never interleaved with another.
 *
 * @param path a file, created with its folder when absent, or `:memory:`
 * @throws Error when another process holds the file, or a later version of us wrote it
 */
export function openStore(path: string) {
  const db = openDatabase(path);

  const collection = <T extends { id: string }>(table: string) => {
    const byId = db.prepare(`SELECT doc FROM ${table} WHERE id = ?`);
    const upsert = db.prepare(
      `INSERT INTO ${table} (id, doc) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc`,
    );
    return {
      find: (id: string): T | undefined => readDoc<T>(byId.get(id)),
      put: (doc: T): void => void upsert.run(doc.id, JSON.stringify(doc)),
      query(rest: string) {
        const statement = db.prepare(`SELECT doc FROM ${table} ${rest}`);
        return (...params: SQLInputValue[]): T[] =>
          statement.all(...params).flatMap((row) => readDoc<T>(row) ?? []);
      },
    };
  };

  const runs = collection<Run>("runs");
  const wantedRuns = `WHERE project = ? AND status = coalesce(?, status)
    AND doc ->> 'agentId' = coalesce(?, doc ->> 'agentId') AND (? IS NULL OR rowid IN (
      SELECT rowid FROM runs WHERE rowid > coalesce((SELECT max(rowid) FROM runs), 0) - ${mostSearched}
        AND instr(lower(id || ' ' || (doc -> 'input') || ' ' || (doc -> 'output') || ' ' ||
          (doc -> 'statusReason') || ' ' || (doc -> 'error')), lower(?)) > 0))`;
  const listRuns = runs.query(`${wantedRuns} ORDER BY rowid DESC LIMIT ? OFFSET ?`);
  const openRuns = runs.query(
    `WHERE status IN (${runStatuses.filter((status) => !isRunEnded(status)).map((status) => `'${status}'`)}) ORDER BY rowid DESC LIMIT ?`,
  );
  const byRequest = runs.query(
    "WHERE doc ->> 'requestKey' = ? AND doc ->> 'requestKey' IS NOT NULL",
  );
  const countRuns = db.prepare(`SELECT count(*) AS n FROM runs ${wantedRuns}`);

  const steps = collection<Step>("steps");
  const stepsOfRun = steps.query("WHERE run = ? ORDER BY number LIMIT ? OFFSET ?");
  const silentSteps = steps.query(
    `WHERE doc ->> 'status' IN ('pending', 'running', 'waiting_approval') AND doc ->> 'enqueuedAt' IS NOT NULL
      AND coalesce(doc ->> 'heardAt', doc ->> 'enqueuedAt') <= ? ORDER BY coalesce(doc ->> 'heardAt', doc ->> 'enqueuedAt') LIMIT 100`,
  );

  const approvals = collection<Approval>("approvals");
  const ofStatus = "WHERE status = coalesce(?, status) AND run = coalesce(?, run)";
  const oldestApprovals = approvals.query(`${ofStatus} ORDER BY rowid LIMIT ? OFFSET ?`);
  const newestApprovals = approvals.query(`${ofStatus} ORDER BY rowid DESC LIMIT ? OFFSET ?`);
  const dueApprovals = approvals.query("WHERE status = 'pending' AND expires <= ?");
  const pendingOfRun = approvals.query("WHERE run = ? AND status = 'pending'");
  const ofStep = approvals.query("WHERE step = ?");
  const byAction = approvals.query("WHERE step = ? AND digest = ?");

  const agents = collection<Agent>("agents");
  const agentBySlug = agents.query("WHERE slug = ?");
  const activeAgents = agents.query(
    "WHERE project = ? AND status = 'active' ORDER BY rowid LIMIT ? OFFSET ?",
  );

  const versions = collection<AgentVersion>("versions");
  const versionsOfAgent = versions.query("WHERE agent = ? ORDER BY rowid DESC");
  const latestVersion = versions.query("WHERE agent = ? ORDER BY rowid DESC LIMIT 1");

  const tools = collection<Tool>("tools");
  const toolsOfProject = tools.query("WHERE project = ? ORDER BY rowid LIMIT ? OFFSET ?");
  const toolBySlug = tools.query("WHERE project = ? AND slug = ?");

  const policies = collection<Policy>("policies");
  const policiesOfProject = policies.query("WHERE project = ? ORDER BY rowid");
  const removePolicy = db.prepare("DELETE FROM policies WHERE id = ?");

  const keys = collection<ApiKey>("keys");
  const keyByHash = keys.query("WHERE hash = ? OR previous = ?");
  const allKeys = keys.query("ORDER BY rowid LIMIT ? OFFSET ?");

  const addToOutbox = db.prepare("INSERT INTO outbox (data) VALUES (?)");
  const firstInOutbox = db.prepare("SELECT seq, data FROM outbox ORDER BY seq LIMIT ?");
  const dropFromOutbox = db.prepare("DELETE FROM outbox WHERE seq = ?");

  const guarded = <T>(begin: string, work: () => T, end: string, undo: string): T => {
    db.exec(begin);
    try {
      const result = work();
      db.exec(end);
      return result;
    } catch (error) {
      // Some errors, a full disk among them, have undone everything already.
      if (db.isTransaction) db.exec(undo);
      throw error;
    }
  };

  return {
    /** All or nothing, and on disk when it returns: an exception undoes everything. */
    transaction: <T>(work: () => T): T => guarded("BEGIN IMMEDIATE", work, "COMMIT", "ROLLBACK"),
    /** The same within a transaction: an exception undoes this part alone. */
    nested: <T>(work: () => T): T =>
      guarded("SAVEPOINT part", work, "RELEASE part", "ROLLBACK TO part; RELEASE part"),
    runs: {
      find: runs.find,
      put: runs.put,
      /** The newest that have not ended. */
      open: (limit: number) => openRuns(limit),
      findByRequest: (key: string) => byRequest(key)[0],
      /** Newest first. */
      list: (wanted: RunFilter, page: Page) =>
        listRuns(...filterOf(wanted), page.limit, page.offset),
      count: (wanted: RunFilter) => Number(countRuns.get(...filterOf(wanted))?.["n"]),
    },
    steps: {
      find: steps.find,
      put: steps.put,
      ofRun: (runId: string, page: Page = { limit: -1, offset: 0 }) =>
        stepsOfRun(runId, page.limit, page.offset),
      /** Enqueued, not ended, and not heard of since then; a hundred at most, the longest silent first. */
      silentSince: (time: number) => silentSteps(time),
    },
    approvals: {
      find: approvals.find,
      put: approvals.put,
      /** The open ones oldest first, for people to answer in that order; any others newest first. */
      list(status: ApprovalStatus | null, runId: string | null, { limit, offset }: Page) {
        const list = status === "pending" ? oldestApprovals : newestApprovals;
        return list(status, runId, limit, offset);
      },
      due: (now: number) => dueApprovals(now),
      pendingOfRun: (runId: string) => pendingOfRun(runId),
      ofStep: (stepId: string) => ofStep(stepId),
      findByAction: (stepId: string, digest: string) => byAction(stepId, digest)[0],
    },
    agents: {
      put: agents.put,
      /** By id or slug. */
      find: (key: string) => agents.find(key) ?? agentBySlug(key)[0],
      active: (projectId: string, page: Page) => activeAgents(projectId, page.limit, page.offset),
    },
    versions: {
      find: versions.find,
      put: versions.put,
      /** Newest first. */
      ofAgent: (agentId: string) => versionsOfAgent(agentId),
      latest: (agentId: string) => latestVersion(agentId)[0],
      /** What runs use where no version is named: the promoted one, or the newest. */
      current: ({ id, promotedId }: Agent) =>
        promotedId === undefined ? latestVersion(id)[0] : versions.find(promotedId),
    },
    tools: {
      find: tools.find,
      put: tools.put,
      /** All of them, for a check of a call. */
      ofProject: (projectId: string) => toolsOfProject(projectId, -1, 0),
      list: (projectId: string, page: Page) => toolsOfProject(projectId, page.limit, page.offset),
      findBySlug: (projectId: string, slug: string) => toolBySlug(projectId, slug)[0],
    },
    policies: {
      find: policies.find,
      put: policies.put,
      remove: (id: string): void => void removePolicy.run(id),
      /** Oldest first. */
      ofProject: (projectId: string) => policiesOfProject(projectId),
    },
    keys: {
      find: keys.find,
      put: keys.put,
      /** By the SHA-256 of a secret, its present one or the one before. */
      findByHash: (hash: string) => keyByHash(hash, hash)[0],
      list: (page: Page) => allKeys(page.limit, page.offset),
    },
    audit: openAudit(db),
    workflows: openWorkflowTables(db),
    notices: openNoticeTables(db),
    outbox: {
      add: (data: string): void => void addToOutbox.run(data),
      first: (limit: number) =>
        firstInOutbox
          .all(limit)
          .map((row) => ({ seq: Number(row["seq"]), data: String(row["data"]) })),
      /** Not waiting for the disk: what comes back after a power cut is published twice, which is allowed. */
      drop(seqs: number[]): void {
        db.exec("PRAGMA synchronous = NORMAL");
        try {
          guarded(
            "BEGIN",
            () => seqs.forEach((seq) => dropFromOutbox.run(seq)),
            "COMMIT",
            "ROLLBACK",
          );
        } finally {
          db.exec("PRAGMA synchronous = FULL");
        }
      },
    },
    /** A whole copy in a file of its own, as of one moment, while everything goes on. */
    async backup(to: string): Promise<void> {
      await copyWhole(db, to);
      const copy = new DatabaseSync(to);
      try {
        // One file, that needs no other beside it.
        copy.exec("PRAGMA journal_mode = DELETE");
        const found = String(copy.prepare("PRAGMA quick_check(1)").get()?.["quick_check"]);
        if (found !== "ok") throw new Error(`the copy is damaged: ${found}`);
      } finally {
        copy.close();
      }
    },
    close: (): void => db.close(),
  };
}

/** 16 MiB: many enough that a copy outruns what is written meanwhile, few enough that nobody waits long for a step. */
const pagesAStep = 4_096;

/**
 * The copy is made beside this thread, and Node gives up with SQLite's "not an error" (code 0) where a transaction is
 * open at the moment of its first step; at any later one it waits. So it begins again until it finds a gap.
 */
async function copyWhole(db: DatabaseSync, to: string): Promise<void> {
  const until = performance.now() + 60_000;
  for (;;) {
    try {
      await backup(db, to, { rate: pagesAStep });
      return;
    } catch (error) {
      const isHeldUp = error instanceof Error && "errcode" in error && error.errcode === 0;
      if (!isHeldUp || performance.now() > until) throw error;
      await setTimeout(5);
    }
  }
}

/** Documents are written by {@link openStore} alone, under a checked schema version: no second check here. */
function readDoc<T>(row: Record<string, unknown> | undefined): T | undefined {
  return row === undefined ? undefined : (JSON.parse(String(row["doc"])) as T);
}
