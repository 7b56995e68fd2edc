import { fstatSync, writeSync } from "node:fs";
import { type DestinationStream, pino } from "pino";

/*
 * Where the log goes when nobody says otherwise. Whoever reads it may stand still, and its disk may be full: neither may
 * hold up the event loop, since a worker that stands still loses its leases, nor fill the memory.
 *
 *   a turn's lines    go out in one write at its end: a busy worker would else spend more time in the writing than in the
 *                     lines. A warning or an error goes out at once, with what waits before it
 *   no room           what is left waits, in order, and is tried again after a moment
 *   too much waits    further lines are dropped and counted; errors have some room of their own. When all that waited is
 *                     out, one line says how many were dropped
 *   the exit          waits a moment for what is left
 *   the reader ends   (EPIPE) costs the lines, never the process
 */

const mostWaiting = 4 * 1024 * 1024;
/** Beyond it, for errors alone. */
const roomForErrors = 1024 * 1024;
const tryAgainMs = 100;
/** The same, where the reader has just read. */
const movingMs = 5;
const exitMs = 1_000;
/** Levels of pino. */
const [warnLevel, errorLevel] = [40, 50];

/** Writes what there is room for, and returns how many bytes that were; throws EAGAIN for none. */
type Write = (bytes: Uint8Array) => number;

/** @param onDropped told how many lines were dropped, when there is room again */
export function standardError(onDropped: (lines: number) => void): DestinationStream {
  const write = writerTo(2);
  let lines: string[] = [];
  /** Characters of the lines, without the rest. */
  let length = 0;
  /** What a write left over: it begins in the middle of a line. */
  let rest: Uint8Array = Buffer.alloc(0);
  let dropped = 0;
  let timer: NodeJS.Timeout | null = null;
  let isDue = false;

  /** False while something waits. */
  const flush = (): boolean => {
    isDue = false;
    if (timer !== null) clearTimeout(timer);
    timer = null;
    let isMoving = false;
    for (;;) {
      if (rest.length === 0) {
        if (lines.length === 0) break;
        rest = Buffer.from(lines.join(""));
        lines = [];
        length = 0;
      }
      try {
        rest = rest.subarray(write(rest));
        isMoving = true;
      } catch (error) {
        if (mayHaveRoomLater(error)) {
          timer = setTimeout(flush, isMoving ? movingMs : tryAgainMs).unref();
          return false;
        }
        rest = Buffer.alloc(0);
      }
    }
    if (dropped > 0) {
      const count = dropped;
      dropped = 0;
      onDropped(count);
    }
    return true;
  };

  process.on("exit", () => {
    const giveUpAt = performance.now() + exitMs;
    const moment = new Int32Array(new SharedArrayBuffer(4));
    while (!flush() && performance.now() < giveUpAt) Atomics.wait(moment, 0, 0, 10);
  });

  const destination = {
    /** Asks pino to set `lastLevel` before each write. */
    [pino.symbols.needsMetadataGsym]: true,
    lastLevel: 0,
    write(line: string) {
      const { lastLevel } = destination;
      const most = lastLevel >= errorLevel ? mostWaiting + roomForErrors : mostWaiting;
      if (rest.length + length + line.length > most) {
        dropped += 1;
        return;
      }
      lines.push(line);
      length += line.length;
      // What waits for room is tried again by its timer.
      if (timer !== null) return;
      if (lastLevel >= warnLevel) flush();
      else if (!isDue) {
        isDue = true;
        setImmediate(flush);
      }
    },
  };
  return destination;
}

/** No room in a pipe, or on a disk. */
function mayHaveRoomLater(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return code === "EAGAIN" || code === "ENOSPC" || code === "EDQUOT";
}

/** Node makes its own stream for a pipe or a socket one that does not wait, and with it every write to either. */
function writerTo(fd: 2): Write {
  const kind = fstatSync(fd, { throwIfNoEntry: false });
  if (kind === undefined || kind.isFIFO() || kind.isSocket()) process.stderr.on("error", () => {});
  return (bytes) => writeSync(fd, bytes);
}
