import type { Action, Ask, Verdict } from "../../machines/contracts/domain/action.ts";
import {
  type Failure,
  retryable,
  terminal,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import type {
  ControlPlane,
  Extension,
  Report,
} from "../../machines/contracts/ports/control-plane.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import type { ApprovalView } from "../../machines/contracts/wire/views.ts";
import type { PolicyAnswer } from "./lifecycle-history.ts";

/** A question as the simulated people have it. */
export interface Question {
  id: string;
  digest: string;
  action: Action;
  status: ApprovalView["status"];
  expiresAt: number;
}

export interface SimulatedControlPlane extends ControlPlane {
  questions: Question[];
  /** Every terminal report that was applied, in order. */
  accepted: Report[];
  /** What policy said, as often as it was asked. */
  answers: PolicyAnswer[];
  /** The next answer of policy: from the history, then `allow`. */
  nextAnswer(): PolicyAnswer;
  cancelRun(): void;
  isCancelled(): boolean;
}

const away: Failure = retryable("unavailable", "the control plane is away");
const ok = <T>(value: T): Outcome<T> => ({ ok: true, value });

/** A control plane of one step, in memory, with every extension: it answers at once and forgets nothing. */
export function simulatedControlPlane(
  step: StepKey,
  given: { answers: readonly PolicyAnswer[]; now: () => number; approvalMs: number },
): SimulatedControlPlane {
  const questions: Question[] = [];
  const accepted: Report[] = [];
  const answers: PolicyAnswer[] = [];
  const waiting = new Set<string>();
  let isCancelled = false;

  const nextAnswer = () => {
    const answer = given.answers[answers.length] ?? "allow";
    answers.push(answer);
    return answer;
  };
  const view = ({ id, digest, status, expiresAt }: Question): ApprovalView => ({
    id,
    run_id: step.runId,
    step_id: step.stepId,
    status,
    digest,
    expires_at: new Date(expiresAt).toISOString(),
    resolved_by: status === "approved" ? "a person" : null,
  });
  const runStatus = () =>
    isCancelled ? "cancelled" : accepted.length > 0 ? "completed" : "running";

  return {
    questions,
    accepted,
    answers,
    nextAnswer,
    cancelRun: () => {
      isCancelled = accepted.length === 0;
    },
    isCancelled: () => isCancelled,
    ping: async () => ok(null),
    extensions: async () => ok(new Set<Extension>(["idempotent-results", "approvals"])),
    async checkTool() {
      if (isCancelled) return ok<Verdict>({ kind: "deny", reason: "the run has ended" });
      const answer = nextAnswer();
      if (answer === "away") return { ok: false, failure: away };
      return ok<Verdict>({ kind: answer, reason: `policy says ${answer}` });
    },
    async report(report) {
      if (report.body.status === "waiting_approval") {
        if (isCancelled || accepted.length > 0) return ok("ended");
        const isNew = !waiting.has(report.idempotencyKey);
        waiting.add(report.idempotencyKey);
        return ok(isNew ? "accepted" : "repeated");
      }
      if (accepted.some(({ idempotencyKey }) => idempotencyKey === report.idempotencyKey)) {
        return ok("repeated");
      }
      if (isCancelled || accepted.length > 0) return ok("ended");
      accepted.push(report);
      return ok("accepted");
    },
    async requestApproval(_step, ask: Ask) {
      const known = questions.find(({ digest }) => digest === ask.digest);
      if (known !== undefined) return ok(view(known));
      if (isCancelled) return { ok: false, failure: terminal("cancelled", "the run has ended") };
      const question: Question = {
        id: `apr_${questions.length + 1}`,
        digest: ask.digest,
        action: ask.action,
        status: "pending",
        expiresAt: given.now() + given.approvalMs,
      };
      questions.push(question);
      return ok(view(question));
    },
    async findApproval(id) {
      const question = questions.find((known) => known.id === id);
      if (question === undefined) {
        return { ok: false, failure: terminal("not_found", `no approval ${id}`) };
      }
      return ok(view(question));
    },
    run: async (runId) => ok({ id: runId, status: runStatus() }),
    steps: async () => ok([]),
  };
}
