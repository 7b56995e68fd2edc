import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import * as fc from "fast-check";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { createWorkflowEngine } from "../../actors/workflow/engine.ts";
import { createWorkflowReader } from "../../adapters/workflows/step-request.ts";
import {
  isWrittenWithin,
  type Json,
  type JsonObject,
} from "../../machines/contracts/domain/json.ts";
import type { WorkflowEngine } from "../../machines/contracts/ports/workflow-engine.ts";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";

/*
 * What one run brings about must hold up nobody else, whoever it belongs to.
 */
const engine = () => createWorkflowEngine(createWorkflowReader());

/** An engine whose runs of the workflow `broken` can be begun, and take nothing after that. */
function faultyEngine(): WorkflowEngine {
  const whole = engine();
  const broken = () => {
    throw new RangeError("Invalid string length");
  };
  return {
    open(definition) {
      const opened = whole.open(definition);
      if (!opened.ok || (definition as JsonObject)["name"] !== "broken") return opened;
      const program = opened.value;
      return {
        ok: true,
        value: {
          begin(values) {
            const turn = program.begin(values);
            return { ...turn, run: { ...turn.run, take: broken } };
          },
          restore(saved, events) {
            const state = program.restore(saved, events);
            return state.ok ? { ok: true, value: { ...state.value, take: broken } } : state;
          },
        },
      };
    },
  };
}

const timed = { id: "a", type: "llm", timeout_ms: 1_000, config: { task: "t" } };

async function begin(plane: TestPlane, name: string, steps: object[], input: JsonObject = {}) {
  const workflow = { name, version: "1.0.0", definition: { steps } };
  const { body } = await plane.fetch("POST", "/v1/workflows", workflow);
  const run = { workflow_id: body["id"], agent_id: "helper", input };
  const begun = await plane.fetch("POST", "/v1/workflow-runs", run);
  expect(begun.status, JSON.stringify(begun.body)).toBe(201);
  return `/v1/workflow-runs/${String(begun.body["id"])}`;
}

const pass = async (plane: TestPlane, ms: number) => {
  plane.clock.now += ms;
  expect((await plane.fetch("GET", "/v1/runs")).status).toBe(200);
};

describe("a run of a workflow that can't go on", () => {
  it("fails alone: by a timer, a report or a cancel, and the others go on [plane.apart]", async () => {
    const plane = await startTestPlane({ workflows: faultyEngine() });
    onTestFinished(() => plane.close());
    const whole = await begin(plane, "whole", [timed]);
    const late = await begin(plane, "broken", [timed]);
    const told = await begin(plane, "broken", [timed]);
    const report = await plane.job(3);
    const cancelled = await begin(plane, "broken", [timed]);
    expect(await plane.report(report, { status: "completed", output: {} } as never)).toMatchObject({
      ok: true,
    });
    expect((await plane.fetch("POST", `${cancelled}/cancel`)).body["status"]).toBe("cancelled");
    await pass(plane, 2_000);
    await pass(plane, 61_000);
    for (const path of [late, told]) {
      expect((await plane.fetch("GET", path)).body).toMatchObject({
        status: "failed",
        status_reason: "the workflow can't go on: RangeError: Invalid string length",
      });
    }
    expect((await plane.fetch("GET", whole)).body["status"]).toBe("failed");
    expect((await plane.fetch("GET", whole)).body["status_reason"]).not.toContain("can't go on");
  });

  it("fails alone where its definition can't be read any more [plane.apart]", async () => {
    const folder = mkdtempSync(join(tmpdir(), "stateplane-apart-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, "plane.sqlite");
    const before = await startTestPlane({ path, workflows: engine() });
    const old = await begin(before, "old", [timed]);
    await before.close();
    const db = new DatabaseSync(path);
    db.exec("UPDATE workflows SET doc = json_set(doc, '$.definition.steps[0].type', 'of-old')");
    db.close();
    const plane = await startTestPlane({ path, workflows: engine() });
    onTestFinished(() => plane.close());
    await pass(plane, 10 * 60_000);
    expect((await plane.fetch("GET", old)).body["status"]).toBe("failed");
  });
});

describe("what a step of a workflow is asked", () => {
  const long = "y".repeat(1_000_000);
  const step = (from: Json) => ({
    id: "b",
    type: "tool",
    config: { tool_name: "read", tool_input_from: from },
  });

  it("is never written out where it would be far too long: its step fails, and says so [workflow.asked]", async () => {
    const plane = await startTestPlane({ workflows: engine() });
    onTestFinished(() => plane.close());
    const copies = Object.fromEntries(
      Array.from({ length: 100 }, (_, n) => [`k${n}`, "$.input.x"]),
    );
    for (const from of [{ q: "{{$.input.x}}".repeat(2_000) }, copies]) {
      const path = await begin(plane, `n${JSON.stringify(from).length}`, [step(from)], { x: long });
      expect((await plane.fetch("GET", path)).body).toMatchObject({
        status: "failed",
        error: { kind: "too_large", message: expect.stringContaining('step "b"') as string },
      });
    }
    // After a step whose time is over, in the time that the control plane keeps for everybody.
    const body = [{ ...timed, on_error: "continue" }, step({ q: "{{$.input.x}}".repeat(2_000) })];
    const loop = { id: "l", type: "loop", config: { max_iterations: 1, steps: body } };
    const path = await begin(plane, "loop", [loop], { x: long });
    await pass(plane, 2_000);
    await pass(plane, 61_000);
    expect((await plane.fetch("GET", path)).body["status"]).toBe("failed");
    expect(plane.jobs.filter(({ stepType }) => stepType === "tool")).toEqual([]);
  });

  it("is put on the stream a bounded number of characters at a time, however many steps begin at once, over a restart, each job once [workflow.turns]", async () => {
    const folder = mkdtempSync(join(tmpdir(), "stateplane-turns-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const jobs: string[] = [];
    let before: TestPlane | null = null;
    let closing: Promise<void> | undefined;
    const publish = ({ data = "{}" }: Record<string, string>) => {
      jobs.push(`${data.length} ${(JSON.parse(data) as { id: string }).id}`);
      // Right after the first change, and before there is another one.
      closing ??= before?.close();
      return Promise.resolve();
    };
    const on = { path: join(folder, "plane.sqlite"), workflows: engine(), publish };
    before = await startTestPlane(on);
    const steps = Array.from({ length: 12 }, (_, at) => ({
      ...step({ q: "$.input.x" }),
      id: `s${at}`,
    }));
    await begin(before, "wide", steps, { x: long });
    await closing;
    expect(jobs.length).toBeLessThan(6);
    const after = await startTestPlane(on);
    onTestFinished(() => after.close());
    await vi.waitFor(() => expect(new Set(jobs).size).toBe(12), 20_000);
    for (const job of jobs) expect(Number(job.split(" ")[0])).toBeGreaterThan(long.length);
  });

  it("is measured without being written [workflow.asked]", () => {
    const value = fc.jsonValue() as fc.Arbitrary<Json>;
    fc.assert(
      fc.property(value, fc.nat(200), (json, most) => {
        const { length } = JSON.stringify(json);
        // Escapes and long numbers make it longer, small ones shorter; never by more than this.
        if (isWrittenWithin(json, most)) expect(length).toBeLessThanOrEqual(6 * most + 25);
        else expect(4 * length + 4).toBeGreaterThanOrEqual(most);
      }),
    );
    const part = "x".repeat(1_000);
    const often = Array.from({ length: 1_000 }, () => [part, part]);
    expect(isWrittenWithin(often, 1_000_000)).toBe(false);
    expect(isWrittenWithin(often, 3_000_000)).toBe(true);
  });
});

it("answers nothing of what is streamed without a key, HEAD included", async () => {
  const plane = await startTestPlane();
  onTestFinished(() => plane.close());
  for (const streamed of ["/v1/backup", "/v1/events"]) {
    const looked = (headers: Record<string, string>) =>
      fetch(plane.url + streamed, { method: "HEAD", headers });
    expect((await looked({})).status, streamed).toBe(401);
    expect((await looked({ authorization: "Bearer test-key" })).status, streamed).toBe(204);
  }
});
