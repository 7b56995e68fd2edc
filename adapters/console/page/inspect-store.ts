import { createParser } from "eventsource-parser";

/*
 * What the page knows of the machines. The server tells everything once, and then what changed; both go in here at once,
 * whatever is drawn. Those who draw are told at most once a frame, so a burst of changes is one picture, and a page in
 * the background draws nothing. What is kept is bounded: as many rows as the server keeps, and the newest of the log.
 */

/** As the server writes it, to be kept small; see `rowOf` there. */
type Sent = [
  id: number,
  machine: string,
  name: string,
  runId: string | null,
  stepId: string | null,
  stepType: string | null,
  value: string,
  status: string,
  outcome: string | null,
  event: string,
  began: number,
  at: number,
  moves: number,
  about: string | null,
];

export interface Row {
  id: number;
  machine: string;
  name: string;
  runId: string | null;
  stepId: string | null;
  stepType: string | null;
  value: string;
  status: string;
  outcome: string | null;
  event: string;
  began: number;
  at: number;
  moves: number;
  about: string | null;
}

export interface Line {
  n: number;
  at: number;
  entry: number;
  machine: string;
  name: string;
  runId: string | null;
  event: string;
  value: string;
}

const mostLines = 10_000;
/** How long a state that was entered stays lit, milliseconds. */
const freshMs = 700;

const rowOf = ([id, machine, name, runId, stepId, stepType, value, ...more]: Sent): Row => {
  const [status, outcome, event, began, at, moves, about] = more;
  const known = { id, machine, name, runId, stepId, stepType, value };
  return { ...known, status, outcome, event, began, at, moves, about };
};

export type Connection = "connecting" | "live" | "lost" | "refused";

export class Store {
  rows = new Map<number, Row>();
  log: Line[] = [];
  /** Lines of the log that were not sent, because there were too many. */
  skipped = 0;
  /** Steps that ended and are in no row, because there were too many. */
  unseen = 0;
  connection: Connection = "connecting";
  /** What is alive, by machine and state. */
  readonly live = new Map<string, Map<string, number>>();
  /** Steps that have ended, by outcome. */
  readonly outcomes = new Map<string, number>();
  /** When each state of each machine was last entered, by this page's clock. */
  readonly #entered = new Map<string, number>();
  #frame = 0;
  #tell = () => {};
  /** When the oldest change came that is not drawn yet; 0 for none. */
  since = 0;

  onChange(tell: () => void): void {
    this.#tell = tell;
  }

  isFresh(machine: string, value: string): boolean {
    return performance.now() - (this.#entered.get(`${machine} ${value}`) ?? -freshMs) < freshMs;
  }

  connect(connection: Connection): void {
    this.connection = connection;
    this.#draw();
  }

  all({ rows, log, unseen }: { rows: Sent[]; log: unknown[][]; unseen: number }): void {
    const began = performance.now();
    this.rows = new Map();
    this.live.clear();
    this.outcomes.clear();
    for (const row of rows) this.#put(rowOf(row));
    this.unseen = unseen;
    this.#addLines(log, false);
    this.since = began;
    this.connect("live");
  }

  changes(sent: {
    rows: Sent[];
    gone: number[];
    log: unknown[][];
    skipped: number;
    unseen: number;
  }): void {
    if (this.since === 0) this.since = performance.now();
    for (const row of sent.rows) this.#put(rowOf(row));
    for (const id of sent.gone) {
      this.#count(this.rows.get(id), -1);
      this.rows.delete(id);
    }
    this.skipped += sent.skipped;
    this.unseen = sent.unseen;
    this.#addLines(sent.log, true);
    this.#draw();
  }

  #put(row: Row): void {
    this.#count(this.rows.get(row.id), -1);
    this.#count(row, 1);
    this.rows.set(row.id, row);
  }

  #count(row: Row | undefined, by: 1 | -1): void {
    if (row === undefined) return;
    const { machine, value, outcome } = row;
    if (outcome !== null) {
      if (machine === "step") this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + by);
      return;
    }
    const states = this.live.get(machine) ?? new Map<string, number>();
    this.live.set(machine, states);
    states.set(value, (states.get(value) ?? 0) + by);
  }

  #addLines(lines: unknown[][], areNew: boolean): void {
    const last = this.log.at(-1)?.n ?? 0;
    for (const [n, at, entry, machine, name, runId, event, value] of lines) {
      const line = { n, at, entry, machine, name, runId, event, value } as Line;
      if (line.n <= last) continue;
      this.log.push(line);
      if (areNew) this.#entered.set(`${line.machine} ${line.value}`, performance.now());
    }
    if (this.log.length > 2 * mostLines) this.log.splice(0, this.log.length - mostLines);
  }

  #draw(): void {
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#tell();
      const { since } = this;
      this.since = 0;
      // After the picture. For the bench, and for whoever opens the browser's profiler.
      if (since !== 0) setTimeout(() => measured(since), 0);
      // What is lit goes out, though nothing more may happen.
      clearTimeout(this.#fade);
      this.#fade = setTimeout(() => this.#tell(), freshMs + 50);
    });
  }
  #fade: ReturnType<typeof setTimeout> | undefined;
}

const mostMeasures = 1_000;

/** From the arrival of a change to its picture. */
function measured(since: number): void {
  const name = "inspector.update";
  if (performance.getEntriesByName(name).length >= mostMeasures) performance.clearMeasures(name);
  performance.measure(name, { start: since, end: performance.now() });
}

const slot = "stateplane.inspect";

/** The token of the address, which is taken out of it at once; that of this tab where there is none. */
export function takeToken(): string | null {
  const [, token = null] = /[#&]token=([\w-]+)/.exec(location.hash) ?? [];
  if (token === null) return sessionStorage.getItem(slot);
  sessionStorage.setItem(slot, token);
  history.replaceState(null, "", location.pathname);
  return token;
}

/** A document of the inspector's; null where it can't be had. */
export async function read(token: string, path: string): Promise<unknown> {
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(`/inspect/${path}`, { headers }).catch(() => null);
  return answer?.ok ? answer.json() : null;
}

const againMs = 1_000;

/** Hears of changes for as long as the page is there; comes back when the worker does. */
export async function follow(token: string, store: Store): Promise<void> {
  for (;;) {
    const headers = { authorization: `Bearer ${token}` };
    const answer = await fetch("/inspect/stream", { headers }).catch(() => null);
    if (answer?.status === 401) return store.connect("refused");
    if (answer?.ok && answer.body !== null) {
      const parser = createParser({
        onEvent: ({ event, data }) => {
          if (event === "all") store.all(JSON.parse(data));
          else if (event === "changes") store.changes(JSON.parse(data));
        },
      });
      await pump(answer.body, (text) => parser.feed(text)).catch(() => {});
    }
    store.connect("lost");
    await new Promise((resolve) => setTimeout(resolve, againMs));
  }
}

async function pump(body: ReadableStream<Uint8Array>, feed: (text: string) => void): Promise<void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    feed(decoder.decode(value, { stream: true }));
  }
}
