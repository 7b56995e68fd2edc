import { appendFileSync, existsSync, readFileSync } from "node:fs";
import type { Boundary } from "./boundaries.ts";

/** One touch of the outside world, whichever process made it. */
export interface Touch {
  kind: "touch";
  /** The unique name that the test gave the step in its input. */
  order: string;
  effect: string;
  repeat: "free" | "safe" | "unsafe";
  /** Null where the neighbour is given none. */
  idempotencyKey: string | null;
  pid: number;
  /** Epoch milliseconds. */
  at: number;
}

export type LedgerLine =
  | Touch
  | { kind: "passed"; boundary: Boundary; pid: number }
  | { kind: "taken-over"; jobs: number; pid: number }
  /** A write, or the renewal of a lease, that the store refused: another had taken over. */
  | { kind: "refused"; write: string; pid: number };

/** A file that processes append to, one write a line: what stands in it survives whoever wrote it. */
export class Ledger {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  add(line: LedgerLine): void {
    appendFileSync(this.path, `${JSON.stringify(line)}\n`);
  }

  lines(): LedgerLine[] {
    if (!existsSync(this.path)) return [];
    const lines = readFileSync(this.path, "utf8").split("\n");
    // What stands after the last end of a line is being written.
    return lines.slice(0, -1).map((line) => JSON.parse(line) as LedgerLine);
  }

  touches(): Touch[] {
    return this.lines().filter((line) => line.kind === "touch");
  }
}
