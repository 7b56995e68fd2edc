import { evalRequirements } from "./requirements-of-evals.ts";
import { historyRequirements } from "./requirements-of-histories.ts";
import { replayRequirements } from "./requirements-of-replays.ts";
import { planeRequirements } from "./requirements-of-the-plane.ts";
import { modelRequirements } from "./requirements-of-models.ts";
import { packageRequirements } from "./requirements-of-the-package.ts";
import { processRequirements } from "./requirements-of-processes.ts";
import { screeningRequirements } from "./requirements-of-screening.ts";
import { toolRequirements } from "./requirements-of-tools.ts";
import { workflowRequirements } from "./requirements-of-workflows.ts";

/** One promise, and the id by which a test says that it proves it: `[once.report]` in its title. */
export interface Requirement {
  id: string;
  promise: string;
}

/**
 * What is promised, and must be proved. tests/architecture/requirements.test.ts fails on a promise that no test
 * names, and on a test that names none of these.
 */
export const requirements: readonly Requirement[] = [
  // One report.
  { id: "once.report", promise: "a step ends at the control plane exactly once" },
  { id: "once.fence", promise: "a worker that lost its lease can write nothing" },
  {
    id: "once.outbox",
    promise: "a report is sent until it is acknowledged, and never becomes a failure",
  },
  { id: "report.once", promise: "a look that failed is never taken for a step that is not there" },
  {
    id: "report.refused",
    promise: "a refused report is followed by one short failure, and its result is kept",
  },
  {
    id: "ended.quiet",
    promise: "what has ended at a control plane that guards nothing is settled without a word",
  },
  { id: "report.body", promise: "the report's body is what the wire contract asks for" },
  // No effect twice unseen.
  {
    id: "effect.unsafe-stays",
    promise: "what was begun as unsafe is not repeated unasked, whatever is said of it later",
  },
  { id: "effect.unsafe-once", promise: "an unsafe effect is never executed twice unseen" },
  {
    id: "effect.completed-once",
    promise: "a completed effect is read from the journal, never repeated",
  },
  {
    id: "effect.boundaries",
    promise: "killed at any boundary, the next worker does the right thing",
  },
  {
    id: "journal.fold",
    promise: "the journal is an event log, and what is known is a fold over it",
  },
  { id: "journal.once", promise: "an entry is journalled once, however often its reply is lost" },
  { id: "letter.ids", promise: "a dead letter's id says nothing of other tenants' dead letters" },
  {
    id: "letter.keeps",
    promise: "a dead letter keeps journal and result, and a retry resends or asks",
  },
  // A waiting step costs nothing.
  { id: "park.any-worker", promise: "any worker takes up a parked step" },
  {
    id: "park.early-wake",
    promise: "an answer that arrives while a step is being parked is not lost",
  },
  { id: "park.deadline", promise: "deadlines are absolute times, swept by every worker" },
  // Nothing is dropped.
  {
    id: "dead-letter.unreadable",
    promise: "a job that breaks whoever reads it ends as a letter, no worker",
  },
  {
    id: "dead-letter.past-record",
    promise: "what nothing else ends becomes a dead letter, past the record if it must be",
  },
  {
    id: "dead-letter.first-cause",
    promise: "a dead letter says the first cause, and what may have run",
  },
  {
    id: "record.damaged",
    promise:
      "a damaged record is its own step's trouble: it ends in bounded time, and holds up no other",
  },
  { id: "record.job-wins", promise: "a kept job takes the place of an unreadable delivery" },
  { id: "voice", promise: "a step's end is one line at info that says how it ended" },
  {
    id: "job.vanished",
    promise: "a job whose entry vanishes from the stream is published again, once",
  },
  {
    id: "store.trouble",
    promise: "a store's rejection says whose trouble it is, by its code",
  },
  {
    id: "store.permissions",
    promise:
      "a Redis user who may not do all that a step needs is refused at the start, with the names of the commands",
  },
  {
    id: "store.failover",
    promise: "a demoted primary is left for whoever has its name now, without a restart",
  },
  { id: "time.jumps", promise: "a jump of the wall clock neither steals a lease nor keeps one" },
  { id: "job.round-trip", promise: "a job is read as it was written, in both wire forms" },
  {
    id: "worker.young-garbage",
    promise: "what an ended step held does not wait for a full collection of garbage",
  },
  { id: "job.garbage", promise: "garbage never throws, and is kept with what is wrong with it" },
  { id: "job.ids", promise: "an id that a header, path or store refuses names no step" },
  { id: "job.depth", promise: "a job nested too deep is refused at the door, by name" },
  { id: "job.human", promise: "FerrumDeck's `human` is an approval step" },
  {
    id: "record.corrupt",
    promise: "a record that can't be read becomes a dead letter, never a fresh start",
  },
  { id: "version.read", promise: "what an earlier version parked is read and finished by today's" },
  { id: "drain.released", promise: "a draining worker hands its jobs back, uncounted" },
  // What comes from outside.
  {
    id: "text.well-formed",
    promise: "text is cut at a character, and holds no half of a pair and no U+0000 when it leaves",
  },
  { id: "number.exact", promise: "a number that a double cannot hold is refused, never rounded" },
  { id: "json.door", promise: "JSON from outside is read whole, or refused with what is wrong" },
  // The embedded control plane.
  { id: "plane.bodies", promise: "no JSON body makes the embedded control plane fail" },
  { id: "plane.silent", promise: "what was enqueued and never heard of is enqueued again" },
  {
    id: "approval.told",
    promise: "a no and an expiry are told to the worker, never shown as a yes",
  },
  { id: "budget.before", promise: "a budget denies the call that would break it" },
  { id: "budget.null", promise: "null takes a limit away" },
  {
    id: "ferrumdeck.ends",
    promise: "beside FerrumDeck's gateway nothing hangs, and no run goes on after its end",
  },
  { id: "lease.foreign", promise: "a job that a Python worker took is left to it for 15 minutes" },
  { id: "doctor.mcp-file", promise: "`doctor` names what means nothing in the MCP file" },
  // What answers.
  { id: "answer.report", promise: "a report is accepted by the step's own view alone" },
  { id: "answer.plain", promise: "what can't be read is passing trouble, to every call" },
  { id: "answer.forbidden", promise: "a 403 on a run is not a refused key" },
  { id: "health.memory", promise: "what was advertised is never forgotten downwards" },
  { id: "health.unknown", promise: "what a control plane can do is read from its own words only" },
  { id: "http.ids", promise: "an id that is none is refused before anything is sent" },
  { id: "http.pool", promise: "a call that can't be sent takes no connection with it" },
  { id: "http.bound", promise: "an answer, and an event, has a bound" },
  { id: "trace.check-tool", promise: "a check of a tool carries the trace it belongs to" },
  {
    id: "schema.bounded",
    promise: "no foreign schema makes a check throw, wait, or work beyond its bound",
  },
  {
    id: "schema.apart",
    promise: "a schema that takes long holds up no control plane, and no tenant but its own",
  },
  { id: "output.parsed", promise: "JSON in a model's answer is found wherever it stands" },
  { id: "output.repair", promise: "a model that is asked to mend its answer is shown it" },
  { id: "input.ferrumdeck", promise: "inputs that FerrumDeck's worker takes are taken" },
  { id: "schema.drafts", promise: "schemas are read by the rules of the draft that they name" },
  // Trouble.
  {
    id: "trouble.waits",
    promise:
      "passing trouble and the worker's own are waited out; a step's own is handed on at once",
  },
  {
    id: "trouble.whole-worker",
    promise: "a running worker outlives a store that is full or demoted, and loses no job to it",
  },
  {
    id: "trouble.wait-ends",
    promise: "a wait ends when its state is left, the worker drains or the step's time is up",
  },
  {
    id: "trouble.ours",
    promise: "a worker that is refused says once what to do, and takes no jobs until it is fixed",
  },
  {
    id: "trouble.keeps",
    promise:
      "trouble of the keeping costs nothing but time: no effect is repeated, nothing is counted",
  },
  {
    id: "trouble.before-cost",
    promise: "nothing is paid for before what must be kept of it can be kept",
  },
  { id: "sources.survive", promise: "no exception ends one of the worker's endless loops" },
  {
    id: "events.text",
    promise: "whoever watches a run hears what its model says as it says it, in whatever worker",
  },
  { id: "sources.silence", promise: "a store that answers nothing is told of, and its return" },
  { id: "sources.all-due", promise: "all timers that are due fire in one turn" },
  {
    id: "sources.room",
    promise: "jobs that arrive when the room is gone are released at once, uncounted",
  },
  {
    id: "cancellations.calls",
    promise: "the watch for cancellations leaves a small allowance of calls alone",
  },
  // Policy and people.
  { id: "policy.closed", promise: "policy that can't answer plainly never allows" },
  { id: "policy.deny-default", promise: "a tool that no list names is denied" },
  {
    id: "policy.resolved",
    promise: "a tool is judged and called as one pair of server and name, whatever its spelling",
  },
  {
    id: "policy.holds",
    promise:
      "a permission is used where it holds: it is looked at again before every later execution",
  },
  {
    id: "policy.after-waits",
    promise: "what was judged before a wait is judged again after it, however short the wait was",
  },
  {
    id: "policy.spelled",
    promise:
      "a path that is denied is denied in every spelling, and one that is not allowed is in none",
  },
  { id: "policy.order", promise: "of the lists, denied beats asked for, which beats allowed" },
  { id: "policy.apart", promise: "a yes to one of several calls under way is none to another" },
  { id: "policy.stricter", promise: "of two verdicts the stricter one holds" },
  { id: "policy.denied-never", promise: "what was denied or rejected is never executed" },
  { id: "approval.exact", promise: "a grant is for exactly what was shown" },
  {
    id: "policy.inner",
    promise: "what a handler does beyond the step's own action is judged by the same lists",
  },
  {
    id: "approval.answered",
    promise: "a question that was answered before it is put again is read at once",
  },
  {
    id: "approval.clock",
    promise: "the control plane's clock alone ends a question that it holds",
  },
  { id: "approval.used-once", promise: "a grant is used once" },
  { id: "approval.expired", promise: "a question that nobody answers in time ends its step" },
  { id: "approval.parallel", promise: "of several questions at once, each needs its own yes" },
  { id: "approval.nested", promise: "a question after a yes waits for an answer of its own" },
  { id: "approval.forged", promise: "an approval in a job's own data counts for nothing" },
  // The machines.
  { id: "paths.step", promise: "every simple path of the step chart keeps every promise" },
  {
    id: "paths.restore",
    promise: "at every state a snapshot is restored in the same state and finishes",
  },
  { id: "paths.interrupts", promise: "every state answers cancel, deadline, lost lease and drain" },
  { id: "paths.supervisor", promise: "the supervisor never exceeds its capacity, on any path" },
  { id: "compile.paths", promise: "on every path a compiled chart does as the interpreter does" },
  {
    id: "compile.histories",
    promise: "so it does on histories that no path has, and after a restore",
  },
  { id: "compile.charts", promise: "so does any pure chart, not the step's alone" },
  { id: "interrupt.cancel", promise: "a cancelled run takes its steps with it" },
  { id: "interrupt.stop", promise: "a worker that stops leaves no step working" },
  {
    id: "interleavings",
    promise: "grants, cancels, expiries and take-overs are right in any order",
  },
  { id: "retry.bounds", promise: "a retry comes no sooner than asked for, and within its bounds" },
  {
    id: "retry.untried",
    promise:
      "a wait for a neighbour that could not be asked is no attempt, takes no place and has an end",
  },
  { id: "bulkhead.limit", promise: "no more steps of a type execute at once than its limit" },
  { id: "status.spelling", promise: "statuses are read in either spelling" },
  {
    id: "store.pins",
    promise: "of a tool server, what was accepted first is what all workers read",
  },
  {
    id: "store.batched",
    promise: "moves that are sent to Redis together do and answer what they do one after the other",
  },
  { id: "store.conformance", promise: "both backends keep the same promises" },
  // The public kit.
  { id: "kit.sound", promise: "the kit finds no fault in a sound handler" },
  { id: "kit.finds", promise: "the kit finds a planted bug, and prints how to see it again" },
  { id: "kit.tools", promise: "the kit tries a tool by its real schemas and annotations" },
  ...historyRequirements,
  ...replayRequirements,
  // Ports.
  {
    id: "port.throws",
    promise: "an adapter that throws where it should answer makes its job wait, and is named",
  },
  {
    id: "llm.refused-key",
    promise:
      "a model provider's refused key is shown to it once a minute, and fails no step at once",
  },
  {
    id: "llm.refused-model",
    promise:
      "a model that the key may not ask for holds up no other of its provider, and fails its steps once the key is seen to be good",
  },
  {
    id: "llm.tool-names",
    promise: "a tool's name reaches each provider in its alphabet, and comes back as it was",
  },
  {
    id: "output.broken",
    promise: "a part of a broken answer is never taken for the answer",
  },
  {
    id: "llm.rejected-parameter",
    promise: "a parameter that a model refuses by name is left out, said, and not sent to it again",
  },
  {
    id: "llm.window",
    promise: "an agent's conversation is folded by the window of the model that it asks",
  },
  {
    id: "events.restart",
    promise: "a watcher is told where an answer broke off and is begun again",
  },
  {
    id: "llm.chain-passes",
    promise: "what may pass for one link of a chain of fallbacks may pass for the chain",
  },
  {
    id: "llm.held-steps",
    promise: "steps of a provider that can't be asked wait uncounted, and hold up no other's",
  },
  {
    id: "llm.in-its-place",
    promise: "a page in a model provider's place is tried again, and is no step's fault",
  },
  {
    id: "retrieval.in-its-place",
    promise: "what answers in the retrieval service's place is tried again, and is no job's fault",
  },
  { id: "retrieval.words", promise: "a word is found whatever its case, accents or particle" },
  { id: "retrieval.addresses", promise: "a public name leads to no internal address" },
  { id: "retrieval.index", promise: "a collection finds by words and meaning, or fails" },
  { id: "retrieval.incremental", promise: "an ingest reads again only what changed" },
  { id: "retrieval.unfinished", promise: "a collection whose ingest was interrupted says so" },
  { id: "retrieval.whole-files", promise: "readers and crashes see whole states of a file" },
  { id: "retrieval.file-trouble", promise: "a collection's damaged file is named" },
  { id: "retrieval.chunks", promise: "chunks keep to their bound and lose no word" },
  { id: "retrieval.embeddings", promise: "embeddings are asked for once; refusals are told" },
  { id: "retrieval.commands", promise: "files are ingested and found by the command line" },
  { id: "retrieval.configured", promise: "a step names only a configured collection" },
  { id: "retrieval.exact", promise: "a retrieval service's numbers are kept exactly, or refused" },
  { id: "retrieval.bounds", promise: "a search is bounded by its texts and never holds the loop" },
  { id: "folders.end", promise: "a folder that can't be made is an error, never a wait" },
  { id: "tests.report", promise: "a test run says which tests failed, why and where" },
  {
    id: "path.completes",
    promise:
      "checkLifecycle fails a handler that does not complete even where nothing goes wrong, unless policy denies it",
  },
  { id: "tests.arguments", promise: "no argument of a caller becomes an option of a runner" },
  {
    id: "tests.sandbox",
    promise: "a project's code writes in its folder alone, and has no network",
  },
  {
    id: "tests.unplanted",
    promise: "a project's code leaves no git folder or installed program that runs outside later",
  },
  { id: "tests.bounds", promise: "a run ends in its time, with all that it started" },
  ...evalRequirements,
  ...modelRequirements,
  ...planeRequirements,
  ...processRequirements,
  ...screeningRequirements,
  ...toolRequirements,
  ...workflowRequirements,
  ...packageRequirements,
];
