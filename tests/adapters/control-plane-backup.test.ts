import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { DatabaseSync } from "node:sqlite";
import { expect, it } from "vitest";
import { openStore } from "../../adapters/control-plane/embedded/store.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();

it("is whole every time while transactions never stop [plane.backup]", async () => {
  const store = openStore(join(folder, "plane.sqlite"));
  const add = (rows: number) =>
    store.transaction(() => {
      for (let row = 0; row < rows; row += 1) store.outbox.add("x".repeat(2_000));
    });
  add(5_000);
  let isOver = false;
  const writing = (async () => {
    while (!isOver) {
      add(1);
      await setImmediate();
    }
  })();
  // Each of them meets an open transaction about every other time.
  for (let copy = 0; copy < 12; copy += 1) await store.backup(join(folder, `${copy}.sqlite`));
  isOver = true;
  await writing;
  store.close();
  for (let copy = 0; copy < 12; copy += 1) {
    const db = new DatabaseSync(join(folder, `${copy}.sqlite`), { readOnly: true });
    expect(db.prepare("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
    db.close();
  }
});
