/**
 * The neighbour of every contender, a process of its own: a control plane that takes reports and a model that
 * answers when it is told to. It notes when each report arrived; its clock is the machine's monotonic one, which
 * all processes share. Told and telling by IPC.
 */
import { createServer, type ServerResponse } from "node:http";

export type ToSink =
  | { kind: "expect"; reports: number }
  /** What waits on the model is answered; what comes later is too, two seconds after it was asked, or waits. */
  | { kind: "answer-models"; later: "answer" | "answer slowly" | "wait" };
export type FromSink =
  | { kind: "listening"; port: number }
  /** From now on reports are counted anew: what arrives sooner belongs to those before. */
  | { kind: "expecting" }
  /** Nanoseconds of the first report, the one in the middle, and the last. */
  | { kind: "reported"; first: number; half: number; last: number; at: [string, number][] }
  | { kind: "asked"; models: number };

const tell = (message: FromSink) => process.send?.(message);
const now = () => Number(process.hrtime.bigint());

let expected = Number.POSITIVE_INFINITY;
let at: [string, number][] = [];
const waiting: ServerResponse[] = [];
let later: Extract<ToSink, { kind: "answer-models" }>["later"] = "wait";

const completion = JSON.stringify({
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1,
  model: "gpt-4o-mini",
  choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "done" } }],
  usage: { prompt_tokens: 10, completion_tokens: 1, total_tokens: 11 },
});

const server = createServer((request, response) => {
  const path = request.url ?? "";
  request.resume().on("end", () => {
    response.setHeader("content-type", "application/json");
    if (path.endsWith("/chat/completions")) {
      // Each call brings its own connection: one that is left over would be no weight of the next.
      response.setHeader("connection", "close");
      if (later === "answer") return void response.end(completion);
      if (later === "answer slowly") return void setTimeout(() => response.end(completion), 2_000);
      tell({ kind: "asked", models: waiting.push(response) });
      return;
    }
    const [, , , runId = "", , stepId = ""] = path.split("/");
    if (request.method !== "POST") {
      const run = { id: runId, status: "running", project_id: "p" };
      const health = { status: "healthy", version: "0" };
      // Whoever lost a report's answer asks whether the step has ended: none has.
      const another = { id: "stp_another", run_id: runId, step_type: "llm", status: "running" };
      const list = path.startsWith("/v1/approvals") ? [] : run;
      const shown = path.endsWith("/steps") ? [another] : list;
      response.end(JSON.stringify(path === "/health" ? health : shown));
      return;
    }
    const step = { id: stepId, run_id: runId, step_type: "retrieval", status: "completed" };
    response.end(JSON.stringify(step));
    at.push([stepId, now()]);
    if (at.length !== expected) return;
    const [first, half, last] = [0, Math.floor(at.length / 2) - 1, at.length - 1].map(
      (place) => at[Math.max(place, 0)]?.[1] ?? Number.NaN,
    ) as [number, number, number];
    tell({ kind: "reported", first, half, last, at });
  });
});
server.keepAliveTimeout = 60_000;

process.on("message", (message: ToSink) => {
  if (message.kind === "expect") {
    expected = message.reports;
    at = [];
    tell({ kind: "expecting" });
    return;
  }
  later = message.later;
  for (const response of waiting.splice(0)) response.end(completion);
});
process.on("disconnect", () => process.exit());
server.listen(0, "127.0.0.1", 4_096, () => {
  const address = server.address();
  tell({
    kind: "listening",
    port: typeof address === "object" && address !== null ? address.port : 0,
  });
});
