import { join } from "node:path";
import type { Type } from "arktype";
import { FolderQueue } from "../shared/folder-queue.ts";
import { serverTool } from "../shared/server-tool.ts";
import type { RemotePolicy } from "./remotes.ts";

/** What every call to this server works with. */
export interface GitContext {
  /** The real path of the folder that holds the repositories. */
  workspace: string;
  remotes: RemotePolicy;
}

const queue = new FolderQueue();

/**
 * {@link serverTool} for this server's context. Calls that change a repository wait for each other: git itself fails
 * where another git holds its lock, and what is told of a call would be another's doing.
 */
export function gitTool<Input extends Type, Output extends Type<object>>(
  definition: Parameters<typeof serverTool<GitContext, Input, Output>>[0],
) {
  const tool = serverTool<GitContext, Input, Output>(definition);
  if (definition.annotations.readOnlyHint) return tool;
  const call: typeof tool.call = (given, context) => {
    const repo = isObject(given) ? given["repo"] : undefined;
    if (typeof repo !== "string") return tool.call(given, context);
    const folder = join(context.workspace, repo);
    return queue.run(folder, context.signal, () => tool.call(given, context));
  };
  return { ...tool, call };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;
