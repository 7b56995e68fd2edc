import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import { type Failure, retryable, terminal } from "../../machines/contracts/domain/failure.ts";
import { startScene, type Scene } from "../support/bare-plane.ts";

let scene: Scene;
afterEach(() => scene.close());

const llm = { stepType: "llm", input: { task: "pay" } };
const start = async (given: Parameters<typeof startScene>[1] = {}) =>
  (scene = await startScene(randomUUID(), given));
const away = retryable("unavailable", "a page of something else");
const said = (message: string) => scene.lines.filter((line) => line.message.includes(message));

describe("a report", () => {
  it("whose answer was lost is not sent again while a look at the step fails: not knowing is not 'not there' [report.once]", async () => {
    await start();
    // The run has other steps: it goes on when this one is done.
    scene.plane.runGoesOn = true;
    scene.plane.answers.report = ["lost"];
    scene.plane.answers.run = [null, away, null, null];
    scene.plane.answers.steps = [away, away, away];
    await scene.deliver(llm, 1);
    expect(scene.plane.looks.steps).toBe(4);
    expect(scene.plane.applied).toHaveLength(1);
    expect(scene.handler.calls).toBe(1);
    expect(await scene.backend.queue.stats()).toMatchObject({ length: 0, deadLetters: 0 });
  });

  it.each<[string, Failure]>([
    ["a proxy's page", away],
    ["a refused key", terminal("unauthorized", "401")],
    ["too many calls", retryable("rate_limited", "429", 5_000)],
    ["a setting of ours", terminal("misconfigured", "no such host")],
  ])(
    "waits through %s, says why once, and is received in the end [once.outbox]",
    async (_, failure) => {
      await start();
      scene.plane.answers.report = Array.from({ length: 12 }, () => failure);
      await scene.deliver(llm, 1);
      expect(scene.plane.applied).toMatchObject([{ body: { status: "completed" } }]);
      expect(scene.handler.calls).toBe(1);
      expect(await scene.backend.queue.stats()).toMatchObject({ length: 0, deadLetters: 0 });
      const delayed = said("the report is delayed");
      expect(delayed.map(({ level }) => level)).toEqual(
        Array.from({ length: delayed.length }, () => "warn"),
      );
      expect(delayed[0]?.fields["reason"]).toBe(failure.message);
      expect(delayed.length).toBeLessThanOrEqual(2);
    },
  );

  it("is tried although /health can't be read for a while, and never given up because of it", async () => {
    await start();
    const unreadable = [away, terminal("refused", "/health is out of contract")];
    await scene.deliver({ stepType: "retrieval", input: { query: "x" } }, 1);
    scene.plane.applied.length = 0;
    scene.plane.stepStatus = "running";
    scene.plane.runStatus = "running";
    scene.plane.answers.extensions = [...unreadable, ...unreadable];
    await scene.deliver({ ...llm, createdAt: scene.clock.now() }, 1);
    expect(await scene.backend.queue.stats()).toMatchObject({ length: 0, deadLetters: 0 });
  });

  it("that the control plane itself refuses is sent once more as a short failure, and its result is kept with the dead letter [report.refused]", async () => {
    await start();
    scene.plane.advertised.add("idempotent-results");
    scene.handler.output = { text: "a receipt with \u{1F4B3}" };
    scene.plane.answers.report = [terminal("refused", "400 BAD_REQUEST: bad \u{1F4A5} body")];
    await scene.deliver(llm, 1);
    const [first, second, ...more] = scene.plane.reports;
    expect(more).toEqual([]);
    expect(first?.body).toMatchObject({ status: "completed" });
    expect(second?.body).toMatchObject({ status: "failed", error: { kind: "refused" } });
    expect(JSON.stringify(second?.body)).toMatch(/^[ -~]*$/);
    expect(JSON.stringify(second?.body)).not.toContain("receipt");
    expect(scene.plane.applied).toEqual([second]);
    const [letter] = await scene.backend.queue.deadLetters(10);
    expect(letter?.reason).toContain("the control plane refused the report");
    expect(letter?.result).toMatchObject({ status: "completed", output: scene.handler.output });
    // The letter itself keeps it, whatever the record had by then.
    expect(JSON.stringify(letter?.journal)).toContain("completed");
    expect(said("the report was refused")[0]?.level).toBe("warn");
  });

  it("refused for good becomes a dead letter whose retry sends the result and does nothing again [report.refused]", async () => {
    await start();
    scene.plane.advertised.add("idempotent-results");
    const refusal = terminal("not_found", "404 NOT_FOUND: no such run");
    scene.plane.answers.report = [refusal, refusal];
    await scene.deliver(llm, 1);
    expect(scene.plane.applied).toEqual([]);
    const [letter] = await scene.backend.queue.deadLetters(10);
    await scene.backend.queue.retryDeadLetter(letter?.id ?? "");
    await scene.rest();
    expect(scene.plane.applied).toMatchObject([{ body: { status: "completed" } }]);
    expect(scene.handler.calls).toBe(1);
    expect(await scene.backend.queue.stats()).toMatchObject({ length: 0, deadLetters: 0 });
  });

  it("of a result that cost nothing, and so was not recorded, is kept with the dead letter as well [report.refused]", async () => {
    await start({ handler: async () => ({ kind: "done", output: "found for free" }) });
    scene.plane.advertised.add("idempotent-results");
    scene.plane.answers.report = [terminal("refused", "400")];
    await scene.deliver(llm, 1);
    const [letter] = await scene.backend.queue.deadLetters(10);
    expect(letter?.result).toMatchObject({ status: "completed", output: "found for free" });
  });

  it("behind a newer fence is silence: no dead letter, no second report [once.fence]", async () => {
    await start();
    scene.plane.advertised.add("idempotent-results");
    scene.plane.answers.report = [terminal("conflict", "409 FENCED")];
    const delivering = scene.deliver(llm, 1);
    await scene.pass(1_000);
    expect(scene.plane.reports).toHaveLength(1);
    expect(await scene.backend.queue.stats()).toMatchObject({ deadLetters: 0 });
    expect(said("this attempt was abandoned")[0]?.level).toBe("warn");
    await delivering;
    expect(scene.handler.calls).toBe(1);
  });

  it("that throws, over and over, ends in the dead letters, its work not done again [dead-letter.past-record]", async () => {
    await start();
    const { report } = scene.plane;
    scene.plane.report = () => {
      throw new TypeError("invalid header");
    };
    await scene.deliver(llm, 1);
    expect(await scene.backend.queue.stats()).toMatchObject({ length: 0, deadLetters: 1 });
    expect(scene.handler.calls).toBe(1);
    scene.plane.report = report;
    const [letter] = await scene.backend.queue.deadLetters(10);
    expect(letter?.result).toMatchObject({ status: "completed" });
  });
});

describe("the log at info", () => {
  const line = (message: string) => said(message).filter(({ level }) => level !== "debug");

  it("has one line at a step's end, with what it was, how long and how often it was tried [voice]", async () => {
    await start();
    await scene.deliver(llm, 1);
    expect(line("the step completed")).toHaveLength(1);
    const named = { runId: "run_1", stepId: "stp_1", stepType: "llm", outcome: "completed" };
    expect(line("the step completed")[0]?.fields).toMatchObject(named);
    expect(line("the step completed")[0]?.fields).toMatchObject({
      ms: expect.any(Number) as number,
      attempts: 1,
    });
  });

  it("says a failure with its kind and message [voice]", async () => {
    await start();
    scene.handler.fails = true;
    await scene.deliver(llm, 1);
    expect(line("the step failed: tool_failed: no")).toHaveLength(1);
    expect(scene.lines.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
  });
});
