import type { CallResult } from "../../machines/agent-loop/context.ts";
import { type Failure, troubleOf } from "../../machines/contracts/domain/failure.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { cutText, wellFormedText } from "../../machines/contracts/domain/text.ts";
import type { ToolCall } from "../../machines/contracts/ports/model-provider.ts";
import type { ToolTarget } from "../../machines/contracts/ports/tool-host.ts";
import type { RuntimePorts } from "../ports.ts";
import type { Finding } from "../../machines/contracts/domain/screening/output-rules.ts";
import type { OfferedTools } from "./agent-tools.ts";
import type { StepScope } from "./handler.ts";
import { refusalOf, screenIncoming } from "./incoming.ts";

/** Characters of a result that the model is shown; of a longer one the artifact has all. */
export const shownLength = 20_000;
const shownEndLength = 4_000;

/** What is kept of a call whose tool was not called. */
export function toolless(
  call: ToolCall,
  tool: Pick<ToolTarget, "name" | "server"> | null,
  decision: CallResult["decision"],
  reason: string,
  content: string,
): CallResult {
  return {
    content: cutText(content, shownLength),
    error: cutText(content, shownLength),
    decision,
    reason: cutText(reason, 1_000),
    tool: tool?.name ?? cutText(call.name, 255),
    server: tool?.server ?? null,
    approvalId: null,
    digest: null,
    durationMs: 0,
    ran: false,
  };
}

/** Why the call can't be made as the model wrote it; null when it can. */
export function problemOf(
  { ports, offered }: { ports: Pick<RuntimePorts, "schemas">; offered: OfferedTools | null },
  call: ToolCall,
  tool: ToolTarget | null,
): string | null {
  if (tool === null) {
    const names = cutText(offered?.names().join(", ") ?? "", 1_000) || "none";
    return `there is no tool "${cutText(call.name, 100)}"; the tools are: ${names}`;
  }
  if (call.cutOff === true) return "the call was cut off at the token limit: write less at once";
  if (call.arguments === null) return call.problem ?? "the arguments are not a JSON object";
  // Of a tool that is not there as it was, its host finds out, and sends nothing.
  const inputSchema = offered?.schemaOf(tool) ?? null;
  if (inputSchema === null) return null;
  const schema = ports.schemas.compile(inputSchema);
  if (typeof schema === "string") return null;
  const said = schema.check(call.arguments);
  return said.kind === "invalid" ? `the arguments break the tool's schema: ${said.problem}` : null;
}

/** A tool's own failure is for the model to act on. What may pass is waited for; what nobody knows is asked about. */
export function isForModel(failure: Failure, isLastAttempt: boolean): boolean {
  if (failure.kind === "in_doubt" || failure.kind === "cancelled") return false;
  return troubleOf(failure) === "step" || (troubleOf(failure) === "passing" && isLastAttempt);
}

export interface Shown {
  content: string;
  /** Why the model is not shown the result; null where it is. */
  error: string | null;
  artifact?: JsonObject;
  screening?: Finding[];
}

type ShowScope = {
  ports: Pick<RuntimePorts, "artifacts">;
  job: Job;
  screening: StepScope["screening"];
};

/** What the model is shown of a result, screened, and where the rest of a long one is. */
export async function show(scope: ShowScope, given: Json): Promise<Shown> {
  const { ports, job, screening } = scope;
  const { value: content, findings, isRefused } = screening.screen(given);
  if (isRefused) {
    const error = refusalOf("the tool's result", findings).message;
    return { content: error, error, screening: findings };
  }
  const text = wellFormedText(typeof content === "string" ? content : JSON.stringify(content));
  if (text.length <= shownLength) return screened(text, findings, screening);
  const put = await ports.artifacts.put(job, {
    name: "tool-result.txt",
    kind: "output",
    content: text,
  });
  const begin = cutText(text, shownLength - shownEndLength);
  const end = text.slice(-shownEndLength).toWellFormed();
  const left = text.length - shownLength;
  const where = put.ok ? `all of it is kept as artifact ${put.value.id}` : "they could not be kept";
  const shown = `${begin}\n[${left} characters are left out here; ${where}]\n${end}`;
  return {
    ...screened(shown, findings, screening),
    ...(put.ok
      ? { artifact: { id: put.value.id, sha256: put.value.sha256, size: put.value.size } }
      : {}),
  };
}

/** What the model is told of a tool's failure: its words are a tool's, too. */
export function showFailure(
  { screening }: Pick<ShowScope, "screening">,
  { message }: Failure,
): Shown {
  return screened(cutText(screening.hideInText(message), shownLength), [], screening);
}

function screened(text: string, findings: Finding[], screening: ShowScope["screening"]): Shown {
  const { text: content, findings: more, isWithheld } = screenIncoming(text, screening, "");
  const all = [...findings, ...more];
  const error = isWithheld ? content : null;
  return { content, error, ...(all.length === 0 ? {} : { screening: all }) };
}
