import { setTimeout as sleep } from "node:timers/promises";
import { expect, it, onTestFinished, vi } from "vitest";
import { createTextTeller } from "../../adapters/control-plane/text-teller.ts";
import { fail, ok, type Outcome, retryable } from "../../machines/contracts/domain/failure.ts";
import type { SaidText } from "../../machines/contracts/ports/control-plane.ts";

const piece = (text: string, stepId = "stp_1"): SaidText => ({ runId: "run_1", stepId, text });

/** A teller whose control plane answers when the test says so. */
function scene() {
  const batches: (readonly SaidText[])[] = [];
  const answers: PromiseWithResolvers<Outcome<null>>[] = [];
  const teller = createTextTeller((texts) => {
    batches.push(texts);
    const answer = Promise.withResolvers<Outcome<null>>();
    answers.push(answer);
    return answer.promise;
  });
  return { batches, answers, teller };
}

it("one request is under way at a time, and what comes meanwhile goes with the next, in order [events.text]", async () => {
  const { batches, answers, teller } = scene();
  for (const text of ["a", "b", "c"]) teller.tell(piece(text));
  teller.tell(piece("x", "stp_2"));
  teller.tell(piece("d"));
  expect(batches).toEqual([[piece("a")]]);
  await sleep(100);
  expect(batches).toHaveLength(1);
  answers[0]?.resolve(ok(null));
  await vi.waitFor(() => expect(batches).toHaveLength(2), { timeout: 20_000 });
  expect(batches[1]).toEqual([piece("bc"), piece("x", "stp_2"), piece("d")]);
  teller.close();
});

it("what was said before a new beginning is not put together with it [events.restart]", async () => {
  const { batches, answers, teller } = scene();
  teller.tell(piece("a"));
  teller.tell(piece("b"));
  const begun = { ...piece(""), restart: true as const };
  teller.tell(begun);
  for (const text of ["a", "b"]) teller.tell(piece(text));
  answers[0]?.resolve(ok(null));
  await vi.waitFor(() => expect(batches).toHaveLength(2), { timeout: 20_000 });
  expect(batches[1]).toEqual([piece("b"), { ...begun, text: "ab" }]);
  teller.close();
});

it("a control plane that does not answer costs a bounded number of characters, and no step any time [events.text]", async () => {
  const { batches, answers, teller } = scene();
  for (let count = 0; count < 10_000; count += 1) teller.tell(piece("x".repeat(100)));
  answers[0]?.resolve(ok(null));
  await vi.waitFor(() => expect(batches).toHaveLength(2), { timeout: 20_000 });
  const size = batches[1]?.reduce((sum, { text }) => sum + text.length, 0);
  expect(size).toBeGreaterThan(32 * 1024);
  expect(size).toBeLessThanOrEqual(64 * 1024);
  teller.close();
});

it("after a failure there is silence for a while, and then what is said is told again", async () => {
  const { batches, answers, teller } = scene();
  let now = performance.now();
  const clock = vi.spyOn(performance, "now").mockImplementation(() => now);
  onTestFinished(() => clock.mockRestore());
  teller.tell(piece("a"));
  teller.tell(piece("lost"));
  answers[0]?.resolve(fail(retryable("unavailable", "away")));
  // Longer than the gap between two requests.
  await sleep(200);
  now += 900;
  teller.tell(piece("lost too"));
  expect(batches).toHaveLength(1);
  now += 200;
  teller.tell(piece("b"));
  expect(batches.slice(1)).toEqual([[piece("b")]]);
  teller.close();
});

it("half a character does not cost its batch", async () => {
  const { batches, answers, teller } = scene();
  teller.tell(piece("\ud83c"));
  teller.tell(piece("\ud83c"));
  teller.tell(piece("\udf0d"));
  answers[0]?.resolve(ok(null));
  await vi.waitFor(() => expect(batches).toHaveLength(2), { timeout: 20_000 });
  expect(batches).toEqual([[piece("\ufffd")], [piece("🌍")]]);
  teller.close();
});
