import { createControlPlaneApi } from "../../../adapters/control-plane/api.ts";
import { createControlPlane } from "../../../adapters/control-plane/client.ts";
import { watchRuns } from "../../../adapters/control-plane/watch-runs.ts";
import { createLocalRetriever } from "../../../adapters/retrieval/local.ts";
import { createArtifactFolder } from "../../../adapters/artifacts/folder.ts";
import { defaultOptions, type RuntimeOptions, type StepNews } from "../../../actors/options.ts";
import type { RuntimePorts } from "../../../actors/ports.ts";
import { type Runtime, startRuntime, systemClock } from "../../../actors/runtime.ts";
import type { Home } from "../../../machines/contracts/ports/step-backend.ts";
import type { ModelProvider } from "../../../machines/contracts/ports/model-provider.ts";
import type { ToolHost } from "../../../machines/contracts/ports/tool-host.ts";

const silent = () => {};
const nothing = { kind: "not_found", message: "no such neighbour in this test", retryable: false };

/** For tests whose steps call no tool and ask no model. */
const noTools: ToolHost = {
  list: async () => ({ ok: true, value: [] }),
  describe: async () => ({ ok: false, failure: nothing as never }),
  call: async () => ({ ok: false, failure: nothing as never }),
  close: async () => {},
};
const noModels: ModelProvider = {
  complete: async () => ({ ok: false, failure: nothing as never }),
};

export interface TestWorker {
  runtime: Runtime;
  ports: RuntimePorts;
  news: StepNews[];
  /** Resolves when that step has ended in this worker so often. */
  ended(stepId: string, times?: number): Promise<StepNews[]>;
  close(): Promise<void>;
}

/** A real worker over a real home and a control plane reached by HTTP. */
export function composeWorker(made: {
  home: Home;
  controlPlane: { url: string; apiKey: string };
  artifacts: string;
  options?: Partial<RuntimeOptions>;
  ports?: Partial<RuntimePorts>;
  /** False where memory is measured. */
  keepsNews?: boolean;
}): TestWorker {
  const api = createControlPlaneApi({ ...made.controlPlane, timeoutMs: 5_000 });
  const news: StepNews[] = [];
  const ports: RuntimePorts = {
    queue: made.home.queue,
    store: made.home.store,
    controlPlane: createControlPlane(api),
    watchRuns: (onChange, signal) => watchRuns(api, onChange, signal),
    models: noModels,
    tools: noTools,
    sandbox: { missing: "no sandbox in this test" },
    retrievers: { local: createLocalRetriever(), http: null },
    artifacts: createArtifactFolder({ path: made.artifacts }),
    clock: systemClock,
    log: { debug: silent, info: silent, warn: silent, error: silent },
    ...made.ports,
  };
  const runtime = startRuntime(ports, {
    ...defaultOptions,
    leaseMs: 2_000,
    limits: { ...defaultOptions.limits, baseDelayMs: 20, maxDelayMs: 200 },
    ...made.options,
    onNews: (item) => {
      if (made.keepsNews !== false) news.push(item);
      made.options?.onNews?.(item);
    },
  });
  return {
    runtime,
    ports,
    news,
    async ended(stepId, times = 1) {
      for (;;) {
        const ends = news.filter((item) => item.kind === "ended" && item.stepId === stepId);
        if (ends.length >= times) return ends;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    async close() {
      await runtime.stop();
      await api.close();
    },
  };
}
