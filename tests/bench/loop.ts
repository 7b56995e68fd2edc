import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ModelMessage } from "../../machines/contracts/ports/model-provider.ts";
import { agentModel, agentTools } from "../support/agent-world.ts";
import { sqliteBackends } from "../support/backends.ts";
import { composeWorker } from "../support/compose-worker.ts";
import { startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { value } from "../support/value.ts";
import { mediansOf, table } from "./figures.ts";

const turns = 20;
const { signal } = new AbortController();

export type LoopFigures = Record<
  "bareMs" | "ownMs" | "secondTurnBytes" | "lastTurnBytes" | "ratio",
  number
>;

const world = () => ({
  model: agentModel(({ messages }) => {
    const turn = messages.filter(({ role }) => role === "assistant").length;
    if (turn === turns) return { content: "done" };
    return { calls: [{ name: "read", arguments: { path: String(turn).padStart(3, "0") } }] };
  }),
  tools: agentTools(["read"], async () => "y".repeat(2_000)),
});

const cpuMs = (since: NodeJS.CpuUsage): number => {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1_000;
};

/** The same conversation as a program without us has it. */
async function bare(): Promise<number> {
  const { model, tools } = world();
  const [tool] = value(await tools.tools.list(signal));
  if (tool === undefined) throw new Error("there is no tool");
  const begun = process.cpuUsage();
  const messages: ModelMessage[] = [{ role: "user", content: "Read all" }];
  for (;;) {
    const request = { model: "bench", messages, maxTokens: 100, idempotencyKey: "" };
    const reply = value(await model.models.complete(request, signal));
    messages.push({ role: "assistant", content: reply.content, toolCalls: reply.toolCalls });
    if (reply.toolCalls.length === 0) return cpuMs(begun);
    for (const call of reply.toolCalls) {
      const result = value(await tools.tools.call(tool, call.arguments ?? {}, signal));
      messages.push({ role: "tool", toolCallId: call.id, content: String(result.content) });
    }
  }
}

/** An agent step in a whole worker, beside a control plane over HTTP. */
async function ours(): Promise<{ ms: number; bytes: number[] }> {
  const folder = await mkdtemp(join(tmpdir(), "stateplane-bench-"));
  const backend = await sqliteBackends().backend(`bench${randomUUID().slice(0, 8)}`);
  const gateway = await startFerrumDeckGateway({
    verdicts: { read: "allow" },
    publish: (fields) => void backend.queue.publish(fields),
  });
  const { model, tools } = world();
  const bytes: number[] = [];
  const { store } = backend;
  const worker = composeWorker({
    backend: {
      ...backend,
      store: {
        ...store,
        append: (lease, entries, durable) => {
          if (entries[0]?.event === "completed") bytes.push(JSON.stringify(entries).length);
          return store.append(lease, entries, durable);
        },
      },
    },
    controlPlane: gateway,
    artifacts: folder,
    options: { allowlist: { allowed: ["read"], approvalRequired: [], denied: [] } },
    ports: { models: model.models, tools: tools.tools },
  });
  try {
    const begun = process.cpuUsage();
    const job = { runId: "run_bench", stepId: "stp_bench", stepType: "llm" } as const;
    gateway.enqueue({ ...job, input: { task: "Read all" } });
    await worker.ended(job.stepId);
    return { ms: cpuMs(begun), bytes };
  } finally {
    await worker.close();
    await gateway.close();
    await backend.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** What an agent's loop of 20 turns takes beyond a bare one, and what its turns cost the store. */
export async function benchLoop(rounds: number): Promise<LoopFigures> {
  await ours();
  const figures: LoopFigures[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const bareMs = await bare();
    const { ms, bytes } = await ours();
    // Each turn is two entries: the model's answer, and what its call brought.
    const turn = (at: number) => (bytes[2 * at] ?? 0) + (bytes[2 * at + 1] ?? 0);
    const [second, last] = [turn(1), turn(turns - 1)];
    const own = (ms - bareMs) / turns;
    figures.push({
      bareMs: bareMs / turns,
      ownMs: own,
      secondTurnBytes: second,
      lastTurnBytes: last,
      ratio: last / second,
    });
  }
  return mediansOf(figures);
}

export function loopTable(figures: LoopFigures): string {
  const { bareMs, ownMs, secondTurnBytes, lastTurnBytes, ratio } = figures;
  return [
    `an agent's loop of ${turns} turns, one tool call each`,
    table(
      ["", "figure"],
      [
        ["CPU a turn, a bare loop, ms", bareMs.toFixed(2)],
        ["CPU a turn beyond that, whole worker and its check-tool calls, ms", ownMs.toFixed(2)],
        ["journal, 2nd turn, bytes", secondTurnBytes.toFixed(0)],
        ["journal, 20th turn, bytes", lastTurnBytes.toFixed(0)],
        ["20th turn against 2nd", ratio.toFixed(2)],
      ],
    ),
  ].join("\n");
}
