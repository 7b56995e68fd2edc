import { defineConfig, definePolicy, verdict } from "../../cli/library.ts";
import { pushFiles } from "./push-files.ts";

/*
 * A policy with a hole in it. It means to ask a person before anything is pushed; drafts were let through later, by a
 * rule that reads well:
 *
 *   stateplane policy prove --tool push_files --unapproved        finds the way through it
 */
const policy = definePolicy(({ kind, name, input }) => {
  if (kind !== "tool" || name !== "push_files") return verdict.allow("not about pushing");
  const branch = String(input["branch"]);
  return branch.startsWith("draft-") || branch.includes("/wip")
    ? verdict.allow("a draft, which nobody deploys")
    : verdict.ask("pushes are looked at by a person");
});

export default defineConfig({
  tools: [pushFiles],
  allowlist: { allowed: ["push_files"] },
  policy,
  agents: { writer: { allowedTools: ["push_files"] }, reader: { allowedTools: [] } },
  store: "sqlite",
});
