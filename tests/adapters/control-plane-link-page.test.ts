import { createServer } from "node:http";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Ask } from "../../machines/contracts/domain/action.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { chromiumPath, needsChromium, startChromium } from "../support/chromium.ts";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { listen } from "../support/listen.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();

describe.skipIf(chromiumPath === null)(`a link's page in Chromium${needsChromium}`, () => {
  let browser: Browser;
  let plane: TestPlane;
  const links: string[] = [];
  const receiver = createServer((request, response) => {
    let raw = "";
    request.on("data", (chunk: Buffer) => (raw += chunk.toString()));
    request.on("end", () => {
      links.push((JSON.parse(raw) as { data: { link: string } }).data.link);
      response.end();
    });
  });

  beforeAll(async () => {
    const url = `http://127.0.0.1:${await listen(receiver)}/`;
    const webhooks = [{ name: "ops", url, secret: null, keyId: null }];
    const notices = { webhooks, publicUrl: null, remindBeforeMs: 1 };
    [browser, plane] = await Promise.all([
      startChromium(),
      startTestPlane({ now: Date.now, notices }),
    ]);
  });
  afterAll(async () => {
    await browser?.close();
    await plane?.close();
    receiver.close();
  });

  async function ask(input: JsonObject): Promise<{ id: string; link: string }> {
    const step = await plane.createRun();
    const action = { kind: "tool", name: "write", server: "files", input } as const;
    const reason = "writes <b>need</b> approval";
    const question: Ask = { digest: "d", action, reason, approvalId: null, expiresAt: null };
    const before = links.length;
    const { id } = value(await plane.worker.requestApproval(step, question, signal));
    await vi.waitFor(() => expect(links.length).toBeGreaterThan(before), 20_000);
    return { id, link: links.at(-1) ?? "" };
  }

  it("shows what is asked on a phone, as text and changes as a diff, and takes one answer with a note [link.page]", async () => {
    const markup = "<img src=x onerror=document.title='run'>";
    const { id, link } = await ask({ path: markup, old_text: "one\ntwo", new_text: "one\n2" });
    const page = await browser.newPage({ viewport: { width: 360, height: 740 } });
    page.setDefaultTimeout(60_000);
    const troubles: string[] = [];
    const requests: string[] = [];
    page.on("pageerror", (error) => troubles.push(error.message));
    page.on("console", (message) => troubles.push(message.text()));
    page.on("request", (request) =>
      requests.push(JSON.stringify([request.url(), request.headers()])),
    );
    await page.goto(link);
    await page.getByRole("heading", { name: "May this be done: files/write?" }).waitFor();
    expect(await page.getByText(markup).count()).toBe(1);
    expect(await page.locator("main img, main b").count()).toBe(0);
    expect(await page.locator(".removed, .added").allTextContents()).toEqual(["-two", "+2"]);
    const width = await page.evaluate("document.documentElement.scrollWidth");
    expect(width).toBeLessThanOrEqual(360);
    // With the keyboard alone.
    await page.getByLabel("Note").focus();
    await page.keyboard.type("not like this");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByRole("status").getByText("This is rejected by link:ops.").waitFor();
    const { body } = await plane.fetch("GET", `/v1/approvals/${id}`);
    expect(body).toMatchObject({ status: "rejected", resolution_note: "not like this" });
    await page.reload();
    await page.getByRole("status").getByText("This is rejected by link:ops.").waitFor();
    expect(troubles).toEqual([]);
    const token = link.split("#")[1] ?? "none";
    // Playwright tells of an address with its fragment; what goes over the wire is in no header and no path.
    const told = requests.map((request) => request.replaceAll(`#${token}`, ""));
    expect(told.filter((request) => request.includes(token))).toEqual([]);
    expect(told.filter((request) => /"referer":"[^"]/u.test(request))).toEqual([]);
    await page.close();
  });
});
