import { afterEach, expect, it } from "vitest";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { registerWorkflow, startWorkflowRun } from "../../adapters/control-plane/workflows-api.ts";
import { defineConfig, startDev } from "../../cli/library.ts";
import { isRunEnded } from "../../machines/contracts/domain/status.ts";
import type { WorkflowDefinition } from "../../machines/contracts/domain/workflow.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { value } from "../support/value.ts";

const folder = useTemporaryFolder();
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});
const { signal } = new AbortController();
const silent = { debug() {}, info() {}, warn() {}, error() {} };

it("a worker hears that a step's time is over, ends it, and the next attempt runs alone [workflow.stop-heard]", async () => {
  let calls = 0;
  let live = 0;
  let most = 0;
  const slow = {
    name: "slow",
    description: "Waits, the first time.",
    input: { type: "object" },
    annotations: { readOnly: true },
    run: async (_: unknown, { signal: told }: { signal: AbortSignal }) => {
      calls += 1;
      live += 1;
      most = Math.max(most, live);
      if (calls === 1) {
        await new Promise((resolve) => told.addEventListener("abort", resolve, { once: true }));
      }
      live -= 1;
      return { call: calls };
    },
  };
  const config = defineConfig({
    dataDir: folder,
    store: "sqlite",
    tools: [slow],
    allowlist: { allowed: ["slow"] },
  });
  const dev = await startDev(config, { env: {}, log: silent });
  closing.push(() => dev.close());
  const api = createControlPlaneApi({ url: dev.url, apiKey: dev.apiKey, timeoutMs: 30_000 });
  closing.push(() => api.close());
  const definition: WorkflowDefinition = {
    id: "w",
    name: "W",
    steps: [
      {
        id: "slow",
        type: "tool",
        timeout_ms: 10_000,
        retry: { max_attempts: 2, delay_ms: 100 },
        config: { tool_name: "slow" },
      },
    ],
  };
  const projectId = "prj_01JFVX0000000000000000001";
  const workflow = value(await registerWorkflow(api, { definition, projectId }, signal));
  const run = { workflowId: workflow.id, input: {} };
  const { id } = value(await startWorkflowRun(api, run, signal));
  for (;;) {
    const { status } = value(await api.run(id, signal));
    if (isRunEnded(status)) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const ended = value(await api.run(id, signal));
  expect(ended).toMatchObject({ status: "completed", output: { slow: { result: { call: 2 } } } });
  expect({ calls, most }).toEqual({ calls: 2, most: 1 });
});
