import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { createControlPlane } from "../../adapters/control-plane/client.ts";
import { type Scope, scopes } from "../../adapters/control-plane/embedded/keys.ts";
import { type MadeKey, keysApi } from "../../adapters/control-plane/keys-api.ts";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();
let plane: TestPlane;
beforeEach(async () => {
  plane = await startTestPlane();
});
afterEach(() => plane.close());

const create = async (...asked: Scope[]): Promise<MadeKey> => {
  const key = { name: asked.join("+"), scopes: asked, expiresInMs: null };
  return value(await keysApi(plane.api).create(key, signal));
};
const call = (key: string, method: string, path: string, body?: unknown) =>
  plane.fetch(method, path, body, { authorization: `Bearer ${key}` });
const opens = async (key: string) => (await call(key, "GET", "/v1/runs")).status === 200;

describe("a key", () => {
  it("opens until it is revoked, and its secret is told once [key.revoked]", async () => {
    const { key, id } = await create("read");
    expect(await opens(key)).toBe(true);
    const told = JSON.stringify(value(await keysApi(plane.api).list(signal)));
    expect(told).toContain(id);
    expect(told).not.toContain(key);
    expect(value(await keysApi(plane.api).revoke(id, signal)).revoked_at).not.toBeNull();
    expect(await opens(key)).toBe(false);
    expect(await keysApi(plane.api).rotate(id, 0, signal)).toMatchObject({ ok: false });
  });

  it("opens with the secret before its rotation for as long as was asked, and no longer", async () => {
    const first = await create("read");
    const second = value(await keysApi(plane.api).rotate(first.id, 60_000, signal));
    expect(second.id).toBe(first.id);
    expect([await opens(first.key), await opens(second.key)]).toEqual([true, true]);
    const third = value(await keysApi(plane.api).rotate(first.id, 60_000, signal));
    expect(await opens(first.key)).toBe(false);
    plane.clock.now += 60_000;
    expect([await opens(second.key), await opens(third.key)]).toEqual([false, true]);
  });

  it("opens no longer than it was made for", async () => {
    const asked = { name: "short", scopes: ["read"], expiresInMs: 1000 };
    const { key } = value(await keysApi(plane.api).create(asked, signal));
    expect(await opens(key)).toBe(true);
    plane.clock.now += 1000;
    expect(await opens(key)).toBe(false);
  });

  it("is kept as a hash: no secret, present or past, is in the file [key.hashed]", async () => {
    const folder = await mkdtemp(join(tmpdir(), "stateplane-keys-"));
    const path = join(folder, "plane.sqlite");
    const kept = await startTestPlane({ path });
    const asked = { name: "n", scopes: ["admin"], expiresInMs: null };
    const made = value(await keysApi(kept.api).create(asked, signal));
    const again = value(await keysApi(kept.api).rotate(made.id, 1000, signal));
    await kept.close();
    const reopened = await startTestPlane({ path });
    const answer = await reopened.fetch("GET", "/v1/api-keys", undefined, {
      authorization: `ApiKey ${again.key}`,
    });
    expect(answer.status).toBe(200);
    await reopened.close();
    const file = await readFile(path);
    for (const secret of [made.key, again.key]) expect(file.includes(secret)).toBe(false);
    expect(file.includes(made.id)).toBe(true);
    await rm(folder, { recursive: true });
  });

  it("is refused whatever is sent in its place", async () => {
    const { key } = await create("admin");
    const near = fc.oneof(
      fc.nat(key.length - 1).map((at) => key.slice(0, at) + key.slice(at + 1)),
      fc.stringMatching(/^[!-~]{1,60}$/),
      fc.constantFrom("", "null", "undefined"),
    );
    await fc.assert(
      fc.asyncProperty(near, async (given) => {
        expect(await opens(given)).toBe(false);
      }),
      { numRuns: 50 },
    );
  });
});

describe("scopes", () => {
  const routes: readonly (readonly [method: string, path: string, scope: Scope])[] = [
    ["GET", "/v1/runs", "read"],
    ["GET", "/v1/runs/x", "read"],
    ["GET", "/v1/runs/x/steps", "read"],
    ["GET", "/v1/runs/x/audit", "read"],
    ["GET", "/v1/approvals", "read"],
    ["GET", "/v1/registry/agents", "read"],
    ["GET", "/v1/registry/tools", "read"],
    ["POST", "/v1/runs", "write"],
    ["POST", "/v1/runs/x/cancel", "write"],
    ["POST", "/v1/registry/agents", "write"],
    ["POST", "/v1/registry/agents/x/versions", "write"],
    ["POST", "/v1/registry/tools", "write"],
    ["POST", "/v1/runs/x/steps/y", "work"],
    ["POST", "/v1/runs/x/check-tool", "work"],
    ["POST", "/v1/runs/x/reservations", "work"],
    ["POST", "/v1/runs/x/reservations/settle", "work"],
    ["POST", "/v1/approvals", "work"],
    ["PUT", "/v1/approvals/x", "approve"],
    ["GET", "/v1/api-keys", "admin"],
    ["GET", "/v1/api-keys/x", "admin"],
    ["GET", "/v1/backup/x", "admin"],
    ["POST", "/v1/api-keys", "admin"],
    ["POST", "/v1/api-keys/x/rotate", "admin"],
    ["POST", "/v1/api-keys/x/revoke", "admin"],
    ["DELETE", "/v1/anything/that/comes/later", "admin"],
  ];

  it("let each call through for its own scope and for admin alone [key.scopes]", async () => {
    for (const given of scopes) {
      const { key } = await create(given);
      for (const [method, path, needed] of routes) {
        const body = method === "GET" ? undefined : "{}";
        const { status, body: said } = await call(key, method, path, body);
        const isLet = needed === "read" || given === needed || given === "admin";
        expect([given, method, path, status === 403]).toEqual([given, method, path, !isLet]);
        if (!isLet) expect(said).toMatchObject({ error: { code: "INSUFFICIENT_SCOPE" } });
      }
    }
  });

  it("of a worker run a step to its end, and never answer its own question [key.worker]", async () => {
    const { key, id } = await create("work");
    const api = createControlPlaneApi({ url: plane.url, apiKey: key, timeoutMs: 5_000 });
    const worker = createControlPlane(api);
    const step = await plane.createRun();
    const ask = {
      digest: "d",
      action: { kind: "tool", name: "write", input: {} },
      reason: "r",
      approvalId: null,
      expiresAt: null,
    } as const;
    const asked = value(await worker.requestApproval(step, ask, signal));
    // Whose trouble it is: the key's, so that a worker waits for a person and fails no step.
    expect(await api.resolveApproval(asked.id, true, null, signal)).toMatchObject({
      ok: false,
      failure: { kind: "unauthorized" },
    });
    expect(value(await worker.findApproval(asked.id, signal))).toMatchObject({ status: "pending" });
    const person = await create("approve");
    const { body } = await call(person.key, "PUT", `/v1/approvals/${asked.id}`, { approved: true });
    expect(body).toMatchObject({
      status: "approved",
      resolved_by: person.id,
      resolved_by_name: "approve",
    });
    const report = {
      ...step,
      fence: 1,
      idempotencyKey: "k",
      body: { status: "completed", output: 1 },
    } as const;
    expect(value(await worker.report(report, signal))).toBe("accepted");
    const audit = await plane.fetch("GET", `/v1/runs/${step.runId}/audit`);
    const events = audit.body as unknown as { event: string; by: string }[];
    expect(events.map(({ event, by }) => [event, by])).toEqual(
      expect.arrayContaining([
        ["approval.requested", id],
        ["approval.approved", person.id],
        ["step.completed", id],
      ]),
    );
    await api.close();
  });
});

describe("a key with a rate", () => {
  it("is let in as often a minute as it may, and told when it may again [key.rate]", async () => {
    const made = await plane.fetch("POST", "/v1/api-keys", {
      name: "slow",
      scopes: ["read"],
      per_minute: 6,
    });
    expect(made.body["per_minute"]).toBe(6);
    const look = () =>
      plane.fetch("GET", "/v1/runs", undefined, {
        authorization: `Bearer ${String(made.body["key"])}`,
      });
    const burst = await Promise.all(Array.from({ length: 9 }, look));
    expect(burst.filter(({ status }) => status === 200)).toHaveLength(6);
    const refused = burst.find(({ status }) => status === 429);
    expect(refused?.body).toMatchObject({ error: { code: "RATE_LIMIT_EXCEEDED" } });
    const seconds = Number(refused?.headers.get("retry-after"));
    expect(seconds).toBe(10);
    plane.clock.now += seconds * 1000;
    expect((await look()).status).toBe(200);
    expect((await look()).status).toBe(429);
    expect((await plane.fetch("GET", "/v1/runs")).status).toBe(200);
  });
});
