import type { Requirement } from "./requirements.ts";

/** What is promised of model calls, money and the agent loop. */
export const modelRequirements: readonly Requirement[] = [
  // Models.
  { id: "steps.doc", promise: "the page on steps names each key that a step's input may have" },
  { id: "llm.names", promise: "a model's name leads to its provider, or to what would serve it" },
  { id: "llm.stream", promise: "an answer is read the same however its bytes are cut" },
  {
    id: "llm.pieces",
    promise: "an answer is the same in pieces as it is whole, and so is its bill",
  },
  { id: "llm.arguments", promise: "no call runs with other arguments than the model gave" },
  { id: "llm.lost-calls", promise: "calls that a provider has lost are no answer" },
  { id: "llm.bounds", promise: "no name or id in an answer is longer than its use" },
  { id: "llm.used", promise: "a model call that ends early says what it had used" },
  {
    id: "llm.endings",
    promise: "only a word that says so ends an answer well, whatever a server's dialect",
  },
  {
    id: "llm.many-calls",
    promise:
      "an answer with very many tool calls is read in time that grows with their number alone",
  },
  {
    id: "llm.calls-apart",
    promise: "each call of an answer stays one call, with exactly its arguments",
  },
  { id: "llm.counts", promise: "what a server leaves out of its counts is counted all the same" },
  { id: "llm.empty-error", promise: "an error field with nothing in it takes no answer away" },
  {
    id: "llm.content-parts",
    promise: "text and images of a message reach each provider in its form, or are refused by name",
  },
  {
    id: "start.model",
    promise: "with a key in the environment the first program asks the real model, tools and all",
  },
  { id: "llm.doctor-keys", promise: "doctor says which provider refuses its key, at no cost" },
  { id: "llm.tail", promise: "a whole answer is not waited for any longer" },
  { id: "llm.key-parts", promise: "no part of a key stands in a vendor's quoted words" },
  {
    id: "llm.idle",
    promise: "a stream that falls silent is noticed before the call's time is over",
  },
  { id: "llm.back-pressure", promise: "no more of an answer is read than its listener takes" },
  { id: "llm.fallback", promise: "who stands in for a model goes by the failure, and is said" },
  { id: "llm.circuit", promise: "a provider that fails again and again is left alone for a while" },
  { id: "llm.adaptive", promise: "a provider is asked for as much at once as it takes" },
  {
    id: "llm.parameters",
    promise: "a parameter is sent as its model takes it, or left out and named",
  },
  {
    id: "llm.echo",
    promise: "what a provider wants to see again goes back to it, and to nobody else",
  },
  {
    id: "llm.cache",
    promise: "the prefix that a loop sends again is marked for Anthropic's cache",
  },
  {
    id: "llm.recorded",
    promise: "a recorded conversation holds no secret and is played back as it was",
  },
  { id: "llm.hostile", promise: "whatever a provider sends is a reply or a failure of a kind" },
  {
    id: "llm.encoded",
    promise: "an answer is read whatever encodings and headers a server puts around it",
  },
  {
    id: "llm.connections",
    promise:
      "a model's connection is used again, left when the answer is over, and never waited for",
  },
  {
    id: "llm.proxy",
    promise: "models are reached through the environment's proxy where Node is told so",
  },
  { id: "llm.parts", promise: "an answer is told to the worker's listener as it comes" },
  // Money.
  {
    id: "budget.recording",
    promise:
      "a model call that is recorded live is reserved before it is made; one that is played back costs nothing",
  },
  {
    id: "budget.chain",
    promise: "a fallback is asked only where the budget holds it beside what was used in vain",
  },
  { id: "prices.facts", promise: "the price lists say what the vendors publish" },
  { id: "prices.long-context", promise: "a long input makes its whole call dearer" },
  { id: "prices.unknown", promise: "what has no price costs null, never 0" },
  { id: "prices.rounding", promise: "a cost is exact, and rounded up once a call" },
  {
    id: "budget.estimate",
    promise: "what a request may cost is estimated from above, in linear time",
  },
  { id: "prices.strict", promise: "where it is asked for, no model without a price is called" },
  {
    id: "budget.cut",
    promise: "a model call that was cut short with its worker counts with all that it held",
  },
  {
    id: "budget.held",
    promise:
      "a step that waits for a model's provider that can't be asked uses up no wall time of its run",
  },
  {
    id: "budget.words",
    promise: "a limit in words that nobody knows is refused where it comes in",
  },
  { id: "budget.atomic", promise: "many workers at once never pass a run's budget" },
  { id: "budget.calls", promise: "a call that a budget does not hold is never made" },
  { id: "budget.settled", promise: "what was reserved is settled on every way out of a call" },
  {
    id: "budget.answer-first",
    promise: "an answer that has come is kept before its reservation is settled, and both are done",
  },
  {
    id: "budget.ended",
    promise: "a run that is ended early counts what its model calls have used, those under way too",
  },
  { id: "budget.place", promise: "a call that never had a place at its provider costs nothing" },
  { id: "budget.looked", promise: "where nobody keeps reservations, the run is looked at first" },
  {
    id: "bills.golden",
    promise: "each kind of call costs what its vendor charges, to the micro-dollar",
  },
  { id: "output.cut", promise: "no part of a cut answer is taken for the whole" },
  { id: "output.linear", promise: "looking for JSON in an answer takes no longer than its length" },
  { id: "input.unpaid", promise: "bad input fails by name before anything is paid" },
  { id: "prices.shown", promise: "what models cost can be looked up" },
  {
    id: "loop.cap-changed",
    promise: "a bound that has changed since holds from an agent's first new answer on",
  },
  {
    id: "loop.window-used",
    promise: "what a model used before it refused a conversation for its length is counted",
  },
  {
    id: "loop.work-done",
    promise: "a failed agent step says what its calls did and its answers used, however it ended",
  },
  { id: "budget.tools", promise: "a tool call that a budget does not hold is never made" },
  { id: "budget.loop", promise: "a loop stops before the call that would pass its budget" },
  { id: "money.shown", promise: "amounts below a cent are shown as such, never rounded up" },
  // The agent loop.
  {
    id: "loop.deep",
    promise: "a call whose arguments no output could hold is told to the model, and never made",
  },
  {
    id: "compile.agent-loop",
    promise: "the agent loop's compiled chart does as XState's interpreter does",
  },
  { id: "loop.caps", promise: "an agent loop keeps its caps, and asks for one thing at a time" },
  {
    id: "loop.ends",
    promise: "an agent loop ends, and a bound that was met is never reported as an answer",
  },
  {
    id: "loop.doubt",
    promise: "a call that may have run is asked about, whatever has become of its tool since",
  },
  {
    id: "loop.shown",
    promise: "a yes covers the calls that were shown with their arguments, and no others",
  },
  { id: "loop.target", promise: "a call goes to the tool that the model was offered, or nowhere" },
  {
    id: "loop.lazy",
    promise: "what is finished is taken up without asking a server for its tools",
  },
  {
    id: "loop.whole",
    promise: "only a message that the model itself ended completes a step or has its calls run",
  },
  {
    id: "loop.reply-cap",
    promise: "one reply makes so many calls at most, and is told of the rest",
  },
  { id: "loop.no-progress", promise: "a model that goes in a circle is stopped" },
  {
    id: "loop.tools",
    promise: "an agent is offered what the lists let through, and nothing else",
  },
  {
    id: "loop.approval",
    promise: "a call that needs a person parks the step, and a yes is good for that one call",
  },
  { id: "loop.refusals", promise: "what is denied or refused is told to the model" },
  { id: "loop.arguments", promise: "no tool hears of a call that its model did not write well" },
  {
    id: "loop.failures",
    promise: "a tool's failure is told to the model, and trouble is waited out",
  },
  { id: "loop.repair", promise: "an answer is mended in the conversation it came from" },
  { id: "loop.long-results", promise: "a long result is shown in part and kept whole" },
  {
    id: "loop.worker-policy",
    promise: "that the worker's lists decide alone is said at start and in each verdict",
  },
  {
    id: "loop.ferrumdeck",
    promise: "beside FerrumDeck's gateway a run's task is worked on with the tools",
  },
  {
    id: "loop.judged",
    promise: "no tool of an agent runs without a verdict or an approval of its own digest",
  },
  {
    id: "loop.killed",
    promise: "a loop whose worker is killed goes on after the last finished call",
  },
  { id: "loop.cost", promise: "a late turn costs the store no more than an early one" },
  { id: "loop.window", promise: "a long conversation is made shorter by rule, the oldest first" },
  {
    id: "machine.export",
    promise:
      "an exported machine is XState's own JSON, with the same paths, and docs/machines.md shows it",
  },
  {
    id: "llm.proxies",
    promise: "what proxies do with OpenAI's API loses no answer, cuts none, and blames no key",
  },
];
