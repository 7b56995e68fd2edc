import { randomUUID } from "node:crypto";
import { trace } from "@opentelemetry/api";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import type { Effect } from "../../actors/handlers/handler.ts";
import { defaultOptions } from "../../actors/options.ts";
import { effectRunner } from "../../actors/step/effects.ts";
import { Journal } from "../../actors/step/journal.ts";
import { TroubleWatch } from "../../actors/trouble.ts";
import { LeaseLost, StepSession, type ActivityScope } from "../../actors/step/session.ts";
import { systemClock } from "../../actors/runtime.ts";
import type { Action, Grant } from "../../machines/contracts/domain/action.ts";
import { type JournalEntry, journalEntryShape } from "../../machines/contracts/domain/record.ts";
import { retryable, terminal, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import { initialContext } from "../../machines/step/context.ts";
import { sampleInput, sampleJob } from "../kit/step-events.ts";

const key = { runId: "run_1", stepId: "stp_1" };
const silent = () => {};
const log = { debug: silent, info: silent, warn: silent, error: silent };

let backend: StepBackend;
let session: StepSession;
let artifacts: Map<string, string>;

beforeEach(async () => {
  backend = await createSqliteBackend({
    path: ":memory:",
    consumer: randomUUID(),
    clock: systemClock,
  });
  await backend.queue.publish({ data: toEnvelope(sampleJob) });
  const [delivery] = await backend.queue.read(1, 0, new AbortController().signal);
  if (delivery === undefined) throw new Error("the job was not delivered");
  const span = trace.getTracer("test").startSpan("test");
  session = new StepSession({
    key,
    job: sampleJob,
    delivery,
    log,
    span,
    leaseSeen: systemClock.monotonic(),
  });
  const opening = await backend.store.open(delivery.entryId, key, 10_000, delivery.fields);
  if (opening.kind !== "opened") throw new Error(`the record was not opened: ${opening.kind}`);
  session.opened(opening.lease);
  artifacts = new Map();
});
afterEach(() => backend.close());

function runner(
  over: {
    signal?: AbortSignal;
    inDoubt?: "ask" | "fail";
    trouble?: TroubleWatch;
    onJudged?: (action: Action | undefined) => void;
    grants?: Grant[];
  } = {},
) {
  const store = {
    isShared: true,
    check: async () => ({ ok: true, value: null }),
    put: async (_: unknown, { content }: { content: string }) => {
      artifacts.set("art", content);
      return { ok: true, value: { id: "art", sha256: "sum", size: content.length } };
    },
    get: async (_: string, id: string) => {
      const content = new TextEncoder().encode(artifacts.get(id));
      return artifacts.has(id)
        ? { ok: true, value: { ref: { sha256: "sum" }, content } }
        : { ok: false, failure: terminal("not_found", "no such artifact") };
    },
  } as unknown as ArtifactStore;
  const scope = {
    ports: { store: backend.store, artifacts: store, clock: systemClock },
    options: { ...defaultOptions, inDoubt: over.inDoubt ?? "ask" },
    trouble: over.trouble ?? new TroubleWatch({ clock: systemClock, log }),
    session,
    context: { ...initialContext(sampleInput), grants: over.grants ?? [] },
    signal: over.signal ?? new AbortController().signal,
  } as unknown as ActivityScope;
  return effectRunner(scope, async (action) => {
    over.onJudged?.(action);
    const at = systemClock.monotonic();
    session.notePermitted(action ?? null, { stretch: session.stretch, at });
    return null;
  });
}

/** An effect that never ends, begun. */
function beginUnsafe(): Promise<void> {
  return new Promise((resolve) => {
    const hangs = effect("unsafe", () => {
      resolve();
      return new Promise<never>(() => {});
    });
    void runner()(hangs.made);
  });
}

/** What the next worker would find. */
async function takeOver() {
  const record = await backend.store.find(key);
  const entries = journalEntryShape()
    .array()
    .assert(record?.journal ?? []) as JournalEntry[];
  session.journal = new Journal(entries);
  return entries.map(({ event }) => event);
}

function effect(
  repeat: Effect<string>["repeat"],
  outcome: Outcome<string> | (() => Promise<Outcome<string>>),
) {
  let runs = 0;
  const made: Effect<string> = {
    name: "tool:write",
    input: { path: "a" },
    repeat,
    run: async () => {
      runs += 1;
      return typeof outcome === "function" ? outcome() : outcome;
    },
  };
  return { made, runs: () => runs };
}

const fine: Outcome<string> = { ok: true, value: "written" };

describe("an approval", () => {
  it.each(["free", "safe", "unsafe"] as const)(
    "is spent by a %s effect, and serves no other after it [approval.used-once]",
    async (repeat) => {
      const grant = { digest: "of the action", approvalId: "apr_1", resolvedBy: null };
      const first = effect(repeat, fine);
      expect(await runner()({ ...first.made, grant })).toMatchObject({ ok: true });
      expect(await takeOver()).toContain("begun");
      const other = effect(repeat, fine);
      expect(await runner()({ ...other.made, input: { path: "b" }, grant })).toMatchObject({
        ok: false,
        result: { kind: "failed", failure: { kind: "policy_denied" } },
      });
      expect(other.runs()).toBe(0);
    },
  );
});

it("is done on the word on its own action, and not on that of another call under way [policy.apart]", async () => {
  const judged: string[] = [];
  const run = runner({ onJudged: (action) => judged.push(action?.name ?? "own") });
  const [first, second] = ["first", "second"].map((name): Action => ({
    kind: "tool",
    name,
    server: "files",
    input: {},
  })) as [Action, Action];
  session.notePermitted(first, { stretch: session.stretch, at: systemClock.monotonic() });
  await run({ ...effect("safe", fine).made, key: "tool#1", action: first });
  session.notePermitted(first, { stretch: session.stretch, at: systemClock.monotonic() });
  await run({ ...effect("safe", fine).made, key: "tool#2", action: second });
  expect(judged).toEqual(["second"]);
});

it("begun as unsafe is in doubt whatever is said of it later [effect.unsafe-stays]", async () => {
  const begun = effect("unsafe", async () => {
    throw new LeaseLost("killed");
  });
  await expect(runner()(begun.made)).rejects.toThrow("killed");
  for (const repeat of ["safe", "free"] as const) {
    await takeOver();
    const later = effect(repeat, fine);
    const asked = await runner()(later.made);
    expect(asked).toMatchObject({ ok: false, result: { kind: "asked" } });
    expect(later.runs()).toBe(0);
  }
});

describe("an effect that may not be repeated", () => {
  it("is written down before and after, and its result is read by the next worker", async () => {
    const { made, runs } = effect("unsafe", fine);
    expect(await runner()(made)).toEqual({ ok: true, value: "written" });
    expect(await takeOver()).toEqual(["begun", "completed"]);
    expect(await runner()(made)).toEqual({ ok: true, value: "written" });
    expect(runs()).toBe(1);
  });

  it("that throws is in doubt like one that was not answered [effect.unsafe-once]", async () => {
    const throws = effect("unsafe", () => Promise.reject(new RangeError("deep in an adapter")));
    expect(await runner({ inDoubt: "fail" })(throws.made)).toMatchObject({
      ok: false,
      result: { failure: { kind: "in_doubt" } },
    });
    const { made, runs } = effect("unsafe", fine);
    await takeOver();
    expect(await runner()(made)).toMatchObject({ ok: false, result: { kind: "asked" } });
    expect(runs()).toBe(0);
  });

  it.each([
    ["nested too deep", () => JSON.parse(`${"[".repeat(20_000)}${"]".repeat(20_000)}`) as unknown],
    ["no JSON", () => 10n],
  ])(
    "whose result can't be kept, because it is %s, is completed with that, and never forgotten [effect.unsafe-once]",
    async (_, make) => {
      const odd = effect("unsafe", async () => ({ ok: true, value: make() as string }));
      expect(await runner()(odd.made)).toMatchObject({
        ok: false,
        result: { failure: { kind: "invalid_output", retryable: false } },
      });
      expect(await takeOver()).toEqual(["begun", "completed"]);
      expect(await runner()(odd.made)).toMatchObject({ ok: false });
      expect(odd.runs()).toBe(1);
    },
  );

  it("begun and never completed, asks a person before it runs again [effect.unsafe-once]", async () => {
    await beginUnsafe();
    expect(await takeOver()).toEqual(["begun"]);
    const { made, runs } = effect("unsafe", fine);
    expect(await runner()(made)).toMatchObject({
      ok: false,
      result: {
        kind: "asked",
        asks: [{ action: { kind: "repeat", input: { may_have_run: true } } }],
      },
    });
    expect(await runner({ inDoubt: "fail" })(made)).toMatchObject({
      ok: false,
      result: { kind: "failed", failure: { kind: "in_doubt" } },
    });
    expect(runs()).toBe(0);
  });

  it("whose tool can't tell whether it ran, asks at once", async () => {
    const { made } = effect("unsafe", { ok: false, failure: terminal("in_doubt", "no answer") });
    expect(await runner()(made)).toMatchObject({ ok: false, result: { kind: "asked" } });
  });

  it("that failed for good, fails the same way for the next worker, and is not tried again", async () => {
    const { made, runs } = effect("unsafe", { ok: false, failure: terminal("tool_failed", "no") });
    const first = await runner()(made);
    await takeOver();
    expect(await runner()(made)).toEqual(first);
    expect(runs()).toBe(1);
  });

  it("that is known not to have happened, is tried again without a question", async () => {
    const away = effect("unsafe", { ok: false, failure: retryable("unavailable", "away") });
    expect(await runner()(away.made)).toMatchObject({ ok: false, result: { kind: "failed" } });
    await takeOver();
    const { made, runs } = effect("unsafe", fine);
    expect(await runner()(made)).toEqual({ ok: true, value: "written" });
    expect(runs()).toBe(1);
    expect(await takeOver()).toEqual(["begun", "completed", "begun", "completed"]);
  });

  it("and whose repetition never left, still says that its first try may have run [effect.unsafe-once]", async () => {
    await beginUnsafe();
    await takeOver();
    const asked = await runner()(effect("unsafe", fine).made);
    const digest =
      !asked.ok && asked.result.kind === "asked" ? (asked.result.asks[0]?.digest ?? "") : "";
    const grants = [{ digest, approvalId: "apr_1", resolvedBy: null }];
    const said = {
      ok: false,
      result: {
        failure: {
          message: expect.stringContaining("an earlier try may have run"),
          details: { may_have_run: true },
        },
      },
    };
    const away = effect("unsafe", { ok: false, failure: retryable("unavailable", "away") });
    expect(await runner({ grants })(away.made)).toMatchObject(said);
    await takeOver();
    const gone = effect("unsafe", { ok: false, failure: terminal("not_found", "no such tool") });
    expect(await runner({ grants })(gone.made)).toMatchObject(said);
  });

  it("cut short by us, stays in doubt", async () => {
    const controller = new AbortController();
    const cut = effect("unsafe", async () => {
      controller.abort();
      return { ok: false, failure: terminal("cancelled", "aborted") };
    });
    await expect(runner({ signal: controller.signal })(cut.made)).rejects.toThrow();
    expect(await takeOver()).toEqual(["begun"]);
    expect(session.journal.isInDoubt([...(await ids())][0] ?? "")).toBe(true);
  });

  it("is not begun once the fence has moved on", async () => {
    session.opened({ ...session.lease, fence: session.lease.fence - 1 });
    const { made, runs } = effect("unsafe", fine);
    await expect(runner()(made)).rejects.toThrow("fence");
    expect(runs()).toBe(0);
  });
});

async function ids() {
  const record = await backend.store.find(key);
  return journalEntryShape()
    .array()
    .assert(record?.journal ?? [])
    .flatMap((line) => ("effect" in line ? [line.effect] : []));
}

describe("an effect that is safe but costs", () => {
  it("is paid once: the next worker reads its result", async () => {
    const { made, runs } = effect("safe", fine);
    await runner()(made);
    // The journal is tried before money is spent.
    expect(await takeOver()).toEqual(["begun", "completed"]);
    await runner()(made);
    expect(runs()).toBe(1);
  });

  it("is not announced where the journal was written a moment ago", async () => {
    const trouble = new TroubleWatch({ clock: systemClock, log });
    trouble.journalWritten();
    const { made } = effect("safe", fine);
    await runner({ trouble })(made);
    expect(await takeOver()).toEqual(["completed"]);
  });

  it("interrupted, is repeated without a question", async () => {
    const { made, runs } = effect("safe", { ok: false, failure: retryable("timeout", "slow") });
    await runner()(made);
    expect(await takeOver()).toEqual(["begun"]);
    await runner()(made);
    expect(runs()).toBe(2);
  });

  it("with a result too long for the store, is kept as an artifact and read back", async () => {
    const long = "x".repeat(300 * 1024);
    const { made, runs } = effect("safe", { ok: true, value: long });
    await runner()(made);
    await takeOver();
    expect(JSON.stringify((await backend.store.find(key))?.journal).length).toBeLessThan(1_000);
    expect(await runner()(made)).toEqual({ ok: true, value: long });
    expect(runs()).toBe(1);
    artifacts.clear();
    expect(await runner()(made)).toMatchObject({
      ok: false,
      result: { failure: { kind: "corrupt_record" } },
    });
  });
});

describe("an effect that is free", () => {
  it("writes nothing at all", async () => {
    const { made } = effect("free", fine);
    await runner()(made);
    expect(await takeOver()).toEqual([]);
  });
});

describe("the same effect twice in one step", () => {
  it("is two effects, told apart by their order", async () => {
    const { made, runs } = effect("unsafe", fine);
    const run = runner();
    await run(made);
    await run(made);
    expect(runs()).toBe(2);
    await takeOver();
    const again = runner();
    await again(made);
    await again(made);
    expect(runs()).toBe(2);
  });
});
