import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { agent, soundJob, startTestPlane } from "../support/embedded-control-plane.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();
let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-plane-"));
  path = join(folder, "state", "control-plane.sqlite");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const versionsAfter = async (model: string) => {
  const plane = await startTestPlane({ path, agents: [{ ...agent, model }] });
  const { body } = await plane.fetch("GET", "/v1/registry/agents/helper/versions");
  await plane.close();
  return (body as unknown as { version: string; model: string }[]).map(
    (version) => `${version.version} ${version.model}`,
  );
};

describe("the embedded control plane", () => {
  it("keeps everything over a restart, in a file for its owner alone", async () => {
    const first = await startTestPlane({ path });
    const key = await first.createRun();
    await first.worker.checkTool({ runId: key.runId, toolName: "read", toolInput: {} }, signal);
    const before = value(await first.api.run(key.runId, signal));
    await first.close();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const second = await startTestPlane({ path });
    try {
      expect(value(await second.api.run(key.runId, signal))).toEqual(before);
      expect(await second.report(key, { status: "completed", output: 1 })).toMatchObject({
        value: "accepted",
      });
      expect(second.jobs).toEqual([]);
    } finally {
      await second.close();
    }
  });

  it("publishes after the restart what it could not publish before", async () => {
    const away = await startTestPlane({
      path,
      publish: () => Promise.reject(new Error("no stream")),
    });
    const key = await away.createRun();
    await vi.waitFor(
      async () =>
        expect(await away.fetch("GET", "/ready")).toMatchObject({
          status: 503,
          body: { status: "not_ready", components: { queue: { status: "unhealthy" } } },
        }),
      { timeout: 20_000 },
    );
    await away.close();
    const back = await startTestPlane({ path });
    try {
      expect(await back.job(1)).toEqual(key);
    } finally {
      await back.close();
    }
  });

  it("publishes every job once the stream is back, none of them twice", async () => {
    const jobs: Job[] = [];
    let calls = 0;
    const plane = await startTestPlane({
      publish: async (fields) => {
        if (++calls % 3 !== 0) throw new Error("flaky");
        jobs.push(soundJob(fields));
      },
    });
    try {
      const keys = await Promise.all(Array.from({ length: 5 }, () => plane.createRun()));
      await vi.waitFor(() => expect(jobs).toHaveLength(5), { timeout: 20_000 });
      expect(new Set(jobs.map((job) => job.stepId))).toEqual(
        new Set(keys.map((key) => key.stepId)),
      );
    } finally {
      await plane.close();
    }
  });

  it("undoes a refused change alone, however many are made at a time", async () => {
    const plane = await startTestPlane({ path });
    try {
      const good = { type: "tool" as const, input: { tool_name: "read" } };
      // Run and first step are written before the second is found to be unusable.
      const bad = { type: "tool" as const, input: {} };
      const made = await Promise.all(
        Array.from({ length: 40 }, (_, at) => {
          const steps = at % 2 === 0 ? [good] : [good, bad];
          return plane.api.createRun({ agentId: "helper", input: {}, steps }, signal);
        }),
      );
      expect(made.map((run) => run.ok)).toEqual(made.map((_, at) => at % 2 === 0));
      const listed = value(await plane.api.runs("prj_01JFVX0000000000000000001", 100, 0, signal));
      expect(listed.total).toBe(20);
      await plane.job(20);
    } finally {
      await plane.close();
    }
  });

  it("enqueues again what nobody was heard of for long, and nothing that is waited for [plane.silent]", async () => {
    const plane = await startTestPlane();
    const minutes = async (count: number) => {
      plane.clock.now += count * 60_000;
      await plane.fetch("GET", "/v1/runs");
      // The outbox is emptied beside the calls.
      await new Promise((resolve) => setTimeout(resolve, 50));
      return plane.jobs.length;
    };
    try {
      const budget = { max_wall_time_ms: null };
      const lost = await plane.createRun({ task: "t" }, { budget });
      const done = await plane.createRun();
      await plane.report(done, { status: "completed", output: 1 });
      const cancelled = await plane.createRun();
      value(await plane.api.cancel(cancelled.runId, signal));
      expect(await minutes(9)).toBe(3);
      expect(await minutes(2)).toBe(4);
      expect(plane.jobs.at(-1)).toMatchObject(lost);
      expect(await minutes(5)).toBe(4);
      const action = { kind: "tool", name: "write", input: {} } as const;
      const ask = { digest: "d", action, reason: "r", approvalId: null, expiresAt: null };
      const { id } = value(await plane.worker.requestApproval(lost, ask, signal));
      expect(await minutes(60)).toBe(4);
      value(await plane.api.resolveApproval(id, false, null, signal));
      expect(await minutes(1)).toBe(5);
      expect(await minutes(11)).toBe(6);
      expect(plane.jobs.at(-1)).toMatchObject(lost);
      await plane.report(lost, { status: "failed" });
      expect(await minutes(60)).toBe(6);
    } finally {
      await plane.close();
    }
  });

  it("closes although the stream hangs", async () => {
    const plane = await startTestPlane({ path, publish: () => new Promise(() => {}) });
    const key = await plane.createRun();
    await plane.close();
    const next = await startTestPlane({ path });
    expect(await next.job(1)).toEqual(key);
    await next.close();
  });

  it("makes a changed declaration a new version, and an unchanged one none", async () => {
    expect(await versionsAfter("a")).toEqual(["1.0.0 a"]);
    expect(await versionsAfter("a")).toEqual(["1.0.0 a"]);
    expect(await versionsAfter("b")).toEqual(["1.0.1 b", "1.0.0 a"]);
  });

  it("refuses a taken port, naming it, and lets go of its file", async () => {
    const plane = await startTestPlane();
    try {
      await expect(startTestPlane({ path, port: plane.port })).rejects.toThrow(
        new RegExp(`^port ${plane.port} on 127.0.0.1 is taken`),
      );
      await (await startTestPlane({ path })).close();
    } finally {
      await plane.close();
    }
  });

  it("refuses a file that another control plane holds, and one of a later version", async () => {
    const plane = await startTestPlane({ path });
    await expect(startTestPlane({ path })).rejects.toThrow("is held by another control plane");
    await plane.close();
    const db = new DatabaseSync(path);
    db.exec("PRAGMA user_version = 99");
    db.close();
    await expect(startTestPlane({ path })).rejects.toThrow("has schema version 99");
  });

  it("refuses to serve without a key", async () => {
    await expect(startTestPlane({ apiKey: "" })).rejects.toThrow("expected an API key");
  });
});
