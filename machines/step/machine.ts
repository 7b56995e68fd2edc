import { assign, setup } from "xstate";
import { unbound } from "./activities.ts";
import { initialContext, type StepContext, type StepInput } from "./context.ts";
import type { StepEvent } from "./events.ts";
import { rules } from "./rules.ts";
import { updates } from "./updates.ts";

/** Raised with every change that an older snapshot could not be read under; see actors/step/pending.ts. */
export const stepMachineVersion = 1;

export type StepEnd = "settled" | "parked" | "released" | "abandoned";

/**
 * One step from the stream to its report. Entering a state asks for that state's work; leaving it aborts what
 * still runs. Every state answers cancel, deadline, lease.lost and drain.
 */
export const stepMachine = setup({
  types: {
    context: {} as StepContext,
    events: {} as StepEvent,
    input: {} as StepInput,
    /** `closing`: the write that ends this life is under way, and will itself say whether the lease was lost. */
    tags: {} as "closing",
  },
  actions: {
    ...unbound,
    /** Aborts what the state just left asked for. */
    abort: () => {},
    resumeFromRecord: assign(updates.resumeFromRecord),
    takeResult: assign(updates.takeResult),
    keepVerdict: assign(updates.keepVerdict),
    keepAsks: assign(updates.keepAsks),
    keepGrants: assign(updates.keepGrants),
    startOver: assign(updates.startOver),
    checked: assign(updates.checked),
    rememberCancel: assign(updates.rememberCancel),
    keepOutput: assign(updates.keepOutput),
    countAttempt: assign(updates.countAttempt),
    countCheck: assign(updates.countCheck),
    countDelivery: assign(updates.countDelivery),
    countRepair: assign(updates.countRepair),
    startDraining: assign({ draining: true }),
    complete: assign(updates.complete),
    refuse: assign(updates.refuse),
    toDeadLetter: assign(updates.toDeadLetter),
    reduceResult: assign(updates.reduceResult),
    fail: assign(updates.fail),
  },
  guards: rules,
}).createMachine({
  id: "step",
  version: String(stepMachineVersion),
  context: ({ input }) => initialContext(input),
  initial: "pending",
  on: {
    "cancel.requested": { target: "#step.reported", actions: "fail" },
    "deadline.reached": { target: "#step.reported", actions: "fail" },
    "lease.lost": "#step.abandoned",
    "store.failed": { target: "#step.reported", actions: "fail" },
    "drain.requested": "#step.released",
  },
  states: {
    pending: {
      description: "The job is read; its record is loaded.",
      entry: "load",
      exit: "abort",
      on: {
        "record.fresh": [
          { guard: "isInvalid", target: "reported", actions: "refuse" },
          { guard: "isCancelled", target: "reported", actions: "fail" },
          { target: "policy-check" },
        ],
        "record.kept": [
          { guard: "isInvalid", target: "reported", actions: ["resumeFromRecord", "refuse"] },
          { guard: "isCancelled", target: "reported", actions: ["resumeFromRecord", "fail"] },
          {
            guard: "leftAwaiting",
            target: "awaiting-approval.deciding",
            actions: "resumeFromRecord",
          },
          {
            target: "policy-check",
            actions: "resumeFromRecord",
            description: "Wherever it was left: what was allowed then is looked at again now.",
          },
        ],
        "record.recorded": { target: "reported.delivering", actions: "takeResult" },
        "record.reported": "reported.delivered",
        "record.duplicate": "abandoned",
        "record.corrupt": { target: "reported", actions: "refuse" },
        "store.failed": {
          target: "reported.delivering",
          actions: "refuse",
          description: "The record itself can't be opened, so there is no outbox.",
        },
        "cancel.requested": {
          actions: "rememberCancel",
          description: "Until its record is read, the step may be done and only want its ack.",
        },
        "resume.requested": { target: "pending", reenter: true },
      },
    },

    "policy-check": {
      description: "Policy gives its verdict on the step's action; closed when it cannot answer.",
      initial: "checking",
      states: {
        checking: {
          entry: "checkPolicy",
          exit: "abort",
          on: {
            "policy.allowed": {
              target: "#step.executing",
              actions: ["keepVerdict", "checked"],
            },
            "policy.asked": {
              guard: "hasAsks",
              target: "#step.awaiting-approval",
              actions: ["keepVerdict", "keepAsks", "checked"],
            },
            "policy.denied": { target: "#step.reported", actions: ["keepVerdict", "fail"] },
            "activity.failed": [
              { guard: "isHeld", target: "parking", actions: "countAttempt" },
              { guard: "mayCheckAgain", target: "backing-off", actions: "countCheck" },
              { target: "#step.reported", actions: "fail" },
            ],
            "resume.requested": { target: "checking", reenter: true },
          },
        },
        "backing-off": {
          entry: "backOff",
          exit: "abort",
          on: {
            "retry.due": "checking",
            "resume.requested": { target: "backing-off", reenter: true },
          },
        },
        parking: {
          tags: "closing",
          entry: "park",
          exit: "abort",
          on: {
            "step.parked": "#step.parked",
            "resume.requested": { target: "parking", reenter: true },
          },
        },
      },
    },

    "awaiting-approval": {
      description: "A person is asked. The step is parked until somebody decides, or time does.",
      initial: "requesting",
      states: {
        requesting: {
          entry: "requestApproval",
          exit: "abort",
          on: {
            "approval.requested": [
              {
                guard: "isAnswered",
                target: "deciding",
                actions: "keepAsks",
                description: "It was put before, and somebody answered.",
              },
              { target: "parking", actions: "keepAsks" },
            ],
            "activity.failed": [
              { guard: "mayCheckAgain", target: "backing-off", actions: "countCheck" },
              { target: "#step.reported", actions: "fail" },
            ],
            "resume.requested": { target: "requesting", reenter: true },
          },
        },
        deciding: {
          entry: "readDecision",
          exit: "abort",
          on: {
            "approval.granted": {
              target: "#step.policy-check",
              actions: ["keepGrants", "checked"],
              description:
                "A yes answers what policy asked; whether policy still asks is seen there.",
            },
            "approval.settled": {
              target: "#step.policy-check",
              actions: ["keepGrants", "checked"],
              description: "The handler hears what was refused, and goes on without it.",
            },
            "approval.rejected": { target: "#step.reported", actions: "fail" },
            "approval.expired": { target: "#step.reported", actions: "fail" },
            "approval.pending": { target: "parking", actions: ["keepAsks", "checked"] },
            "activity.failed": [
              { guard: "mayCheckAgain", target: "backing-off", actions: "countCheck" },
              // The question stands: an outage of the control plane must not answer it.
              { target: "parking", actions: "countCheck" },
            ],
            "resume.requested": { target: "deciding", reenter: true },
          },
        },
        "backing-off": {
          entry: "backOff",
          exit: "abort",
          on: {
            "retry.due": [{ guard: "isAsked", target: "deciding" }, { target: "requesting" }],
            "resume.requested": { target: "backing-off", reenter: true },
          },
        },
        parking: {
          tags: "closing",
          entry: "park",
          exit: "abort",
          on: {
            "step.parked": "#step.parked",
            "resume.requested": { target: "parking", reenter: true },
          },
        },
      },
    },

    executing: {
      description: "The step's handler works, one journalled effect after the other.",
      initial: "working",
      states: {
        working: {
          entry: "execute",
          exit: "abort",
          on: {
            "execution.completed": { target: "#step.validating", actions: "keepOutput" },
            "policy.denied": { target: "#step.reported", actions: ["keepVerdict", "fail"] },
            "approval.needed": {
              guard: "hasAsks",
              target: "#step.awaiting-approval",
              actions: ["keepAsks", "startOver"],
            },
            "activity.failed": [
              { guard: "mayRetryLater", target: "parking", actions: "countAttempt" },
              { guard: "mayRetry", target: "backing-off", actions: "countAttempt" },
              { target: "#step.reported", actions: "fail" },
            ],
            "resume.requested": { target: "working", reenter: true },
          },
        },
        "backing-off": {
          entry: "backOff",
          exit: "abort",
          on: {
            "retry.due": "working",
            "resume.requested": { target: "backing-off", reenter: true },
          },
        },
        parking: {
          tags: "closing",
          entry: "park",
          exit: "abort",
          on: {
            "step.parked": "#step.parked",
            "resume.requested": { target: "parking", reenter: true },
          },
        },
      },
    },

    validating: {
      description: "What came out is checked before anyone sees it.",
      entry: "validate",
      exit: "abort",
      on: {
        "output.valid": { target: "reported", actions: ["keepOutput", "complete"] },
        "output.invalid": [
          { guard: "mayRepair", target: "executing", actions: ["countRepair", "startOver"] },
          { target: "reported", actions: "fail" },
        ],
        "resume.requested": { target: "validating", reenter: true },
      },
    },

    reported: {
      description: "The one report: recorded, delivered until acknowledged, then settled.",
      initial: "recording",
      on: {
        "cancel.requested": { description: "The work is done; the report says so." },
        "deadline.reached": { description: "The work is done; only its delivery remains." },
        "drain.requested": {
          actions: "startDraining",
          description: "A report under way is finished first.",
        },
        "release.requested": "#step.released",
        "store.failed": [
          { guard: "isReduced", target: ".delivered", actions: "toDeadLetter" },
          { target: ".delivering", actions: ["toDeadLetter", "reduceResult"] },
        ],
      },
      states: {
        recording: {
          entry: "record",
          exit: "abort",
          on: {
            "result.recorded": { target: "delivering", actions: "takeResult" },
            "store.failed": [
              { guard: "isReduced", target: "delivering", actions: "toDeadLetter" },
              { target: "recording", reenter: true, actions: "reduceResult" },
            ],
            "resume.requested": { target: "recording", reenter: true },
          },
        },
        delivering: {
          entry: "deliver",
          exit: "abort",
          on: {
            "delivery.accepted": "delivered",
            "delivery.failed": [
              { guard: "isDraining", target: "#step.released" },
              { target: "backing-off", actions: "countDelivery" },
            ],
            "delivery.refused": [
              { guard: "isReduced", target: "delivered", actions: "toDeadLetter" },
              {
                target: "delivering",
                reenter: true,
                actions: ["toDeadLetter", "reduceResult"],
                description: "Once more with a short failure, so that the run does not hang.",
              },
            ],
            "resume.requested": { target: "delivering", reenter: true },
          },
        },
        "backing-off": {
          entry: "backOff",
          exit: "abort",
          on: {
            "retry.due": "delivering",
            "drain.requested": "#step.released",
            "resume.requested": { target: "backing-off", reenter: true },
          },
        },
        delivered: {
          description: "The control plane has it; the job is acknowledged and the record closed.",
          tags: "closing",
          entry: "settle",
          exit: "abort",
          on: {
            "step.settled": "#step.settled",
            "store.failed": "#step.abandoned",
            "resume.requested": { target: "delivered", reenter: true },
          },
        },
      },
    },

    settled: { type: "final", description: "Nothing is left to do." },
    parked: { type: "final", description: "Put away as data; any worker takes it up again." },
    released: { type: "final", entry: "release", description: "Another worker's at once." },
    abandoned: { type: "final", description: "Another worker has it; not a word more from here." },
  },
});
