import { takeToken } from "./inspect-store.ts";

/*
 * Hands what happens here on to Stately Inspector, in a frame, as a page that uses @statelyai/inspect would. Stately
 * Inspector is a page of stately.ai: nothing is loaded from there, or told to it, before somebody says so.
 */

const place = document.getElementById("page");
const stately = place?.dataset["stately"] ?? "https://stately.ai/inspect";
const mostWaiting = 5_000;

function open(token: string): void {
  const frame = document.createElement("iframe");
  frame.src = stately;
  frame.title = "Stately Inspector";
  frame.className = "stately";
  place?.replaceChildren(frame);
  const { origin } = new URL(stately);
  let waiting: unknown[] | null = [];
  addEventListener("message", ({ data, source }) => {
    if (source !== frame.contentWindow || data?.type !== "@statelyai.connected") return;
    for (const message of waiting ?? []) frame.contentWindow?.postMessage(message, origin);
    waiting = null;
  });
  const url = new URL(`/stately/socket?token=${token}`, location.href);
  url.protocol = "ws:";
  new WebSocket(url).addEventListener("message", ({ data }) => {
    const message: unknown = JSON.parse(data);
    if (waiting === null) frame.contentWindow?.postMessage(message, origin);
    else if (waiting.length < mostWaiting) waiting.push(message);
  });
}

const token = takeToken();
const button = document.querySelector("button");
if (button !== null && token !== null) {
  button.hidden = false;
  button.addEventListener("click", () => open(token));
}
