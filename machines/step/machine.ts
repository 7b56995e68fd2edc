import { assign, setup } from "xstate";
import { initialContext, type StepContext, type StepInput } from "./context.ts";
import type { StepEvent } from "./events.ts";
import { rules } from "./rules.ts";
import { updates } from "./updates.ts";

/** Raised with every change that an older snapshot could not be read under; see actors/step/read-snapshot. */
export const stepMachineVersion = 1;

export type StepEnd = "settled" | "parked" | "handed-back" | "gone";

/**
 * Stands where actors/step binds real work. The chart only names the work it wants; what came of it
 * returns as an event, so the chart itself does nothing and a restore starts nothing.
 */
const effect = () => {};

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
    load: effect,
    checkPolicy: effect,
    requestApproval: effect,
    readDecision: effect,
    execute: effect,
    validate: effect,
    record: effect,
    deliver: effect,
    settle: effect,
    park: effect,
    backOff: effect,
    handBack: effect,
    abort: effect,
    takeUp: assign(updates.takeUp),
    takeResult: assign(updates.takeResult),
    keepVerdict: assign(updates.keepVerdict),
    keepAsks: assign(updates.keepAsks),
    keepGrants: assign(updates.keepGrants),
    startOver: assign(updates.startOver),
    noteCancel: assign(updates.noteCancel),
    keepOutput: assign(updates.keepOutput),
    countAttempt: assign(updates.countAttempt),
    countDelivery: assign(updates.countDelivery),
    countRepair: assign(updates.countRepair),
    startDraining: assign({ draining: true }),
    complete: assign(updates.complete),
    refuse: assign(updates.refuse),
    bury: assign(updates.bury),
    fail: assign(updates.fail),
  },
  guards: rules,
}).createMachine({
  id: "step",
  version: String(stepMachineVersion),
  context: ({ input }) => initialContext(input),
  initial: "pending",
  on: {
    cancel: { target: "#step.reported", actions: "fail" },
    deadline: { target: "#step.reported", actions: "fail" },
    "lease.lost": "#step.gone",
    "store.failed": "#step.gone",
    drain: "#step.handed-back",
  },
  states: {
    pending: {
      description: "The job is read; its record is loaded.",
      entry: "load",
      exit: "abort",
      on: {
        "record.fresh": [
          { guard: "isUnsound", target: "reported", actions: "refuse" },
          { guard: "isCalledOff", target: "reported", actions: "fail" },
          { target: "policy-check" },
        ],
        "record.kept": [
          { guard: "isUnsound", target: "reported", actions: "refuse" },
          { guard: "isCalledOff", target: "reported", actions: ["takeUp", "fail"] },
          { guard: "leftAwaiting", target: "awaiting-approval.deciding", actions: "takeUp" },
          { guard: "leftExecuting", target: "executing", actions: "takeUp" },
          { target: "policy-check", actions: "takeUp" },
        ],
        "record.recorded": { target: "reported.delivering", actions: "takeResult" },
        "record.reported": "reported.delivered",
        "record.duplicate": "gone",
        "record.corrupt": { target: "reported", actions: "bury" },
        cancel: {
          actions: "noteCancel",
          description: "Until its record is read, the step may be done and only want its ack.",
        },
        resume: { target: "pending", reenter: true },
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
              actions: ["keepVerdict", "startOver"],
            },
            "policy.asked": {
              guard: "hasAsks",
              target: "#step.awaiting-approval",
              actions: ["keepVerdict", "keepAsks", "startOver"],
            },
            "policy.denied": { target: "#step.reported", actions: ["keepVerdict", "fail"] },
            failed: [
              { guard: "mayRetry", target: "backing-off", actions: "countAttempt" },
              { target: "#step.reported", actions: "fail" },
            ],
            resume: { target: "checking", reenter: true },
          },
        },
        "backing-off": {
          entry: "backOff",
          exit: "abort",
          on: { "retry.due": "checking", resume: { target: "backing-off", reenter: true } },
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
            "approval.requested": { target: "parking", actions: "keepAsks" },
            failed: [
              { guard: "mayRetry", target: "backing-off", actions: "countAttempt" },
              { target: "#step.reported", actions: "fail" },
            ],
            resume: { target: "requesting", reenter: true },
          },
        },
        deciding: {
          entry: "readDecision",
          exit: "abort",
          on: {
            "approval.granted": {
              target: "#step.executing",
              actions: ["keepGrants", "startOver"],
            },
            "approval.rejected": { target: "#step.reported", actions: "fail" },
            "approval.expired": { target: "#step.reported", actions: "fail" },
            "approval.pending": { target: "parking", actions: "startOver" },
            failed: [
              { guard: "mayRetry", target: "backing-off", actions: "countAttempt" },
              // The question stands: an outage of the control plane must not answer it.
              { target: "parking", actions: "countAttempt" },
            ],
            resume: { target: "deciding", reenter: true },
          },
        },
        "backing-off": {
          entry: "backOff",
          exit: "abort",
          on: {
            "retry.due": [{ guard: "isAsked", target: "deciding" }, { target: "requesting" }],
            resume: { target: "backing-off", reenter: true },
          },
        },
        parking: {
          tags: "closing",
          entry: "park",
          exit: "abort",
          on: { parked: "#step.parked", resume: { target: "parking", reenter: true } },
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
            executed: { target: "#step.validating", actions: "keepOutput" },
            asked: {
              guard: "hasAsks",
              target: "#step.awaiting-approval",
              actions: ["keepAsks", "startOver"],
            },
            failed: [
              { guard: "mayRetryLater", target: "parking", actions: "countAttempt" },
              { guard: "mayRetry", target: "backing-off", actions: "countAttempt" },
              { target: "#step.reported", actions: "fail" },
            ],
            resume: { target: "working", reenter: true },
          },
        },
        "backing-off": {
          entry: "backOff",
          exit: "abort",
          on: { "retry.due": "working", resume: { target: "backing-off", reenter: true } },
        },
        parking: {
          tags: "closing",
          entry: "park",
          exit: "abort",
          on: { parked: "#step.parked", resume: { target: "parking", reenter: true } },
        },
      },
    },

    validating: {
      description: "What came out is checked before anyone sees it.",
      entry: "validate",
      exit: "abort",
      on: {
        validated: { target: "reported", actions: ["keepOutput", "complete"] },
        unsound: [
          { guard: "mayRepair", target: "executing", actions: ["countRepair", "startOver"] },
          { target: "reported", actions: "fail" },
        ],
        resume: { target: "validating", reenter: true },
      },
    },

    reported: {
      description: "The one report: recorded, delivered until acknowledged, then settled.",
      initial: "recording",
      on: {
        cancel: { description: "The work is done; the report says so." },
        deadline: { description: "The work is done; only its delivery remains." },
        drain: { actions: "startDraining", description: "A report under way is finished first." },
      },
      states: {
        recording: {
          entry: "record",
          exit: "abort",
          on: {
            recorded: { target: "delivering", actions: "takeResult" },
            resume: { target: "recording", reenter: true },
          },
        },
        delivering: {
          entry: "deliver",
          exit: "abort",
          on: {
            delivered: "delivered",
            "delivery.failed": [
              { guard: "isDraining", target: "#step.handed-back" },
              { target: "backing-off", actions: "countDelivery" },
            ],
            "delivery.refused": { target: "delivered", actions: "bury" },
            resume: { target: "delivering", reenter: true },
          },
        },
        "backing-off": {
          entry: "backOff",
          exit: "abort",
          on: {
            "retry.due": "delivering",
            drain: "#step.handed-back",
            resume: { target: "backing-off", reenter: true },
          },
        },
        delivered: {
          description: "The control plane has it; the job is acknowledged and the record closed.",
          tags: "closing",
          entry: "settle",
          exit: "abort",
          on: {
            settled: "#step.settled",
            resume: { target: "delivered", reenter: true },
          },
        },
      },
    },

    settled: { type: "final", description: "Nothing is left to do." },
    parked: { type: "final", description: "Put away as data; any worker takes it up again." },
    "handed-back": { type: "final", entry: "handBack", description: "Another worker's at once." },
    gone: { type: "final", description: "Another worker has it; not a word more from here." },
  },
});
