/*
 * Carries what models say in this worker to those who watch their runs at the control plane. Text that is only shown
 * must never hold up the step that it comes from, so nobody waits for it:
 *
 *   one request is under way at a time, and the next begins `gapMs` after it at the earliest, with all that came meanwhile
 *   at most `mostWaiting` characters wait; a piece that would pass that is dropped
 *   what could not be sent is dropped, and so is everything that comes within the pause after it
 */
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import type { SaidText } from "../../machines/contracts/ports/control-plane.ts";
import { wellFormedText } from "../../machines/contracts/domain/text.ts";

const gapMs = 50;
const mostWaiting = 64 * 1024;
const pauseMs = 1_000;
/** Where the control plane refuses, or does not take text at all. */
const longPauseMs = 30_000;

export interface TextTeller {
  /** Returns at once, and never throws. */
  tell(said: SaidText): void;
  /** What waits is dropped, and the request under way is aborted. */
  close(): void;
}

/** @param send one request with a batch of texts, in the order in which they came */
export function createTextTeller(
  send: (texts: readonly SaidText[], signal: AbortSignal) => Promise<Outcome<null>>,
): TextTeller {
  const closing = new AbortController();
  let waiting: SaidText[] = [];
  let size = 0;
  let isBusy = false;
  let quietUntil = 0;

  const sendAll = async (): Promise<void> => {
    // A character may have come in two halves; a half alone would be refused, and the batch with it.
    const texts = waiting.map(({ text, ...of }) => ({ ...of, text: wellFormedText(text) }));
    waiting = [];
    size = 0;
    const failed = await send(texts, closing.signal).then(
      (sent) => (sent.ok ? null : sent.failure),
      () => ({ retryable: false }),
    );
    if (failed !== null) {
      quietUntil = performance.now() + (failed.retryable ? pauseMs : longPauseMs);
      waiting = [];
      size = 0;
    }
    setTimeout(() => {
      isBusy = false;
      begin();
    }, gapMs).unref();
  };
  const begin = () => {
    if (isBusy || waiting.length === 0 || closing.signal.aborted) return;
    isBusy = true;
    void sendAll();
  };

  return {
    tell({ runId, stepId, text, restart }) {
      const isQuiet = performance.now() < quietUntil || closing.signal.aborted;
      if (isQuiet || size + text.length > mostWaiting) return;
      size += text.length;
      const last = waiting.at(-1);
      const isSame = last?.runId === runId && last.stepId === stepId;
      if (restart === true) waiting.push({ runId, stepId, text, restart });
      else if (isSame) last.text += text;
      else waiting.push({ runId, stepId, text });
      begin();
    },
    close() {
      closing.abort();
      waiting = [];
    },
  };
}
