import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CliResult, runCli, startCli } from "../support/run-cli.ts";

let folder: string;
let taken: Server;
let takenPort: number;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-ports-"));
  taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  takenPort = (taken.address() as AddressInfo).port;
});
afterAll(async () => {
  taken.close();
  await rm(folder, { recursive: true, force: true });
});

const at = (env: Record<string, string> = {}) => ({ cwd: folder, env });

/** One line on standard error, and nothing on standard output. */
function expectTrouble(result: CliResult, code: number, text: RegExp) {
  expect(result.stderr).toMatch(text);
  expect(result.stderr.trimEnd().split("\n")).toHaveLength(1);
  expect(result).toMatchObject({ code, stdout: "" });
}

describe.concurrent("an address that can't be had", () => {
  it("a taken port", { timeout: 240_000 }, async () => {
    const args = ["dev", "--port", String(takenPort), "--store", "sqlite", "--data-dir", "port"];
    expectTrouble(
      await runCli(args, at()),
      2,
      /port \d+ of 127\.0\.0\.1 \(from flag --port\) is taken: .*--port or STATEPLANE_PORT/,
    );
  });

  it("a port for an inspector that nobody asked for", { timeout: 240_000 }, async () => {
    for (const command of ["dev", "worker"])
      expectTrouble(
        await runCli([command, "--inspect-port", "9400"], at()),
        2,
        /--inspect-port is the port of the inspector, .*: give --inspect too/,
      );
  });

  it("an address that is no port of this machine's", { timeout: 240_000 }, async () => {
    const args = [
      "control-plane",
      "--host",
      "192.0.2.1",
      "--store",
      "sqlite",
      "--data-dir",
      "away",
    ];
    expectTrouble(
      await runCli([...args, "--port", "0"], at({ FD_API_KEY: "a-key-of-enough-characters" })),
      2,
      /can't start: 192\.0\.2\.1 is no address of this machine: name one of its own by --host/,
    );
  });

  it(
    "a port that a worker can do without is one sentence of the log and of the summary [logs.no-stacks]",
    { timeout: 240_000 },
    async () => {
      const env = { WORKER_HTTP_PORT: String(takenPort), STATEPLANE_STORE: "sqlite" };
      const port = `port ${takenPort} of 127.0.0.1`;
      const args = ["dev", "--inspect", "--inspect-port", String(takenPort), "--data-dir", "ports"];
      const dev = startCli(args, { cwd: folder, env });
      await dev.says("Ctrl-C stops.");
      dev.kill("SIGTERM");
      const { stdout, stderr } = await dev.ended;
      const problem = `${port} (from flag --inspect-port) is taken: stop what listens there, or name another by --inspect-port or STATEPLANE_INSPECT_PORT`;
      expect(stdout).toContain(`inspector      none: ${problem}`);
      const messages = stderr
        .trimEnd()
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line).msg as string);
      expect(messages).toContain(
        `the inspector is not served, and the worker goes on without: ${problem}`,
      );
      expect(messages).toContainEqual(
        expect.stringContaining(
          `${port} (from environment variable WORKER_HTTP_PORT) is taken: stop what listens there, or name another by WORKER_HTTP_PORT`,
        ),
      );
      expect(stderr).not.toMatch(/\bstack\b|node:|EADDRINUSE/u);
    },
  );
});
