import { type Verdict, verdict } from "../../../machines/contracts/domain/action.ts";
import { toolLabel, type ToolPair } from "../../../machines/contracts/domain/tool-lists.ts";
import { isJsonObject, type Json } from "../../../machines/contracts/domain/json.ts";
import type { SchemasApart } from "../../../machines/contracts/ports/schema-checker.ts";
import type { Tool } from "./documents.ts";

/*
 * How hard a call is to take back decides how it is answered, in FerrumDeck's words:
 *
 *   R1  reversible      a registered tool that reads        allowed, and logged
 *   R2  costly          one that writes                     allowed within the run's budget
 *   R3  irreversible    one that destroys                   a person is asked
 *   R3  unregistered    a tool that nobody has registered   a person is asked
 *
 * A registry without any tool has no say: whoever has registered none goes by the agents' lists and policies alone.
 */
const levels = {
  read: { level: "R1", reversibility: "reversible" },
  write: { level: "R2", reversibility: "costly" },
  destructive: { level: "R3", reversibility: "irreversible" },
} as const;

export interface ResponseLevel {
  level: "R1" | "R2" | "R3";
  reversibility: "reversible" | "costly" | "irreversible" | "unregistered";
  verdict: Verdict;
}

/** Null where nothing is registered. Of a name that could be several tools, the hardest to take back. */
export function responseLevel(registry: readonly Tool[], call: ToolPair): ResponseLevel | null {
  if (registry.length === 0) return null;
  const label = `tool "${toolLabel(call)}"`;
  const found = registry.filter((tool) => isTool(tool, call)).map(({ riskLevel }) => riskLevel);
  if (found.length === 0) {
    const reason = `${label} is not registered: a person is asked`;
    return { level: "R3", reversibility: "unregistered", verdict: verdict.ask(reason) };
  }
  const risk = found.includes("destructive")
    ? "destructive"
    : found.includes("write")
      ? "write"
      : "read";
  const known = levels[risk];
  const said = `${label} is registered as ${known.reversibility}`;
  const isAsked = known.level === "R3";
  return {
    ...known,
    verdict: isAsked ? verdict.ask(`${said}: a person is asked`) : verdict.allow(said),
  };
}

/** By its slug, which is the tool's name on its server, or `server/tool`. */
export function isTool({ slug, mcpServer }: Tool, { server, name }: ToolPair): boolean {
  if (server === null) return slug === name || slug.endsWith(`/${name}`);
  return slug === `${server}/${name}` || (slug === name && mcpServer === server);
}

/**
 * What is wrong with a call's arguments by the schema that its tool is registered with, and where; null for nothing. Of a
 * name that could be several tools, only what breaks the schemas of them all.
 */
export async function schemaProblem(
  schemas: SchemasApart | null,
  registry: readonly Tool[],
  { input, ...tool }: ToolPair & { input: Json },
): Promise<string | null> {
  return argumentProblem(
    schemas,
    registry.filter((one) => isTool(one, tool)),
    input,
  );
}

/** Likewise, of the schemas of one name. */
export async function argumentProblem(
  schemas: SchemasApart | null,
  of: readonly Pick<Tool, "tenantId" | "inputSchema">[],
  input: Json,
): Promise<string | null> {
  if (schemas === null) return null;
  const value = isJsonObject(input) ? input : { "": input };
  let problem: string | null = null;
  for (const { inputSchema, tenantId } of of) {
    if (Object.keys(inputSchema).length === 0) return null;
    const said = await schemas.check(tenantId, inputSchema, value);
    if (said.kind !== "invalid") return null;
    problem ??= said.problem;
  }
  return problem;
}
