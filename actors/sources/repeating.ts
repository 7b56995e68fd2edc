import { type EventObject, fromCallback } from "xstate";
import type { SupervisorEvent } from "../../machines/supervisor/events.ts";
import type { RuntimePorts } from "../ports.ts";
import { pause } from "./pause.ts";

/**
 * A source that does one thing every `everyMs`, until it is stopped. A failure is told to the supervisor,
 * which counts it, and the next turn tries again.
 */
export function repeating(
  source: string,
  everyMs: number,
  ports: Pick<RuntimePorts, "clock" | "log">,
  track: (work: Promise<unknown>) => void,
  work: (signal: AbortSignal) => Promise<void>,
) {
  return fromCallback<EventObject, undefined>(({ sendBack }) => {
    const stopped = new AbortController();
    const { signal } = stopped;
    const loop = async () => {
      for (;;) {
        await pause(ports.clock, everyMs, signal);
        if (signal.aborted) return;
        try {
          await work(signal);
        } catch (error) {
          if (signal.aborted) return;
          const message = error instanceof Error ? error.message : String(error);
          ports.log.warn({ err: error, source }, "a source failed; it goes on");
          const at = ports.clock.now();
          sendBack({ type: "source.failed", source, message, at } satisfies SupervisorEvent);
        }
      }
    };
    track(loop());
    return () => stopped.abort();
  });
}
