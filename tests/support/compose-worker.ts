import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { createControlPlane } from "../../adapters/control-plane/client.ts";
import { watchRun, watchRuns } from "../../adapters/control-plane/watch-runs.ts";
import { createLocalRetriever } from "../../adapters/retrieval/local.ts";
import { createArtifactFolder } from "../../adapters/artifacts/folder.ts";
import { defaultOptions, type RuntimeOptions, type StepEventNotice } from "../../actors/options.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import { type Runtime, startRuntime, systemClock } from "../../actors/runtime.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";

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
  notice: StepEventNotice[];
  /** Resolves when that step has ended in this worker so often. */
  ended(stepId: string, times?: number): Promise<StepEventNotice[]>;
  close(): Promise<void>;
}

/** A real worker over a real backend and a control plane reached by HTTP. */
export function composeWorker(made: {
  backend: StepBackend;
  controlPlane: { url: string; apiKey: string };
  artifacts: string;
  options?: Partial<RuntimeOptions>;
  ports?: Partial<RuntimePorts>;
  /** False where memory is measured. */
  keepsNotices?: boolean;
}): TestWorker {
  const api = createControlPlaneApi({ ...made.controlPlane, timeoutMs: 30_000 });
  const notice: StepEventNotice[] = [];
  const ports: RuntimePorts = {
    queue: made.backend.queue,
    store: made.backend.store,
    controlPlane: createControlPlane(api),
    watchRuns: (onChange, signal, onStop) =>
      watchRuns(api, onChange, signal, undefined, (step) => onStop(step.runId, step.stepId)),
    watchRun: (runId, onHint, signal) => watchRun(api, runId, onHint, signal),
    models: noModels,
    tools: noTools,
    sandbox: { missing: "no sandbox in this test" },
    schemas: createSchemaChecker(),
    retrievers: { local: createLocalRetriever(), http: null },
    artifacts: createArtifactFolder({ path: made.artifacts, isShared: true }),
    clock: systemClock,
    log: { debug: silent, info: silent, warn: silent, error: silent },
    ...made.ports,
  };
  const runtime = startRuntime(ports, {
    ...defaultOptions,
    limits: { ...defaultOptions.limits, baseDelayMs: 20, maxDelayMs: 200 },
    ...made.options,
    onStepEvent: (item) => {
      if (made.keepsNotices !== false) notice.push(item);
      made.options?.onStepEvent?.(item);
    },
  });
  return {
    runtime,
    ports,
    notice,
    async ended(stepId, times = 1) {
      for (;;) {
        const ends = notice.filter((item) => item.kind === "ended" && item.stepId === stepId);
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
