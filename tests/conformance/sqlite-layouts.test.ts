import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../actors/runtime.ts";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import { StoreUnreachable } from "../../machines/contracts/domain/errors.ts";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import { begun, fields, job, key, lease, readOne } from "./store-conformance/stage.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "stateplane-sqlite-"));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe("a file", () => {
  it.each(["news and path", "wake_pending and state_history"])(
    "of the first layout, with columns %s, is brought to today's",
    async (columns) => {
      const path = join(directory, "steps.db");
      const isOld = columns === "news and path";
      const [wakes, states] = isOld ? ["news", "path"] : ["wake_pending", "state_history"];
      const old = new DatabaseSync(path);
      old.exec(`
        CREATE TABLE entries (n INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, fields TEXT NOT NULL,
          owner TEXT, delivered_at INTEGER, deliveries INTEGER NOT NULL DEFAULT 0) STRICT;
        CREATE TABLE steps (id TEXT PRIMARY KEY, phase TEXT NOT NULL, fence INTEGER NOT NULL, entry TEXT, job TEXT,
          snapshot TEXT, result TEXT, ${states} TEXT, wake_at INTEGER, ${wakes} INTEGER NOT NULL DEFAULT 0,
          expires_at INTEGER) STRICT;
        CREATE INDEX steps_by_time ON steps (wake_at) WHERE wake_at IS NOT NULL;
        CREATE TABLE journal (step TEXT NOT NULL, position INTEGER NOT NULL, entry TEXT NOT NULL,
          PRIMARY KEY (step, position)) STRICT, WITHOUT ROWID;
        CREATE TABLE letters (n INTEGER PRIMARY KEY AUTOINCREMENT, fields TEXT NOT NULL, reason TEXT NOT NULL,
          ${states} TEXT NOT NULL, snapshot TEXT NOT NULL, deliveries INTEGER NOT NULL, at INTEGER NOT NULL) STRICT;`);
      old
        .prepare(
          `INSERT INTO steps (id, phase, fence, job, ${states}, wake_at) VALUES (?, 'parked', 3, ?, '["pending"]', 5)`,
        )
        .run("run_1/stp_1", toEnvelope(job));
      old.prepare("INSERT INTO journal VALUES (?, 1, ?)").run("run_1/stp_1", JSON.stringify(begun));
      old
        .prepare(
          `INSERT INTO letters (fields, reason, ${states}, snapshot, deliveries, at) VALUES (?, 'r', '[]', 'null', 2, 7)`,
        )
        .run(JSON.stringify({ data: "x" }));
      old.close();

      const backend = await createSqliteBackend({ path, consumer: "a", clock: systemClock });
      expect(await backend.store.find(key)).toMatchObject({
        phase: "parked",
        job,
        stateHistory: ["pending"],
        journal: [begun],
      });
      expect(await backend.queue.deadLetters(1)).toMatchObject([
        { id: "1", reason: "r", journal: [] },
      ]);
      expect((await backend.queue.findDeadLetter("1"))?.reason).toBe("r");
      expect(await backend.store.wakeDue(10)).toBe(1);
      const { entryId, fields: read } = await readOne(backend);
      expect(read).toEqual(fields);
      expect(await lease(backend, entryId)).toMatchObject({ fence: 4 });
      await backend.close();
    },
  );

  it("of a newer version is refused, with what to do", async () => {
    const path = join(directory, "steps.db");
    const newer = new DatabaseSync(path);
    newer.exec("PRAGMA user_version = 99");
    newer.close();
    const opened = createSqliteBackend({ path, consumer: "a", clock: systemClock });
    await expect(opened).rejects.toThrow(
      /it has layout 99, .* update stateplane, or move the file/,
    );
    await expect(opened).rejects.toBeInstanceOf(StoreUnreachable);
  });

  it("that is no database is refused by its name", async () => {
    const path = join(directory, "steps.db");
    await writeFile(path, "x".repeat(5_000));
    const opened = createSqliteBackend({ path, consumer: "a", clock: systemClock });
    await expect(opened).rejects.toThrow(path);
    await expect(opened).rejects.toBeInstanceOf(StoreUnreachable);
  });
});
