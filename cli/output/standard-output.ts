import { Console } from "node:console";
import { printError } from "./errors.ts";

/** A reader that stands still is not waited for longer: what it has not taken is lost, as with every program. */
const mostMs = 2_000;

export interface StandardOutput {
  /**
   * Waits until all that was written has left.
   *
   * @param isLongRunning a program that was meant to go on; one that only answers may be cut short (`| head`)
   * @returns the exit code: `code`, or 1 after a line on standard error where something could not be written
   */
  end(code: number, isLongRunning: boolean): Promise<number>;
}

/** Watches standard output from here on; `onBroken` is called once, when writing to it fails. */
export function watchStandardOutput(onBroken: () => void = () => {}): StandardOutput {
  let broken: string | null = null;
  // The listener stays: whatever is still written fails too.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (broken === null) onBroken();
    broken ??= error.code ?? error.message;
  });
  return {
    async end(code, isLongRunning) {
      await left();
      if (broken === null) return code;
      if (broken === "EPIPE" && !isLongRunning) return 0;
      printError(`standard output can't be written to (${broken})`);
      return 1;
    },
  };
}

/** Where `console` prints from here on: a user's code logs by it in a configuration or a tool. */
export function consoleTo(stream: NodeJS.WriteStream): void {
  globalThis.console = new Console(stream);
}

function left(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, mostMs);
  // A failure's event comes a turn after its call back.
  process.stdout.write("", () => setImmediate(resolve));
  return promise.finally(() => clearTimeout(timer));
}
