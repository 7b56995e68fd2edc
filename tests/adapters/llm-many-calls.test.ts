import { expect, test } from "vitest";
import { AnswerCalls } from "../../adapters/llm/answer-calls.ts";
import { createToolNames } from "../../adapters/llm/tool-calls.ts";
import { cpuMs } from "../support/cpu-time.ts";

/** Milliseconds that an answer's calls hold the event loop, when all of them come in one piece. */
function timeOf(count: number): number {
  const calls = new AnswerCalls(createToolNames(["read"]));
  const begun = cpuMs();
  for (let at = 0; at < count; at += 1) {
    calls.add({ at, id: `call_${at}`, name: "read", arguments: "{}" });
  }
  expect(calls.read(false)).toHaveLength(count);
  return cpuMs() - begun;
}

test("an answer with very many calls is read in time that grows with their number alone [llm.many-calls]", () => {
  timeOf(1_000);
  const few = timeOf(10_000);
  // Twenty times as many, with room for a machine that has other work; by the square it would be 400 times.
  expect(timeOf(200_000)).toBeLessThan(Math.max(few, 20) * 60);
});
