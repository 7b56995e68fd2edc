import { createApply, system } from "../../adapters/control-plane/embedded/changes/change.ts";
import {
  requestApproval,
  resolveApproval,
  expireDue,
} from "../../adapters/control-plane/embedded/changes/approvals.ts";
import { findVersion, newRun } from "../../adapters/control-plane/embedded/changes/create-run.ts";
import { registerAgent } from "../../adapters/control-plane/embedded/changes/register-agent.ts";
import { cancelRun } from "../../adapters/control-plane/embedded/changes/run-state.ts";
import { submitResult } from "../../adapters/control-plane/embedded/changes/submit-result.ts";
import { type Step, newId, seedIds } from "../../adapters/control-plane/embedded/documents.ts";
import { openStore, type Store } from "../../adapters/control-plane/embedded/store.ts";
import { WorkflowHost } from "../../adapters/control-plane/embedded/workflows/host.ts";
import { createWorkflowReader } from "../../adapters/workflows/step-request.ts";
import { createWorkflowEngine } from "../../actors/workflow/engine.ts";
import type { Failure } from "../../machines/contracts/domain/failure.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import type { WorkflowDefinition } from "../../machines/contracts/domain/workflow.ts";
import type {
  WorkflowEngine,
  WorkflowState,
  WorkflowTurn,
} from "../../machines/contracts/ports/workflow-engine.ts";

/** When the process that serves the control plane dies: not at all, before a change is on disk, or right after. */
export type Death = "none" | "before" | "after";

class Died extends Error {}

const unlimited = {
  max_input_tokens: null,
  max_output_tokens: null,
  max_total_tokens: null,
  max_tool_calls: null,
  max_wall_time_ms: null,
  max_cost_cents: null,
};

/**
 * The control plane's host of workflows over its own store, one change after the other, without HTTP and without a
 * clock of its own. Each change may be the last of its process: then another one goes on with the same store.
 */
export class WorkflowPlane {
  readonly store: Store;
  now = 1_700_000_000_000;
  /** What the engine was told and made of it, of changes that are on disk, in their order. */
  readonly turns: WorkflowTurn[] = [];
  /** Steps that were told to stop, as far as anybody hears of it. */
  readonly stops: string[] = [];
  #made: WorkflowTurn[] = [];
  readonly #mostInChange: number | undefined;
  #host: WorkflowHost;
  #dies: Death = "none";
  #isBorn = false;

  /** @param mostInChange characters that a change reads and writes before its rest is for another one */
  constructor(path = ":memory:", mostInChange?: number) {
    this.#mostInChange = mostInChange;
    this.store = openStore(path);
    this.#host = this.#born();
  }

  #born(): WorkflowHost {
    this.#isBorn = true;
    return new WorkflowHost(this.#watched(), this.store, () => {}, undefined, this.#mostInChange);
  }

  /** Keeps what each turn made, for whoever compares. */
  #watched(): WorkflowEngine {
    const engine = createWorkflowEngine(createWorkflowReader());
    const noted = (turn: WorkflowTurn): WorkflowTurn => {
      this.#made.push(turn);
      const { run } = turn;
      return { ...turn, run: watched(run) };
    };
    const watched = (run: WorkflowState): WorkflowState => ({
      ...run,
      take: (...given) => noted(run.take(...given)),
      goOn: (...given) => noted(run.goOn(...given)),
    });
    return {
      open(definition) {
        const opened = engine.open(definition);
        if (!opened.ok) return opened;
        const { begin, restore } = opened.value;
        return {
          ok: true,
          value: {
            begin: (values) => noted(begin(values)),
            restore(saved, events) {
              const state = restore(saved, events);
              if (!state.ok) return state;
              return { ok: true, value: watched(state.value) };
            },
          },
        };
      },
    };
  }

  /** One change. Null where the process died: then nobody heard what became of it. */
  async change<T>(work: Parameters<ReturnType<typeof createApply>>[0], death: Death = "none") {
    const { store } = this;
    this.#made = [];
    this.#dies = death;
    const dying: Store = {
      ...store,
      transaction: (inner) =>
        store.transaction(() => {
          const made = inner();
          if (this.#dies === "before") throw new Died();
          return made;
        }),
    };
    const apply = createApply({
      store: dying,
      outbox: { kick: () => {} },
      events: {
        tell: () => {},
        tellStop: ({ stepId }) => {
          if (death === "none") this.stops.push(stepId);
        },
      },
      workflows: this.#host,
      now: () => this.now,
    });
    const done = await apply((change) => {
      if (this.#isBorn) this.#host.restart(change);
      this.#isBorn = false;
      return work(change);
    }, system).then(
      (value) => ({ value: value as T }),
      (error: unknown) => {
        if (error instanceof Died) return null;
        throw error;
      },
    );
    if (done !== null) this.turns.push(...this.#made);
    if (death !== "none") this.#host = this.#born();
    return death === "none" ? done : null;
  }

  async begin(definition: WorkflowDefinition, input: Json, config = { budget: unlimited }) {
    await this.change((change) =>
      registerAgent(change, { slug: "helper", model: "m", allowedTools: ["t"] }),
    );
    const begun = await this.change<string>((change) => {
      const version = findVersion(this.store, "helper", null);
      const id = newId("wf", change.now);
      const kept = definition as unknown as Json;
      const about = { name: "W", description: null, version: "1.0.0", digest: id };
      const workflow = {
        id,
        tenantId: seedIds.tenant,
        ...about,
        projectId: "p",
        definition: kept,
        createdAt: change.now,
      };
      change.store.workflows.add(workflow);
      const fresh = newRun(
        change,
        version,
        { input, config, trace: { traceId: "1".repeat(32), spanId: "1".repeat(16) } },
        newId("wfr", change.now),
      );
      const run = change.saveRun({ ...fresh, workflowId: id });
      return this.#host.begin(change, run, workflow).id;
    });
    return begun?.value ?? "";
  }

  /** The steps whose jobs are on the stream since the last look, as many times as they are. */
  published(): Step[] {
    const entries = this.store.outbox.first(1_000);
    this.store.outbox.drop(entries.map(({ seq }) => seq));
    return entries.flatMap(({ data }) => {
      const { id } = JSON.parse(data) as { id: string };
      return this.store.steps.find(id) ?? [];
    });
  }

  report(step: Step, result: { output: Json } | { failure: Failure }, death: Death = "none") {
    const { runId, id: stepId } = step;
    const isGood = "output" in result;
    const submission = {
      runId,
      stepId,
      inputTokens: null,
      outputTokens: null,
      key: `${stepId}-end`,
      fence: 1,
      status: isGood ? ("completed" as const) : ("failed" as const),
      output: isGood ? result.output : null,
      error: isGood ? null : (result.failure as unknown as Json),
    };
    return this.change<unknown>((change) => submitResult(change, submission, () => null), death);
  }

  ask({ runId, id: stepId }: Step, death: Death = "none") {
    const asked = {
      actionType: "tool",
      actionDetails: null,
      digest: "d",
      reason: "",
      expiresInMs: null,
    };
    return this.change((change) => requestApproval(change, { runId, stepId, ...asked }), death);
  }

  answer(approvalId: string, approved: boolean, death: Death = "none") {
    const given = {
      approved,
      note: null,
      caller: { id: "key_person", tenantId: seedIds.tenant, scopes: ["admin" as const] },
    };
    return this.change((change) => resolveApproval(change, approvalId, given), death);
  }

  cancel(runId: string, death: Death = "none") {
    return this.change((change) => cancelRun(change, runId), death);
  }

  /** What is due by now. */
  tick(death: Death = "none") {
    return this.change((change) => {
      expireDue(change);
      this.#host.fireDue(change);
    }, death);
  }

  steps(runId: string) {
    const run = this.store.runs.find(runId);
    return run === undefined ? [] : this.#host.steps(run);
  }

  close(): void {
    this.store.close();
  }
}
