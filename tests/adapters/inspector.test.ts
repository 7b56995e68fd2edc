import { mkdir, readFile, stat } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { createBrowserReceiver, createWebSocketReceiver } from "@statelyai/inspect";
import * as fc from "fast-check";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createMachine } from "xstate";
import { type ControlPlaneApi, createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { defineTool } from "../../adapters/functions/define-tool.ts";
import { type Dev, defineConfig, startDev } from "../../cli/library.ts";
import { prepareInspector } from "../../cli/compose/start-inspector.ts";
import { Closing } from "../../cli/compose/start-worker.ts";
import type { Config } from "../../cli/config/load-config.ts";
import type { Settings } from "../../cli/config/settings.ts";
import type { StepStore } from "../../machines/contracts/ports/step-backend.ts";
import { startCli } from "../support/run-cli.ts";
import { chromiumPath, needsChromium, startChromium } from "../support/chromium.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { value } from "../support/value.ts";

const never = new AbortController().signal;
const secret = "hunter2-of-the-environment";
const folder = useTemporaryFolder();
let dev: Dev;
let api: ControlPlaneApi;
/** Lets the tool that waits go on. */
let goOn = () => {};

beforeAll(async () => {
  const text = { type: "object", properties: { text: { type: "string" } } };
  const wait = defineTool({
    name: "wait",
    description: "Waits until it is told to go on.",
    input: text,
    annotations: { readOnly: true },
    run: () => new Promise<string>((resolve) => (goOn = () => resolve("went on"))),
  });
  const send = defineTool({ name: "send", description: "Sends.", input: text, run: () => "sent" });
  const config = defineConfig({
    store: "sqlite",
    dataDir: join(folder, "data"),
    tools: [wait, send],
    allowlist: { allowed: ["wait"], approvalRequired: ["send"], denied: [] },
  });
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const env = { ACME_API_KEY: secret };
  dev = await startDev(config, { env, log, inspector: true });
  api = createControlPlaneApi({ url: dev.url, apiKey: dev.apiKey, timeoutMs: 10_000 });
});
afterAll(async () => {
  goOn();
  await api?.close();
  await dev?.close();
});

const callTool = async (tool: string, words: string) => {
  const input = { tool_name: tool, tool_input: { text: words } };
  const steps = [{ type: "tool" as const, name: tool, input }];
  const run = value(await api.createRun({ agentId: "assistant", input: {}, steps }, never));
  return run.id;
};

describe("who may look", () => {
  const status = (path: string, headers: Record<string, string>) =>
    new Promise<number>((resolve, reject) => {
      const { port } = new URL(dev.inspector?.url ?? "");
      const call = request({ host: "127.0.0.1", port, path, headers }, (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      });
      call.on("upgrade", (_, socket) => resolve((socket.destroy(), 101)));
      call.on("error", reject);
      call.end();
    });
  const upgrade = {
    connection: "upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  };

  it("refuses whoever has no token, another origin and another host; the token is in no log and no answer [inspector.closed]", async () => {
    const { url = "", token = "" } = dev.inspector ?? {};
    const { host } = new URL(url);
    const key = { authorization: `Bearer ${token}` };
    const paths = ["/inspect/stream", "/inspect/actors/1", "/inspect/record?run=a&step=b"];
    for (const path of paths) {
      expect.soft(await status(path, { host })).toBe(401);
      expect.soft(await status(path, { host, authorization: "Bearer x" })).toBe(401);
      expect.soft(await status(`${path}?token=${token}`, { host })).toBe(401);
    }
    const foreign: Record<string, string>[] = [
      { host: "evil.example" },
      { host: `evil.example:${new URL(url).port}` },
      { host, origin: "https://evil.example" },
      { host, origin: "null" },
      { host, origin: "https://stately.ai" },
      { host, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors" },
    ];
    for (const headers of foreign) {
      for (const path of ["/", ...paths]) {
        expect.soft(await status(path, { ...key, ...headers }), JSON.stringify(headers)).toBe(403);
      }
      const socket = `/stately/socket?token=${token}`;
      expect.soft(await status(socket, { ...upgrade, ...headers })).toBe(403);
    }
    expect(await status("/stately/socket?token=x", { host, ...upgrade })).toBe(403);
    expect(await status(`/stately/socket?token=${token}`, { host, ...upgrade })).toBe(101);
    expect(await status("/inspect/record?run=a&step=b", { host, ...key })).toBe(404);
    expect(await status("/console/page/..%2finspector%2fserve.ts", { host })).toBe(404);
  });

  it("refuses whatever is no address, as a request and as a WebSocket, of any page, and works on [inspector.closed]", async () => {
    const { host } = new URL(dev.inspector?.url ?? "");
    const parts = fc.constantFrom(
      "/",
      "//",
      ":",
      "[",
      "]",
      "@",
      "?",
      "#",
      "%",
      "\\",
      "a",
      "http://",
    );
    const targets = fc.array(parts, { minLength: 1, maxLength: 5 }).map((some) => some.join(""));
    const property = fc.asyncProperty(targets, async (target) => {
      const path = `/${target}`;
      expect(await status(path, { host, ...upgrade, origin: "https://evil.example" })).toBe(403);
      expect(await status(path, { host, ...upgrade })).toBe(403);
      expect([200, 400, 404]).toContain(await status(path, { host }));
    });
    await fc.assert(property, { numRuns: 50, examples: [["/"], ["/["], ["/a:b"]] });
    expect(await status("/", { host })).toBe(200);
  });
});

describe("a worker", () => {
  it("writes its inspector's address for its user alone, and no token into its log; a taken port costs one warning [inspector.closed]", async () => {
    const cwd = join(folder, "worker");
    await mkdir(cwd);
    const env = {
      STATEPLANE_STORE: "sqlite",
      CONTROL_PLANE_URL: dev.url,
      FD_API_KEY: dev.apiKey,
      STATEPLANE_DATA_DIR: cwd,
    };
    const worker = startCli(["worker", "--inspect"], { cwd, env });
    await worker.says("the whole address stands in the file");
    const file = join(cwd, `inspector-${worker.pid}.txt`);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const [, url = "", token = ""] =
      /^(.*)\/#token=([\w-]{32})\n$/.exec(await readFile(file, "utf8")) ?? [];
    const headers = { authorization: `Bearer ${token}` };
    expect((await fetch(`${url}/inspect/stream`, { headers })).status).toBe(200);
    worker.kill("SIGTERM");
    const { stdout, stderr } = await worker.ended;
    expect(stdout + stderr).not.toContain(token);
    await expect(stat(file)).rejects.toThrow("ENOENT");

    const inspectPort = Number(new URL(dev.inspector?.url ?? "").port);
    const warnings: string[] = [];
    const log = {
      debug() {},
      info() {},
      warn: (_: object, said: string) => void warnings.push(said),
      error() {},
    };
    const inspecting = prepareInspector(
      {
        settings: { inspectPort, inspectHost: "127.0.0.1" } as Settings,
        sources: { inspectPort: "flag --inspect-port" } as Config["sources"],
      },
      log,
    );
    const closing = new Closing(log);
    const problem = `port ${inspectPort} of 127.0.0.1 (from flag --inspect-port) is taken: stop what listens there, or name another by --inspect-port or STATEPLANE_INSPECT_PORT`;
    expect(await inspecting.serve({} as StepStore, closing)).toEqual({ problem });
    expect(warnings).toEqual([
      `the inspector is not served, and the worker goes on without: ${problem}`,
    ]);
  });
});

describe("Stately's tools", () => {
  it("are told of each actor, event and snapshot in the words of @statelyai/inspect, with definitions that XState takes [inspector.stately]", async () => {
    const { url = "", token = "" } = dev.inspector ?? {};
    const server = `${url.replace("http", "ws")}/stately/socket?token=${token}`;
    const heard: { type: string; sessionId: string; [name: string]: unknown }[] = [];
    const receiver = createWebSocketReceiver({ server });
    receiver.subscribe((event) => void heard.push(event as never));
    await expect.poll(() => heard.map(({ type }) => type)).toContain("@xstate.actor");
    await callTool("send", "Dear all");
    const ofStep = () => {
      const actor = heard.find(
        (event) => event.type === "@xstate.actor" && String(event["name"]).startsWith("stp_"),
      );
      return heard.filter(({ sessionId }) => sessionId === actor?.sessionId);
    };
    const last = () => ofStep().at(-1)?.["snapshot"];
    await expect.poll(last).toMatchObject({ status: "done", value: "parked" });
    const [actor, ...moves] = ofStep();
    const machine = createMachine(JSON.parse(String(actor?.["definition"])));
    expect(Object.keys(machine.states)).toContain("awaiting-approval");
    const events = moves.filter(({ type }) => type === "@xstate.event").map(({ event }) => event);
    expect(events.map((event) => (event as { type: string }).type)).toContain("policy.asked");
    const values = moves.flatMap(({ snapshot }) =>
      snapshot === undefined ? [] : [(snapshot as { value: unknown }).value],
    );
    expect(values).toContainEqual({ "awaiting-approval": "requesting" });
    expect(JSON.stringify(moves)).toContain("Dear all");
    expect(typeof createBrowserReceiver).toBe("function");
  });
});

describe.skipIf(chromiumPath === null)(`the inspector in Chromium${needsChromium}`, () => {
  let browser: Browser;
  let page: Page;
  const addresses: string[] = [];
  const troubles: string[] = [];

  beforeAll(async () => {
    browser = await startChromium();
    page = await browser.newPage({ viewport: { width: 1500, height: 950 } });
    page.setDefaultTimeout(60_000);
    page.on("pageerror", (error) => troubles.push(error.message));
    page.on("console", (said) => {
      if (said.type() === "error" && !said.text().startsWith("Failed to load resource"))
        troubles.push(said.text());
    });
    page.on("request", (sent) => addresses.push(sent.url()));
  });
  beforeEach(() => void (troubles.length = 0));
  afterAll(() => browser?.close());

  const rows = () => page.getByRole("listbox", { name: /^Steps/ }).getByRole("option");
  const state = (name: string) =>
    page.locator("g.box", { has: page.locator(`> text.title:text-is("${name}")`) }).last();
  const choose = (name: string, option: string) => page.getByLabel(name).selectOption(option);

  it("shows a step move through its states on the machine's own chart, and forgets the token's address [inspector.live]", async () => {
    const { url = "", token = "", address = "" } = dev.inspector ?? {};
    await page.goto(url);
    await page.getByText("The inspector needs its token").waitFor();
    await page.goto(address);
    await page.getByText("live", { exact: true }).waitFor();
    await page.reload();
    await page.getByText("live", { exact: true }).waitFor();
    expect(page.url()).toBe(`${url}/`);
    expect(addresses.filter((one) => one.includes(token))).toEqual([]);
    await page.getByRole("group", { name: "The chart of the step machine" }).waitFor();
    await callTool("wait", `the key is ${secret} and sk-proj-0123456789abcdef`);
    await rows().filter({ hasText: "executing.working" }).waitFor();
    await state("working").locator("> .count").getByText("1", { exact: true }).waitFor();
    await page.locator(".item").filter({ hasText: "policy.allowed" }).first().waitFor();
    goOn();
    await rows().filter({ hasText: "completed" }).waitFor();
    await state("working").locator("> .count").waitFor({ state: "detached" });
    expect(troubles).toEqual([]);
  });

  it("steps back through a step's history, with its context then and no secret in it [inspector.history]", async () => {
    await rows().filter({ hasText: "completed" }).click();
    const detail = page.getByRole("region", { name: "The chosen machine" });
    const history = detail.getByRole("list", { name: "History" });
    const now = history.locator("[aria-current=step] > .state");
    await now.getByText("settled").waitFor();
    await page.locator("g.box.current > text.title").getByText("settled").waitFor();
    for (const wanted of ["delivered", "delivering", "recording", "validating", "working"]) {
      await detail.getByRole("button", { name: "Back" }).click();
      await now.getByText(wanted).waitFor();
      await page.locator("g.box.current > text.title").getByText(wanted).waitFor();
    }
    await detail.getByText("policy.allowed").first().waitFor();
    await detail.locator("summary", { hasText: "job" }).click();
    await detail.locator("summary", { hasText: /^input/ }).click();
    await detail.locator("summary", { hasText: "tool_input" }).click();
    await detail.getByText("the key is [redacted]").waitFor();
    // At that moment there was no output yet.
    await detail.locator(".leaf", { hasText: /^output\s*null/ }).waitFor();
    const all = String(await page.content());
    expect(all).not.toContain(secret);
    expect(all).not.toContain("sk-proj");
    await detail.getByRole("button", { name: "Forward" }).click();
    await now.getByText("validating").waitFor();
    expect(troubles).toEqual([]);
  });

  it("filters, by the keyboard too, and shows what the store keeps of a parked step and of one that it never saw [inspector.filter]", async () => {
    const runId = await callTool("send", "Dear all");
    const mine = rows().filter({ hasText: runId.slice(-7) });
    await mine.filter({ hasText: "parked" }).waitFor();
    await choose("Outcome", "completed");
    await mine.waitFor({ state: "detached" });
    await choose("Outcome", "parked");
    await page.getByLabel("Run", { exact: true }).fill(runId);
    await expect.poll(() => rows().count()).toBe(1);
    await page.getByRole("listbox", { name: /^Steps/ }).focus();
    await page.keyboard.press("Home");
    const detail = page.getByRole("region", { name: "The chosen machine" });
    await detail.getByText("in the store: parked").waitFor();
    await choose("Outcome", "alive");
    await page.getByLabel("Step", { exact: true }).fill("stp_nobody");
    await page.getByRole("button", { name: "Look in the store" }).click();
    await detail.getByText("Nothing of its history is kept here").waitFor();
    await page.getByRole("button", { name: "Clear" }).click();
    expect(troubles).toEqual([]);
  });

  it("shows agents' loops, a workflow's run and the supervisor, each on its chart [inspector.machines]", async () => {
    const steps = [{ type: "llm" as const, name: "say", input: { task: "Say hello" } }];
    value(await api.createRun({ agentId: "assistant", input: {}, steps }, never));
    const nav = page.getByRole("navigation", { name: "Machines" });
    await nav.getByText("Agent loops").click();
    await page.locator(".item").filter({ hasText: "reply.received" }).first().click();
    await page.locator("g.box.current > text.title").getByText("completed").waitFor();
    const headers = { authorization: `Bearer ${dev.apiKey}`, "content-type": "application/json" };
    const post = async (path: string, body: object) =>
      (
        await fetch(dev.url + path, { method: "POST", headers, body: JSON.stringify(body) })
      ).json() as Promise<{ id: string }>;
    const config = { model: "scripted/default", task: "plan" };
    const definition = { steps: [{ id: "plan", type: "llm", config }] };
    const workflow = await post("/v1/workflows", { name: "Plan", version: "1.0.0", definition });
    await post("/v1/workflow-runs", { workflow_id: workflow.id, input: { task: "x" } });
    await nav.getByText("Workflows").click();
    await page.locator(".item").filter({ hasText: "completed" }).first().click();
    await page.locator("g.box.current > text.title").getByText("completed").waitFor();
    await nav.getByText("Supervisor").click();
    await state("receiving").locator("> .count").waitFor();
    expect(troubles).toEqual([]);
  });

  it("fits a phone, and goes on where a worker's page was lost [inspector.phone]", async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    const nav = page.getByRole("navigation", { name: "Machines" });
    await nav.getByRole("link", { name: /^Steps \d+ alive$/u }).click();
    await rows().first().click();
    await page.getByRole("region", { name: "The chosen machine" }).waitFor();
    const over = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
    expect(await page.evaluate(over)).toBeLessThanOrEqual(0);
    await page.context().setOffline(true);
    await page.context().setOffline(false);
    await page.getByText("live", { exact: true }).waitFor();
    expect(troubles).toEqual([]);
  });

  it("hands on to Stately Inspector, in a frame, once somebody says so [inspector.stately]", async () => {
    const bridge = await browser.newPage();
    const asked: string[] = [];
    await bridge.route("https://stately.ai/**", (route) => {
      asked.push(route.request().url());
      // As its `createBrowserReceiver` does.
      const body = `<script>window.heard = [];
        addEventListener("message", ({ data }) => window.heard.push(data.type + " " + (data.name ?? "")));
        parent.postMessage({ type: "@statelyai.connected" }, "*");</script>`;
      return route.fulfill({ contentType: "text/html", body });
    });
    await bridge.goto(dev.inspector?.address ?? "");
    await bridge.getByRole("link", { name: "Stately Inspector" }).click();
    const button = bridge.getByRole("button", { name: "Open Stately Inspector" });
    await button.waitFor();
    expect(asked).toEqual([]);
    await button.click();
    const heard = async () => bridge.frames().at(-1)?.evaluate("window.heard");
    await expect.poll(heard).toContain("@xstate.actor supervisor");
    expect(asked).toEqual(["https://stately.ai/inspect"]);
    await bridge.close();
  });
});
