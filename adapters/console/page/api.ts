import { createParser } from "eventsource-parser";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

/*
 * The key is kept in this tab's session storage, and sent as a header by this file alone. A cookie would be sent by the
 * browser of its own accord, and so by whoever gets it to call us; a key in an address would stand in logs and histories.
 * It is gone with the tab.
 */
const slot = "stateplane.key";
export const keyOf = (): string | null => sessionStorage.getItem(slot);
export function keepKey(key: string | null): void {
  if (key === null) sessionStorage.removeItem(slot);
  else sessionStorage.setItem(slot, key);
  tellKey();
}
let tellKey = () => {};
export const onKey = (listen: () => void): void => void (tellKey = listen);

/** A refusal of the control plane, or that it could not be reached (status 0). */
export class ApiFailure extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

// oxlint-disable-next-line typescript/no-explicit-any -- documents of the API, shown as they come
export type Doc = any;

export async function call(
  method: string,
  path: string,
  body?: object | string,
  key = keyOf(),
): Promise<Doc> {
  const answer = await fetch(path, {
    method,
    headers: {
      authorization: `Bearer ${key ?? ""}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  }).catch(() => {
    throw new ApiFailure(0, "The control plane can't be reached. Is it still running?");
  });
  const read = await answer.json().catch(() => null);
  if (answer.ok) return read;
  if (answer.status === 401 && key === keyOf()) keepKey(null);
  const said = read?.error?.message;
  throw new ApiFailure(answer.status, typeof said === "string" ? said : `HTTP ${answer.status}`);
}

export interface Loaded {
  data: Doc;
  failure: ApiFailure | null;
  reload: () => void;
}

/**
 * A document of the API, read again when something happens and every so often; never while the page is hidden, and one
 * request at a time. Null reads nothing.
 *
 * @param everyMs 0 for only when something happens
 */
export function useApi(path: string | null, everyMs = 5_000): Loaded {
  const [state, setState] = useState<{
    path: string | null;
    data: Doc;
    failure: ApiFailure | null;
  }>({
    path,
    data: null,
    failure: null,
  });
  const reading = useRef<{ path: string; again: boolean } | null>(null);
  const reload = useCallback(() => {
    if (path === null) return;
    if (reading.current?.path === path) {
      reading.current.again = true;
      return;
    }
    const mine = { path, again: false };
    reading.current = mine;
    const settle = (next: (known: Doc) => { data: Doc; failure: ApiFailure | null }) => {
      if (reading.current !== mine) return;
      reading.current = null;
      setState((known) => ({ path, ...next(known.path === path ? known.data : null) }));
      if (mine.again) reload();
    };
    call("GET", path).then(
      (data) => settle(() => ({ data, failure: null })),
      (error) =>
        settle((data) => ({
          data,
          failure: error instanceof ApiFailure ? error : new ApiFailure(0, String(error)),
        })),
    );
  }, [path]);
  useEffect(() => {
    reload();
    const look = () => {
      if (!document.hidden) reload();
    };
    const end = onChange(look);
    document.addEventListener("visibilitychange", look);
    const timer = everyMs === 0 ? 0 : setInterval(look, everyMs);
    return () => {
      reading.current = null;
      end();
      document.removeEventListener("visibilitychange", look);
      clearInterval(timer);
    };
  }, [reload, everyMs]);
  const isOther = state.path !== path;
  return { data: isOther ? null : state.data, failure: isOther ? null : state.failure, reload };
}

const listeners = new Set<() => void>();
/** Called soon after something of any run has changed, at most twice a second. */
function onChange(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
let telling: ReturnType<typeof setTimeout> | undefined;
function tellChange(): void {
  telling ??= setTimeout(() => {
    telling = undefined;
    for (const listener of listeners) listener();
  }, 500);
}

/** Hears of changes as server-sent events, over fetch, because an EventSource can't send the key but in its address. */
export function listenToChanges(onLive: (isLive: boolean) => void): () => void {
  const stop = new AbortController();
  void (async () => {
    let lastId = "";
    for (let failures = 0; !stop.signal.aborted; failures += 1) {
      try {
        const answer = await fetch("/v1/events", {
          headers: {
            authorization: `Bearer ${keyOf() ?? ""}`,
            ...(lastId === "" ? {} : { "last-event-id": lastId }),
          },
          signal: stop.signal,
        });
        if (!answer.ok || answer.body === null) throw new Error(`HTTP ${answer.status}`);
        failures = 0;
        onLive(true);
        tellChange();
        const parser = createParser({
          onEvent: ({ id, event }) => {
            lastId = id ?? lastId;
            if (event !== "text") tellChange();
          },
        });
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          parser.feed(value);
        }
      } catch {
        // Away for a while: what is shown is read again every few seconds all the same.
      }
      onLive(false);
      await new Promise((resolve) => setTimeout(resolve, Math.min(30_000, 1_000 * 2 ** failures)));
    }
  })();
  return () => stop.abort();
}
