import { setImmediate as turn } from "node:timers/promises";
import type { Context } from "hono";
import type { Step } from "../documents.ts";
import type { Rows } from "../rows.ts";

/** The steps of a run, a page at a time; between two pages others are served. */
export async function* pagesOfSteps({ steps }: Rows, runId: string): AsyncGenerator<Step[]> {
  for (let page = steps.after(runId, -1); page.length > 0;) {
    yield page;
    await turn();
    page = steps.after(runId, page.at(-1)?.number ?? 0);
  }
}

/** Whether one page has them all. */
export const isShort = ({ steps }: Rows, runId: string, page: readonly Step[]): boolean => {
  const last = page.at(-1);
  return last === undefined || steps.after(runId, last.number).length === 0;
};

/**
 * A list that may be longer than there is room for, written as it is read: the next part when the one before was taken.
 *
 * @param around what is written before and after the list
 */
export function listInParts(
  c: Context,
  parts: AsyncGenerator<unknown[]>,
  [before, after] = ["", ""] as [string, string],
): Response {
  const encoder = new TextEncoder();
  let separator = "";
  const part = (items: readonly unknown[]) => {
    const text = items.map((item) => JSON.stringify(item)).join(",");
    const written = text === "" ? "" : `${separator}${text}`;
    if (text !== "") separator = ",";
    return encoder.encode(written);
  };
  const body = new ReadableStream<Uint8Array>(
    {
      start: (controller) => controller.enqueue(encoder.encode(`${before}[`)),
      async pull(controller) {
        const { done, value = [] } = await parts.next();
        controller.enqueue(done ? encoder.encode(`]${after}`) : part(value));
        if (done) controller.close();
      },
      async cancel() {
        await parts.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
  return c.body(body, 200, { "content-type": "application/json" });
}
