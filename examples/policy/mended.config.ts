import { defineConfig } from "../../cli/library.ts";
import holed from "./stateplane.config.ts";

/*
 * The hole closed where no function can open it again: the list asks about every push, and the strictest of list, policy
 * function and control plane holds.
 *
 *   stateplane policy prove --tool push_files --unapproved --config mended.config.ts
 */
export default defineConfig({
  ...holed,
  allowlist: { allowed: [], approvalRequired: ["push_files"] },
});
