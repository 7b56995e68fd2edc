import type { ApprovalView } from "../../machines/contracts/wire/views.ts";
import type { Command } from "../command.ts";
import type { Output } from "../output/output.ts";
import { plain } from "../output/plain.ts";
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
    approvals.forEach((approval, at) => {
      if (at > 0) output.line("");
      showAsked(approval, output);
    });
    if (approvals.length === 0) output.remark("nothing waits for a person");
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
      else {
        output.line(`approval ${plain(id)} is ${paintStatus(approval.status, output.colors)}`);
        showAsked(approval, output);
      }
      return 0;
    });

/** All of what is asked for, and its digest: a yes is for exactly this. */
function showAsked(approval: ApprovalView, output: Output): void {
  output.pairs([
    ["approval", approval.id],
    ["run", approval.run_id],
    ["step", approval.step_id],
    ["action", approval.action_type ?? "unknown"],
    ["reason", approval.reason ?? "none was given"],
    ["digest", approval.digest ?? "none: this control plane keeps no digests"],
    ["expires", approval.expires_at ?? "never"],
  ]);
  if (approval.action_details !== undefined) output.document(approval.action_details);
}
