import type { Requirement } from "./requirements.ts";

/** What is promised of the process itself: how it starts, what it holds and hides, how it falls. */
export const processRequirements: readonly Requirement[] = [
  { id: "net.descriptors", promise: "no child gets a descriptor that our starter left open" },
  {
    id: "sandbox.narrowed",
    promise: "a job may have less of the sandbox than is configured, and never more",
  },
  { id: "dev.key", promise: "the key of dev is in no file of the project" },
  {
    id: "net.environment",
    promise: "what the program was started with, keys included, is not in its environment block",
  },
  { id: "net.profiled", promise: "a profiler is no reason to die at the start" },
  { id: "net.fall", promise: "what nobody caught is one line, and ends the process cleanly" },
  {
    id: "net.stalled-loop",
    promise: "a loop that stands still for longer than a lease ends its process",
  },
  {
    id: "net.hung-call",
    promise: "a call to the control plane that outlives its own deadline ends this worker",
  },
  { id: "log.stalled", promise: "a log whose reader stands still holds up no worker" },
  { id: "net.stale-note", promise: "a killed `dev` is never taken for a running one" },
  { id: "redis.kept", promise: "a private Redis that ends is started again on the same data" },
  { id: "redis.emptied", promise: "a worker says that its store has lost what was in it" },
  {
    id: "redis.lost",
    promise: "a private Redis that can't be kept running ends its program, which says what to do",
  },
  {
    id: "redis.owner",
    promise: "of the programs that use a private Redis one starts it, and it is never left to none",
  },
  {
    id: "stop.store-away",
    promise: "a program that is told to end while its store is away waits for no answer of it",
  },
  { id: "stop.second-signal", promise: "a second signal ends the process, whatever hangs" },
  { id: "net.closed-output", promise: "a closed standard output drains and leaves nothing behind" },
  { id: "tracing.exit", promise: "a silent collector delays an exit by no more than its bound" },
  {
    id: "secrets.by-value",
    promise: "a secret that the process holds is in no log line, failure, span or printed error",
  },
  {
    id: "secrets.files",
    promise:
      "a secret NAME may stand in the file that NAME_FILE names; one that can't be used is named, and its content is not",
  },
  { id: "secrets.linear", promise: "looking for secrets takes linear time, whatever the text is" },
  { id: "secrets.by-name", promise: "what stands under a secret's name in a text is hidden" },
  {
    id: "metrics.worker",
    promise:
      "a worker answers for its health, and counts what it does, without naming a run or a step",
  },
  {
    id: "metrics.trouble",
    promise:
      "a port that is taken and a collector that is away are said once each, and steps go on",
  },
  {
    id: "metrics.summed",
    promise: "what a worker counts is exported as OpenTelemetry's own instruments would export it",
  },
  { id: "metrics.doc", promise: "each metric is documented, and the dashboard asks for no other" },
  {
    id: "traces.gen-ai",
    promise:
      "calls of models and tools are spans by OpenTelemetry's conventions, without what was said",
  },
  {
    id: "traces.links",
    promise: "each attempt at a step is a span, linked to the one before: waiting is no span",
  },
  {
    id: "traces.unsampled",
    promise: "a step that is not sampled has no span, and neither has what it calls",
  },
  {
    id: "traces.one-tree",
    promise:
      "the spans of a run are one tree, from its submission to its reports, across processes",
  },
  {
    id: "traces.content",
    promise:
      "what models and tools were told and said is in spans only where a worker is told to, without secrets",
  },
  {
    id: "traces.ferrumdeck",
    promise: "FerrumDeck's names and spans of verdicts are sent where they are asked for",
  },
  {
    id: "traces.tree",
    promise: "a run's trace tells what each step touched, and its times and costs add up",
  },
  {
    id: "sandbox.calls",
    promise:
      "a sandboxed program is refused the system calls that lead out of a namespace or to uncounted memory",
  },
  {
    id: "sandbox.memory",
    promise: "memory that no process maps counts against a sandboxed run like any other",
  },
  {
    id: "sandbox.cgroup",
    promise:
      "where a cgroup can be made, no sandboxed run holds more than its limit for a moment, and none outlives its run or worker",
  },
  {
    id: "sandbox.without-boundary",
    promise:
      "code runs as the worker's user only where its owner says so twice, and what is held all the same is told from what is not",
  },
  {
    id: "sandbox.attested",
    promise: "no sandbox driver runs a job before it has held against every probe",
  },
  {
    id: "sandbox.container",
    promise:
      "a container is closed, held to every probe, and removed by name when it is late or its worker is gone",
  },
  {
    id: "sandbox.files",
    promise:
      "files that sandboxed code leaves are kept within limits and never through a link, and what is left out is said",
  },
  {
    id: "sandbox.output",
    promise: "what sandboxed code is given, prints and ends with is told apart, and exactly",
  },
];
