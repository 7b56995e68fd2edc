import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { answersOfYes } from "../../actors/handlers/tool-questions.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { sqliteBackends } from "../support/backends.ts";
import { type HumanScene, humanScene } from "../support/human-scene.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";

const { hostOf } = useMcpHosts();
const program = fileURLToPath(new URL("../support/stateless-mcp-server.ts", import.meta.url));
const stateless = {
  name: "stateless",
  command: process.execPath,
  args: [program],
  env: { NODE_NO_WARNINGS: "1" },
};

describe("a tool that asks a person in the middle of its work", () => {
  let scene: HumanScene | null = null;
  afterEach(() => scene?.close());

  async function asking(approved: boolean) {
    scene = await humanScene(sqliteBackends());
    const tools = hostOf([stateless]);
    const allowlist = { allowed: ["stateless/write"], approvalRequired: [], denied: [] };
    // Two workers: the step is parked meanwhile, and whoever is free takes it up.
    await scene.worker({ allowlist, toolPolicy: "worker" }, () => ({ tools }));
    const { runId, stepIds } = await scene.run([
      { type: "tool", input: { tool_name: "stateless/write", tool_input: { text: "x" } } },
    ]);
    const [question] = await scene.questions(1);
    await scene.answer(question?.id ?? "", approved);
    return { question, step: await scene.ended(runId, stepIds[0] ?? "") };
  }

  test("waits as an approval request, and goes on from its own state after the yes [mcp.questions]", async () => {
    const { question, step } = await asking(true);
    expect(JSON.stringify(question)).toContain("Write x?");
    expect(step).toMatchObject({
      status: "completed",
      output: { result: 'wrote x as {"sure":true,"where":"notes"} in run 1' },
    });
  });

  test("does nothing more after a no [mcp.questions]", async () => {
    const { step } = await asking(false);
    expect(step).toMatchObject({ status: "failed", error: { kind: "approval_rejected" } });
  });
});

describe("what a yes says", () => {
  const tool = { name: "any", server: "any" };
  const about = fc.record(
    {
      type: fc.constantFrom("string", "boolean", "number", "integer"),
      default: fc.oneof(fc.string(), fc.boolean(), fc.integer()),
    },
    { requiredKeys: ["type"] },
  );
  const schemas = fc.dictionary(fc.stringMatching(/^[a-z]{1,6}$/u), about, { maxKeys: 5 });

  test("is what the server proposes, yes to yes-or-no questions, and nothing that nobody said [mcp.questions]", () => {
    fc.assert(
      fc.property(schemas, fc.infiniteStream(fc.boolean()), (properties, flips) => {
        const fields = Object.keys(properties);
        const required = fields.filter(() => flips.next().value);
        const schema = { type: "object", properties, required } as unknown as JsonObject;
        const read = answersOfYes(tool, {
          state: "s",
          questions: [{ key: "q", message: "?", schema }],
        });
        const canSay = (field: string): boolean =>
          properties[field]?.default !== undefined || properties[field]?.type === "boolean";
        expect(read.ok).toBe(required.every(canSay));
        if (!read.ok) return;
        expect(read.value.state).toBe("s");
        expect(Object.keys(read.value.answers["q"] ?? {}).sort()).toEqual(
          fields.filter(canSay).sort(),
        );
        for (const [field, answer] of Object.entries(read.value.answers["q"] ?? {})) {
          expect(answer).toEqual(properties[field]?.default ?? true);
        }
      }),
    );
  });
});
