import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import type { ApprovalView } from "../../machines/contracts/wire/views.ts";
import type { Command } from "../command.ts";
import { readLimit, withControlPlane } from "./with-control-plane.ts";
import { paintStatus } from "./runs.ts";

/** `approvals list`. */
export const listApprovals: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output, invocation } = context;
    const approvals = await value(api.approvals(readLimit(invocation), signal));
    if (output.isJson) {
      output.json(approvals);
      return 0;
    }
    const rows = approvals.map((approval) => [
      approval.id,
      approval.run_id,
      action(approval),
      approval.reason ?? "",
      approval.expires_at ?? "never",
    ]);
    output.table(["APPROVAL", "RUN", "ACTION", "REASON", "EXPIRES"], rows);
    return 0;
  });

/** `approvals approve` and `approvals reject`. */
export const resolve =
  (isApproved: boolean): Command =>
  (context) =>
    withControlPlane(context, async ({ api, signal, value }) => {
      const { output, invocation } = context;
      const { note } = invocation.flags;
      const id = invocation.args[0] ?? "";
      const text = typeof note === "string" ? note : null;
      const approval = await value(api.resolveApproval(id, isApproved, text, signal));
      if (output.isJson) output.json(approval);
      else output.line(`approval ${id} is ${paintStatus(approval.status, output.colors)}`);
      return 0;
    });

const longest = 120;

/** The whole of what is asked for, as far as a line holds it: the input is what a person must see. */
function action({ action_type: type, action_details: details }: ApprovalView): string {
  if (!isJsonObject(details)) return type ?? "";
  const { name, input } = details;
  const text = [type, name, input === undefined ? "" : JSON.stringify(input)]
    .filter((part) => typeof part === "string" && part !== "")
    .join(" ");
  return text.length > longest ? `${text.slice(0, longest)}… (--json shows all)` : text;
}
