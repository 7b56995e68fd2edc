import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Cards, chargeAction } from "../../examples/own-step/cards.ts";
import { chargeCard } from "../../examples/own-step/charge-card.ts";
import { chargeCardUnasked } from "../../examples/own-step/charge-card-unasked.ts";
import { chargeCardUnjournalled } from "../../examples/own-step/charge-card-unjournalled.ts";
import type { StepHandler } from "../../actors/handlers/handler.ts";
import { type AnyTool, defineTool } from "../../adapters/functions/define-tool.ts";
import { verdict } from "../../machines/contracts/domain/action.ts";
import {
  checkLifecycle,
  LifecycleBroken,
  type LifecycleCheck,
  type StepWorld,
} from "../kit/testing.ts";

/** The example's neighbours, played by the world under test. */
const cardsOf = (world: StepWorld): Cards => ({
  convert: (cents) =>
    world.touch(
      { kind: "retrieval", name: "convert", input: { cents } },
      { repeat: "safe", answer: cents * 2 },
    ),
  charge: (card, cents) =>
    world.touch(chargeAction(card, cents), { repeat: "unsafe", answer: "receipt 1" }),
});

const check = (handler: (cards: Cards) => StepHandler, more: Partial<LifecycleCheck> = {}) =>
  checkLifecycle({
    handler: (world) => handler(cardsOf(world)),
    job: {
      stepType: "tool",
      input: { tool_name: "charge_card", tool_input: { card: "c_1", cents: 500 } },
    },
    ...more,
  });

const failureOf = async (checking: Promise<unknown>): Promise<LifecycleBroken> => {
  const error = await checking.then(
    () => new Error("no promise was broken"),
    (thrown: unknown) => thrown,
  );
  if (error instanceof LifecycleBroken) return error;
  throw error;
};

describe("the example's step", () => {
  it("keeps every promise through hundreds of histories of faults [kit.sound]", async () => {
    const { histories, struck } = await check(chargeCard, { numRuns: 400 });
    expect(histories).toBeGreaterThanOrEqual(400);
    expect(Object.keys(struck)).toHaveLength(11);
    expect(Math.min(...Object.values(struck))).toBeGreaterThan(3);
  });

  it("keeps them where a doubt fails the step instead of asking", async () => {
    await check(chargeCard, { options: { inDoubt: "fail" }, numRuns: 150 });
  });

  it("keeps them under a policy of the user's that always asks, and one that denies", async () => {
    await check(chargeCard, { policy: () => verdict.ask("money leaves"), numRuns: 100 });
    await check(chargeCard, { policy: () => verdict.deny("no money leaves"), numRuns: 50 });
  });
});

describe("a planted bug", () => {
  it("an effect done outside scope.effect is found, with a seed, a path and a small history [kit.finds]", async () => {
    const found = await failureOf(check(chargeCardUnjournalled));
    expect(found.promises.join()).toContain("an unsafe effect is never executed twice unseen");
    // One fault is enough; shrinking, which goes down one way only, may stop at two.
    expect([1, 2]).toContain(found.history.faults.length);
    expect(found.message).toMatch(/seed: -?\d+, path: "[\d:]+"/);
    expect(found.message).toContain("TOUCHED tool charge_card (unsafe)");
  });

  it("is the one that docs/testing.md shows, with the words it is found in", async () => {
    const read = (file: string) => readFileSync(join(import.meta.dirname, "../..", file), "utf8");
    const doc = read("docs/testing.md");
    const source = read("examples/own-step/charge-card-unjournalled.ts");
    expect(doc).toContain(source.slice(source.indexOf("export function")).trim());
    const { promises, seed } = await failureOf(check(chargeCardUnjournalled, { seed: 7 }));
    expect(doc).toContain(`\n${promises[0]}\nseed: ${seed}, path:`);
  });

  it("has the cure that docs/steps.md shows, as it is run here", () => {
    const read = (file: string) => readFileSync(join(import.meta.dirname, "../..", file), "utf8");
    const source = read("examples/own-step/charge-card.ts");
    const shown = source.slice(source.indexOf("export function")).trim();
    expect(read("docs/steps.md")).toContain(`\n${shown}\n`);
  });

  it("is found again from the seed and the path alone", async () => {
    const { seed, path, history } = await failureOf(check(chargeCardUnjournalled));
    const again = await failureOf(check(chargeCardUnjournalled, { seed, path }));
    expect(again.history).toEqual(history);
  });

  it("a tool called with other arguments than policy saw is found in the calmest history", async () => {
    const found = await failureOf(check(chargeCardUnasked));
    expect(found.promises.join()).toContain("neither policy allowed nor a person granted");
    expect(found.history).toEqual({ verdicts: [], decisions: [], faults: [] });
  });

  it("a result said to be safe and not journalled is paid for twice, and found", async () => {
    const forgetful = (cards: Cards): StepHandler => {
      return async (scope) => {
        const converted = await cards.convert(1);
        if (!converted.ok) return { kind: "failed", failure: converted.failure };
        return chargeCard({ ...cards, convert: async () => converted })(scope);
      };
    };
    const found = await failureOf(check(forgetful, { numRuns: 500 }));
    expect(found.promises.join()).toContain("completed effects are not repeated");
  });

  it("a handler that never completes is found in the calm history, however it fails [path.completes]", async () => {
    const never: Record<string, () => StepHandler> = {
      "always fails": () => async () => ({
        kind: "failed",
        failure: { kind: "refused", message: "not today", retryable: false },
      }),
      "returns nothing": () => (async () => {}) as never,
      throws: () => async () => {
        throw new Error("not finished yet");
      },
    };
    for (const [how, handler] of Object.entries(never)) {
      const found = await failureOf(check(handler));
      expect(found.history, how).toEqual({ verdicts: [], decisions: [], faults: [] });
      expect(found.promises.join(), how).toContain("completes where nothing goes wrong");
    }
  });

  it("an effect that forgets `repeat` is kept as an unsafe one: never done twice unseen [effect.unsafe-once]", async () => {
    const forgetful = (cards: Cards): StepHandler => {
      const handler = chargeCard(cards);
      return (scope) =>
        handler({
          ...scope,
          effect: ({ repeat, ...effect }) =>
            scope.effect((effect.name === "convert" ? { ...effect, repeat } : effect) as never),
        });
    };
    await check(forgetful, { numRuns: 300 });
  });

  it("a grant spent on two effects is found", async () => {
    const greedy = (cards: Cards): StepHandler => {
      return async (scope) => {
        const first = await chargeCard(cards)(scope);
        if (first.kind !== "done") return first;
        const again = await cards.charge("c_1", 500);
        return again.ok ? first : { kind: "failed", failure: again.failure };
      };
    };
    const found = await failureOf(check(greedy, { policy: () => verdict.ask("money leaves") }));
    expect(found.promises.join()).toContain("a granted approval is used once");
  });
});

describe("a tool made with defineTool", () => {
  const input = { to: "Ada", text: "Greetings." };
  const postcard = (more: Pick<AnyTool, "annotations" | "output"> = {}): AnyTool =>
    defineTool({
      name: "send_postcard",
      description: "Sends a postcard.",
      input: { type: "object", properties: { to: { type: "string" } }, required: ["to"] },
      run: () => expect.unreachable("the real function was called"),
      ...more,
    });

  it("keeps every promise with its own schemas and annotations, its function never called [kit.tools]", async () => {
    const { struck } = await checkLifecycle({ tool: postcard(), input, numRuns: 150 });
    expect(Object.keys(struck).length).toBeGreaterThan(8);
    const policy = () => verdict.ask("a person reads it first");
    await checkLifecycle({ tool: postcard(), input, policy, numRuns: 50 });
    const safe = postcard({ annotations: { idempotent: true } });
    await checkLifecycle({ tool: safe, input, repeat: "safe", numRuns: 100 });
    const free = postcard({ annotations: { readOnly: true } });
    await checkLifecycle({ tool: free, input, repeat: "free", numRuns: 50 });
  });

  it.each([["idempotent"], ["readOnly"]])(
    "is found out when its annotations say %s, and a second call does it again [kit.tools]",
    async (annotation) => {
      const tool = postcard({ annotations: { [annotation]: true } });
      const found = await failureOf(checkLifecycle({ tool, input }));
      expect(found.promises.join()).toContain("an unsafe effect is never executed twice unseen");
    },
  );

  it("is told of input that its schema refuses, of an answer that breaks its own, and of a missing handler [kit.tools]", async () => {
    const wrong = await failureOf(checkLifecycle({ tool: postcard(), input: {} }));
    expect(wrong.promises.join()).toContain("invalid_input");
    const tool = postcard({ output: { type: "object" } });
    const broken = await failureOf(checkLifecycle({ tool, input }));
    expect(broken.promises.join()).toContain("invalid_output");
    const nothing = { job: { stepType: "tool", input: {} } } as unknown as LifecycleCheck;
    await expect(checkLifecycle(nothing)).rejects.toThrow(
      /^checkLifecycle: expected handler, .* or tool/,
    );
    const unmade = { tool: { name: "x" }, input } as unknown as LifecycleCheck;
    await expect(checkLifecycle(unmade)).rejects.toThrow('the tool "x": description');
  });
});
