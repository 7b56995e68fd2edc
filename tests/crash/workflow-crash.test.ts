import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { type CliResult, type RunningCli, startCli } from "../support/run-cli.ts";
import { writeSafePrProject } from "../support/safe-pr-project.ts";
import { keptDevNote } from "../support/dev-note.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const sample = join(import.meta.dirname, "../corpus/ferrumdeck-workflow.yaml");
const root = useTemporaryFolder();
let folder: string;

const linesOf = (file: string): string[] => {
  const path = join(folder, file);
  return existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
};

interface Plane {
  url: string;
  apiKey: string;
  pid: number;
}

const call = async <T>({ url, apiKey }: Plane, path: string, init: RequestInit = {}) => {
  const headers = { authorization: `Bearer ${apiKey}` };
  return (await (await fetch(url + path, { ...init, headers })).json()) as T;
};

/** Says yes to all that a run asks, until its program has ended. */
async function answering(running: RunningCli, asked: Map<string, string>): Promise<CliResult> {
  let isOver = false;
  const ended = running.ended.finally(() => (isOver = true));
  while (!isOver) {
    try {
      const note = keptDevNote(folder) as unknown as Plane;
      if (note.pid === running.pid) {
        type Question = { id: string; reason: string };
        for (const { id, reason } of await call<Question[]>(note, "/v1/approvals")) {
          // Before the answer is given: who is killed over it says nothing of it any more.
          asked.set(id, reason.trim());
          await call(note, `/v1/approvals/${id}`, {
            method: "PUT",
            body: JSON.stringify({ approved: true }),
          });
        }
      }
    } catch {
      // Not there yet, or not any more.
    }
    await sleep(20);
  }
  return ended;
}

/** The only run there is, by its store: who is killed early has not said it yet. */
function keptRun(): string {
  const database = new DatabaseSync(join(folder, ".stateplane", "control-plane.sqlite"));
  try {
    return String(database.prepare("SELECT id FROM runs").get()?.["id"]);
  } finally {
    database.close();
  }
}

/** Has the leases of who was killed run out. A short one could run out on a busy machine while its worker lives. */
function expireLeases(): void {
  const database = new DatabaseSync(join(folder, ".stateplane", "steps.sqlite"));
  database.exec("UPDATE entries SET delivered_at = 0");
  database.close();
}

/** Runs the sample to its end, starting anew whenever its process was killed. */
async function runSample(kills: boolean) {
  folder = join(root, kills ? "killed" : "left alone");
  mkdirSync(folder);
  writeSafePrProject(folder);
  const env = { KILLS: kills ? "1" : "0" };
  const asked = new Map<string, string>();
  const first = ["--input", '{"task": "mend it"}', "--model", "scripted/default"];
  let run = startCli(["workflow", "run", sample, ...first, "--json"], { cwd: folder, env });
  for (let starts = 1; ; starts += 1) {
    const { code, stdout, stderr } = await answering(run, asked);
    if (code !== null) {
      const last = stdout.trim().split("\n").at(-1) ?? "";
      expect(last, `start ${starts} ended with ${code}\n${stdout}\n${stderr}`).toContain('"run":');
      const ended = JSON.parse(last) as { run: { output: unknown; status: string } };
      return { code, stderr, asked: [...asked.values()], starts, ...ended.run };
    }
    expect(starts, stderr).toBeLessThan(40);
    expireLeases();
    run = startCli(["workflow", "watch", keptRun(), "--json"], { cwd: folder, env });
  }
}

const calls = [
  'list_directory {"path":".","recursive":false}',
  'read_file {"path":"a.txt"}',
  'read_file {"path":"b.txt"}',
  'write_file {"action":"modify","file_path":"a.txt","content":"mended"}',
  'run_tests {"test_command":"npm test","timeout_ms":120000}',
  'create_pull_request {"title":"Mend it","body":"Mended.","labels":[]}',
];
const outcome = {
  status: "completed",
  output: {
    validate_changes: { ready_for_pr: true },
    implement_changes: { iterations: 2 },
    create_pull_request: { result: { pr_url: "https://example.org/pr/1" } },
  },
};

it("FerrumDeck's sample workflow runs from the command line: it pauses at its approvals, goes on, and ends [workflow.sample]", async () => {
  const done = await runSample(false);
  expect(done, done.stderr).toMatchObject({ code: 0, starts: 1, ...outcome });
  expect(linesOf("ledger.txt")).toEqual(calls);
  expect(done.asked).toEqual([
    "the workflow wants a person's approval",
    "Ready to create PR:\nTitle: Mend it\n\nPlease review the changes and approve to create the PR.",
  ]);
}, 120_000);

it("killed between any two steps and started again, it ends the same, each call made once [workflow.sample-killed]", async () => {
  const done = await runSample(true);
  expect(done, done.stderr).toMatchObject({ code: 0, ...outcome });
  expect(linesOf("ledger.txt")).toEqual(calls);
  // Fifteen steps have fourteen boundaries.
  expect(linesOf("kills.txt")).toHaveLength(14);
  expect(new Set(linesOf("kills.txt")).size).toBe(14);
  expect(done.starts).toBe(15);
  expect(done.asked).toHaveLength(2);
}, 240_000);
