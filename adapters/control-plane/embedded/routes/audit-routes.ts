import { Hono } from "hono";
import type { WholePlane } from "../changes/change.ts";
import { readWhole } from "./request.ts";

/** `/v1/audit`: the chain as it stands, for its reader to check. */
export function auditRoutes({ store, headFile }: WholePlane): Hono {
  const app = new Hono();
  app.get("/", (c) => {
    const after = readWhole(c, "after", 0, 0, Number.MAX_SAFE_INTEGER);
    return c.json(store.audit.after(after, readWhole(c, "limit", 1000, 1, 1000)));
  });
  /** `file` is what the file beside the database says; null for none. */
  app.get("/head", (c) => c.json({ ...store.audit.head(), file: headFile.read() }));
  return app;
}
