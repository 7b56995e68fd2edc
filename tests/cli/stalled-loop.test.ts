import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { runCli, startCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const timeout = 240_000;
const root = join(import.meta.dirname, "../..");
const folder = useTemporaryFolder();

describe("an event loop that stands still", () => {
  /** A process that guards its loop for a lease, does `work`, and ends when it has lived for four leases. */
  async function guarded(work: string, { atOnce = "", leaseMs = 1_000 } = {}) {
    await writeFile(
      join(folder, "guarded.ts"),
      `import { watchLoop } from ${JSON.stringify(join(root, "cli/nets.ts"))};
      watchLoop(${leaseMs}).begin();
      console.log("begun");
      ${atOnce}
      setTimeout(() => { ${work} }, 500);
      setTimeout(() => { console.log("alive"); process.exit(0); }, ${4 * leaseMs});`,
    );
    const child = spawn(process.execPath, [join(folder, "guarded.ts")]);
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
    const ended = once(child, "close").then(([code, signal]) => ({ code, signal, text }));
    const says = (words: string) =>
      vi.waitFor(() => expect(text).toContain(words), { timeout: 60_000 });
    await says("begun");
    return { child, ended, says };
  }

  it(
    "for longer than a lease ends the process, with a line [net.stalled-loop]",
    { timeout },
    async () => {
      const { ended } = await guarded("for (;;);");
      const { signal, text } = await ended;
      expect(signal).toBe("SIGKILL");
      expect(text).toContain("the event loop stood still for 1000 ms");
    },
  );

  it(
    "in the very turn in which its watch began is ended too [net.stalled-loop]",
    { timeout },
    async () => {
      const { ended } = await guarded("", { atOnce: "for (;;);" });
      const { signal, text } = await ended;
      expect(signal).toBe("SIGKILL");
      expect(text).toContain("the event loop stood still for 1000 ms");
    },
  );

  it("because the process was stopped, does not", { timeout }, async () => {
    const { child, ended, says } = await guarded('console.log("at work")');
    await says("at work");
    child.kill("SIGSTOP");
    await sleep(3_000);
    child.kill("SIGCONT");
    expect(await ended).toMatchObject({ code: 0, text: expect.stringContaining("alive") });
  });

  it("for less than a lease, again and again, does not", { timeout }, async () => {
    const busy =
      "setInterval(() => { const until = Date.now() + 800; while (Date.now() < until); }, 50)";
    // On a busy machine each time is longer than it says.
    const { ended } = await guarded(busy, { leaseMs: 3_000 });
    expect(await ended).toMatchObject({ code: 0 });
  });

  it("in a worker ends it, so that others take its jobs", { timeout }, async () => {
    await writeFile(
      join(folder, "stateplane.config.ts"),
      'export default { store: "sqlite", leaseMs: 1_000, handlers: { retrieval: () => { for (;;); } } };',
    );
    const dev = startCli(["dev"], { cwd: folder });
    onTestFinished(() => dev.kill("SIGKILL"));
    await dev.says("Ctrl-C stops.");
    await writeFile(
      join(folder, "steps.json"),
      '[{"type": "retrieval", "input": {"query": "x", "documents": [{"content": "x"}]}}]',
    );
    await runCli(["submit", "assistant", "--steps", "steps.json"], { cwd: folder });
    const { stderr } = await dev.ended;
    expect(stderr).toContain("the event loop stood still for 1000 ms");
  });
});
