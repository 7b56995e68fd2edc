import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { useVendors } from "../support/vendor-server.ts";
import { answerStream, chatStream, messageStream, type Spoken } from "../support/vendor-streams.ts";

const { PATH, NODE_COMPILE_CACHE } = process.env;
const root = join(import.meta.dirname, "../..");
const program = join(root, "examples/first-light/main.ts");
const { vendor } = useVendors();
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-start-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const vendors = [
  {
    name: "Anthropic's",
    stream: messageStream,
    path: "/v1/messages",
    model: "claude-sonnet-4-20250514",
    env: (url: string) => ({ ANTHROPIC_API_KEY: "sk-ant-dummy-key", ANTHROPIC_BASE_URL: url }),
    key: "Bearer sk-ant-dummy-key",
  },
  {
    name: "OpenAI's",
    stream: chatStream,
    path: "/v1/chat/completions",
    model: "gpt-4o-mini",
    env: (url: string) => ({ OPENAI_API_KEY: "sk-dummy-openai", OPENAI_BASE_URL: `${url}/v1` }),
    key: "Bearer sk-dummy-openai",
  },
] as const;

const nameOf = (tool: JsonObject): unknown =>
  tool["name"] ?? (tool["function"] as JsonObject | undefined)?.["name"];

test.each(vendors)(
  "with a key in the environment `npm start` has $name model do the agent's step, with its tools [start.model]",
  async ({ stream, path, model, env, key }) => {
    const turns: Spoken[] = [
      {
        calls: [{ id: "call_1", name: "git_status", pieces: ['{"repo":', '"demo"}'] }],
        finish: "tool_calls",
      },
      { text: ["Say what ", "is guaranteed"] },
    ];
    const { url, seen } = await vendor((response) =>
      answerStream(stream(turns[seen.length - 1] ?? {}))(response),
    );
    // `npm start -- --yes` is this command; npm itself would only add a process.
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [program, "--yes", "--store", "sqlite"],
      { cwd: root, env: { PATH, NODE_COMPILE_CACHE, TMPDIR: folder, HOME: folder, ...env(url) } },
    );
    expect(seen).toHaveLength(2);
    for (const request of seen) {
      expect(request).toMatchObject({ path, body: { model, stream: true } });
      expect(request.headers.authorization).toBe(key);
      const offered = (request.body["tools"] as JsonObject[]).map(nameOf);
      expect(offered.toSorted()).toEqual(["git_diff", "git_log", "git_status"]);
    }
    const task = JSON.stringify(seen[0]?.body["messages"]);
    expect(task).toContain("write a commit message");
    // What the tool really said went back to the model.
    expect(JSON.stringify(seen[1]?.body["messages"])).toContain("GUARANTEES.md");
    expect(stdout).toMatch(new RegExp(`^  model +${model}$`, "mu"));
    expect(stdout).toMatch(/^word the commit .* completed, 1 tool call$/mu);
    expect(stdout).toContain("Every step ended as it should");
    expect(stdout).not.toContain(key.replace("Bearer ", ""));
  },
  240_000,
);
