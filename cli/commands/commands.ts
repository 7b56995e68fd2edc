import type { Command } from "../command.ts";
import type { CommandName } from "../specs.ts";

/** What each command does, loaded when it is asked for: a look at the runs needs no worker. */
export const commands: Readonly<Record<CommandName, () => Promise<Command>>> = {
  dev: async () => (await import("./dev.ts")).dev,
  worker: async () => (await import("./worker.ts")).work,
  submit: async () => (await import("./submit.ts")).submit,
  "runs list": async () => (await import("./runs.ts")).listRuns,
  "runs get": async () => (await import("./runs.ts")).getRun,
  "runs watch": async () => (await import("./runs.ts")).watchRunCommand,
  "runs cancel": async () => (await import("./runs.ts")).cancelRun,
  "agents list": async () => (await import("./agents.ts")).listAgents,
  "approvals list": async () => (await import("./approvals.ts")).listApprovals,
  "approvals approve": async () => (await import("./approvals.ts")).resolve(true),
  "approvals reject": async () => (await import("./approvals.ts")).resolve(false),
  "dlq list": async () => (await import("./dlq.ts")).listLetters,
  "dlq show": async () => (await import("./dlq.ts")).showLetter,
  "dlq retry": async () => (await import("./dlq.ts")).changeLetter("retry"),
  "dlq drop": async () => (await import("./dlq.ts")).changeLetter("drop"),
  chart: async () => (await import("./chart.ts")).chart,
  config: async () => (await import("./config.ts")).showConfig,
  doctor: async () => (await import("./doctor.ts")).doctor,
};
