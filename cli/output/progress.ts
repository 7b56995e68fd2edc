import { plain } from "./plain.ts";

/** What a person sees of long work: one line that is drawn again on a terminal, else now and then a line. */
export interface ProgressBar {
  show(done: number, total: number, what: string): void;
  /** Takes the line away. */
  end(): void;
}

interface Screen {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const width = 24;
/** Lines where there is no terminal: one for each tenth. */
const steps = 10;

/** @param screen standard error: the answer is on standard output */
export function createProgress(screen: Screen, now: () => number = Date.now): ProgressBar {
  let drawnAt = 0;
  let isDrawn = false;
  let lastStep = 0;
  return {
    show(done, total, what) {
      if (screen.isTTY !== true) {
        const step = Math.floor((done * steps) / total);
        // The end is for the answer to say.
        if (step > lastStep && done < total) screen.write(`${done} of ${total}: ${plain(what)}\n`);
        lastStep = Math.max(step, lastStep);
        return;
      }
      // What a person can't see need not be drawn.
      if (isDrawn && done < total && now() - drawnAt < 50) return;
      drawnAt = now();
      isDrawn = true;
      const filled = Math.round((done / total) * width);
      const bar = "█".repeat(filled) + "░".repeat(width - filled);
      const line = `${bar} ${done} of ${total}  ${plain(what)}`;
      screen.write(`\r\u001b[2K${line.slice(0, (screen.columns ?? 80) - 1)}`);
    },
    end() {
      if (isDrawn) screen.write("\r\u001b[2K");
      isDrawn = false;
    },
  };
}
