import { type Browser, chromium } from "playwright-core";
import { findProgram } from "../../cli/needs.ts";

/** The machine's own Chromium; null where there is none. */
export const chromiumPath = findProgram(
  ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
  process.env["PATH"],
);

/** What to say of tests that are skipped without it. */
export const needsChromium =
  chromiumPath === null ? " (skipped: install it with `apt-get install chromium`)" : "";

export function startChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: chromiumPath ?? "chromium",
    // A container's root has no other way; what is shown is ours.
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
}
