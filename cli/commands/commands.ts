import type { Command } from "../command.ts";
import type { CommandName } from "../specs.ts";
import { listApprovals, resolve } from "./approvals.ts";
import { showConfig } from "./config.ts";
import { dev } from "./dev.ts";
import { changeLetter, listLetters, showLetter } from "./dlq.ts";
import { doctor } from "./doctor.ts";
import { cancelRun, getRun, listRuns, watchRunCommand } from "./runs.ts";
import { submit } from "./submit.ts";
import { work } from "./worker.ts";

/** What each command does. */
export const commands: Readonly<Record<CommandName, Command>> = {
  dev,
  worker: work,
  submit,
  "runs list": listRuns,
  "runs get": getRun,
  "runs watch": watchRunCommand,
  "runs cancel": cancelRun,
  "approvals list": listApprovals,
  "approvals approve": resolve(true),
  "approvals reject": resolve(false),
  "dlq list": listLetters,
  "dlq show": showLetter,
  "dlq retry": changeLetter("retry"),
  "dlq drop": changeLetter("drop"),
  config: showConfig,
  doctor,
};
