import { isJsonObject, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ApprovalView } from "../../machines/contracts/wire/views.ts";
import type { Command, Context } from "../command.ts";
import { CliError } from "../output/errors.ts";
import { confirm } from "../output/confirm.ts";
import type { Output } from "../output/output.ts";
import { plain, safeJson } from "../output/plain.ts";
import { fromFlag, readDocument } from "./read-document.ts";
import { type Client, readLimit, withControlPlane } from "./with-control-plane.ts";
import { paintStatus } from "./runs.ts";

/** `approvals list`: all of what each one lets happen, never an excerpt that the agent could have chosen. */
export const listApprovals: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output, invocation } = context;
    const approvals = await value(api.approvals(readLimit(invocation), signal));
    if (output.isJson) {
      output.json(approvals);
      return 0;
    }
    if (approvals.length === 0) output.remark("nothing waits for a person");
    for (const [at, approval] of approvals.entries()) {
      if (at > 0) output.line("");
      showApproval(approval, output);
    }
    return 0;
  });

/** `approvals approve`: shows exactly what is about to be let through, then answers. */
export const approve: Command = (context) =>
  withControlPlane(context, async (client) => {
    const { output, invocation } = context;
    const { digest, yes } = invocation.flags;
    const id = invocation.args[0] ?? "";
    const approval = await findApproval(client, id);
    if (typeof digest === "string" && digest !== approval.digest) {
      const has = approval.digest ? `has the digest ${approval.digest}` : "has no digest";
      throw new CliError(1, `approval ${id} ${has}, not ${digest}; it was not approved`);
    }
    const edit = await readEdit(context);
    // In JSON the answer itself has all of it.
    if (!output.isJson) showApproval(approval, output);
    if (edit !== null && !output.isJson) {
      output.remark("with these arguments in place of those above:");
      output.document(edit);
    }
    const isAsked = yes !== true && digest === undefined && approval.status === "pending";
    if (isAsked && !process.stdin.isTTY) {
      const message = `approval ${id}: there is no terminal to ask on: expected --digest or --yes`;
      throw new CliError(2, message);
    }
    if (isAsked && !(await confirm(`Allow exactly this, once?`))) {
      throw new CliError(1, `approval ${id} was not approved; it is still open`);
    }
    return answer(context, client, true, edit);
  });

/** `approvals reject`. */
export const reject: Command = (context) =>
  withControlPlane(context, (client) => answer(context, client, false, null));

/** The arguments of `--edit`: what begins with a brace is JSON, anything else a file. @throws CliError */
async function readEdit({
  invocation,
  folder,
}: Pick<Context, "invocation" | "folder">): Promise<JsonObject | null> {
  const { edit } = invocation.flags;
  if (typeof edit !== "string") return null;
  const isInline = edit.trimStart().startsWith("{");
  const read = isInline ? fromFlag(edit, "edit") : await readDocument(edit, folder, "edit");
  if (isJsonObject(read)) return read;
  throw new CliError(2, "--edit: expected the call's arguments as an object");
}

async function answer(
  { output, invocation }: Pick<Context, "output" | "invocation">,
  { api, signal, value }: Client,
  isApproved: boolean,
  edit: JsonObject | null,
): Promise<number> {
  const { note } = invocation.flags;
  const id = invocation.args[0] ?? "";
  const text = typeof note === "string" ? note : null;
  const input = edit ?? undefined;
  const approval = await value(api.resolveApproval(id, isApproved, text, signal, input));
  if (output.isJson) output.json(approval);
  else output.line(`approval ${plain(id)} is ${paintStatus(approval.status, output.colors)}`);
  return 0;
}

const most = 100;

/** Among the open ones, which FerrumDeck lists; what is not there is asked for by its id, which it does not know. */
async function findApproval({ api, signal, value }: Client, id: string): Promise<ApprovalView> {
  const open = await value(api.approvals(most, signal));
  const found = open.find((approval) => approval.id === id);
  if (found !== undefined) return found;
  const outcome = await api.approval(id, signal);
  if (outcome.ok || outcome.failure.kind !== "not_found") return value(Promise.resolve(outcome));
  throw new CliError(2, `there is no open approval ${id}; it may have been answered already`);
}

/** A key as people call it, with the id by which it is known. */
export const keyLabel = (id: string, name: string | null | undefined): string =>
  name ? `${name} (${id})` : id;

/** What a yes lets happen, whole: the end of its input may matter most, and the agent chooses the order. */
export function showApproval(approval: ApprovalView, output: Output): void {
  const details = isJsonObject(approval.action_details) ? approval.action_details : {};
  const { name, server, schema } = details;
  const said = (value: unknown) => (typeof value === "string" ? value : safeJson(value ?? null));
  const isTool = approval.action_type === "tool";
  const unnamed = isTool ? "not recorded (asked by an older version)" : null;
  const where = server === undefined ? unnamed : said(server);
  output.pairs([
    ["approval", approval.id],
    ["run", approval.run_id],
    ["step", approval.step_id],
    [
      "action",
      [approval.action_type ?? "unknown", ...(name === undefined ? [] : [said(name)])].join(" "),
    ],
    ...(where === null ? [] : [["server", where] as [string, string]]),
    ...(schema === undefined ? [] : [["schema", said(schema)] as [string, string]]),
    [
      "digest",
      approval.digest ?? "none: this control plane does not tie an approval to what was shown",
    ],
    ["reason", approval.reason ?? ""],
    ["expires", approval.expires_at ?? "not stated"],
    ...(approval.asked_by
      ? [["asked by", keyLabel(approval.asked_by, approval.asked_by_name)] as [string, string]]
      : []),
    ...(approval.role ? [["answered by", `the role ${approval.role}`] as [string, string]] : []),
    ...(approval.four_eyes
      ? [
          [
            "four eyes",
            "a yes must come from another key than those that started the run and asked, and edits nothing",
          ] as [string, string],
        ]
      : []),
  ]);
  if (approval.action_details !== undefined) output.document(approval.action_details);
}
