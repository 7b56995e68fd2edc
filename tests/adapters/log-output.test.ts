import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const program = join(import.meta.dirname, "../support/log-lines.ts");
let folder: string;
let file: string;
/** A reader that begins when all lines are written: a writer whose loop it holds up never has. */
const late = () => `until [ -e "${file}.written" ]; do sleep 0.1; done; cat`;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-log-"));
  file = join(folder, "told");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A process that logs into a pipe, whose reader is this shell command. */
async function intoPipe(reader: string, lines: number, waitMs: number): Promise<string> {
  const command = `"${process.execPath}" "${program}" "${file}" ${lines} ${waitMs} 2>&1 >/dev/null | (${reader})`;
  const shell = spawn("sh", ["-c", command], { stdio: ["ignore", "pipe", "inherit"] });
  return text(shell.stdout);
}
const told = async () =>
  JSON.parse(await readFile(file, "utf8")) as { slowest: number; memory: number };
const read = (output: string) =>
  output
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as { n?: number; msg: string; dropped?: number });

describe("a reader of the log that stands still", () => {
  it("does not hold up the loop; nothing is lost while there is room to wait, in order [log.stalled]", async () => {
    const lines = read(await intoPipe(late(), 1_500, 1_000));
    expect(lines.slice(0, -1).map(({ n }) => n)).toEqual(
      Array.from({ length: 1_500 }, (_, n) => n),
    );
    expect(lines.at(-1)?.msg).toBe("the last words");
  });

  it("costs lines past a bound, which are counted and said when it reads again [log.stalled]", async () => {
    const lines = read(await intoPipe(late(), 8_000, 3_000));
    expect((await told()).memory).toBeLessThan(400 * 1024 * 1024);
    const numbers = lines.flatMap(({ n }) => (n === undefined ? [] : [n]));
    expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, n) => n));
    expect(numbers.length).toBeLessThan(8_000);
    const others = lines.filter(({ n }) => n === undefined);
    expect(others.map(({ dropped }) => dropped ?? 0)).toContain(8_000 - numbers.length);
    expect(others.map(({ msg }) => msg)).toContain("the last words");
    expect(others).toHaveLength(2);
  });

  it("and never reads again keeps no process from its end", async () => {
    const from = performance.now();
    const output = await intoPipe("sleep 8 & wait", 500, 0).then(() => performance.now() - from);
    // The shell waits for the reader; the process wrote its word when it was done.
    expect(output).toBeGreaterThan(0);
    expect((await told()).slowest).toBeLessThan(4_000);
  });

  it("behind a socket does not hold up the loop either [log.stalled]", async () => {
    const child = spawn(process.execPath, [program, file, "1500", "1000"], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    await expect.poll(() => existsSync(`${file}.written`)).toBe(true);
    const output = await text(child.stderr);
    if (child.exitCode === null) await once(child, "exit");
    const numbers = read(output).flatMap(({ n }) => (n === undefined ? [] : [n]));
    expect(numbers).toEqual(Array.from({ length: 1_500 }, (_, n) => n));
  });
});

it("a reader that has gone costs lines, never the process", async () => {
  await intoPipe("exec true", 500, 100);
  expect((await told()).slowest).toBeLessThan(4_000);
});
