import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { DatabaseSync } from "node:sqlite";
import { expect, it, onTestFinished } from "vitest";
import { databaseTrouble } from "../../adapters/control-plane/embedded/database-trouble.ts";
import { openStore } from "../../adapters/control-plane/embedded/store.ts";
import { startTestPlane } from "../support/embedded-control-plane.ts";

/** Not in every container; SQLite's own code for a full disk is looked at everywhere, below. */
const canMount =
  spawnSync("unshare", ["-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]).status === 0;

it("names a damaged database and what to do, and leaves it as it is", () => {
  const folder = mkdtempSync(join(tmpdir(), "stateplane-damaged-"));
  const path = join(folder, "control-plane.sqlite");
  writeFileSync(path, "no database at all ".repeat(100));
  expect(() => openStore(path)).toThrow(`${path} is not a database`);
  expect(() => openStore(path)).toThrow("put a backup in its place");
  rmSync(folder, { recursive: true });
});

it.skipIf(!canMount)(
  "says that its disk is full, keeps nothing of what it refuses, and goes on once there is room [plane.full-disk]",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "full disk "));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const script = fileURLToPath(new URL("../support/full-disk.ts", import.meta.url));
    const inside = `mount -t tmpfs -o size=4m tmpfs "$1" && exec "$2" "$3" "$1"`;
    // In a mount namespace of its own: nothing is left of it, whatever becomes of the test.
    const args = ["-rm", "sh", "-c", inside, "sh", folder, process.execPath, script];
    const { stdout } = await promisify(execFile)("unshare", args);
    const said = JSON.parse(stdout) as Record<string, unknown>;
    expect(said).toMatchObject({
      refused: { status: 503, code: "UNAVAILABLE" },
      isCounted: true,
      listedWhileFull: 200,
      again: 201,
      isWhole: true,
      isKept: true,
    });
    expect(said["message"]).toMatch(/^nothing was changed: the database .* its disk is full/u);
  },
);

it("names a database that was damaged while it was closed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "stateplane-damaged-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "plane.sqlite");
  const whole = await startTestPlane({ path });
  for (let run = 0; run < 20; run += 1) await whole.createRun({ task: "t".repeat(2_000) });
  await whole.close();
  const bytes = readFileSync(path);
  bytes.fill(0x5a, 8_192);
  writeFileSync(path, bytes);
  await expect(startTestPlane({ path })).rejects.toThrow(
    /the database .* is damaged: stop the control plane and put a backup in its place/u,
  );
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

it("a database of before there were tenants is the operator's, whole, and takes tenants from then on [tenant.migrated]", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tenants-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "plane.sqlite");
  const before = await startTestPlane({ path });
  const key = await before.createRun();
  const { runId } = key;
  const used = { input_tokens: 7, output_tokens: 5 };
  await before.report(key, { status: "completed", output: {}, ...used });
  const shown = (await before.fetch("GET", `/v1/runs/${runId}`)).body;
  await before.close();
  undoTenants(path);
  const after = await startTestPlane({ path });
  onTestFinished(() => after.close());
  expect((await after.fetch("GET", `/v1/runs/${runId}`)).body).toEqual(shown);
  expect((await after.fetch("GET", "/v1/runs")).body).toMatchObject({ total: 1 });
  expect((await after.fetch("GET", "/v1/registry/agents/helper")).status).toBe(200);
  for (const owner of ["registry/agents/helper", "tenants/operator"]) {
    const { spending } = (await after.fetch("GET", `/v1/${owner}`)).body;
    expect(spending, owner).toMatchObject({ day: used, total: used });
  }
  await after.fetch("POST", "/v1/tenants", { slug: "late" });
  const { body: made } = await after.fetch("POST", "/v1/api-keys", {
    name: "k",
    scopes: ["admin"],
    tenant_id: "late",
  });
  const late = { authorization: `Bearer ${String(made["key"])}` };
  expect((await after.fetch("GET", "/v1/runs", undefined, late)).body).toMatchObject({ total: 0 });
  expect((await after.fetch("GET", `/v1/runs/${runId}`, undefined, late)).status).toBe(404);
  const agent = { name: "Helper", slug: "helper" };
  expect((await after.fetch("POST", "/v1/registry/agents", agent, late)).status).toBe(201);
});

/** Takes a file back to the fifth layout. */
function undoTenants(path: string): void {
  const db = new DatabaseSync(path);
  const named = (sql: string) =>
    db
      .prepare(sql)
      .all()
      .map((row) => String(row["name"]));
  db.exec("DROP TABLE tenants; DROP TABLE spending");
  const indexes = named(
    "SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '%(tenant%'",
  );
  for (const index of indexes) db.exec(`DROP INDEX ${index}`);
  const tables = named(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%tenant TEXT%'",
  );
  expect(tables).toHaveLength(9);
  for (const table of tables) {
    db.exec(`ALTER TABLE ${table} DROP COLUMN tenant`);
    if (table !== "runs" && table !== "keys")
      db.exec(`UPDATE ${table} SET doc = json_remove(doc, '$.tenantId')`);
  }
  db.exec(`CREATE UNIQUE INDEX agents_by_slug ON agents (slug);
    CREATE UNIQUE INDEX tools_by_slug ON tools (project, slug);
    CREATE UNIQUE INDEX workflows_by_digest ON workflows (digest);
    PRAGMA user_version = 5`);
  db.close();
}
