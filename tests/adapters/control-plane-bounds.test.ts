import { createServer } from "node:http";
import { connect } from "node:net";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import {
  isShownWhole,
  shownDetails,
} from "../../adapters/control-plane/embedded/notices/payload.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { listen } from "../support/listen.ts";

let plane: TestPlane;
beforeAll(async () => {
  plane = await startTestPlane();
});
afterAll(() => plane.close());

const keyOf = async (body: JsonObject) =>
  (await plane.fetch("POST", "/v1/api-keys", { name: "k", scopes: ["read"], ...body })).body;

/** An event stream that is read to its end. */
async function follow(key: string, headers: Record<string, string> = {}) {
  const stop = new AbortController();
  const response = await fetch(`${plane.url}/v1/events`, {
    headers: { authorization: `Bearer ${key}`, ...headers },
    signal: stop.signal,
  });
  return { response, stop };
}

describe("what others may hold up", () => {
  it("an event stream ends once its key is revoked, expired or rotated away [bound.streams]", async () => {
    for (const end of ["revoke", "rotate", "expire"]) {
      const key = await keyOf(end === "expire" ? { expires_in_ms: 3_600_000 } : {});
      const { response } = await follow(String(key["key"]));
      expect(response.status).toBe(200);
      const over = response.text();
      if (end === "expire") plane.clock.now += 3_600_000;
      else await plane.fetch("POST", `/v1/api-keys/${String(key["id"])}/${end}`, {});
      // It ends, and by itself.
      expect(await over, end).toContain("event: connected");
    }
  });

  it("a key follows events only so many times at once, and again once it stops [bound.streams]", async () => {
    const { key } = await keyOf({});
    const streams = await Promise.all(Array.from({ length: 256 }, () => follow(String(key))));
    expect((await follow(String(key))).response.status).toBe(429);
    for (const { stop } of streams) stop.abort();
    await vi.waitFor(async () => {
      const { response, stop } = await follow(String(key));
      stop.abort();
      expect(response.status).toBe(200);
    }, 20_000);
  });

  it("a body is not read before the key that comes with it, however long it is in coming [bound.bodies]", async () => {
    const socket = connect(plane.port, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    await once(socket, "connect");
    socket.write(
      'POST /v1/runs HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer none\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"a":\r\n',
    );
    const [said] = (await once(socket, "data")) as [Buffer];
    expect(said.toString()).toMatch(/^HTTP\/1\.1 401 /);
    const long = JSON.stringify({ token: "x".repeat(70_000) });
    expect((await plane.fetch("POST", "/answer/look", long)).status).toBe(400);
  });

  it("a page of a list ends early where its documents are long, and the rest comes with the next [bound.lists]", async () => {
    const wide = await startTestPlane();
    onTestFinished(() => wide.close());
    for (let at = 0; at < 6; at += 1) {
      const { runId: run_id, stepId: step_id } = await wide.createRun();
      const details = { text: "x".repeat(1_900_000), at };
      const asked = { run_id, step_id, action_type: "tool", digest: "d", reason: "r" };
      await wide.fetch("POST", "/v1/approvals", { ...asked, action_details: details });
    }
    const seen: unknown[] = [];
    for (let pages = 0; seen.length < 6; pages += 1) {
      const { body } = await wide.fetch("GET", `/v1/approvals?limit=1000&offset=${seen.length}`);
      const rows = body as unknown as { action_details: { at: number } }[];
      expect(JSON.stringify(rows).length).toBeLessThan(11_000_000);
      seen.push(...rows.map(({ action_details: { at } }) => at));
      expect(pages).toBeLessThan(3);
    }
    expect(seen).toEqual([0, 1, 2, 3, 4, 5]);
    expect((await wide.fetch("GET", "/v1/approvals/count")).body).toEqual({ pending: 6 });
  });

  it("a webhook that never answers holds no other up [bound.webhooks]", async () => {
    const told: string[] = [];
    const hanging = createServer(() => {});
    const healthy = createServer((request, response) => {
      let raw = "";
      request.on("data", (chunk: Buffer) => (raw += chunk.toString()));
      request.on("end", () => {
        told.push((JSON.parse(raw) as { data: { id: string } }).data.id);
        response.end();
      });
    });
    const ports = [await listen(hanging), await listen(healthy)];
    const webhooks = ports.map((port, at) => ({
      name: at === 0 ? "hanging" : "healthy",
      url: `http://127.0.0.1:${port}/`,
      secret: null,
      keyId: null,
    }));
    const notices = { webhooks, publicUrl: null, remindBeforeMs: 0 };
    const asking = await startTestPlane({ notices });
    onTestFinished(async () => {
      await asking.close();
      for (const server of [hanging, healthy]) {
        server.closeAllConnections();
        server.close();
      }
    });
    const ids: string[] = [];
    for (let at = 0; at < 30; at += 1) {
      const { runId: run_id, stepId: step_id } = await asking.createRun();
      const asked = { run_id, step_id, action_type: "tool", digest: "d", reason: "r" };
      ids.push(String((await asking.fetch("POST", "/v1/approvals", asked)).body["id"]));
    }
    // All of them, well before the ten seconds in which the other one's first eight are given up.
    await vi.waitFor(() => expect(new Set(told)).toEqual(new Set(ids)), 8_000);
  });

  it("a question of millions of characters is cut before secrets are looked for in it, and says so [bound.notices]", () => {
    const texts = Array.from({ length: 200_000 }, (_, at) => `a=${at}`);
    const actionDetails = { name: "write", server: "files", input: { texts } };
    const since = process.cpuUsage();
    expect(JSON.stringify(shownDetails({ actionDetails }))).toMatch(
      /the first 10000 of \d+ characters/,
    );
    expect(isShownWhole({ actionDetails })).toBe(false);
    expect(process.cpuUsage(since).user / 1_000).toBeLessThan(1_000);
  });

  it("what a killed process left beside the database is removed at the next start, and nothing else [bound.leftovers]", async () => {
    const folder = mkdtempSync(join(tmpdir(), "left-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "plane.sqlite");
    const left = ["plane.sqlite.backup-Ab12_x", "plane.sqlite.audit-head.123456"];
    const others = ["other.sqlite.backup-Ab12_x", "plane.sqlite.backup-of-mine", "backup-notes"];
    for (const name of [...left, ...others]) {
      if (name.includes("head")) writeFileSync(join(folder, name), "{}");
      else {
        mkdirSync(join(folder, name));
        writeFileSync(join(folder, name, "copy.sqlite"), "");
      }
    }
    await (await startTestPlane({ path })).close();
    expect(left.filter((name) => existsSync(join(folder, name)))).toEqual([]);
    expect(others.filter((name) => existsSync(join(folder, name)))).toEqual(others);
  });
});
