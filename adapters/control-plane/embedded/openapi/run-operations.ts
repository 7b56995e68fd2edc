import * as approvals from "../routes/approval-routes.ts";
import * as runs from "../routes/run-routes.ts";
import * as steps from "../routes/step-routes.ts";
import * as workflows from "../workflows/routes.ts";
import { badBody, notFound, type Operations, page, project } from "./operation.ts";

const status = { name: "status", schema: { type: "string" } };

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
    query: [project, status, ...page(20)],
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
    answers: { 200: ["AuditEntry"] },
    refuses: [404, 422],
  },
  "GET /v1/runs/{run_id}/steps": {
    summary: "List a run's steps",
    answers: { 200: ["Step"] },
    refuses: notFound,
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
    summary: "List open questions",
    query: page(50, 1000),
    answers: { 200: ["Approval"] },
    refuses: [422],
  },
  "POST /v1/approvals": {
    summary: "Put a question to people; the same one again is the same approval",
    body: approvals.question,
    answers: { 200: "Approval", 201: "Approval" },
    refuses: [...badBody, 404, 409],
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
