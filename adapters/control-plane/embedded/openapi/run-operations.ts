import { approvalStatuses } from "../../../../machines/contracts/domain/status.ts";
import * as approvals from "../routes/approval-routes.ts";
import * as runs from "../routes/run-routes.ts";
import * as steps from "../routes/step-routes.ts";
import * as workflows from "../workflows/routes.ts";
import * as answers from "../notices/routes.ts";
import { badBody, notFound, type Operations, page, project, whole } from "./operation.ts";

const text = (name: string) => ({ name, schema: { type: "string", maxLength: 255 } });
const status = text("status");
const approvalStatus = {
  name: "status",
  schema: { enum: [...approvalStatuses, "all"], default: "pending" },
};

/** A key that answers nothing any more, no such link, too many calls by it, and the database's trouble. */
const refusesLink = [403, 404, 429, 503] as const;

/** Runs, their steps, the questions of those, and workflows. */
export const runOperations: Operations = {
  "POST /v1/runs": {
    summary: "Start a run",
    headers: ["Idempotency-Key", "traceparent"],
    body: runs.newRun,
    answers: { 201: "Run" },
    refuses: [...badBody, 404],
  },
  "GET /v1/runs": {
    summary: "List runs, newest first",
    query: [project, status, text("agent"), text("text"), ...page(20)],
    answers: { 200: "Runs" },
    refuses: [422],
  },
  "GET /v1/runs/{run_id}": {
    summary: "Show a run",
    answers: { 200: "RunWithBudget" },
    refuses: notFound,
  },
  "POST /v1/runs/{run_id}/cancel": {
    summary: "Cancel a run",
    answers: { 200: "Run" },
    refuses: [400, 404],
  },
  "GET /v1/runs/{run_id}/audit": {
    summary: "What the audit says of a run",
    query: page(1000, 1000),
    answers: { 200: ["RunAuditEntry"] },
    refuses: [404, 422],
  },
  "GET /v1/runs/{run_id}/steps": {
    summary: "List a run's steps: all of them, or a page",
    query: page(100, 1000),
    answers: { 200: ["Step"] },
    refuses: [404, 422],
  },
  "GET /v1/runs/{run_id}/steps/{step_id}": {
    summary: "Show a step",
    answers: { 200: "Step" },
    refuses: [400, 404],
  },
  "GET /v1/steps/{step_id}": {
    summary: "Show a step whose run is not known",
    answers: { 200: "Step" },
    refuses: [404],
  },
  "GET /v1/runs/{run_id}/steps/{step_id}/record": {
    summary:
      "What the workers' store has of a step: its states, and its journal until it has ended",
    answers: { 200: "StepRecord" },
    refuses: [400, 404, 503],
  },
  "POST /v1/runs/{run_id}/steps/{step_id}": {
    summary: "Report a step's result",
    headers: ["Idempotency-Key", "X-Stateplane-Fence"],
    body: steps.result,
    answers: { 200: "Step" },
    refuses: [...badBody, 404, 409],
  },
  "POST /v1/runs/{run_id}/check-tool": {
    summary: "Ask whether a tool may be called",
    body: steps.toolCheck,
    answers: { 200: "ToolDecision" },
    refuses: [...badBody, 404],
  },
  "POST /v1/runs/{run_id}/reservations": {
    summary: "Reserve budget for a model call",
    body: steps.reservation,
    answers: { 200: "Reserved" },
    refuses: [...badBody, 404, 409],
  },
  "POST /v1/runs/{run_id}/reservations/settle": {
    summary: "Settle a reservation by what was used",
    body: steps.settlement,
    answers: { 200: "Settled" },
    refuses: [...badBody, 404],
  },
  "GET /v1/approvals": {
    summary:
      "List questions: the open ones, oldest first, or those of another status, newest first",
    query: [approvalStatus, text("run_id"), ...page(50, 1000)],
    answers: { 200: ["Approval"] },
    refuses: [422],
  },
  "POST /v1/approvals": {
    summary: "Put a question to people; the same one again is the same approval",
    body: approvals.question,
    answers: { 200: "Approval", 201: "Approval" },
    refuses: [...badBody, 404, 409],
  },
  "GET /v1/approvals/count": {
    summary: "How many questions are open",
    answers: { 200: "ApprovalCount" },
    refuses: [],
  },
  "GET /v1/approvals/{approval_id}": {
    summary: "Show a question",
    answers: { 200: "Approval" },
    refuses: notFound,
  },
  "PUT /v1/approvals/{approval_id}": {
    summary: "Answer a question",
    body: approvals.answer,
    answers: { 200: "Approval" },
    refuses: [...badBody, 404, 409],
  },
  "GET /v1/dead-letters": {
    summary: "List dead letters, newest first",
    query: [whole("limit", 50, 1, 1000)],
    answers: { 200: ["DeadLetter"] },
    refuses: [404, 422, 503],
  },
  "GET /v1/dead-letters/{letter_id}": {
    summary: "Show a dead letter with its job, its journal and its result",
    answers: { 200: "WholeDeadLetter" },
    refuses: [404, 503],
  },
  "POST /v1/dead-letters/{letter_id}/retry": {
    summary: "Put a dead letter's job back on the stream",
    answers: { 200: "Retried" },
    refuses: [404, 503],
  },
  "GET /answer": {
    summary: "The page that a link to a question opens",
    answers: { 200: { media: "text/html" } },
    refuses: [],
  },
  "POST /answer/look": {
    summary: "Show the question that a link opens",
    body: answers.linkToken,
    answers: { 200: "LinkedQuestion" },
    refuses: [...badBody, ...refusesLink],
  },
  "POST /answer": {
    summary: "Answer the question that a link opens, once",
    body: answers.linkAnswer,
    answers: { 200: "LinkedQuestion" },
    refuses: [...badBody, ...refusesLink],
  },
  "GET /v1/workflows": {
    summary: "List workflows",
    query: [project, ...page(20)],
    answers: { 200: "Workflows" },
    refuses: [422],
  },
  "POST /v1/workflows": {
    summary: "Register a workflow; the same one again is the same workflow",
    body: workflows.newWorkflow,
    answers: { 200: "Workflow", 201: "Workflow" },
    refuses: [...badBody, 404],
  },
  "GET /v1/workflows/{workflow_id}": {
    summary: "Show a workflow",
    answers: { 200: "Workflow" },
    refuses: notFound,
  },
  "GET /v1/workflows/{workflow_id}/runs": {
    summary: "List a workflow's runs",
    query: page(20),
    answers: { 200: "WorkflowRuns" },
    refuses: [404, 422],
  },
  "POST /v1/workflow-runs": {
    summary: "Start a run of a workflow",
    headers: ["traceparent"],
    body: workflows.newWorkflowRun,
    answers: { 201: "WorkflowRun" },
    refuses: [...badBody, 404],
  },
  "GET /v1/workflow-runs/{run_id}": {
    summary: "Show a run of a workflow, with its steps",
    answers: { 200: "WorkflowRun" },
    refuses: notFound,
  },
  "POST /v1/workflow-runs/{run_id}/cancel": {
    summary: "Cancel a run of a workflow",
    answers: { 200: "WorkflowRun" },
    refuses: [400, 404],
  },
  "GET /v1/workflow-runs/{run_id}/executions": {
    summary: "What became of each of its steps",
    answers: { 200: "Executions" },
    refuses: notFound,
  },
};
