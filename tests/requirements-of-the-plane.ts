import type { Requirement } from "./requirements.ts";

/** What is promised of the embedded control plane. */
export const planeRequirements: readonly Requirement[] = [
  { id: "plane.store-away", promise: "a control plane says when its store is away, and is back" },
  {
    id: "audit.tampering",
    promise: "an entry of the audit that was changed, removed, moved or added shows",
  },
  {
    id: "airlock.judges",
    promise: "the Airlock lets ordinary calls and files pass, and refuses hostile ones",
  },
  {
    id: "airlock.hosts",
    promise: "a host is found however it is spelled, and no other is taken for it",
  },
  { id: "airlock.pace", promise: "a run's calls count once each, in bounded memory" },
  { id: "airlock.modes", promise: "shadow mode changes nothing, and no finding tells a secret" },
  { id: "airlock.linear", promise: "inspection takes time in proportion to the arguments" },
  { id: "airlock.plane", promise: "check-tool answers what was found in FerrumDeck's fields" },
  {
    id: "airlock.shadow",
    promise: "in shadow mode every finding is audited, and every call decided as without it",
  },
  {
    id: "airlock.drift",
    promise: "arguments are compared with the schema that the tool is registered with",
  },
  {
    id: "airlock.worker",
    promise: "a worker whose control plane inspects nothing inspects by itself",
  },
  {
    id: "provenance.found",
    promise: "an argument that was copied out of a tool's result is found",
  },
  {
    id: "provenance.quiet",
    promise: "an agent that mends files is not asked where their texts come from",
  },
  {
    id: "provenance.linear",
    promise: "the search for copied arguments takes time in proportion to the texts",
  },
  {
    id: "provenance.asked",
    promise: "a person is asked about a copied argument, and shown where it came from",
  },
  {
    id: "agents.combination",
    promise: "an agent that combines private data, untrusted content and a way out is named",
  },
  { id: "plane.apart", promise: "a run that can't go on fails alone, and holds up no other" },
  {
    id: "workflow.asked",
    promise: "no step of a workflow is asked more than a bounded text, however it selects it",
  },
  {
    id: "workflow.turns",
    promise:
      "however much the steps of a run ask or bring at once, no change is longer than a bound",
  },
  { id: "console.statuses", promise: "the console knows every status of a run" },
  { id: "audit.cut", promise: "an audit whose end was cut off, its head with it, shows" },
  { id: "audit.head", promise: "a chain made anew shows to whoever noted a head down" },
  {
    id: "policy.priority",
    promise: "the highest priority decides, and there deny before ask before allow",
  },
  { id: "policy.malformed", promise: "a policy that can't be read denies every call" },
  {
    id: "policy.unsure",
    promise: "a policy lets through what is surely meant, and holds back what may be",
  },
  { id: "policy.narrows", promise: "no policy lets through what the agent's lists hold back" },
  {
    id: "policy.proved",
    promise:
      "policy prove says no where no call can run unapproved, and shows the way where one can",
  },
  {
    id: "registry.levels",
    promise:
      "a call that is hard to take back, or of a tool that nobody registered, is asked about",
  },
  {
    id: "registry.promoted",
    promise: "runs use the promoted version of their agent until another is promoted",
  },
  {
    id: "approval.four-eyes",
    promise: "where a policy asks for four eyes, nobody approves a request of their own",
  },
  {
    id: "notice.sent",
    promise:
      "a webhook is told of a question in a message that Slack takes, signed, without secrets",
  },
  {
    id: "notice.retried",
    promise: "a webhook that is away is told later, over restarts, and holds up no step",
  },
  {
    id: "notice.configured",
    promise: "a webhook's address and secret come from environment or file, and are in no log line",
  },
  { id: "notice.reminded", promise: "people are reminded of a question before it closes" },
  {
    id: "link.once",
    promise:
      "a link decides nothing when fetched, and its question once; its token is kept nowhere",
  },
  {
    id: "link.terms",
    promise: "who opens a link answers under the same roles and four eyes as with a key",
  },
  {
    id: "link.page",
    promise: "a link opens its question in a browser on a phone, and what is asked is never markup",
  },
  {
    id: "approval.handed-over",
    promise: "a question that nobody answers goes to each role that its policy names, then is a no",
  },
  { id: "approval.role", promise: "where a policy names a role, no other key answers" },
  {
    id: "plane.alone",
    promise: "the control plane serves alone, for workers in processes of their own",
  },
  {
    id: "plane.backup",
    promise: "a copy made while the control plane runs is whole, and is served from",
  },
  { id: "run.once", promise: "a run asked for again under one idempotency key is made once" },
  {
    id: "plane.described",
    promise: "the OpenAPI document describes every route of the control plane, and no other",
  },
  {
    id: "plane.answers",
    promise: "whatever is asked, by whichever key, the answer is one that the document describes",
  },
  {
    id: "tenant.unseen",
    promise: "an id of another tenant is answered exactly like one that nobody has",
  },
  {
    id: "budget.shared",
    promise:
      "what all runs of an agent or a tenant spend and reserve together passes no budget of theirs",
  },
  {
    id: "plane.full-disk",
    promise:
      "a full disk is named, nothing is half-written, and the control plane goes on once there is room",
  },
  {
    id: "bound.streams",
    promise: "a stream of events ends with its key, and a key opens only so many",
  },
  { id: "bound.bodies", promise: "no body is read before the key that comes with it" },
  {
    id: "bound.lists",
    promise: "a page of a list is bounded in its length, and nothing is left out",
  },
  { id: "bound.webhooks", promise: "a webhook that never answers holds no other up" },
  { id: "bound.notices", promise: "a question of any length is shown outside in bounded time" },
  {
    id: "bound.leftovers",
    promise: "what a killed process left beside the database is removed at the next start",
  },
  { id: "tenant.lists", promise: "no list of a tenant has anything of another's" },
  { id: "tenant.volume", promise: "no number tells a tenant how much others do" },
  { id: "tenant.events", promise: "a tenant hears of its own runs alone" },
  { id: "tenant.keys", promise: "a tenant's keys are its own, and none of them is a worker's" },
  {
    id: "tenant.policies",
    promise: "the operator's policies bind every tenant, and no priority of a tenant's lifts them",
  },
  { id: "tenant.rate", promise: "a tenant's keys together make as many calls as it may" },
  {
    id: "tenant.migrated",
    promise: "what was kept before there were tenants is the operator's, and nobody else's",
  },
  { id: "key.hashed", promise: "no secret of a key, present or past, is kept anywhere" },
  {
    id: "key.rate",
    promise: "a key makes as many calls a minute as it may, and is told when it may again",
  },
  { id: "key.revoked", promise: "a revoked key opens nothing, and a secret is told once" },
  { id: "key.scopes", promise: "a key does what its scopes say, and nothing else" },
  { id: "key.worker", promise: "a worker's key runs steps and answers no question of its own" },
  { id: "plane.layouts", promise: "a file of an earlier layout keeps all that it held" },
  {
    id: "plane.lists",
    promise: "what is listed a page at a time is what is there, and nothing else",
  },
  {
    id: "plane.dead-letters",
    promise: "dead letters are listed by the control plane, and retried once",
  },
  {
    id: "events.resumed",
    promise: "a stream of events that broke goes on where it was, with nothing missing or twice",
  },
  {
    id: "events.gone",
    promise: "a client whose events are no longer kept is told so, and gets the present state",
  },
  // The console.
  {
    id: "console.origin",
    promise: "no page of another origin, nor one whose name was pointed here, calls the plane",
  },
  { id: "console.closed", promise: "nothing runs in the console but its own files" },
  { id: "console.key", promise: "the console's key is in no address and is kept in its tab alone" },
  { id: "console.keyboard", promise: "the console is worked by the keyboard alone" },
  {
    id: "console.evals",
    promise: "the console shows the operator what evals found, down to the states of a step",
  },
  { id: "console.hostile", promise: "hostile text does no harm in the console, and hides nothing" },
  {
    id: "console.readable",
    promise: "the console fits a phone, and has contrast in light and dark",
  },
  { id: "console.files", promise: "the console serves the page's own files and no others" },
  // The inspector.
  {
    id: "inspector.closed",
    promise: "the inspector tells nobody anything without its token, and no page of another origin",
  },
  {
    id: "inspector.live",
    promise: "a step is seen moving through its states on its machine's own chart",
  },
  {
    id: "inspector.history",
    promise: "a step's history can be stepped back through, with its context then and no secret",
  },
  {
    id: "inspector.filter",
    promise: "machines are found by run, step, state and outcome, in memory and in the store",
  },
  {
    id: "inspector.machines",
    promise: "supervisor, steps, agents' loops and workflows are each seen on their own chart",
  },
  {
    id: "inspector.bounded",
    promise: "whatever happens, and however slow a page is, the inspector's memory is bounded",
  },
  {
    id: "inspector.flood",
    promise:
      "of a flood of steps some are followed, what lasts or fails is seen, and the rest is counted",
  },
  { id: "inspector.notes", promise: "no note of a killed worker's inspector stays" },
  { id: "inspector.idle", promise: "while nobody looks, nothing is inspected" },
  { id: "inspector.phone", promise: "the inspector fits a phone, and finds its worker again" },
  {
    id: "inspector.stately",
    promise: "Stately's tools are told of the machines in their own words, once somebody says so",
  },
  {
    id: "approval.edited",
    promise:
      "a call that a person edits before saying yes is made with exactly the edited arguments",
  },
  {
    id: "runs.left-at-work",
    promise: "no step of an ended run is said to run for ever because its worker is gone",
  },
  {
    id: "runs.cut-short",
    promise:
      "of an ended run it is seen when it began, which steps were cut short at work, and what these did",
  },
  {
    id: "approval.digest",
    promise: "a call has the digest of the approval that let it run, whoever made it",
  },
  {
    id: "approval.edit-judged",
    promise: "an edited call is judged anew, by the control plane and by the worker",
  },
  { id: "link.whole", promise: "a link's page takes a yes only to what it shows, all of it" },
];
