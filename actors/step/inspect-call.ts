import {
  inspectCall,
  isBlocking,
  reasonOf,
  toTrace,
  toViolation,
} from "../../machines/contracts/domain/airlock/inspect.ts";
import { airlockOff, modeOf } from "../../machines/contracts/domain/airlock/settings.ts";
import {
  givenIn,
  provenanceOf,
  reasonOfProvenance,
} from "../../machines/contracts/domain/airlock/provenance.ts";
import {
  type Action,
  stricter,
  type Verdict,
  verdict,
} from "../../machines/contracts/domain/action.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { isJsonObject, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { digestOf } from "./approvals.ts";
import type { ActivityScope } from "./session.ts";

/*
 * What the Airlock says of a tool call in this worker.
 *
 *   where arguments came from    is known here alone, whoever else inspects: the loop's results never leave the worker
 *   everything else              is the control plane's to say where it advertises `airlock`; else it is looked at here
 */

/** What is wrong with where the arguments came from; null where nothing is. In shadow mode it is recorded alone. */
export async function provenanceVerdict(
  { options, session, ports, signal }: ActivityScope,
  job: Job,
  action: Action,
  callId: string,
): Promise<Verdict | null> {
  const { airlock = airlockOff } = options;
  const { server = null, name, input } = action;
  const mode = modeOf(airlock, "provenance", { server, name, input });
  if (mode === "off") return null;
  const { trusted, brought } = givenIn(job.input);
  const found = provenanceOf(name, input, [...brought, ...session.brought()], trusted);
  if (found === null) return null;
  // Whoever only reads does nobody's bidding. What can't be asked about is taken for a tool that changes something.
  const described =
    server === null ? null : await ports.tools.describe(`${server}/${name}`, signal);
  if (described?.ok === true && described.value.readOnly) return null;
  const reason = reasonOfProvenance(found);
  const details = { provenance: { ...found, mode } };
  tell(session, callId, `provenance: ${reason}`, mode === "enforce");
  return { ...(mode === "enforce" ? verdict.ask(reason) : verdict.allow(reason)), details };
}

/** What the rest of the rules say, where nobody else is asked; null where that is nothing. */
export async function airlockVerdict(
  { options, session, ports, runs, signal }: ActivityScope,
  action: Action,
  { runId, callId }: { runId: string; callId: string },
): Promise<Verdict | null> {
  const { airlock = airlockOff } = options;
  if (airlock.mode === "off") return null;
  if (options.toolPolicy !== "worker") {
    const advertised = await ports.controlPlane.extensions(signal);
    if (advertised.ok && advertised.value.has("airlock")) return null;
  }
  const { server = null, name, input } = action;
  const now = ports.clock.now();
  const call = { at: now, digest: digestOf({ server, name, input }), id: callId, cents: 0 };
  const calls = runs.noteCall(runId, call, airlock.rules);
  const findings = inspectCall(airlock, { tool: { server, name, input }, calls, now, drift: null });
  const [worst] = findings;
  if (worst === undefined) return null;
  const blocks = isBlocking(worst);
  tell(session, callId, `${worst.violation}: ${worst.details}`, blocks);
  const details: JsonObject = { ...toViolation(findings), airlock: toTrace(findings) };
  const reason = reasonOf(worst);
  return { ...(blocks ? verdict.deny(reason) : verdict.allow(reason)), details };
}

/** What a finding says of itself without what was copied: an argument is nothing for an audit. */
export function untold({ provenance }: JsonObject): JsonObject {
  const {
    at = "",
    from = "",
    characters = 0,
    mode = "",
  } = isJsonObject(provenance) ? provenance : {};
  return { at, from, characters, mode };
}

/** A verdict with what was found beside it: the stricter of both, and all that either says. */
export function withFindings(said: Verdict, found: Verdict | null): Verdict {
  if (found === null) return said;
  return { ...stricter(found, said), details: { ...said.details, ...found.details } };
}

/** Once a call, however often it is judged. */
function tell(
  session: ActivityScope["session"],
  call: string,
  finding: string,
  counts: boolean,
): void {
  const told = `${call} ${finding}`;
  if (!session.isNewFinding(told)) return;
  const text = counts
    ? "the Airlock found something in a tool call"
    : "the Airlock found something in a tool call, and changes nothing for it";
  session.log.warn({ call, finding }, text);
}
