import {
  addSpent,
  type BrokenLimit,
  type Budget,
  brokenLimit,
  microsPerCent,
  nothingSpent,
  readBudget,
  stricterBudget,
  type Spent,
  spentOf,
} from "../../machines/contracts/domain/budget.ts";
import {
  type Failure,
  fail,
  ok,
  type Outcome,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import type { Held } from "../../machines/contracts/domain/record.ts";
import { type Usage, usageOfFailure } from "../../machines/contracts/domain/step-result.ts";
import type { BudgetReservations } from "../../machines/contracts/ports/control-plane.ts";
import {
  modelFailureDetails,
  type ModelReply,
  type ModelRequest,
} from "../../machines/contracts/ports/model-provider.ts";
import type { RuntimePorts } from "../ports.ts";
import type { ActivityScope } from "./session.ts";
import { type CountedRequest, estimateNext } from "./token-estimate.ts";

/*
 * Money is reserved before it is spent.
 *
 *   reserve   input estimated from above, and the most that the model may answer, at the dearest price that could apply
 *             of those who may serve the call
 *   call      only when every budget holds it: the step's own, and the run's
 *   settle    on every way out: by what the provider counted, a failed call's too; by the reservation where a call was
 *             made and nothing was counted
 *
 * The step's own budget is its input's `budget`, checked here against what its journal and its earlier attempts used.
 * The run's is kept by the control plane. Where that advertises `budget-reservations`, it grants them atomically, to
 * all workers together. Elsewhere (FerrumDeck's gateway) the run is looked at before each call: what it has spent, this
 * step's own calls, which are not reported yet, and the reservation must stay within the limits that the job's context
 * or the run names; steps of other workers that are under way at the same moment are not seen.
 *
 * What a completed effect used is told again when it is read from the journal, so that a step that was taken over has
 * the totals it had. What a call may use is written down before it is made where the step has a budget of its own: of
 * one that was cut short with its worker, all of it counts. Wall time is counted in this session, less its waits for neighbours.
 */

/** What a handler is given to stay within its budgets. */
export interface CallBudget {
  /** What a call may use at most, where the step's own budget counts that; null where it does not. */
  holds(request: ModelRequest): Held | null;
  /**
   * Makes one model call, if every budget holds it; `budget_exceeded`, final and with the numbers, if not. To be used
   * inside an effect's `run`, so that a call that the journal has is neither made nor reserved again.
   */
  spend(
    request: ModelRequest,
    signal: AbortSignal,
    call: (request: ModelRequest) => Promise<Outcome<ModelReply>>,
  ): Promise<Outcome<ModelReply>>;
  /** What a model's answer used, whether it came now or was read from the journal; to be told once a call. */
  used(reply: Pick<ModelReply, "usage" | "attempts">): void;
  /** Whether one tool call more is within the budgets; counts it if so. To be asked before each, in the same order every time. */
  toolCall(signal: AbortSignal): Promise<Outcome<null>>;
}

type Estimate = Pick<Spent, "inputTokens" | "outputTokens"> & { costMicros: number | null };

/** What has no price counts only in tokens. */
const toSpent = ({ inputTokens, outputTokens, costMicros }: Estimate): Spent => ({
  ...nothingSpent,
  inputTokens,
  outputTokens,
  costMicros: costMicros ?? 0,
});

const toEstimate = ({ inputTokens, outputTokens, costMicros }: Usage): Estimate => ({
  inputTokens,
  outputTokens,
  costMicros: costMicros ?? null,
});

export class StepBudget implements CallBudget {
  readonly #scope: ActivityScope;
  readonly #job: Job;
  readonly #own: Partial<Budget>;
  /** By this step in this walk through its handler, what the journal has included. */
  #spent: Spent;
  /** Reserved for calls that are under way. */
  #open: Spent = nothingSpent;
  /** The last call that its provider counted. */
  #counted: CountedRequest | null = null;
  /** Whether the run was found to have no limit that this worker could look at. */
  #isUnlimited = false;

  constructor(scope: ActivityScope, job: Job) {
    this.#scope = scope;
    this.#job = job;
    this.#own = readBudget(job.input, "input.budget");
    const { usage } = scope.context;
    const known = usage === null ? [] : [spentOf(usage)];
    // Of a call that was cut short with its worker nobody knows what it used: all that it held counts.
    const cut = scope.session.journal.held().map((held) => ({ ...nothingSpent, ...held }));
    this.#spent = [...known, ...cut].reduce(addSpent, nothingSpent);
  }

  holds(request: ModelRequest): Held | null {
    const { max_tool_calls: _calls, max_wall_time_ms: _time, ...counted } = this.#own;
    if (Object.values(counted).every((most) => most === null || most === undefined)) return null;
    const { inputTokens, outputTokens, costMicros } = estimateCall(
      this.#scope.ports,
      request,
      this.#counted,
    );
    return { inputTokens, outputTokens, costMicros: costMicros ?? 0 };
  }

  async spend(
    request: ModelRequest,
    signal: AbortSignal,
    call: (request: ModelRequest) => Promise<Outcome<ModelReply>>,
  ): Promise<Outcome<ModelReply>> {
    const estimate = estimateCall(this.#scope.ports, request, this.#counted);
    const held = toSpent(estimate);
    // What is open is what this call may have used so far: its failed attempts', and the reservation of the present one.
    let open = nothingSpent;
    const openMore = (more: Spent) => {
      open = addSpent(open, more);
      this.#open = addSpent(this.#open, more);
    };
    let reservation: string | null = null;
    /** Until the attempt is over, all of its reservation may have been used. */
    let used: Estimate = estimate;
    let isUntried = false;
    const begin = async (): Promise<Outcome<null>> => {
      const broken = this.#ownBroken(held);
      if (broken !== null) return overBudget(broken, "step");
      openMore(held);
      const granted = await this.#reserve(estimate, signal);
      if (!granted.ok) return granted;
      reservation = granted.value;
      used = estimate;
      return ok(null);
    };
    const end = async () => {
      await this.#settle(reservation, { ...used, ...(isUntried ? { untried: true } : {}) }, signal);
      reservation = null;
    };
    /** By attempts that failed; null where the call is not made of several. */
    let inVain: Spent | null = null;
    const afterAttempt = async (failed: Failure, goesOn: boolean): Promise<Outcome<null>> => {
      used = usedInVain(failed, estimate);
      inVain = addSpent(inVain ?? nothingSpent, toSpent(used));
      if (!goesOn) return ok(null);
      openMore(minus(toSpent(used), held));
      await end();
      return begin();
    };
    try {
      const begun = await begin();
      if (!begun.ok) return begun;
      const outcome = await call({ ...request, afterAttempt });
      if (outcome.ok) this.#counted = countedBy(outcome.value, request) ?? this.#counted;
      isUntried = !outcome.ok && outcome.failure.untried === true;
      // Of several attempts each that failed is known by itself.
      if (outcome.ok) {
        used = usedBy(inVain === null ? outcome.value : withoutAttempts(outcome.value), estimate);
      } else if (inVain === null) used = usedInVain(outcome.failure, estimate);
      // An answer's is told by `used`, now and whenever it is read from the journal.
      if (!outcome.ok) this.#spent = addSpent(this.#spent, inVain ?? toSpent(used));
      return outcome;
    } finally {
      await end();
      this.#open = minus(this.#open, open);
    }
  }

  used({ usage, attempts = [] }: Pick<ModelReply, "usage" | "attempts">): void {
    for (const each of [usage, ...attempts.map((attempt) => attempt.usage)]) {
      if (each !== undefined) this.#spent = addSpent(this.#spent, spentOf(each));
    }
  }

  async toolCall(signal: AbortSignal): Promise<Outcome<null>> {
    const one = { ...nothingSpent, toolCalls: 1 };
    const broken = this.#ownBroken(one);
    if (broken !== null) return overBudget(broken, "step");
    // Whoever keeps the run's budget counts its tool calls where they are checked.
    if ((await this.#keeper(signal)) === null) {
      const looked = await this.#lookAtRun(one, signal);
      if (!looked.ok) return looked;
    }
    this.#spent = addSpent(this.#spent, one);
    return ok(null);
  }

  /** The step's own limit that this and all that is under way would pass. */
  #ownBroken(more: Spent): BrokenLimit | null {
    const { session, ports } = this.#scope;
    const now = ports.clock.monotonic();
    const wallTimeMs = now - session.startedAt - session.waitedMs(now);
    const all = addSpent(addSpent(this.#spent, this.#open), more);
    return brokenLimit(this.#own, { ...all, wallTimeMs });
  }

  /** Who keeps the run's budget for all workers; null where nobody does. */
  async #keeper(signal: AbortSignal): Promise<BudgetReservations | null> {
    const { controlPlane } = this.#scope.ports;
    if (controlPlane.budgets === undefined) return null;
    const advertised = await controlPlane.extensions(signal);
    const isKept = advertised.ok && advertised.value.has("budget-reservations");
    return isKept ? controlPlane.budgets : null;
  }

  /** The reservation's id at whoever keeps the budget; null where nobody does. */
  async #reserve(estimate: Estimate, signal: AbortSignal): Promise<Outcome<string | null>> {
    const { session } = this.#scope;
    const keeper = await this.#keeper(signal);
    if (keeper === null) {
      const looked = await this.#lookAtRun(nothingSpent, signal);
      return looked.ok ? ok(null) : looked;
    }
    // Another one each time: a call that was cut short may have been paid, and stays reserved.
    session.reservations += 1;
    const id = `${session.key.stepId}/${session.lease.fence}/${session.reservations}`;
    const granted = await keeper.reserve({ ...session.key, id, ...estimate }, signal);
    return granted.ok ? ok(id) : granted;
  }

  async #settle(
    id: string | null,
    used: Estimate & { untried?: true },
    signal: AbortSignal,
  ): Promise<void> {
    if (id === null) return;
    const { session, ports, controlPlane } = this.#scope;
    // The step may be over; what it used is said all the same, once, without waiting for better times.
    const keeper = signal.aborted ? controlPlane.budgets : ports.controlPlane.budgets;
    const until = signal.aborted ? new AbortController().signal : signal;
    const settled = await keeper?.settle({ ...session.key, id, ...used }, until);
    if (settled?.ok === false) {
      const { failure } = settled;
      session.log.warn({ failure }, "a reservation was not settled: it counts in full");
    }
  }

  /** @param more beside what is under way */
  async #lookAtRun(more: Spent, signal: AbortSignal): Promise<Outcome<null>> {
    const { budget: named } = this.#job;
    if (this.#isUnlimited) return ok(null);
    const looked = await this.#scope.ports.controlPlane.run(this.#job.runId, signal);
    if (!looked.ok) return looked;
    const run = looked.value;
    const budget = stricterBudget(named ?? {}, run.budget ?? {});
    this.#isUnlimited = Object.values(budget).every((most) => most === null || most === undefined);
    const cents = run.cost_cents ?? 0;
    const ofRun: Spent = {
      ...nothingSpent,
      inputTokens: run.input_tokens ?? 0,
      outputTokens: run.output_tokens ?? 0,
      toolCalls: run.tool_calls ?? 0,
      costMicros: run.cost_micros ?? cents * microsPerCent,
    };
    const all = [this.#spent, this.#open, more].reduce(addSpent, ofRun);
    const broken = brokenLimit(budget, all);
    return broken === null ? ok(null) : overBudget(broken, "run");
  }
}

/** What a call may use at most, at the dearest price of those who may serve it: as input, or written to a cache. */
export function estimateCall(
  { models, prices }: Pick<RuntimePorts, "models" | "prices">,
  request: ModelRequest,
  counted: CountedRequest | null = null,
): Estimate {
  const inputTokens = estimateNext(request, counted);
  const outputTokens = request.maxTokens;
  const plain: Usage = { inputTokens, outputTokens };
  const worst: Usage[] = [
    plain,
    { ...plain, cacheWrite5mTokens: inputTokens },
    { ...plain, reasoningTokens: outputTokens },
  ];
  const targets = models.targets?.(request.model);
  const costs = (targets?.ok === true ? targets.value : []).flatMap((target) =>
    worst.map((usage) => prices?.cost(target, usage) ?? null),
  );
  const known = costs.filter((cost) => cost !== null);
  return {
    inputTokens,
    outputTokens,
    costMicros: known.length === 0 ? null : Math.max(...known),
  };
}

/** Null where the provider has not counted, or another model answered in the end. */
function countedBy({ usage, attempts }: ModelReply, request: ModelRequest): CountedRequest | null {
  const isCounted = usage.inputTokens > 0 && usage.estimated !== true && attempts === undefined;
  return isCounted ? { request, inputTokens: usage.inputTokens } : null;
}

/** A provider that counts nothing has used what was reserved, as far as is known. */
function usedBy({ usage, attempts = [], scripted }: ModelReply, estimate: Estimate): Estimate {
  const isCounted = usage.inputTokens + usage.outputTokens > 0 || scripted === true;
  const own = isCounted ? toEstimate(usage) : estimate;
  return attempts.reduce<Estimate>(
    (sum, attempt) => (attempt.usage === undefined ? sum : plus(sum, attempt.usage)),
    own,
  );
}

/** What a failed call used: as it says; all of it where it was cut short and nobody counted; else nothing. */
function usedInVain(failure: Failure, estimate: Estimate): Estimate {
  const usage = usageOfFailure(failure);
  if (usage !== null) return toEstimate(usage);
  const reason = modelFailureDetails(failure)?.reason;
  const isCutShort = reason === "cancelled" || reason === "timeout" || failure.kind === "cancelled";
  return isCutShort ? estimate : { inputTokens: 0, outputTokens: 0, costMicros: 0 };
}

const withoutAttempts = ({ attempts: _, ...reply }: ModelReply): ModelReply => reply;

const plus = (first: Estimate, second: Usage): Estimate => ({
  inputTokens: first.inputTokens + second.inputTokens,
  outputTokens: first.outputTokens + second.outputTokens,
  costMicros:
    first.costMicros === null && second.costMicros === undefined
      ? null
      : (first.costMicros ?? 0) + (second.costMicros ?? 0),
});

const minus = (all: Spent, part: Partial<Spent>): Spent => ({
  ...all,
  inputTokens: all.inputTokens - (part.inputTokens ?? 0),
  outputTokens: all.outputTokens - (part.outputTokens ?? 0),
  toolCalls: all.toolCalls - (part.toolCalls ?? 0),
  costMicros: all.costMicros - (part.costMicros ?? 0),
});

/** The failure of a call that was not made. */
export function overBudget({ limit, used, most, message }: BrokenLimit, scope: "run" | "step") {
  const text = `the ${scope}'s ${message}, with the next call; it was not made`;
  return fail(terminal("budget_exceeded", text, { scope, limit, used, most }));
}
