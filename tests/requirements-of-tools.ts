import type { Requirement } from "./requirements.ts";

/** What is promised of tool servers and of our client of them. */
export const toolRequirements: readonly Requirement[] = [
  {
    id: "mcp.exact",
    promise: "what a tool server sends is read exactly or refused, whichever way it comes",
  },
  { id: "mcp.bounds", promise: "what a tool server sends is bounded before it is kept" },
  {
    id: "mcp.schemas",
    promise: "a tool whose schema can't be applied is disabled, with the reason",
  },
  { id: "mcp.pins", promise: "tools that changed since they were accepted are not used" },
  { id: "mcp.screen", promise: "hidden characters and orders in a tool's texts are flagged" },
  { id: "mcp.apart", promise: "one tool or server that can't be used costs no other" },
  { id: "mcp.reason", promise: "why a tool server did not start is in the failure" },
  { id: "mcp.progress", promise: "progress prolongs a call, up to a bound" },
  { id: "mcp.real", promise: "the servers that people install work as they are" },
  {
    id: "mcp.attachments",
    promise: "what a tool gives beside text is kept as artifacts, and its bytes are in no record",
  },
  { id: "mcp.noise", promise: "what a tool server writes unasked changes no answer" },
  { id: "mcp.late", promise: "an answer that comes after its call was given up is nobody's" },
  { id: "mcp.twice", promise: "of a name that a tool server lists twice, the first counts" },
  { id: "mcp.limits", promise: "a tool's calls keep the limits of the tool and of its server" },
  {
    id: "mcp.sessions",
    promise:
      "a lost session is opened once more for all who wait, and no call is sent twice by that",
  },
  {
    id: "mcp.credentials",
    promise: "a server over HTTP gets the credentials that are meant for it",
  },
  { id: "mcp.eager", promise: "a server that is started eagerly is there before it is used" },
  { id: "mcp.served-eras", promise: "our tool servers speak both eras of the protocol" },
  { id: "mcp.eras", promise: "servers of both eras of the protocol are spoken to in their own" },
  {
    id: "mcp.refused-asks",
    promise:
      "what a tool server asks while its call is open, and of a model ever, is refused plainly",
  },
  {
    id: "mcp.questions",
    promise:
      "a stateless server's question becomes an approval request, and a yes says exactly what it shows",
  },
  { id: "mcp.trace", promise: "a tool server sees the trace of a call, and nothing else of it" },
  {
    id: "mcp.mid-call",
    promise:
      "a server that ends in the middle of a call leaves an unsafe one in doubt, a safe one to be tried again, and the next call works",
  },
  { id: "mcp.orphans", promise: "no tool server outlives its worker, even one that is killed" },
  {
    id: "mcp.own-processes",
    promise:
      "a server with processes of its own sees, signals and looks into no other, and all that it started ends with it",
  },
  { id: "mcp.cancel", promise: "only a call under way is cancelled at its server" },
  {
    id: "git.submodules",
    promise: "a submodule's commit is not staged, and is told where somebody else has staged it",
  },
  { id: "git.told", promise: "a repository's own files don't decide what is told of its commits" },
  { id: "git.exact-branch", promise: "a branch is the one of exactly that name, here and there" },
  { id: "git.names", promise: "names of any bytes are sent back to git as they are, or refused" },
  { id: "git.remotes", promise: "git reaches allowed https hosts and the workspace, nothing else" },
  {
    id: "git.token",
    promise: "a host's token goes to that host alone, and is in no output or file",
  },
  { id: "git.push", promise: "a push adds commits to one branch that is not protected" },
  { id: "git.closed", promise: "what a repository configures runs nothing and reads nothing else" },
  { id: "git.options", promise: "no argument of a caller becomes an option" },
  {
    id: "git.hostile",
    promise: "whatever a caller says, git alone starts, and nothing outside the root is touched",
  },
  {
    id: "tests.hostile",
    promise:
      "whatever a caller says, the named runner alone starts, and nothing outside the root is touched",
  },
];
