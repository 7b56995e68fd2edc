import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { startTestRedis } from "../support/redis.ts";
import { startCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();

/**
 * Loaded before the program: notes each file that is loaded, and which file of ours makes the shape of an object. What a
 * worker puts off until it has started is none of the start.
 */
const recorder = `
import { writeFileSync } from "node:fs";
import { registerHooks } from "node:module";
Error.stackTraceLimit = 100;
const loaded = new Set(), shapes = new Set();
globalThis.noteShape = (definition) => {
  const stack = new Error().stack;
  if (typeof definition !== "object" || stack.includes("makeShapesOfSteps")) return;
  shapes.add(/\\/((?:machines|actors|adapters|cli)\\/[\\w./-]+\\.ts)/u.exec(stack)?.[1]);
};
const watching = (url) => "data:text/javascript," + encodeURIComponent(
  'export * from "' + url + '"; import { type as real } from "' + url + '";' +
  'export const type = new Proxy(real, { apply(made, self, given) {' +
  ' noteShape(given[0]); return Reflect.apply(made, self, given); } });');
registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    const isOurs = context.parentURL?.endsWith(".ts") === true;
    return specifier === "arktype" && isOurs ? { url: watching(found.url), shortCircuit: true } : found;
  },
  load(url, context, next) {
    loaded.add(url);
    return next(url, context);
  },
});
process.on("exit", () =>
  writeFileSync("recorded.json", JSON.stringify({ loaded: [...loaded], shapes: [...shapes] })));
`;

/** What a worker can't do without: store, control plane, log, command line, machines, and the shapes of their answers. */
const needed = new Set(
  [
    "@ark/schema @ark/util arkregex arktype @opentelemetry/api commander xstate",
    "@ioredis/commands cluster-key-slot debug denque has-flag ioredis ms redis-errors standard-as-callback supports-color",
    "@pinojs/redact atomic-sleep on-exit-leak-free picocolors pino pino-std-serializers quick-format-unescaped",
    "safe-stable-stringify sonic-boom thread-stream aws4fetch eventsource-parser isexe signal-exit undici which",
    "write-file-atomic ansi-regex cli-table3 emoji-regex is-fullwidth-code-point string-width strip-ansi",
  ].flatMap((names) => names.split(" ")),
);
/** Kept out by what is configured. */
const others = /^(?:evals|adapters\/(?:console|inspector|mcp|sqlite|control-plane\/embedded))\//u;

it("a worker that says that it takes jobs has loaded no package that it may never need, and made no shape of what nobody gave", async () => {
  const redis = await startTestRedis();
  onTestFinished(() => redis.stop());
  const gateway = await startFerrumDeckGateway();
  onTestFinished(() => gateway.close());
  const file = join(folder, "recorder.mjs");
  await writeFile(file, recorder);
  const worker = startCli(["worker"], {
    cwd: folder,
    env: {
      NODE_OPTIONS: `--import=${pathToFileURL(file).href}`,
      REDIS_URL: redis.url,
      CONTROL_PLANE_URL: gateway.url,
      FD_API_KEY: gateway.apiKey,
    },
  });
  await worker.says("the worker takes jobs");
  worker.kill("SIGTERM");
  expect((await worker.ended).code).toBe(0);
  const { loaded, shapes } = JSON.parse(await readFile(join(folder, "recorded.json"), "utf8")) as {
    loaded: string[];
    shapes: string[];
  };
  const packages = loaded.flatMap(
    (url) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/u.exec(url)?.[1] ?? [],
  );
  expect(packages).toContain("ioredis");
  expect(new Set(packages.filter((name) => !needed.has(name)))).toEqual(new Set());
  const root = pathToFileURL(join(import.meta.dirname, "../..")).href;
  const ours = loaded
    .filter((url) => url.startsWith(`${root}/`))
    .map((url) => url.slice(root.length + 1));
  expect(ours).toContain("cli/commands/worker.ts");
  expect(ours.filter((path) => others.test(path))).toEqual([]);
  expect(shapes.sort()).toEqual([
    "adapters/control-plane/api.ts",
    "cli/config/settings.ts",
    "machines/contracts/domain/budget.ts",
    "machines/contracts/wire/views.ts",
  ]);
});
