import type { Requirement } from "./requirements.ts";

/** What the package and the library promise to whoever installs them. */
export const packageRequirements: readonly Requirement[] = [
  {
    id: "package.installs",
    promise:
      "the packed package builds, installs into an empty project, runs there on the oldest Node that it names, and its types compile under strict",
  },
  {
    id: "library.functions",
    promise: "a user's function is found, judged and called by the rules between two MCP servers",
  },
  {
    id: "library.handlers",
    promise:
      "a handler takes over one step type or one tool, in tool steps and when a model calls it, and can fall through to what it stands before",
  },
  { id: "config.odd", promise: "a configuration whose own code throws or never ends is named" },
  { id: "config.never", promise: "a signal ends the program while its configuration is read" },
  {
    id: "watch.no-worker",
    promise: "where no worker takes a job, whoever waits for it is told so",
  },
  {
    id: "cli.watch-moved",
    promise:
      "whoever watches a run goes on watching it when `dev` is started again at another port",
  },
  {
    id: "cli.watch-last-line",
    promise: "the last line of a watch tells how the run ended, however early it ended",
  },
  {
    id: "cli.watch",
    promise: "`dev --watch` uses what changed, and goes on as it was where that can't be used",
  },
  {
    id: "secrets.sentences",
    promise: "a sentence about a secret keeps its words and brackets, and loses the secret",
  },
  {
    id: "cli.first-light",
    promise: "the example's question is shown in every terminal, on lines of at most 80 columns",
  },
  {
    id: "cli.narrow",
    promise: "what every command shows fits sixty columns, but for commands, digests and documents",
  },
  {
    id: "logs.no-stacks",
    promise:
      "no line of the log holds the stack of what somebody can mend, unless --debug asks for it",
  },
  {
    id: "config.services",
    promise: "what Kubernetes says in a variable of a service is no setting of ours",
  },
  {
    id: "config.all",
    promise:
      "all that is wrong with a configuration is said at once: each setting, whence it came, what was given unless it may be a secret, and what was expected",
  },
  {
    id: "cli.first-light-kept",
    promise: "the example, kept, prints commands that look at its run from another terminal",
  },
  {
    id: "cli.ids",
    promise: "an id of one kind that is given for another is told apart, with the command for it",
  },
  { id: "cli.init", promise: "`init` overwrites nothing, and says what it found" },
  {
    id: "package.first-step",
    promise:
      "docs/first-step.md, typed in as it stands in an empty folder, prints what it shows and ends with an approved call of one's own tool",
  },
  { id: "package.light", promise: "importing the library loads no vendor's SDK and no test tool" },
  { id: "library.examples", promise: "every example in a docstring of the public door runs" },
  {
    id: "library.users-code",
    promise:
      "what a user's handler, tool or policy returns or throws is one clear failure that names it, never a crash or an opening",
  },
];
