import { fileURLToPath } from "node:url";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { createToolHost } from "../../adapters/mcp/host.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { ToolTarget } from "../../machines/contracts/ports/tool-host.ts";
import { value } from "../support/value.ts";
import { median, mediansOf } from "./figures.ts";

/** Calls of one tool over standard streams: by our tool host, and by the SDK's client with its own transport. */
export interface McpFigures {
  calls: number;
  /** Median microseconds a call, the median over the rounds; so is the ratio. */
  ours: number;
  bare: number;
  ratio: number;
  /** `notifications/cancelled` that our server was sent. */
  cancellations: number;
}

const command = process.execPath;
const args = [fileURLToPath(new URL("./echo-server.ts", import.meta.url))];
const clientInfo = { name: "bench", version: "1" };
const silent = () => undefined;
const log = { debug: silent, info: silent, warn: silent, error: silent };
/** Calls before it counts, of each. */
const warmUp = 1_000;
const portion = 100;

type Round = Record<"ours" | "bare" | "ratio" | "cancellations", number>;

export async function benchMcp(calls: number, rounds: number): Promise<McpFigures> {
  const done: Round[] = [];
  for (let round = 0; round < rounds; round += 1) done.push(await oneRound(calls));
  const cancellations = done.reduce((sum, round) => sum + round.cancellations, 0);
  return { calls, ...mediansOf(done), cancellations };
}

/** With a client, a host and two servers of its own: how well a process does is in part its luck. */
async function oneRound(calls: number): Promise<Round> {
  const host = createToolHost({
    servers: [{ name: "echo", command, args }],
    schemas: createSchemaChecker(),
    log,
    clientInfo,
  });
  const client = new Client(clientInfo);
  await client.connect(new StdioClientTransport({ command, args }));
  const signal = new AbortController().signal;
  const target: ToolTarget = value(await host.describe("echo", signal));
  const input = { message: "hello, this is a message of an ordinary length" };
  const callOurs = async (): Promise<unknown> =>
    value(await host.call(target, input, signal, "run_1/stp_1/tool:echo"));
  const callBare = (): Promise<unknown> => client.callTool({ name: "echo", arguments: input });

  await timed(callBare, warmUp);
  await timed(callOurs, warmUp);
  const times = { ours: [] as number[], bare: [] as number[] };
  // By turns in small portions: what else the machine does meets both alike.
  for (let at = 0; at < calls; at += portion) {
    times.bare.push(...(await timed(callBare, portion)));
    times.ours.push(...(await timed(callOurs, portion)));
  }
  const seen = value(await host.describe("cancellations", signal));
  const cancellations = Number(value(await host.call(seen, {}, signal)).content);
  await Promise.all([host.close(), client.close()]);
  const [ours, bare] = [median(times.ours), median(times.bare)];
  return { ours, bare, ratio: ours / bare, cancellations };
}

async function timed(call: () => Promise<unknown>, times: number): Promise<number[]> {
  const taken: number[] = [];
  for (let at = 0; at < times; at += 1) {
    const begun = performance.now();
    await call();
    taken.push((performance.now() - begun) * 1_000);
  }
  return taken;
}

export function mcpTable({ calls, ours, bare, ratio, cancellations }: McpFigures): string {
  return [
    `${calls} calls over standard streams, each after the last (median):`,
    `  the SDK's client   ${bare.toFixed(0)} µs`,
    `  our tool host      ${ours.toFixed(0)} µs   ${ratio.toFixed(3)} of it (bar: 1.15)`,
    `  notifications/cancelled sent: ${cancellations}`,
  ].join("\n");
}
