import type { IncomingMessage, ServerResponse } from "node:http";
import type { Batch, Entry, LogLine } from "./entries.ts";
import type { Feed } from "./feed.ts";

/*
 * What pages hear, as server-sent events:
 *
 *   all      everything, at the beginning and whenever the page was too slow for what came between
 *   changes  how the entries that changed stand now, which are gone, and the newest lines of the log; and of how
 *            many steps and lines there are none, since they were too many
 *
 * A batch is written as text once, whoever hears it. To a page that has not yet taken what it was sent nothing more is
 * written; when it has, it is told everything anew. So a page that stands still costs what it was sent last, and no more.
 */

const mostPages = 16;
const linesAtFirst = 500;
const aliveMs = 15_000;
/** What may wait for a page. */
const mostWaiting = 1024 * 1024;

/** An entry as the page has it; see `Row` there. */
const rowOf = ({ id, actor, value, status, outcome, began, at, event, moves }: Entry) =>
  [
    id,
    actor.machine,
    actor.name,
    actor.runId,
    actor.stepId,
    actor.stepType,
    value,
    status,
    outcome,
    event,
    began,
    at,
    moves,
    actor.about,
  ] as const;

const lineOf = ({ n, at, entry, machine, name, runId, event, value }: LogLine) =>
  [n, at, entry, machine, name, runId, event, value] as const;

const written = (kind: string, body: object): string =>
  `event: ${kind}\ndata: ${JSON.stringify(body)}\n\n`;

export function streamOf(feed: Feed): {
  open(request: IncomingMessage, response: ServerResponse): void;
  close(): void;
} {
  const pages = new Map<ServerResponse, { isBehind: boolean }>();
  let end: (() => void) | null = null;
  /** Steps that are in no row, since the first page came: a page hears of all, whatever batches it is not sent. */
  let unseen = 0;

  const sendAll = (response: ServerResponse) => {
    const log = feed.log(linesAtFirst).map(lineOf);
    response.write(written("all", { rows: [...feed.entries()].map(rowOf), log, unseen }));
  };
  const onBatch = ({ changed, gone, log, skipped, unseen: more }: Batch) => {
    unseen += more;
    const rows = [...changed].map(rowOf);
    const text = written("changes", { rows, gone, log: log.map(lineOf), skipped, unseen });
    for (const [response, page] of pages) {
      if (page.isBehind) continue;
      if (response.writableLength > mostWaiting) page.isBehind = true;
      else response.write(text);
    }
  };
  const beat = setInterval(() => {
    for (const response of pages.keys())
      if (response.writableLength === 0) response.write(": alive\n\n");
  }, aliveMs).unref();

  return {
    open(request, response) {
      if (pages.size >= mostPages) {
        response.writeHead(503, { "content-type": "application/json" });
        response.end(JSON.stringify({ error: { message: `${mostPages} pages are open already` } }));
        return;
      }
      response.writeHead(200, {
        "content-type": "text/event-stream",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
      });
      // The sources tell what is there before the page is told of it.
      end ??= feed.onBatch(onBatch);
      const page = { isBehind: false };
      sendAll(response);
      pages.set(response, page);
      response.on("drain", () => {
        if (!page.isBehind) return;
        page.isBehind = false;
        sendAll(response);
      });
      request.on("close", () => {
        pages.delete(response);
        if (pages.size > 0) return;
        end?.();
        end = null;
      });
    },
    close() {
      clearInterval(beat);
      for (const response of pages.keys()) response.end();
      end?.();
      end = null;
    },
  };
}
