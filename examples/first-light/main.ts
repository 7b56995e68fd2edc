import { once } from "node:events";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { createLog } from "../../adapters/telemetry/log.ts";
import { type Dev, startDev } from "../../cli/compose/start-dev.ts";
import { listenForStop } from "../../cli/stopping.ts";
import { removeDevNote, writeDevNote } from "../../cli/dev-note.ts";
import { fold } from "../../cli/output/table.ts";
import { type Config, loadConfig } from "../../cli/config/load-config.ts";
import { StoreUnreachable } from "../../machines/contracts/domain/errors.ts";
import { isRunEnded } from "../../machines/contracts/domain/status.ts";
import { type Answering, answerApprovals } from "./approve.ts";
import { Chronicle } from "./chronicle.ts";
import { readOptions } from "./options.ts";
import { plan } from "./plan.ts";
import { prepare, type Workshop } from "./prepare.ts";
import { table } from "./table.ts";

const usage = `npm start -- [--yes] [--keep] [--inspect] [--store sqlite|redis]

Brings up a control plane, a store and a worker in this process, and runs one agent through all of them.
  --yes    approve the agent's commit without being asked; without it and without a terminal it is rejected
  --keep   keep the temporary folder, serve the console until Ctrl-C, and say which commands look at the run
  --inspect  serve the inspector, a page that shows the steps' machines as they move; best with --keep
  --store  sqlite: no Redis even if there is one; redis: nothing else
Set ANTHROPIC_API_KEY or OPENAI_API_KEY to have a real model asked.
`;

/** Folded to 80 columns between words; the states' table is laid out already. */
const print = (text: string) => {
  const lines = text.split("\n").flatMap((line) => {
    const indent = /^ */u.exec(line)?.[0] ?? "";
    return fold(line.slice(indent.length), 80 - indent.length).map((part) => indent + part);
  });
  process.stdout.write(`${lines.join("\n")}\n`);
};
const runMs = 120_000;

function model(): string {
  if (process.env["ANTHROPIC_API_KEY"]) return "claude-sonnet-4-20250514";
  return process.env["OPENAI_API_KEY"] ? "gpt-4o-mini" : "scripted/first-light";
}

async function main(): Promise<number> {
  const values = readOptions({
    yes: { type: "boolean" },
    keep: { type: "boolean" },
    inspect: { type: "boolean" },
    store: { type: "string" },
    help: { type: "boolean" },
  });
  if (values.help === true) {
    process.stdout.write(usage);
    return 0;
  }
  const workshop = await prepare(model());
  const config = kept(
    values.keep === true,
    await loadConfig({
      flags: { store: values.store },
      env: process.env,
      folder: workshop.folder,
      file: workshop.configFile,
    }),
  );
  const log = createLog({ level: "warn", name: "first-light", pretty: process.stderr.isTTY });
  let chronicle: Chronicle | undefined;
  const onStepEvent = (notice: Parameters<Chronicle["hear"]>[0]) => chronicle?.hear(notice);
  const discard = () =>
    values.keep === true
      ? Promise.resolve()
      : rm(workshop.folder, { recursive: true, force: true });
  const starting = startDev(config, {
    env: process.env,
    log,
    onStepEvent,
    inspector: values.inspect === true,
  });
  // Whenever it comes: what has been started is ended in order, nothing is left behind; at the second signal at once.
  let interrupted: Promise<unknown> | null = null;
  let isShown = false;
  const stopping = listenForStop();
  const enough = stopping.signal;
  const interrupt = () => {
    print("Ending; Ctrl-C again ends it at once.");
    // All there was to show has been shown: it ends as it would have.
    if (isShown) return;
    interrupted ??= starting
      .then((begun) => begun.close())
      .finally(discard)
      .finally(() => process.exit(130));
  };
  enough.addEventListener("abort", interrupt);
  const hurry = () => void starting.then((begun) => begun.hurry()).catch(() => {});
  stopping.now.addEventListener("abort", hurry);
  starting.catch(discard);
  const answering: Answering =
    values.yes === true ? "approve" : process.stdin.isTTY ? "ask" : "reject";
  try {
    await using dev = await starting;
    const isKept = values.keep === true;
    const shown = show(dev, workshop, answering, isKept, (made) => (chronicle = made));
    const code = await whileItWorks(dev, shown);
    isShown = true;
    if (isKept && !enough.aborted) await whileItWorks(dev, once(enough, "abort"));
    return code;
  } finally {
    await removeDevNote(config.settings.dataDir);
    await (interrupted ?? discard());
  }
}

/** @throws StoreUnreachable when the worker gives up: it has no store any more, say */
function whileItWorks<T>({ runtime }: Dev, work: Promise<T>): Promise<T> {
  const ended = runtime.ended.then(({ fault }): Promise<T> => {
    if (fault === null) return work;
    throw new StoreUnreachable("the worker gave up", fault);
  });
  return Promise.race([work, ended]);
}

/** Whoever keeps it wants to look at what happened, and to replay it. */
const kept = (isKept: boolean, { settings, ...config }: Config): Config => ({
  ...config,
  settings: isKept ? { ...settings, keepJournals: "on" } : settings,
});

async function show(
  dev: Dev,
  workshop: Workshop,
  answering: Answering,
  isKept: boolean,
  listen: (chronicle: Chronicle) => void,
): Promise<number> {
  const hasSandbox = !("missing" in dev.ports.sandbox);
  const steps = plan(model(), hasSandbox, answering === "reject" ? "rejected" : "completed");
  const chronicle = new Chronicle(steps, print);
  listen(chronicle);
  introduce(dev, workshop);
  const { isWell, runId } = await run(dev, steps, chronicle, answering);
  print(`\n${table(steps, chronicle.steps())}\n`);
  conclude(isWell, dev, workshop, answering, isKept);
  if (isKept) await lead(dev, workshop, runId, chronicle.steps().at(-1)?.stepId ?? "STEP");
  return isWell ? 0 : 1;
}

async function run(
  dev: Dev,
  steps: ReturnType<typeof plan>,
  chronicle: Chronicle,
  answering: Answering,
): Promise<{ isWell: boolean; runId: string }> {
  const api = createControlPlaneApi({ url: dev.url, apiKey: dev.apiKey, timeoutMs: 10_000 });
  // A person may take their time; without one the run must end.
  const done = new AbortController();
  const signal =
    answering !== "ask" ? AbortSignal.any([done.signal, AbortSignal.timeout(runMs)]) : done.signal;
  try {
    const planned = steps.map(({ expected: _expected, ...step }) => step);
    const created = await api.createRun(
      { agentId: "first-light", input: { task: "Commit the change" }, steps: planned },
      signal,
    );
    if (!created.ok) throw new Error(created.failure.message);
    const { id } = created.value;
    chronicle.begin(id);
    const screen = { print, isParked: (stepId: string) => chronicle.isParked(stepId) };
    const answers = answerApprovals(api, id, answering, screen, signal);
    while (!signal.aborted) {
      const now = await api.run(id, signal);
      if (now.ok && isRunEnded(now.value.status)) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // The last report has arrived; its acknowledgement may be a moment behind.
    for (let waited = 0; waited < 200 && chronicle.steps().includes(null); waited += 1) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    done.abort();
    await answers.catch(() => {});
    return { isWell: chronicle.steps().every((told) => told?.isAsExpected === true), runId: id };
  } finally {
    done.abort();
    await api.close();
  }
}

function introduce(dev: Dev, { folder }: Workshop): void {
  const { sandbox } = dev.ports;
  const box =
    "missing" in sandbox ? `none, its step is left out: ${sandbox.missing}` : sandbox.driver;
  print("Stateplane, first light");
  print(`  store          ${dev.store.describe}`);
  print(`  control plane  embedded, with its console: ${dev.url}/`);
  if (dev.inspector !== null) print(`  inspector      ${dev.inspector.address}`);
  print(`  sandbox        ${box}`);
  print(`  model          ${model()}`);
  print(`  folder         ${folder}`);
}

function conclude(
  isWell: boolean,
  { url, apiKey }: Dev,
  { repository }: Workshop,
  answering: Answering,
  isKept: boolean,
): void {
  print(
    isWell
      ? answering === "reject"
        ? "Every step ended as it should: one denied, and the commit rejected, because nobody could be asked."
        : "Every step ended as it should, the denied one denied."
      : "Not every step ended as it should.",
  );
  print("Look further:");
  if (isKept) {
    print(`  git -C ${repository} log --stat`);
    print(`  ${url}/   the console; sign in with the key ${apiKey}`);
  } else {
    print(
      "  npm start -- --keep      keeps the repository, and serves the console: a page to see this on",
    );
  }
  print("  npm run -s stateplane -- --help");
}

/** Other commands find it by its configuration, whose data folder has the address and leads to the key. */
async function lead(
  { url, apiKey, store }: Dev,
  { folder, configFile }: Workshop,
  runId: string,
  stepId: string,
): Promise<void> {
  await writeDevNote(join(folder, "data"), { url, apiKey, store: store.kind });
  print("From another terminal, in this folder:");
  const asked = [`runs trace ${runId}`, `steps show ${stepId}`, `steps replay ${stepId}`, "top"];
  // Not folded: each is to be copied whole.
  for (const words of asked)
    process.stdout.write(`  npm run -s stateplane -- ${words} --config ${configFile}\n`);
  print("Ctrl-C ends it.");
}

try {
  process.exitCode = await main();
  // What will not close keeps nobody waiting; the rest has been closed in order.
  setTimeout(() => process.exit(), 3_000).unref();
} catch (error) {
  process.stderr.write(`first-light: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof StoreUnreachable ? 3 : 2;
}
