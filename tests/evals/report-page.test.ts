import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { XMLParser, XMLValidator } from "fast-xml-parser";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compare } from "../../evals/compare/compare.ts";
import { judge } from "../../evals/compare/gate.ts";
import { sampleOf } from "../../evals/compare/sample.ts";
import { gateJUnit, reportJUnit } from "../../evals/report/junit.ts";
import { gateMarkdown, reportMarkdown } from "../../evals/report/markdown.ts";
import { reportPage } from "../../evals/report/page.ts";
import { stepDrawing } from "../../cli/commands/eval-report.ts";
import { chromiumPath, needsChromium, startChromium } from "../support/chromium.ts";
import { report, trial } from "../support/eval-report.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const before = report(12, (at) => at !== 3);
const after = report(12, (at, epoch) => at > 3 && (at !== 5 || epoch > 0));
const comparison = compare(sampleOf(before), sampleOf(after));
const result = judge(comparison, [sampleOf(before), sampleOf(after)]);
const page = reportPage(after, { comparison, draw: await stepDrawing() });

describe("a report in formats that others read", () => {
  const parser = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: "@" });

  it("[evals.reports] JUnit has a case a trial, and broken ones are errors", () => {
    const [first, ...rest] = after.tasks;
    if (first === undefined) throw new Error("no task");
    const given = {
      ...after,
      tasks: [
        {
          ...first,
          category: 'a"<b>\u0001',
          trials: [
            { ...trial(first.id, 0, false), status: "broken" as const, error: "refused\u0000 ]]>" },
            { ...trial(first.id, 1, false), score: null, scores: [] },
            trial(first.id, 2, true),
          ],
        },
        ...rest,
      ],
    };
    const xml = gateJUnit(given, comparison, result);
    expect(XMLValidator.validate(xml)).toBe(true);
    expect(xml).not.toMatch(/(?![\t\n\r])\p{Cc}/u);
    const { testsuites } = parser.parse(xml) as {
      testsuites: Record<string, string> & { testsuite: Record<string, unknown>[] };
    };
    expect(testsuites).toMatchObject({ "@tests": "37", "@errors": "1", "@skipped": "1" });
    expect(testsuites.testsuite[0]).toMatchObject({ "@name": "gate", "@failures": "1" });
    expect(JSON.stringify(testsuites.testsuite[0])).toContain("task-000, task-001, task-002");
    expect(XMLValidator.validate(reportJUnit(given))).toBe(true);
  });

  it("[evals.reports] Markdown is bounded, and what an agent said is no markup in it", () => {
    const told = gateMarkdown(comparison, result);
    expect(told).toContain("❌ Eval gate failed: regression");
    expect(told).toContain("always passed and now never do");
    const hostile = report(900, () => false, {
      suite: "@team <img src=x> [a](http://b) `c` | d\n# e",
    });
    const markdown = reportMarkdown(hostile);
    expect(markdown.length).toBeLessThan(65_536);
    expect(markdown).toContain("800 more tasks are in the JSON report");
    expect(markdown).not.toMatch(/<img|@team|\]\(http|^# e/m);
    const mock = { ...after, mock: true };
    expect(gateMarkdown(compare(sampleOf(before), sampleOf(mock)), result)).toContain("(MOCK)");
    expect(reportMarkdown(mock)).toContain("MOCK");
    expect(reportPage(mock, { comparison: null })).toContain("mock: every answer was made up");
  });
});

describe.skipIf(chromiumPath === null)(`the page in a browser${needsChromium}`, () => {
  const folder = useTemporaryFolder();
  let browser: Browser;
  let shown: Page;
  const trouble: string[] = [];
  const file = async (name: string, text: string) => {
    await writeFile(join(folder, name), text);
    return pathToFileURL(join(folder, name)).href;
  };
  beforeAll(async () => {
    browser = await startChromium();
    shown = await browser.newPage({ viewport: { width: 1200, height: 900 } });
    shown.on("console", (message) => trouble.push(message.text()));
    shown.on("pageerror", (error) => trouble.push(error.message));
    shown.on("request", (request) => {
      if (!request.url().startsWith("file:")) trouble.push(request.url());
    });
    await shown.goto(await file("report.html", page));
  });
  afterAll(() => browser?.close());

  it("[evals.page] a task shows the states that its steps passed, on the machine's chart", async () => {
    const task = shown.locator(".task", { hasText: "task-003" });
    await task.locator("summary").first().click();
    const first = task.locator(".trial").first();
    expect(await first.locator(".walk .state").allTextContents()).toEqual([
      "pending",
      "policy-check",
      "executing",
      "validating",
      "reported.delivered",
    ]);
    await first.getByText("On the machine's chart").click();
    const box = await first.locator(".drawing use").boundingBox();
    expect(box?.width).toBeGreaterThan(100);
    const passed = shown.locator("symbol .box.passed > .title");
    expect(await passed.allTextContents()).toEqual(
      expect.arrayContaining(["pending", "policy-check", "executing", "validating", "reported"]),
    );
    expect(await passed.allTextContents()).not.toContain("awaiting-approval");
    expect(await first.locator(".diff .added").allTextContents()).toContain(
      "+return total + tax;\n",
    );
    const { STATEPLANE_SCREENSHOTS: pictures } = process.env;
    if (pictures !== undefined)
      await shown.screenshot({ path: join(pictures, "report.png"), fullPage: true });
  });

  it("[evals.page] what an agent said is text, and nothing is asked of a network", async () => {
    expect(await shown.title()).toBe("regression: eval eval_01");
    await shown.locator("#open").click();
    expect(await shown.locator(".task[open]").count()).toBe(12);
    const texts = await shown.locator("pre[aria-label=Output]").first().textContent();
    expect(texts).toBe('</pre><script>document.title = "owned"</script>\uFFFD‹U+202E›');
    expect(trouble).toEqual([]);
    await shown.locator("#open").click();
  });

  it("[evals.page] is found in, filtered and gone through by keys, with 500 tasks too", async () => {
    const many = report(500, (at, epoch) => at % 7 !== 0 || epoch === at % 3);
    await shown.goto(
      await file("many.html", reportPage(many, { comparison: null, draw: await stepDrawing() })),
    );
    await shown.keyboard.press("/");
    await shown.keyboard.type("task-04 bugfix");
    await expect
      .poll(() => shown.locator("#count").textContent(), { timeout: 20_000 })
      .toBe("5 of 500 tasks");
    await shown.keyboard.press("Escape");
    await shown.locator("#show").selectOption("unsteady");
    await expect
      .poll(() => shown.locator("#count").textContent(), { timeout: 20_000 })
      .toBe("72 of 500 tasks");
    await shown
      .locator("#show")
      .evaluate((element) => (element as unknown as { blur(): void }).blur());
    await shown.keyboard.press("j");
    await shown.keyboard.press("j");
    await shown.keyboard.press("k");
    await shown.keyboard.press("Enter");
    const open = shown.locator(".task[open] > summary .name");
    await expect.poll(() => open.allTextContents()).toEqual(["task-000"]);
    expect(trouble).toEqual([]);
  });

  it("[evals.page] can be read in the dark and on a phone", async () => {
    await shown.emulateMedia({ colorScheme: "dark" });
    await shown.setViewportSize({ width: 390, height: 800 });
    await shown.goto(pathToFileURL(join(folder, "report.html")).href);
    await shown.locator(".task").first().locator("summary").first().click();
    const ground = await shown.locator("body").evaluate((body) => {
      const { getComputedStyle, innerWidth } = globalThis as unknown as {
        getComputedStyle(element: unknown): { backgroundColor: string };
        innerWidth: number;
      };
      const { scrollWidth } = body as unknown as { scrollWidth: number };
      return { colour: getComputedStyle(body).backgroundColor, over: scrollWidth - innerWidth };
    });
    expect(ground).toEqual({ colour: "rgb(20, 22, 26)", over: 0 });
    const { STATEPLANE_SCREENSHOTS: pictures } = process.env;
    if (pictures !== undefined)
      await shown.screenshot({ path: join(pictures, "phone.png"), fullPage: true });
  });
});
