import { realpathSync } from "node:fs";
import { readCommandLine, serve } from "../shared/server-tool.ts";
import { add } from "./add.ts";
import { branch } from "./branch.ts";
import { checkout } from "./checkout.ts";
import { clone } from "./clone.ts";
import { commit } from "./commit.ts";
import { diff } from "./diff.ts";
import { log } from "./log.ts";
import { push } from "./push.ts";
import { readRemotePolicy } from "./remotes.ts";
import { show } from "./show.ts";
import { status } from "./status.ts";

const name = "stateplane-mcp-git";
const context = readCommandLine(
  name,
  {
    // The folder that holds the repositories; `--workspace` is its older name.
    root: { type: "string" },
    workspace: { type: "string" },
    "allow-host": { type: "string", multiple: true },
    protect: { type: "string", multiple: true },
    token: { type: "string", multiple: true },
  },
  (values) => {
    const folder = values.root ?? values.workspace ?? process.env["FD_WORKSPACE_DIR"];
    if (!folder) throw new Error("give --root DIR, or set FD_WORKSPACE_DIR");
    return {
      workspace: realpathSync(folder),
      remotes: readRemotePolicy({
        hosts: values["allow-host"] ?? [],
        protect: values.protect ?? ["main", "master"],
        tokens: values.token ?? [],
        env: process.env,
      }),
    };
  },
);

const tools = [status, diff, log, show, add, commit, branch, checkout, clone, push];
serve(name, tools, context);
