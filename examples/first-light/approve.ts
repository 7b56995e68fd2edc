import { confirm, isCancel } from "@clack/prompts";
import type { ControlPlaneApi } from "../../adapters/control-plane/api.ts";

export type Answering = "ask" | "approve" | "reject";

const notes: Readonly<Record<Answering, string>> = {
  ask: "answered at the terminal",
  approve: "approved by --yes",
  reject: "nobody could be asked",
};

/**
 * Watches for questions and has them answered: at the terminal, with yes where `--yes` was given, with no where there is
 * nobody to ask.
 */
export async function answerApprovals(
  api: ControlPlaneApi,
  runId: string,
  answering: Answering,
  print: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  sizeTerminal();
  while (!signal.aborted) {
    const pending = await api.approvals(50, signal);
    for (const approval of pending.ok ? pending.value : []) {
      if (approval.run_id !== runId) continue;
      const what = JSON.stringify(approval.action_details);
      const answer =
        answering === "ask"
          ? await confirm({ message: `May the agent do this? ${what}`, signal })
          : answering === "approve";
      if (isCancel(answer)) {
        if (!signal.aborted) print("  nothing was approved");
        // Ctrl-C at the question is no answer to it: the prompt took the key, the program means the signal.
        if (!signal.aborted) process.kill(process.pid, "SIGINT");
        return;
      }
      if (answering === "approve") print(`  approved without asking (--yes): ${what}`);
      if (answering === "reject") {
        print(`  rejected: there is no terminal to ask at, and no --yes: ${what}`);
      }
      const note = notes[answering];
      await api.resolveApproval(approval.id, answer, note, signal);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Some terminals (of a container, say) give their size as nothing, and a question of no columns is not seen. */
function sizeTerminal(): void {
  const { stdout } = process;
  if (!stdout.isTTY) return;
  stdout.columns ||= 80;
  stdout.rows ||= 24;
}
