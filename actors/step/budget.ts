import {
  addSpent,
  type BrokenLimit,
  type Budget,
  brokenLimit,
  dollars,
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
import type { BudgetReservations } from "../../machines/contracts/ports/control-plane.ts";
import type { ModelReply, ModelRequest } from "../../machines/contracts/ports/model-provider.ts";
import {
  countedBy,
  type Estimate,
  estimateCall,
  minus,
  toSpent,
  usedBy,
  usedInVain,
  withoutAttempts,
} from "./call-estimate.ts";
import type { ActivityScope } from "./session.ts";
import type { CountedRequest } from "./token-estimate.ts";

/*
 * Money is reserved before it is spent.
 *
 *   reserve   input estimated from above, and the most that the model may answer, at the dearest price that could apply
 *             of those who may serve the call
 *   call      only when every budget holds it: the step's own, and the run's
 *   settle    on every way out: by what the provider counted, a failed call's too; by the reservation where a call was
 *             made and nothing was counted. An answer is journalled first, with the settlement that it owes: settling may
 *             wait for the control plane, and a worker that ends meanwhile must not lose what was paid. Whoever takes the
 *             step over settles the last answer's once more, which changes nothing where it was settled.
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

/** What a call used of its reservation. JSON: the journal keeps it with the answer. */
export interface Settlement {
  id: string;
  used: Estimate;
}

/** What a handler is given to stay within its budgets. */
export interface CallBudget {
  /** What a call may use at most, where the step's own budget counts that; null where it does not. */
  holds(request: ModelRequest): Held | null;
  /**
   * Makes one model call, if every budget holds it; `budget_exceeded`, final and with the numbers, if not. To be used
   * inside an effect's `run`, so that a call that the journal has is neither made nor reserved again.
   *
   * @param owe told what an answer owes, to be settled by `settle` once the journal has both; settled here without it
   */
  spend(
    request: ModelRequest,
    signal: AbortSignal,
    call: (request: ModelRequest) => Promise<Outcome<ModelReply>>,
    owe?: (settlement: Settlement) => void,
  ): Promise<Outcome<ModelReply>>;
  /** Settles what a journalled answer owes. */
  settle(settlement: Settlement, signal: AbortSignal): Promise<void>;
  /**
   * What an answer owed that was read from the journal. Each call waits for the settlement of the one before, so only
   * the last may still be open: it is settled before the next call, or at the end of the step's work.
   */
  owes(settlement: Settlement): void;
  /** What a model's answer used, whether it came now or was read from the journal; to be told once a call. */
  used(reply: Pick<ModelReply, "usage" | "attempts">): void;
  /** Whether one tool call more is within the budgets; counts it if so. To be asked before each, in the same order every time. */
  toolCall(signal: AbortSignal): Promise<Outcome<null>>;
}

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
  /** Of the last answer that was read from the journal. */
  #owed: Settlement | null = null;
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
    owe?: (settlement: Settlement) => void,
  ): Promise<Outcome<ModelReply>> {
    await this.settleOwed(signal);
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
      if (broken !== null) return explained(overBudget(broken, "step"), estimate);
      openMore(held);
      const granted = await this.#reserve(estimate, signal);
      if (!granted.ok) return explained(granted, estimate);
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
      if (outcome.ok && owe !== undefined) {
        if (reservation !== null) owe({ id: reservation, used });
        reservation = null;
      }
      return outcome;
    } finally {
      await end();
      this.#open = minus(this.#open, open);
    }
  }

  async settle({ id, used }: Settlement, signal: AbortSignal): Promise<void> {
    await this.#settle(id, used, signal);
  }

  owes(settlement: Settlement): void {
    this.#owed = settlement;
  }

  /** Settles what the last answer that was read from the journal may still owe. */
  async settleOwed(signal: AbortSignal): Promise<void> {
    const owed = this.#owed;
    if (owed === null || this.#scope.session.settled === owed.id) return;
    await this.#settle(owed.id, owed.used, signal);
    this.#owed = null;
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
    const said = { ...session.key, id, ...used };
    let settled: Outcome<null> | undefined;
    if (!signal.aborted) {
      try {
        settled = await ports.controlPlane.budgets?.settle(said, signal);
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    }
    // The step may be over; what it used is said all the same, once, without waiting for better times.
    if (settled === undefined) {
      settled = await controlPlane.budgets?.settle(said, new AbortController().signal);
    }
    session.settled = id;
    if (settled?.ok === false) {
      const { failure } = settled;
      session.log.warn({ failure }, "a reservation was not settled: it counts in full until it is");
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

/** A refusal for tokens or money, with what the call would have reserved: nothing of it was spent. */
function explained<T>(refused: Outcome<T>, estimate: Estimate): Outcome<T> {
  const limit = refused.ok ? null : refused.failure.details?.["limit"];
  if (refused.ok || refused.failure.kind !== "budget_exceeded") return refused;
  if (typeof limit !== "string" || !/tokens|cost/u.test(limit)) return refused;
  const { inputTokens, outputTokens, costMicros, dearest } = estimate;
  const price = costMicros === null ? "" : ` (${dollars(costMicros)} at the price of ${dearest})`;
  const text = `it would have reserved ${outputTokens} output tokens and an estimated ${inputTokens} of input${price}; a lower max_tokens reserves less`;
  return fail({ ...refused.failure, message: `${refused.failure.message}: ${text}` });
}

/** The failure of a call that was not made. */
export function overBudget({ limit, used, most, message }: BrokenLimit, scope: "run" | "step") {
  const text = `the ${scope}'s ${message}, with the next call; it was not made`;
  return fail(terminal("budget_exceeded", text, { scope, limit, used, most }));
}
