import { confirm, isCancel } from "@clack/prompts";
import type { ControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import type { ApprovalView } from "../../machines/contracts/wire/views.ts";

export type Answering = "ask" | "approve" | "reject";

interface Screen {
  print(line: string): void;
  /** Whether all has been printed that there is of a step which waits. */
  isParked?(stepId: string): boolean;
}

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
  { print, isParked = () => true }: Screen,
  signal: AbortSignal,
): Promise<void> {
  sizeTerminal();
  let unheard = 0;
  while (!signal.aborted) {
    const pending = await api.approvals(50, signal);
    for (const approval of pending.ok ? pending.value : []) {
      if (approval.run_id !== runId) continue;
      // What is printed while a question is open is drawn over it, and the step's last line is that it is parked. Another
      // worker on the same Redis may have parked it, of which nothing is heard here.
      if (!isParked(approval.step_id) && (unheard += 1) < 30) continue;
      const what = worded(approval);
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

/** The call itself, for a line to read; `stateplane approvals list` shows all that a yes is bound to. */
function worded({ action_details: details }: ApprovalView): string {
  if (!isJsonObject(details)) return JSON.stringify(details ?? null);
  return `${String(details["name"])} ${JSON.stringify(details["input"] ?? {})}`;
}

/** Some terminals (of a container, say) give their size as nothing, and a question of no columns is not seen. */
function sizeTerminal(): void {
  const { stdout } = process;
  if (!stdout.isTTY) return;
  stdout.columns ||= 80;
  stdout.rows ||= 24;
}
