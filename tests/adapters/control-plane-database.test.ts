import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, it } from "vitest";
import { databaseTrouble } from "../../adapters/control-plane/embedded/database-trouble.ts";
import { openStore } from "../../adapters/control-plane/embedded/store.ts";

it("names a damaged database and what to do, and leaves it as it is", () => {
  const folder = mkdtempSync(join(tmpdir(), "stateplane-damaged-"));
  const path = join(folder, "control-plane.sqlite");
  writeFileSync(path, "no database at all ".repeat(100));
  expect(() => openStore(path)).toThrow(`${path} is not a database`);
  expect(() => openStore(path)).toThrow("put a backup in its place");
  rmSync(folder, { recursive: true });
});

it("names a full disk by SQLite's own code for it", () => {
  const db = new DatabaseSync(":memory:");
  db.exec("PRAGMA max_page_count = 3; CREATE TABLE t (x)");
  let trouble: unknown;
  try {
    db.prepare("INSERT INTO t VALUES (?)").run("x".repeat(100_000));
  } catch (error) {
    trouble = error;
  }
  expect(databaseTrouble(trouble, "file")).toMatch(/its disk is full: free some space/);
  expect(databaseTrouble(new Error("else"), "file")).toBeNull();
  db.close();
});
