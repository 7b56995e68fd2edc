import { confirm, isCancel } from "@clack/prompts";
import type { ControlPlaneApi } from "../../adapters/control-plane/api.ts";

/**
 * Watches for questions and has them answered: at the terminal, or with yes where nobody sits.
 *
 * @param isAsking false where `--yes` was given or there is no terminal
 */
export async function answerApprovals(
  api: ControlPlaneApi,
  runId: string,
  isAsking: boolean,
  print: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const pending = await api.approvals(50, signal);
    for (const approval of pending.ok ? pending.value : []) {
      if (approval.run_id !== runId) continue;
      const what = JSON.stringify(approval.action_details);
      const answer = isAsking
        ? await confirm({ message: `May the agent do this? ${what}`, signal })
        : true;
      if (isCancel(answer)) {
        // Ctrl-C at the question is no answer to it: the prompt took the key, the program means the signal.
        if (!signal.aborted) process.kill(process.pid, "SIGINT");
        return;
      }
      if (!isAsking) print(`  approved without asking (--yes, or no terminal): ${what}`);
      const note = isAsking ? "answered at the terminal" : "approved by --yes";
      await api.resolveApproval(approval.id, answer, note, signal);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
