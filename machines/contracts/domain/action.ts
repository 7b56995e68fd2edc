import { once } from "./once.ts";
import { type } from "arktype";
import { type Failure, terminal } from "./failure.ts";
import { isJsonObject, type JsonObject } from "./json.ts";

/** What policy says of one action, always with its reason. */
export const verdictShape = once(() =>
  type({
    kind: "'allow' | 'ask' | 'deny'",
    reason: "string",
    "decisionId?": "string",
    /** What else the control plane said of its decision (risk, violation, reversibility): kept for log and report. */
    "details?": "object",
    /** Of a `deny`: it ends the step, where else an agent's model is told that the call was denied. */
    "failsStep?": "boolean",
  }),
);
export interface Verdict {
  kind: "allow" | "ask" | "deny";
  reason: string;
  decisionId?: string;
  details?: JsonObject;
  failsStep?: boolean;
}

const allow = (reason: string): Verdict => ({ kind: "allow", reason });
const ask = (reason: string): Verdict => ({ kind: "ask", reason });
const deny = (reason: string): Verdict => ({ kind: "deny", reason });

export const verdict = { allow, ask, deny };

const strictness = { allow: 0, ask: 1, deny: 2 };

/** The stricter of two verdicts; of two alike, the second, which has the last word. */
export function stricter(first: Verdict, second: Verdict): Verdict {
  return strictness[first.kind] > strictness[second.kind] ? first : second;
}

/**
 * The failure of a step that policy denied; what the control plane said beside its no goes with it. A call that the
 * run's budget does not hold is denied too, and is told apart.
 */
export function deniedBy({ reason, details }: Verdict): Failure {
  const broken = details?.["budget_exceeded"];
  if (!isJsonObject(broken)) return terminal("policy_denied", reason, details);
  return terminal("budget_exceeded", reason, { scope: "run", ...broken });
}

/**
 * One thing a step wants to do to the outside world, as policy and people see it. Its digest is the
 * SHA-256 of exactly this, canonically written: a grant for one action is no grant for another.
 */
export const actionShape = once(() =>
  type({
    kind: "'tool' | 'model' | 'sandbox' | 'retrieval' | 'approval' | 'repeat'",
    /** The tool's bare name, the model's, the sandbox language, ... */
    name: "string",
    /** Of a tool: the server that the call goes to. Absent where no configured server has the tool. */
    "server?": "string",
    /** Of a tool: the hex SHA-256 of its schemas and annotations, as they were when the action was judged. */
    "schema?": "string",
    /** Of a call that a step makes on its way: which one, so that two that are alike are two questions. */
    "call?": "string",
    input: "object",
  }),
);
export interface Action {
  kind: "tool" | "model" | "sandbox" | "retrieval" | "approval" | "repeat";
  name: string;
  server?: string;
  schema?: string;
  call?: string;
  input: JsonObject;
}

/** A question to a person: may this action, with this digest, be done? */
export const askShape = once(() =>
  type({
    digest: "string",
    action: actionShape(),
    reason: "string",
    /** Null until the control plane has the question. */
    approvalId: "string | null",
    /** Epoch milliseconds at which nobody's answer is looked for; null until the control plane has the question. */
    expiresAt: "number | null",
    /** Where the question was put, and is read for ever. Absent in what version 1 of the chart parked before. */
    "place?": "'approval' | 'step'",
    /** Whether the worker ends it at `expiresAt`, since the control plane keeps no expiry of its own. */
    "expiresHere?": "boolean",
  }),
);
export interface Ask {
  digest: string;
  action: Action;
  reason: string;
  approvalId: string | null;
  expiresAt: number | null;
  /** `approval`: a request of its own at the control plane. `step`: the status of the step itself. */
  place?: "approval" | "step";
  expiresHere?: boolean;
  /** Of the tool that is asked about, told where the question is put and kept there: what an edit is held to. */
  inputSchema?: JsonObject;
}

/** A person's yes to one ask. Used once: the journal names the effect that spent it. */
export const grantShape = once(() =>
  type({
    digest: "string",
    approvalId: "string",
    resolvedBy: "string | null",
    /** Of a yes to other arguments than were asked about: the digest of what was asked, and the arguments. */
    "edit?": { asked: "string", isStep: "boolean", input: type("object").narrow(isJsonObject) },
  }),
);
export interface Grant {
  /** Of what may be done: of an edit, the edited action's. */
  digest: string;
  approvalId: string;
  resolvedBy: string | null;
  edit?: Edit;
}
export interface Edit {
  asked: string;
  /** Whether it is the tool step's own call, whose job has the arguments; else a call that its handler makes. */
  isStep: boolean;
  input: JsonObject;
}

/** That a person said no to one ask, or nobody answered in time. */
export const refusalShape = once(() =>
  type({
    digest: "string",
    approvalId: "string | null",
    kind: "'approval_rejected' | 'approval_expired'",
    reason: "string",
  }),
);
export type Refusal = ReturnType<typeof refusalShape>["infer"];
