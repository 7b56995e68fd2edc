import { assign, setup } from "xstate";
import { terminal } from "../contracts/domain/failure.ts";
import { initialContext, type LoopContext, type LoopInput, type Turn } from "./context.ts";
import type { LoopEvent } from "./events.ts";
import { foldedTurns, hasFoldable, repeatsAfter, rules, withLastCut } from "./rules.ts";

/** The work that the chart asks for; what came of it returns as an event. */
export const loopActivities = [
  /** Asks the model, with the tools; answers `reply.received`, `model.failed` or `budget.exceeded`. */
  "askModel",
  /** Does the calls of the last reply; answers `results.received`, `approval.needed`, `calls.failed` or `budget.exceeded`. */
  "runCalls",
  /** Asks the model for an answer without calls; answers as `askModel`. */
  "askForAnswer",
] as const;
export type LoopActivity = (typeof loopActivities)[number];

/** How a loop ends; `paused` is an end of this session only. */
export type LoopEnd =
  | "completed"
  | "max_iterations"
  | "no_progress"
  | "cut_off"
  | "failed"
  | "budget_exceeded"
  | "paused";

/** Stand-ins: the chart itself does nothing. */
const unbound = Object.fromEntries(
  loopActivities.map((activity) => [activity, () => {}]),
) as Record<LoopActivity, () => void>;

interface ActionArgs {
  context: LoopContext;
  event: LoopEvent;
}
type Change = Partial<LoopContext>;

const toTurn = ({
  reply,
  targets,
  toolsLeftOut,
}: Extract<LoopEvent, { type: "reply.received" }>): Turn => ({
  reply,
  ...(targets === undefined ? {} : { targets }),
  ...(toolsLeftOut === undefined ? {} : { toolsLeftOut }),
  results: [],
});

const keepReply = ({ context, event }: ActionArgs): Change =>
  event.type === "reply.received" ? { turns: [...context.turns, toTurn(event)] } : {};

function keepResults({ context, event }: ActionArgs): Change {
  if (event.type !== "results.received") return {};
  const last = context.turns.at(-1);
  if (last === undefined) return {};
  const turns = [...context.turns.slice(0, -1), { ...last, results: event.results }];
  const folded = foldedTurns({ ...context, turns }, false);
  return {
    turns: withLastCut({ ...context, turns }, { before: context.folded, folded }, false),
    seen: [...context.seen, event.digest],
    repeats: repeatsAfter(context, event.digest),
    folded,
  };
}

/** The results of older turns go first; then the longest of the last one are cut. */
function fold({ context }: ActionArgs): Change {
  if (hasFoldable(context)) return { folded: foldedTurns(context, true) };
  const { folded } = context;
  return { turns: withLastCut(context, { before: folded, folded }, true) };
}

const keepFailure = ({ event }: ActionArgs): Change =>
  "failure" in event ? { failure: event.failure } : {};

const keepAsks = ({ event }: ActionArgs): Change =>
  event.type === "approval.needed" ? { asks: event.asks } : {};

const refuse = ({ event }: ActionArgs): Change =>
  event.type === "reply.received"
    ? { failure: terminal("model_failed", `${event.reply.model} refused to answer`) }
    : {};

/**
 * One agent's loop: the model is asked, its tool calls are done, it is shown what they brought, and so on until it
 * answers without calling anything, or a bound is met. Its events are the outcomes of journalled effects, and it has no
 * state of its own beside them: whoever takes the step over folds the journal, and stands where the last session stood.
 */
export const agentLoopMachine = setup({
  types: {
    context: {} as LoopContext,
    events: {} as LoopEvent,
    input: {} as LoopInput,
  },
  actions: {
    ...unbound,
    keepReply: assign(keepReply),
    keepResults: assign(keepResults),
    fold: assign(fold),
    keepFailure: assign(keepFailure),
    keepAsks: assign(keepAsks),
    refuse: assign(refuse),
  },
  guards: rules,
}).createMachine({
  id: "agent-loop",
  context: ({ input }) => initialContext(input),
  initial: "asking",
  states: {
    asking: {
      description: "The model is asked, and may call tools.",
      entry: "askModel",
      on: {
        "reply.received": [
          { guard: "isRefused", target: "failed", actions: ["keepReply", "refuse"] },
          { guard: "hasForbiddenCalls", target: "max-iterations", actions: "keepReply" },
          { guard: "hasCalls", target: "calling", actions: "keepReply" },
          { guard: "isAnswer", target: "completed", actions: "keepReply" },
          {
            target: "cut-off",
            actions: "keepReply",
            description: "It ended for a reason that is not known to leave an answer whole.",
          },
        ],
        "model.failed": [
          {
            guard: "mayFold",
            target: "asking",
            reenter: true,
            actions: "fold",
            description: "The conversation is too long: once more without the older results.",
          },
          { target: "failed", actions: "keepFailure" },
        ],
        "budget.exceeded": { target: "budget-exceeded", actions: "keepFailure" },
        "trouble.met": { target: "paused", actions: "keepFailure" },
      },
    },
    calling: {
      description: "The calls of the last reply are judged and done.",
      entry: "runCalls",
      on: {
        "results.received": [
          { guard: "isStuck", target: "concluding.stuck", actions: "keepResults" },
          { guard: "isAtCap", target: "concluding.capped", actions: "keepResults" },
          { target: "asking", actions: "keepResults" },
        ],
        "calls.failed": { target: "failed", actions: "keepFailure" },
        "budget.exceeded": { target: "budget-exceeded", actions: "keepFailure" },
        "approval.needed": { target: "paused", actions: "keepAsks" },
        "trouble.met": { target: "paused", actions: "keepFailure" },
      },
    },
    concluding: {
      description: "No more tools: the model is asked to answer with what it knows.",
      initial: "capped",
      on: { "trouble.met": { target: "#agent-loop.paused", actions: "keepFailure" } },
      states: {
        stuck: {
          entry: "askForAnswer",
          on: {
            "reply.received": [
              {
                guard: "isRefused",
                target: "#agent-loop.no-progress",
                actions: ["keepReply", "refuse"],
              },
              { target: "#agent-loop.no-progress", actions: "keepReply" },
            ],
            "model.failed": [
              { guard: "mayFold", target: "stuck", reenter: true, actions: "fold" },
              { target: "#agent-loop.no-progress", actions: "keepFailure" },
            ],
            "budget.exceeded": { target: "#agent-loop.no-progress", actions: "keepFailure" },
          },
        },
        capped: {
          entry: "askForAnswer",
          on: {
            "reply.received": [
              {
                guard: "isRefused",
                target: "#agent-loop.max-iterations",
                actions: ["keepReply", "refuse"],
              },
              { target: "#agent-loop.max-iterations", actions: "keepReply" },
            ],
            "model.failed": [
              { guard: "mayFold", target: "capped", reenter: true, actions: "fold" },
              { target: "#agent-loop.max-iterations", actions: "keepFailure" },
            ],
            "budget.exceeded": { target: "#agent-loop.max-iterations", actions: "keepFailure" },
          },
        },
      },
    },
    completed: { type: "final", description: "The model answered, and called nothing more." },
    "max-iterations": { type: "final", description: "The cap was met before an answer." },
    "no-progress": { type: "final", description: "The model went in a circle." },
    "cut-off": { type: "final", description: "The answer ended before the model had ended it." },
    failed: { type: "final", description: "The model or a call failed for good." },
    "budget-exceeded": { type: "final", description: "The next call would break a budget." },
    paused: { type: "final", description: "For this session: people or passing trouble decide." },
  },
});

/** The end that a final state of the chart stands for; null while the loop goes on. */
export function loopEnd({ value, status }: { value: unknown; status: string }): LoopEnd | null {
  return status === "done" ? (String(value).replaceAll("-", "_") as LoopEnd) : null;
}
