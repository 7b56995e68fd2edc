import type { Outcome } from "../machines/contracts/domain/failure.ts";
import type { ArtifactStore } from "../machines/contracts/ports/artifact-store.ts";
import type { Clock, Log } from "../machines/contracts/ports/clock.ts";
import type { ControlPlane } from "../machines/contracts/ports/control-plane.ts";
import type { ModelProvider } from "../machines/contracts/ports/model-provider.ts";
import type { Prices } from "../machines/contracts/ports/prices.ts";
import type { Retriever } from "../machines/contracts/ports/retriever.ts";
import type { Sandbox } from "../machines/contracts/ports/sandbox.ts";
import type { SchemaChecker } from "../machines/contracts/ports/schema-checker.ts";
import type { StepQueue, StepStore } from "../machines/contracts/ports/step-backend.ts";
import type { ToolHost } from "../machines/contracts/ports/tool-host.ts";

/** Every neighbour of the runtime. What a machine lacks is null, with the sentence that says how to get it. */
export interface RuntimePorts {
  queue: StepQueue;
  store: StepStore;
  /** Which store that is, for the log. */
  storeName?: string | undefined;
  /** See `StepBackend.abandon`: called when the worker ends, and the store has not answered for long enough. */
  abandonStore?: (() => void) | undefined;
  controlPlane: ControlPlane;
  /** Pushes run changes where the control plane advertises `events`; returns when aborted. */
  watchRuns?: (
    onChange: (runId: string, status: string) => void,
    signal: AbortSignal,
    /** A step is to stop though its run goes on. */
    onStop: (runId: string, stepId: string) => void,
  ) => Promise<unknown>;
  /**
   * Hints that one run may have changed, from a gateway that has a channel a run and does not advertise it. Resolves ok
   * when aborted, with `not_found` where there is no such channel: then the run is looked at in turn.
   */
  watchRun?: (runId: string, onHint: () => void, signal: AbortSignal) => Promise<Outcome<null>>;
  models: ModelProvider;
  /** What models cost; absent where nothing is priced. */
  prices?: Prices | undefined;
  tools: ToolHost;
  sandbox: Sandbox | { missing: string };
  retrievers: {
    local: Retriever;
    http: Retriever | null;
    /** All that a step may name; absent where nothing is configured, and the service takes any name. */
    collections?: ReadonlyMap<string, { backend: "index" | "http"; retriever: Retriever }>;
  };
  artifacts: ArtifactStore;
  schemas: SchemaChecker;
  clock: Clock;
  log: Log;
}

/** The same port with another function for one verb; the others keep their object. */
export function withVerb<Port extends object, Verb extends keyof Port>(
  port: Port,
  verb: Verb,
  call: Port[Verb],
): Port {
  // Each of the others is bound once: several are called in every step.
  const bound = new Map<string | symbol, unknown>([[verb as string | symbol, call]]);
  return new Proxy(port, {
    get(target, asked) {
      const known = bound.get(asked);
      if (known !== undefined) return known;
      const value: unknown = Reflect.get(target, asked);
      if (typeof value !== "function") return value;
      bound.set(asked, value.bind(target));
      return bound.get(asked);
    },
  });
}
