import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createConsole } from "../../adapters/console/serve.ts";
import { chromiumPath, needsChromium, startChromium } from "../support/chromium.ts";
import { apiKey, startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";

describe.skipIf(chromiumPath === null)(`the console in Chromium${needsChromium}`, () => {
  let browser: Browser;
  let plane: TestPlane;
  let page: Page;
  const troubles: string[] = [];

  beforeAll(async () => {
    [browser, plane] = await Promise.all([
      startChromium(),
      startTestPlane({ site: createConsole({ machines: {} }) }),
    ]);
    page = await browser.newPage();
    page.on("pageerror", (error) => troubles.push(error.message));
  });
  afterAll(async () => {
    await browser?.close();
    await plane?.close();
  });

  it("signs in with a key that is in no address, and keeps it in the tab alone [console.key]", async () => {
    const addresses: string[] = [];
    page.on("request", (request) => addresses.push(request.url()));
    await page.goto(plane.url);
    await page.getByLabel("API key").fill("no-such-key");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").getByText("opens nothing").waitFor();
    await page.getByLabel("API key").fill(apiKey);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Runs" }).waitFor();
    expect(addresses.length).toBeGreaterThan(10);
    expect(addresses.filter((address) => address.includes(apiKey))).toEqual([]);
    expect(await page.evaluate("document.cookie + JSON.stringify(localStorage)")).toBe("{}");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("API key").waitFor();
    expect(await page.evaluate("JSON.stringify(sessionStorage)")).toBe("{}");
    expect(troubles).toEqual([]);
  });
});
