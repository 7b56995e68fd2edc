import type { Type } from "arktype";
import { serverTool } from "../shared/server-tool.ts";
import type { RemotePolicy } from "./remotes.ts";

/** What every call to this server works with. */
export interface GitContext {
  /** The real path of the folder that holds the repositories. */
  workspace: string;
  remotes: RemotePolicy;
}

/** {@link serverTool} for this server's context. */
export const gitTool = <Input extends Type, Output extends Type<object>>(
  definition: Parameters<typeof serverTool<GitContext, Input, Output>>[0],
) => serverTool<GitContext, Input, Output>(definition);
