import { createReadStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { Hono } from "hono";
import type { WholePlane } from "../changes/change.ts";
import { backupSuffix } from "../leftovers.ts";
import { callerOf } from "./access.ts";

/** `/v1/backup`: a copy of the database as one file. It is made beside the database, where there is room for one. */
export function backupRoutes({ store, apply, path }: WholePlane): Hono {
  const app = new Hono();
  app.get("/", async (c) => {
    // Before the copy is made, so that it is in it.
    await apply((change) => change.audit(null, "backup.made", {}), callerOf(c));
    const beside = path === ":memory:" ? join(tmpdir(), "stateplane") : path;
    const folder = await mkdtemp(`${beside}${backupSuffix}`);
    const remove = () => rm(folder, { recursive: true, force: true });
    try {
      const file = join(folder, "copy.sqlite");
      await store.backup(file);
      const { size } = await stat(file);
      const stream = createReadStream(file);
      stream.once("close", () => void remove());
      return c.body(Readable.toWeb(stream) as ReadableStream, 200, {
        "content-type": "application/vnd.sqlite3",
        "content-length": String(size),
      });
    } catch (error) {
      await remove();
      throw error;
    }
  });
  return app;
}
