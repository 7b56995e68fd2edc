import { isInside } from "./check-path.ts";
import type { Answer } from "./server-tool.ts";

interface Turn {
  folder: string;
  ended: Promise<void>;
}

/**
 * Lets calls that write wait for each other where the folder of one lies in the other's: what one of them can move about
 * must not be what another is being built on, or what another's leavings are looked for in.
 */
export class FolderQueue {
  readonly #turns = new Set<Turn>();

  async run<T>(
    folder: string,
    signal: AbortSignal,
    work: () => Promise<Answer<T>>,
  ): Promise<Answer<T>> {
    const before = [...this.#turns].filter(
      (turn) => isInside(turn.folder, folder) || isInside(folder, turn.folder),
    );
    const ended = Promise.withResolvers<void>();
    const turn = { folder, ended: ended.promise };
    this.#turns.add(turn);
    const aborted = Promise.withResolvers<void>();
    const abort = () => aborted.resolve();
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    try {
      await Promise.race([Promise.all(before.map((one) => one.ended)), aborted.promise]);
      if (signal.aborted) {
        return { ok: false, problem: "cancelled while another call in this folder was under way" };
      }
      return await work();
    } finally {
      signal.removeEventListener("abort", abort);
      this.#turns.delete(turn);
      ended.resolve();
    }
  }
}
