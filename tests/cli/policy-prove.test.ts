import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { startDev, type UsersConfig } from "../../cli/library.ts";
import { createControlPlaneApi } from "../../cli/entries/control-plane.ts";
import { prove } from "../../cli/prove/prove.ts";
import type { Rules } from "../../cli/prove/verdicts-of.ts";
import type { Effect, Policy } from "../../adapters/control-plane/embedded/policy.ts";
import holed from "../../examples/policy/stateplane.config.ts";
import mended from "../../examples/policy/mended.config.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { runCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = fileURLToPath(new URL("../../examples/policy", import.meta.url));
const room = useTemporaryFolder();
const ask = (...args: string[]) =>
  runCli(["policy", "prove", "--tool", "push_files", ...args], { cwd: folder });

/** What really becomes of one call, in a whole data plane under the same configuration. */
async function statusOf(config: UsersConfig, input: JsonObject): Promise<string> {
  const dataDir = join(room, randomUUID());
  await using dev = await startDev({ ...config, dataDir, logLevel: "silent" }, { env: {} });
  const api = createControlPlaneApi({ url: dev.url, apiKey: dev.apiKey, timeoutMs: 10_000 });
  onTestFinished(() => api.close());
  const signal = AbortSignal.timeout(100_000);
  const step = {
    type: "tool",
    input: { tool_name: "push_files", tool_input: input },
  } as const;
  const run = await api.createRun({ agentId: "writer", input: {}, steps: [step] }, signal);
  if (!run.ok) throw new Error(run.failure.message);
  const status = async () => {
    const steps = await api.steps(run.value.id, signal);
    return steps.ok ? (steps.value[0]?.status ?? "") : "";
  };
  await expect.poll(status, { timeout: 60_000 }).toMatch(/completed|failed|waiting_approval/u);
  return await status();
}

test("[policy.proved] the hole of the example is shown with a call that really runs unasked, and mended it is not there", async () => {
  const yes = await ask("--unapproved", "--json");
  expect({ code: yes.code, stderr: yes.stderr }).toEqual({ code: 1, stderr: "" });
  const shown = JSON.parse(yes.stdout);
  expect(shown).toMatchObject({
    question: "unapproved",
    answer: "yes",
    tool: { server: "functions", name: "push_files" },
    witness: { agent: "writer", step_type: "tool" },
  });
  const states = shown.witness.steps.map(({ state }: { state: string }) => state);
  expect(states).toEqual(["pending", "policy-check.checking", "executing.working"]);
  expect(await statusOf(holed, shown.witness.arguments)).toBe("completed");
  expect(await statusOf(mended, shown.witness.arguments)).toBe("waiting_approval");

  const no = await ask("--unapproved", "--config", "mended.config.ts");
  expect({ code: no.code, stderr: no.stderr }).toEqual({ code: 0, stderr: "" });
  expect(no.stdout).toMatch(/ever run unapproved\? No\.\n\nExamined: .* paths through /u);
});

test("policy prove: what can't be asked is said, with what to do", async () => {
  const several = await ask("--unapproved", "--at-all");
  expect(several.code).toBe(2);
  expect(several.stderr).toContain("expected one of --unapproved, --at-all, --after-rejection");
  const unknown = await runCli(["policy", "prove", "--tool", "push_file"], { cwd: folder });
  expect(unknown.code).toBe(2);
  expect(unknown.stderr).toContain("did you mean push_files?");
});

const tool = { server: "git", name: "push", schema: null, address: "push", inputSchema: {} };
const list = fc.subarray(["push", { tool: "git/push", when: { branch: "main" } }, "other"]);
const policies = fc.array(
  fc.record({
    effect: fc.constantFrom<Effect>("allow", "require_approval", "deny"),
    priority: fc.constantFrom(1, 2),
    conditions: fc.constantFrom<Policy["conditions"]>(
      {},
      { tools: [{ tool: "push", when: { branch: ["main", "dev"] } }] },
      { time: { from: "09:00", to: "17:00" } },
    ),
  }),
  { maxLength: 2 },
);

/** By hand, and by other means than the proof: what may become of a push to a branch, at noon or at midnight. */
function byHand({ allowlist, policies: rules }: Rules, branch: string): Set<string> {
  type Rule = Rules["allowlist"]["allowed"][number];
  const covers = (rule: Rule) => rule === "push" || (typeof rule !== "string" && branch === "main");
  const of = (name: keyof Rules["allowlist"]) => allowlist[name].some(covers);
  const listed = of("denied")
    ? "deny"
    : of("approvalRequired")
      ? "require_approval"
      : of("allowed")
        ? "allow"
        : "deny";
  const order = ["allow", "require_approval", "deny"];
  const strictest = (effects: string[]) => order.findLast((effect) => effects.includes(effect));
  const at = (isDay: boolean) => {
    const speaking = rules.filter(
      ({ conditions: { tools, time } }) =>
        (tools === undefined || ["main", "dev"].includes(branch)) && (time === undefined || isDay),
    );
    const top = Math.max(...speaking.map(({ priority }) => priority));
    const deciding = speaking.filter(({ priority }) => priority === top);
    return strictest([listed, ...deciding.map(({ effect }) => effect)]) ?? "";
  };
  return new Set([at(true), at(false)]);
}

test("[policy.proved] over any lists and policies the answer is the one that they give when they are read by hand", () => {
  const configured = fc.record({ allowed: list, approvalRequired: list, denied: list });
  fc.assert(
    fc.property(configured, policies, (allowlist, given) => {
      const rules: Rules = {
        allowlist,
        policy: undefined,
        agents: [{ slug: "any", allowedTools: ["push"] }],
        policies: given.map((policy, at): Policy => ({
          id: `pol_${at}`,
          projectId: "",
          name: `policy ${at}`,
          description: null,
          enabled: true,
          createdAt: 0,
          updatedAt: 0,
          ...policy,
        })),
        toolPolicy: "control-plane",
        isOwnPlane: true,
        isFailingOpen: false,
      };
      const can = ["main", "dev", "else"].map((branch) => byHand(rules, branch));
      const isAsked = can.some((verdicts) => verdicts.has("require_approval"));
      const isOpen = can.some((verdicts) => verdicts.has("allow"));
      const answer = (question: Parameters<typeof prove>[2]) =>
        prove(rules, { ...tool, inputSchema: branches }, question, 0).witness !== null;
      expect(answer("unapproved")).toBe(isOpen);
      expect(answer("at-all")).toBe(isOpen || isAsked);
    }),
    { numRuns: 6 },
  );
}, 120_000);

const branches = {
  type: "object",
  required: ["branch"],
  properties: { branch: { enum: ["main", "dev", "else"] } },
};
