import { createServer } from "node:http";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { defaultScreening } from "../../actors/options.ts";
import {
  createOutputScreen,
  defaultOutputScreening,
} from "../../machines/contracts/domain/screening/output-rules.ts";
import { createRedactor } from "../../machines/contracts/domain/screening/known-secrets.ts";
import { redactText } from "../../machines/contracts/domain/screening/secrets.ts";
import { ChildTransport } from "../../adapters/mcp/child-transport.ts";
import type { McpServer } from "../../adapters/mcp/config.ts";
import { startTracing } from "../../adapters/telemetry/tracing.ts";
import { listen } from "../support/listen.ts";
import { createLog } from "../../adapters/telemetry/log.ts";
import { type Verdict, verdict } from "../../machines/contracts/domain/action.ts";
import { terminal } from "../../machines/contracts/domain/failure.ts";
import { screeningParts } from "../bench/screening.ts";
import { agentModel, agentTools } from "../support/agent-world.ts";
import { knownForms, unknownForms } from "../support/planted-secrets.ts";
import { sqliteBackends } from "../support/backends.ts";
import { type HumanScene, humanScene } from "../support/human-scene.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { createArtifactFolder } from "../../adapters/artifacts/folder.ts";

/** Of the worker's environment, and of the job. */
const held = { environment: "tango/Whiskey+49 x&y", job: "Foxtrot<Lima>17%z" };
const known = [...knownForms(held.environment), ...knownForms(held.job)];
const unknown = unknownForms();
const planted = [...known, ...unknown];
/** A file that a tool reads, and what it says when it fails. */
const file = planted.map(({ text }) => text).join("\n\n");

const leaked = (text: string): string[] =>
  planted
    .filter(({ gone }) => text.includes(gone) || text.includes(JSON.stringify(gone).slice(1, -1)))
    .map(({ form }) => form);

describe("a planted secret", () => {
  it.each(planted)(
    "$form is taken out of a text and of a value [secrets.planted]",
    ({ text, gone }) => {
      const worker = createRedactor(Object.values(held));
      const screen = createOutputScreen(defaultOutputScreening);
      expect(worker.redact(text)).not.toContain(gone);
      const { value, findings } = screen({ list: [text] }, worker.find);
      expect(JSON.stringify(value)).not.toContain(JSON.stringify(gone).slice(1, -1));
      expect(findings.length).toBeGreaterThan(0);
      expect(JSON.stringify(findings)).not.toContain(gone);
      if (unknown.some((one) => one.text === text)) expect(redactText(text)).not.toContain(gone);
    },
  );
});

const folder = useTemporaryFolder();
let scene: HumanScene;
beforeEach(async () => {
  scene = await humanScene(sqliteBackends(), ["read", "read_failing"]);
});
afterEach(() => scene.close());

it("is in no output, error, log line, span or artifact of a step that reads it, is given it and fails with it [secrets.planted]", async () => {
  const lines: string[] = [];
  const hide = createRedactor([held.environment]);
  const spans: string[] = [];
  const collector = createServer((request, response) => {
    request.on("data", (part: Buffer) => void spans.push(part.toString()));
    request.on("end", () => response.end("{}"));
  });
  const endpoint = `http://127.0.0.1:${await listen(collector)}`;
  const tracing = startTracing({ endpoint, serviceName: "planted", hide: hide.redact });
  const log = createLog({
    level: "debug",
    name: "test",
    destination: { write: (line) => void lines.push(line) },
    hide: hide.hide,
  });
  const tools = agentTools(["read", "read_failing"], async (name) => {
    if (name === "read_failing") return terminal("tool_failed", file, { said: [file] }) as never;
    return { file, long: file.padEnd(30_000, ".") };
  });
  const model = agentModel(({ messages }, turn) => {
    const shown = JSON.stringify(messages.filter(({ role }) => role === "tool"));
    expect(leaked(shown)).toEqual([]);
    return turn === 0
      ? { calls: [{ name: "read" }, { name: "read_failing" }] }
      : { content: `Here it is: ${file}` };
  });
  await scene.worker(
    {
      allowlist: { allowed: ["read", "read_failing"], approvalRequired: [], denied: [] },
      screening: defaultScreening,
      knownSecrets: hide,
    },
    () => ({
      models: model.models,
      tools: tools.tools,
      log,
      artifacts: createArtifactFolder({ path: folder, isShared: true }),
    }),
  );
  const given = { password: held.job };
  const { runId, stepIds } = await scene.run([
    { type: "llm", input: { task: "Read it", model_params: {}, credentials: given } },
    { type: "tool", input: { tool_name: "read", tool_input: given } },
    { type: "tool", input: { tool_name: "read_failing", tool_input: given }, on_error: "continue" },
  ]);
  const ends = [];
  for (const id of stepIds) ends.push(await scene.ended(runId, id));
  expect(ends.map(({ status }) => status)).toEqual(["completed", "completed", "failed"]);
  const [agent, read] = ends.map(({ output }) => output as Record<string, unknown>);
  for (const output of [agent, read]) {
    expect(output?.["screening_findings"]).toContainEqual(
      expect.objectContaining({ rule: "secrets", action: "redacted" }),
    );
  }
  expect(leaked(JSON.stringify(ends.map(({ output, error }) => [output, error])))).toEqual([]);
  expect(leaked(lines.join("\n"))).toEqual([]);
  await tracing.shutdown();
  collector.closeAllConnections();
  collector.close();
  expect(spans.join("")).toContain("tools/call read_failing");
  expect(leaked(spans.join(""))).toEqual([]);
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const kept = names.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
  expect(kept.length).toBeGreaterThan(0);
  for (const path of kept) expect(leaked(await readFile(path, "utf8"))).toEqual([]);
});

it.each(["throws", "says"] as const)(
  "is in nothing that is kept or told of a step whose policy %s it [secrets.planted]",
  async (how) => {
    const lines: string[] = [];
    const hide = createRedactor([held.environment]);
    const log = createLog({
      level: "debug",
      name: "test",
      destination: { write: (line) => void lines.push(line) },
      hide: hide.hide,
    });
    const verdicts: Verdict[] = [];
    await scene.worker(
      {
        allowlist: { allowed: ["read"], approvalRequired: [], denied: [] },
        screening: defaultScreening,
        knownSecrets: hide,
        keepJournals: true,
        onVerdict: (said) => void verdicts.push(said),
        policy: () => {
          if (how === "says") return verdict.deny(`not with ${held.environment}`);
          throw new Error(`can't ask with ${held.environment}`);
        },
      },
      () => ({
        tools: agentTools(["read"]).tools,
        log,
        artifacts: createArtifactFolder({ path: folder, isShared: true }),
      }),
    );
    const input = { tool_name: "read", tool_input: {} };
    const { runId, stepIds } = await scene.run([{ type: "tool", input }]);
    const { status, error } = await scene.ended(runId, stepIds[0] ?? "");
    expect(status).toBe("failed");
    expect(JSON.stringify(error)).toContain("with [redacted]");
    const readKept = async () => {
      const names = await readdir(folder, { recursive: true });
      const ours = names.filter((name) => name.endsWith(`recording-${stepIds[0]}/content`));
      return Promise.all(ours.map((name) => readFile(join(folder, name), "utf8")));
    };
    // The journal is kept once its step has been reported.
    await expect.poll(readKept, { timeout: 30_000 }).toHaveLength(1);
    const texts = await readKept();
    expect(texts.join("")).toContain("with [redacted]");
    expect(leaked([...texts, ...lines, JSON.stringify([error, verdicts])].join("\n"))).toEqual([]);
  },
);

it("is in no line of a tool server's standard error, over two pieces, over lines or cut at a line's most [secrets.planted]", async () => {
  const hide = createRedactor([held.environment]);
  const parts = [
    `a ${held.environment.slice(0, 9)}`,
    `${held.environment.slice(9)} b\n`,
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEvQIBADANBg\nq7Zr49xKdvT2m\n-----END RSA PRIVATE KEY-----\nafter\n",
    `${"x ".repeat(995)}${held.environment}\n`,
  ];
  const code = `const parts = ${JSON.stringify(parts)}; const next = () => { const one = parts.shift(); if (one === undefined) process.exit(); process.stderr.write(one); setTimeout(next, 20); }; next();`;
  const lines: string[] = [];
  const gone = Promise.withResolvers<void>();
  const server = { name: "loud", command: process.execPath, args: ["-e", code] };
  const transport = new ChildTransport(server as McpServer, (line) =>
    lines.push(hide.redact(line)),
  );
  Object.assign(transport, { onclose: gone.resolve });
  await transport.start();
  await gone.promise;
  expect(lines).toContain("a [redacted] b");
  expect(lines).toContain("after");
  expect(lines.join("\n")).not.toMatch(/MIIE|q7Zr|tango|Whisk/u);
});

it("calibrated rules flag at most two in a hundred harmless texts, and most attacks [screening.calibrated]", () => {
  const parts = screeningParts();
  expect(parts).toHaveLength(4);
  for (const { part, falsePositives, recall } of parts) {
    expect([part, falsePositives <= 0.02]).toEqual([part, true]);
    expect([part, recall >= 0.75]).toEqual([part, true]);
  }
});
