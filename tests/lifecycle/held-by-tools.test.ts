import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { StepHandler } from "../../actors/handlers/handler.ts";
import type { RuntimeOptions, StepEventNotice } from "../../actors/options.ts";
import { fail, type Failure, ok, retryable } from "../../machines/contracts/domain/failure.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import { sqliteBackends } from "../support/backends.ts";
import { type HumanScene, humanScene } from "../support/human-scene.ts";

const never = new AbortController().signal;
const quarantined: Failure = {
  ...retryable("unavailable", 'MCP server "a" is quarantined', 1_000),
  untried: true,
};
const down = retryable("unavailable", 'MCP server "a" did not answer');
const step = { type: "tool" as const, input: { tool_name: "read" } };
const lists = { allowed: ["read"], approvalRequired: [], denied: [] };
const own: StepHandler = async () => ({ kind: "done", output: "own" });

/** Servers that can't be asked about any name, and how often they were. */
function heldTools(failure: Failure) {
  const asked: string[] = [];
  const tools: ToolHost = {
    list: async () => ok([]),
    describe: async (name) => {
      asked.push(name);
      return fail(failure);
    },
    call: async () => fail(failure),
    close: async () => {},
  };
  return { asked, tools };
}

describe("a tool step while a server can't be asked", () => {
  let scene: HumanScene;
  beforeEach(async () => {
    scene = await humanScene(sqliteBackends());
  });
  afterEach(() => scene.close());

  async function start(failure: Failure, options: Partial<RuntimeOptions>) {
    const held = heldTools(failure);
    const ends: StepEventNotice[] = [];
    const onStepEvent = (notice: StepEventNotice) => void ends.push(notice);
    await scene.worker({ allowlist: lists, onStepEvent, ...options }, () => ({
      tools: held.tools,
    }));
    const { runId, stepIds } = await scene.run([step]);
    return { ...held, ends, runId, stepId: stepIds[0] ?? "" };
  }
  const howEnded = (ends: readonly StepEventNotice[]) =>
    ends.flatMap((notice) => (notice.kind === "ended" ? [notice.how] : []));

  it.each([
    ["quarantined", quarantined],
    ["down", down],
  ])("is done by the user's own handler where one is %s [library.handlers]", async (_, failure) => {
    const { runId, stepId } = await start(failure, { handlers: { "tool:read": own } });
    expect(await scene.ended(runId, stepId)).toMatchObject({ status: "completed", output: "own" });
  });

  it("waits all the same where a list speaks of that name on a server [policy.resolved]", async () => {
    const allowlist = { ...lists, denied: ["a/read"] };
    const { ends } = await start(quarantined, { allowlist, handlers: { "tool:read": own } });
    await vi.waitFor(() => expect(howEnded(ends)).toContain("parked"), 60_000);
    expect(howEnded(ends)).not.toContain("settled");
  });

  it("ends at its next look once its run was cancelled [retry.untried]", async () => {
    const { ends, runId } = await start(quarantined, {});
    await vi.waitFor(() => expect(howEnded(ends)).toContain("parked"), 60_000);
    await scene.plane.api.cancel(runId, never);
    await vi.waitFor(() => expect(howEnded(ends)).toContain("settled"), 60_000);
    await scene.idle();
  });
});
