import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { startEmbeddedControlPlane } from "../../adapters/control-plane/embedded/start.ts";

/*
 * A control plane on a file system of four megabytes, the folder that is given: it is filled, and then there is room
 * again. Says what was seen as JSON.
 */
const [, , folder = ""] = process.argv;
const path = join(folder, "plane.sqlite");
const filler = join(folder, "filler");
const apiKey = "key";
const start = () =>
  startEmbeddedControlPlane({
    path,
    port: 0,
    host: "127.0.0.1",
    apiKey,
    agents: [{ slug: "helper", model: "m" }],
    publish: async () => {},
    log: { debug() {}, info() {}, warn() {}, error() {} },
  });
let plane = await start();
const call = async (method: string, target: string, body?: object) => {
  const response = await fetch(plane.url + target, {
    method,
    headers: { authorization: `Bearer ${apiKey}` },
    ...(body && { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
};
const create = () =>
  call("POST", "/v1/runs", { agent_id: "helper", input: { task: "t".repeat(50_000) } });
const total = async () => (await call("GET", "/v1/runs?limit=1")).body["total"];

writeFileSync(filler, "x".repeat(2 * 1024 * 1024));
let made = 0;
let last = await create();
for (; last.status === 201; last = await create()) made += 1;
const { code, message } = last.body["error"] as { code: string; message: string };
const isCounted = (await total()) === made;
const listed = await call("GET", "/v1/runs?limit=1");
rmSync(filler);
const again = await create();
const entries = Number((await call("GET", "/v1/audit/head")).body["count"]);
await plane.close();
const db = new DatabaseSync(path);
const isWhole = db.prepare("PRAGMA integrity_check").get()?.["integrity_check"] === "ok";
// A run has its step and its entry of the audit, or there is nothing of it.
const steps = Number(db.prepare("SELECT count(*) AS n FROM steps").get()?.["n"]);
const audited = Number(
  db.prepare("SELECT count(*) AS n FROM audit_chain WHERE doc ->> 'event' = 'run.created'").get()?.[
    "n"
  ],
);
db.close();
plane = await start();
const isKept =
  (await total()) === made + 1 && steps === made + 1 && audited === made + 1 && entries > made;
await plane.close();
const said = {
  refused: { status: last.status, code },
  message,
  made,
  isCounted,
  listedWhileFull: listed.status,
  again: again.status,
  isWhole,
  isKept,
};
process.stdout.write(JSON.stringify(said));
