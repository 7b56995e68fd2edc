import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import type {
  ChatCompletionFunctionTool as ChatTool,
  ChatCompletionMessageParam as ChatMessage,
} from "openai/resources/chat/completions";
import { createModels } from "../../adapters/llm/models.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { agentTools } from "../support/agent-world.ts";
import { sqliteBackends } from "../support/backends.ts";
import { composeWorker } from "../support/compose-worker.ts";
import { listen } from "../support/listen.ts";
import { startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { value } from "../support/value.ts";
import { chatStream } from "../support/vendor-streams.ts";
import { mediansOf, table } from "./figures.ts";

const turns = 20;
const { signal } = new AbortController();

export type LoopFigures = Record<
  "bareMs" | "wholeMs" | "ownMs" | "secondTurnBytes" | "lastTurnBytes" | "ratio",
  number
>;

/** Each turn but the last calls the one tool once. */
const speak = (turn: number): string => {
  if (turn === turns) return chatStream({ text: ["done"] });
  const pieces = [JSON.stringify({ path: String(turn).padStart(3, "0") })];
  return chatStream({
    calls: [{ id: `call_${turn}`, name: "read", pieces }],
    finish: "tool_calls",
  });
};

interface Vendor extends AsyncDisposable {
  url: string;
}

/** A provider that speaks chat completions, for both loops. It runs in this process: what it takes is in both figures alike. */
async function openVendor(): Promise<Vendor> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { messages } = JSON.parse(Buffer.concat(chunks).toString()) as {
        messages: { role: string }[];
      };
      const turn = messages.filter(({ role }) => role === "assistant").length;
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end(speak(turn));
    });
  });
  const url = `http://127.0.0.1:${await listen(server)}`;
  const close = async () => {
    server.closeAllConnections();
    server.close();
  };
  return { url, [Symbol.asyncDispose]: close };
}

const toolsOf = () => agentTools(["read"], async () => "y".repeat(2_000));

const cpuMs = (since: NodeJS.CpuUsage): number => {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1_000;
};

/** The same conversation as a program without us has it: the vendor's SDK, its stream read as it comes, and a loop. */
async function bare({ url }: Vendor): Promise<number> {
  const { tools } = toolsOf();
  const [tool] = value(await tools.list(signal));
  if (tool === undefined) throw new Error("there is no tool");
  const client = new OpenAI({
    apiKey: "key",
    baseURL: `${url}/v1`,
    maxRetries: 0,
    logLevel: "off",
  });
  const { name, description, inputSchema } = tool;
  const offered: ChatTool = {
    type: "function",
    function: { name, description: description ?? "", parameters: { ...inputSchema } },
  };
  const begun = process.cpuUsage();
  const messages: ChatMessage[] = [{ role: "user", content: "Read all" }];
  for (let asked = 1; ; asked += 1) {
    const stream = await client.chat.completions.create({
      model: "gpt-4o",
      messages,
      tools: [offered],
      max_tokens: 100,
      stream: true,
      stream_options: { include_usage: true },
    });
    let content = "";
    const call = { id: "", name: "", arguments: "" };
    for await (const { choices } of stream) {
      const { delta } = choices[0] ?? {};
      content += delta?.content ?? "";
      const [more] = delta?.tool_calls ?? [];
      call.id += more?.id ?? "";
      call.name += more?.function?.name ?? "";
      call.arguments += more?.function?.arguments ?? "";
    }
    if (call.id === "") {
      if (asked !== turns + 1) throw new Error(`the bare loop ended after ${asked} calls`);
      return cpuMs(begun);
    }
    const { id, ...called } = call;
    messages.push({
      role: "assistant",
      content,
      tool_calls: [{ id, type: "function", function: called }],
    });
    const result = value(await tools.call(tool, JSON.parse(call.arguments) as JsonObject, signal));
    messages.push({ role: "tool", tool_call_id: id, content: String(result.content) });
  }
}

/** An agent step in a whole worker, beside a control plane over HTTP. */
async function ours({ url }: Vendor): Promise<{ ms: number; bytes: number[] }> {
  const folder = await mkdtemp(join(tmpdir(), "stateplane-bench-"));
  const backend = await sqliteBackends().backend(`bench${randomUUID().slice(0, 8)}`);
  const gateway = await startFerrumDeckGateway({
    verdicts: { read: "allow" },
    publish: (fields) => void backend.queue.publish(fields),
  });
  const { tools, calls } = toolsOf();
  const provider = {
    name: "openai",
    kind: "openai-compatible" as const,
    apiKey: "key",
    keyVariable: "OPENAI_API_KEY",
    baseUrl: `${url}/v1`,
    totalMs: 60_000,
    idleMs: 60_000,
  };
  const models = createModels({ providers: [provider] });
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
    ports: { models, tools },
  });
  try {
    const begun = process.cpuUsage();
    const job = { runId: "run_bench", stepId: "stp_bench", stepType: "llm" } as const;
    gateway.enqueue({
      ...job,
      input: { task: "Read all", model: "openai/gpt-4o", max_tokens: 100 },
    });
    await worker.ended(job.stepId);
    if (calls.length !== turns) throw new Error(`the step made ${calls.length} calls`);
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
  await using vendor = await openVendor();
  // What is loaded at the first call is no turn's.
  await bare(vendor);
  await ours(vendor);
  const figures: LoopFigures[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const bareMs = await bare(vendor);
    const { ms, bytes } = await ours(vendor);
    // Each turn is two entries: the model's answer, and what its call brought.
    const turn = (at: number) => (bytes[2 * at] ?? 0) + (bytes[2 * at + 1] ?? 0);
    const [second, last] = [turn(1), turn(turns - 1)];
    const own = (ms - bareMs) / turns;
    figures.push({
      bareMs: bareMs / turns,
      wholeMs: ms / turns,
      ownMs: own,
      secondTurnBytes: second,
      lastTurnBytes: last,
      ratio: last / second,
    });
  }
  return mediansOf(figures);
}

export function loopTable(figures: LoopFigures): string {
  const { bareMs, wholeMs, ownMs, secondTurnBytes, lastTurnBytes, ratio } = figures;
  return [
    `an agent's loop of ${turns} turns, one tool call each`,
    table(
      ["", "figure"],
      [
        ["CPU a turn, a bare loop over the vendor's SDK, ms", bareMs.toFixed(2)],
        ["CPU a turn, an agent step in a whole worker, ms", wholeMs.toFixed(2)],
        ["the difference, its check-tool calls over HTTP included, ms", ownMs.toFixed(2)],
        ["journal, 2nd turn, bytes", secondTurnBytes.toFixed(0)],
        ["journal, 20th turn, bytes", lastTurnBytes.toFixed(0)],
        ["20th turn against 2nd", ratio.toFixed(2)],
      ],
    ),
  ].join("\n");
}
