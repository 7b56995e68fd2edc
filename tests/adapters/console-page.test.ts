import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type ControlPlaneApi, createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { defineTool } from "../../adapters/functions/define-tool.ts";
import { type Dev, defineConfig, startDev } from "../../cli/library.ts";
import { chromiumPath, needsChromium, startChromium } from "../support/chromium.ts";
import { report } from "../support/eval-report.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { writeReport } from "../../evals/report-file.ts";
import { value } from "../support/value.ts";

const never = new AbortController().signal;
const hostile = [
  "<script>window.hurt = 1</script>",
  "<img src=x onerror='window.hurt = 2'>",
  "</pre></textarea><svg onload='window.hurt = 3'>",
  "javascript:window.hurt=4",
  "${window.hurt = 5}",
].join(" ");
const turned = "pay \u202Elive\u202C \u2066x\u2069 \u200Bnow";

describe.skipIf(chromiumPath === null)(`the console in Chromium${needsChromium}`, () => {
  const folder = useTemporaryFolder();
  let browser: Browser;
  let dev: Dev;
  let api: ControlPlaneApi;
  let page: Page;
  const addresses: string[] = [];
  const troubles: string[] = [];
  const sent: unknown[] = [];

  beforeAll(async () => {
    const text = { type: "object", properties: { text: { type: "string" } } };
    const send = defineTool({
      name: "send",
      description: "Sends a letter.",
      input: text,
      run: (input) => void sent.push(input),
    });
    const config = defineConfig({
      store: "sqlite",
      dataDir: join(folder, "data"),
      evalsReportsPath: join(folder, "reports"),
      tools: [send],
      allowlist: { allowed: [], approvalRequired: ["send"], denied: [] },
    });
    const made = report(12, (at, epoch) => at > 2 && (at !== 5 || epoch > 0), {
      id: "eval_hostile/../x",
      suite: `checkout ${hostile}${turned}`,
      mock: true,
    });
    await writeReport(join(folder, "reports", "checkout.json"), made);
    await writeFile(join(folder, "reports", "<b>torn.json"), '{"format":');
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    [browser, dev] = await Promise.all([startChromium(), startDev(config, { env: {}, log })]);
    api = createControlPlaneApi({ url: dev.url, apiKey: dev.apiKey, timeoutMs: 10_000 });
    page = await browser.newPage();
    page.setDefaultTimeout(60_000);
    page.on("pageerror", (error) => troubles.push(error.message));
    page.on("console", (said) => {
      // A 4xx answer is said by the browser itself, and looked at where it is expected.
      if (said.type() === "error" && !said.text().startsWith("Failed to load resource"))
        troubles.push(said.text());
    });
    page.on("request", (request) => addresses.push(request.url()));
  });
  beforeEach(() => void (troubles.length = 0));
  afterAll(async () => {
    await browser?.close();
    await api?.close();
    await dev?.close();
  });

  const plan = (input: object) =>
    JSON.stringify([
      { type: "tool", name: "send it", input: { tool_name: "send", tool_input: input } },
    ]);

  /** Tab after Tab until what has the focus is called that: nothing else reaches it. */
  async function tabTo(name: RegExp): Promise<void> {
    const called = `(() => {
      const at = document.activeElement;
      return (at.labels?.[0]?.innerText || at.getAttribute("aria-label") || at.innerText || "").trim();
    })()`;
    for (let tabs = 0; tabs < 60; tabs += 1) {
      await page.keyboard.press("Tab");
      if (!name.test(String(await page.evaluate(called)))) continue;
      const outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle");
      expect(outline, `the focus shows on ${String(name)}`).not.toBe("none");
      return;
    }
    throw new Error(`the keyboard does not reach ${String(name)}`);
  }

  it("signs in with a key that is in no address, and keeps it in the tab alone [console.key]", async () => {
    await page.goto(dev.url);
    await page.getByText("says at its start where it keeps it").waitFor();
    await page.getByLabel("API key").fill("no-such-key");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").getByText("opens nothing").waitFor();
    await page.getByLabel("API key").fill(dev.apiKey);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Runs" }).waitFor();
    await page.getByText("There are no runs yet").waitFor();
    await page.getByText("live", { exact: true }).waitFor();
    expect(addresses.length).toBeGreaterThan(10);
    expect(addresses.filter((address) => address.includes(dev.apiKey))).toEqual([]);
    expect(new Set(addresses.map((address) => new URL(address).origin))).toEqual(
      new Set([dev.url]),
    );
    expect(await page.evaluate("document.cookie + JSON.stringify(localStorage)")).toBe("{}");
    expect(troubles).toEqual([]);
  });

  it("submits, approves a parked step and sees it end, by the keyboard alone [console.keyboard]", async () => {
    await page.reload();
    await page.getByRole("heading", { name: "Runs" }).waitFor();
    await tabTo(/^New run$/);
    await page.keyboard.press("Enter");
    await page.locator("select[name=agent] option").waitFor({ state: "attached" });
    await tabTo(/^Task/);
    await page.keyboard.type("Send the letter");
    await tabTo(/^Steps of its own/);
    await page.keyboard.press("Enter");
    await tabTo(/^Steps, as JSON/);
    await page.keyboard.type(plan({ text: "Dear all" }));
    await tabTo(/^Start run$/);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: /^Run run_/ }).waitFor();
    await page.getByRole("cell", { name: "waiting approval" }).waitFor();
    expect(sent).toEqual([]);

    await tabTo(/^Approvals/);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "tool send" }).waitFor();
    await page.getByText("Dear all").waitFor();
    await tabTo(/^Note/);
    await page.keyboard.type("read, and right");
    await tabTo(/^Approve$/);
    await page.keyboard.press("Enter");
    const answer = page.getByRole("status").filter({ hasText: "approved" });
    await answer.waitFor();

    await tabTo(/^run run_/);
    await page.keyboard.press("Enter");
    await page.getByRole("cell", { name: "completed" }).waitFor();
    await page.getByText("read, and right").waitFor();
    expect(sent).toEqual([{ text: "Dear all" }]);

    await tabTo(/^send it$/);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "send it" }).waitFor();
    for (const state of ["pending", "policy-check", "awaiting-approval", "executing", "reported"])
      await page.locator("svg .box.passed", { hasText: state }).first().waitFor();
    await page.getByRole("table", { name: "Effects" }).getByText("completed").first().waitFor();
    expect(troubles).toEqual([]);
  });

  it("shows hostile text as text, however long it is, and hides none of it [console.hostile]", async () => {
    const replaced = { oldText: `${hostile}\nold`, newText: `${hostile}\nnew` };
    const input = {
      command: "rm -rf /",
      text: hostile,
      turned,
      long: "<b>x</b>".repeat(131_072),
      edits: [
        { path: `<i>${turned}</i>`, ...replaced },
        { path: "decoy.txt", file_path: "/etc/passwd", ...replaced },
        ...Array.from({ length: 58 }, () => ({ oldText: "a", newText: "b" })),
      ],
    };
    const steps = JSON.parse(plan(input)) as never;
    const made = await api.createRun(
      { agentId: "assistant", input: { task: `${hostile}${turned}` }, steps },
      never,
    );
    const { id } = value(made);
    await page.goto(`${dev.url}/#/approvals`);
    await page.getByRole("heading", { name: "tool send" }).waitFor();
    const shown = await page.locator("article.question").innerText();
    expect(shown).toContain("‹U+202E›");
    expect(shown).not.toMatch(/[\u202A-\u202E\u2066-\u2069\u200B]/u);
    await page.locator(".diff .removed", { hasText: "old" }).first().waitFor();
    await page.locator(".diff .added", { hasText: "new" }).first().waitFor();
    // What a call does beside its changes is on the page, unasked, and no change is left out without a word.
    expect(shown).toContain("rm -rf /");
    expect(shown).toContain("Only the first 50 of 60 changes are shown as such");
    await page.getByText("decoy.txt or /etc/passwd").first().waitFor();
    await page.getByText(/^Only the first 20,000 of 1,\d{3},\d{3} characters are shown/).waitFor();
    for (const place of ["runs", `runs/${id}`]) {
      await page.goto(`${dev.url}/#/${place}`);
      await page.getByText("<script>window.hurt = 1</script>").first().waitFor();
    }
    await page.goto(`${dev.url}/#/runs/${encodeURIComponent("<img src=x onerror=window.hurt=6>")}`);
    await page.getByRole("alert").getByText("not found").first().waitFor();
    expect(await page.evaluate("window.hurt ?? null")).toBe(null);
    const links = await page.evaluate(
      "[...document.querySelectorAll('a')].map((a) => a.getAttribute('href'))",
    );
    expect((links as string[]).filter((link) => !link.startsWith("#"))).toEqual([]);
    expect(troubles).toEqual([]);
  });

  it("shows what evals found, down to a step's states, by the keyboard alone [console.evals]", async () => {
    await page.goto(`${dev.url}/#/evals`);
    const row = page.getByRole("table", { name: "Evals" }).getByRole("row").nth(1);
    await row.getByText("mock").waitFor();
    await row
      .getByText(/^7\d(\.\d)? %/u)
      .first()
      .waitFor();
    await page.getByText("<b>torn.json").waitFor();
    await tabTo(/^checkout/);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: /^checkout <script>/ }).waitFor();
    await page.getByText("12 of 12 tasks").waitFor();
    await tabTo(/^failed task-000/);
    await page.keyboard.press("Enter");
    await page.getByText("3 of 12 tests fail: <b>test_total</b> & others.").nth(1).waitFor();
    await tabTo(/^On the machine's chart/);
    await page.keyboard.press("Enter");
    await page.locator("svg .box.passed", { hasText: "executing" }).first().waitFor();
    await page.getByText("Output", { exact: true }).first().click();
    await page.getByText("<script>document.title").first().waitFor();
    expect(await page.locator("#content").innerText()).not.toMatch(/[\u202A-\u202E]/u);
    expect(await page.evaluate("[window.hurt ?? null, document.title]")).toEqual([
      null,
      expect.stringContaining("Stateplane"),
    ]);
    await page.getByLabel("Show").selectOption("unsteady");
    await page.getByText("1 of 12 tasks").waitFor();
    expect(troubles).toEqual([]);
  });

  it("says why an answer is refused, and rejects with a note", async () => {
    await page.goto(`${dev.url}/#/approvals`);
    const [open] = value(await api.approvals(10, never));
    const scopes = ["read"];
    const made = await fetch(`${dev.url}/v1/api-keys`, {
      method: "POST",
      headers: { authorization: `Bearer ${dev.apiKey}`, "content-type": "application/json" },
      body: JSON.stringify({ name: "reader", scopes }),
    });
    const { key } = (await made.json()) as { key: string };
    const other = await browser.newPage();
    await other.goto(`${dev.url}/#/approvals`);
    await other.getByLabel("API key").fill(key);
    await other.keyboard.press("Enter");
    await other.getByRole("button", { name: "Approve" }).click();
    await other.getByRole("alert").getByText("needs the scope approve").waitFor();
    await other.close();
    await page.getByLabel(/^Note/).fill("not this");
    await page.getByRole("button", { name: "Reject" }).click();
    await page.getByText("Nothing waits for a person").waitFor();
    const answered = value(await api.approval(open?.id ?? "", never));
    expect(answered).toMatchObject({ status: "rejected", resolution_note: "not this" });
    expect(sent).toHaveLength(1);
  });

  it("is no wider than a phone, reads well in light and dark, and names what it has [console.readable]", async () => {
    const { runs } = value(await api.runs("prj_01JFVX0000000000000000001", 10, 0, never));
    const id = runs.at(-1)?.id ?? "";
    const [step] = value(await api.steps(id, never));
    await page.setViewportSize({ width: 360, height: 740 });
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      for (const place of [
        "runs",
        `runs/${id}`,
        `runs/${id}/steps/${step?.id}`,
        "approvals",
        "workflows",
        "dead-letters",
        "agents",
        "tools",
        "policies",
        "evals",
        `evals/${encodeURIComponent("eval_hostile/../x")}`,
      ]) {
        await page.goto(`${dev.url}/#/${place}`);
        await page.locator("h1").waitFor();
        if (place.startsWith("evals/")) await page.locator("details.panel summary").first().click();
        await expect.poll(() => page.getByText("Loading…").count(), { timeout: 30_000 }).toBe(0);
        expect.soft(await page.evaluate("document.documentElement.scrollWidth"), place).toBe(360);
        expect.soft(await page.evaluate(faint), `${place} in ${colorScheme}`).toEqual([]);
        expect.soft(await page.evaluate(nameless), place).toEqual([]);
      }
    }
    expect(troubles).toEqual([]);
  });
});

/** Texts whose contrast is under 4.5 to 1, by WCAG's own formula, and with what. */
const faint = `(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (color) => {
    const [r, g, b] = color.map((part) => part / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const under = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("#page *")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
    if (text === "" || element.closest("svg, option, .skip, thead, :disabled") !== null) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(under(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push(element.className + " " + ratio.toFixed(2) + ": " + text.slice(0, 40));
  }
  return found;
})()`;

/** Fields, buttons and links without a name. */
const nameless = `[...document.querySelectorAll("a, button, input, select, textarea, table, svg")]
  .filter((at) => !(at.labels?.[0]?.innerText || at.getAttribute("aria-label") || at.textContent).trim())
  .map((at) => at.outerHTML.slice(0, 80))`;
