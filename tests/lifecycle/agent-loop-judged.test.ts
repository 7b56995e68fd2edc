import * as fc from "fast-check";
import { expect, it } from "vitest";
import { actionDigest, digestOf } from "../../actors/step/approvals.ts";
import { runCalls, targetsOf } from "../../actors/handlers/agent-calls.ts";
import { OfferedTools } from "../../actors/handlers/agent-tools.ts";
import type { Effect, HandlerResult, Permission } from "../../actors/handlers/handler.ts";
import { systemClock } from "../../actors/runtime.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { Action } from "../../machines/contracts/domain/action.ts";
import { ok, terminal } from "../../machines/contracts/domain/failure.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import { agentTools } from "../support/agent-world.ts";
import { value } from "../support/value.ts";
import { screening } from "../support/screening.ts";

const { signal } = new AbortController();
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const verdicts = ["allow", "ask", "granted", "deny", "unknown"] as const;
const job = { runId: "run_1", stepId: "stp_1", input: {} } as never;

const call = fc.record({
  name: fc.constantFrom("read", "read-more", "write", "post", "nowhere"),
  path: fc.oneof(fc.string({ maxLength: 3 }), fc.integer()),
  form: fc.constantFrom("whole", "whole", "whole", "cut-off", "broken"),
  verdict: fc.constantFrom(...verdicts),
});

it("whatever the model calls and whatever policy says, a tool runs only after a yes to exactly its tool and arguments, once [loop.judged]", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 6 }), async (plan) => {
      const world = agentTools(["read", "read-more", "write", "post"]);
      const offered = new OfferedTools(value(await world.tools.list(signal)));
      const yes = new Set<string>();
      const done = new Map<string, Json>();
      const byKey = (key: string) => plan[Number(key.split(".").at(-1)) - 1];
      const idOf = ({ name, input }: Pick<Action, "name" | "input">) => digestOf({ name, input });

      const permission = async (action: Action): Promise<Permission> => {
        const said = byKey(action.call ?? "")?.verdict ?? "deny";
        const reason = `it is ${said}`;
        const no = (result: HandlerResult): Permission => ({
          allowed: false,
          result,
          action,
          verdict: null,
        });
        if (said === "deny")
          return no({ kind: "failed", failure: terminal("policy_denied", reason) });
        if (said === "unknown") return no({ kind: "failed", failure: terminal("refused", reason) });
        const digest = actionDigest({ runId: "run_1", stepId: "stp_1" }, action);
        if (said === "ask") {
          const ask = { digest, action, reason, approvalId: null, expiresAt: null };
          return no({ kind: "asked", asks: [ask] });
        }
        yes.add(`${action.call} ${idOf(action)}`);
        const grant = said === "granted" ? { digest, approvalId: "a", resolvedBy: null } : null;
        return { allowed: true, grant, action, verdict: { kind: "allow", reason } };
      };
      const effect = async <T extends Json>({ key = "", run }: Effect<T>) => {
        if (done.has(key)) return { ok: true as const, value: done.get(key) as T };
        const outcome = await run(signal, key);
        if (!outcome.ok)
          return {
            ok: false as const,
            result: { kind: "failed" as const, failure: outcome.failure },
          };
        done.set(key, outcome.value);
        return { ok: true as const, value: outcome.value };
      };
      const scope = {
        job,
        signal,
        permission,
        effect,
        recall: (key: string) => (done.has(key) ? ("completed" as const) : ("nothing" as const)),
        edited: (action: Action) => action,
        budget: { toolCall: async () => ok(null) } as never,
        isLastAttempt: true,
        log: silent,
        screening,
        ports: {
          tools: world.tools,
          schemas: createSchemaChecker(),
          artifacts: {} as never,
          clock: systemClock,
        },
        handlerOf: () => null,
        offer: async () => ok(offered),
      };
      const toolCalls = plan.map(({ name, path, form }, at) => ({
        id: `call_${at}`,
        name,
        arguments: form === "whole" ? { path } : null,
        ...(form === "cut-off" ? { cutOff: true as const } : {}),
      }));
      const reply = {
        provider: "test",
        model: "m",
        content: "",
        toolCalls,
        finishReason: "tool_calls" as const,
        usage: { inputTokens: 0, outputTokens: 0 },
      };
      const turn = { reply, targets: targetsOf(toolCalls, offered), results: [] };
      const first = await runCalls(scope, turn, "0.1");
      const after = world.calls.length;
      // Whoever comes later finds what is done, and does none of it again.
      const second = await runCalls(scope, turn, "0.1");
      expect(world.calls.length).toBe(after);
      expect(second.type).toBe(first.type);

      const may = plan.flatMap(({ name, path, form, verdict }, at) =>
        form === "whole" &&
        typeof path === "string" &&
        name !== "nowhere" &&
        (verdict === "allow" || verdict === "granted")
          ? [`tool#0.1.${at + 1} ${idOf({ name, input: { path } })}`]
          : [],
      );
      expect(world.calls.length).toBeLessThanOrEqual(may.length);
      for (const { name, input } of world.calls) {
        const allowed = may.filter((each) => each.endsWith(` ${idOf({ name, input })}`));
        const same = world.calls.filter((made) => idOf(made) === idOf({ name, input }));
        expect(same.length).toBeLessThanOrEqual(allowed.length);
        expect([...yes].some((each) => allowed.includes(each))).toBe(true);
      }
      if (first.type === "results.received") {
        expect(first.results).toHaveLength(plan.length);
        first.results.forEach((result, at) => expect(result.tool).toBe(plan[at]?.name));
      }
      const asks = plan.some(
        ({ form, name, path, verdict }) =>
          verdict === "ask" && form === "whole" && typeof path === "string" && name !== "nowhere",
      );
      expect(first.type).toBe(asks ? "approval.needed" : "results.received");
    }),
    { numRuns: 300 },
  );
});
