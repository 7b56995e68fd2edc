import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { tellLoop } from "../../actors/inspection.ts";
import type { RuntimeOptions, StepEndNotice } from "../../actors/options.ts";
import { Feed } from "../../adapters/console/inspector/feed.ts";
import { type Inspector, startInspector } from "../../adapters/console/inspector/serve.ts";
import type { StepNote } from "../../adapters/console/inspector/unwatched.ts";
import type { EmbeddedOptions } from "../../adapters/control-plane/embedded/start.ts";
import { isAlive } from "../../adapters/redis/living-process.ts";
import { replacePrivateFile } from "../../adapters/redis/private-files.ts";
import { agentLoopMachine } from "../../machines/agent-loop/machine.ts";
import type { InspectionSource } from "../../machines/contracts/ports/inspection.ts";
import type { StepStore } from "../../machines/contracts/ports/step-backend.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { stepMachine } from "../../machines/step/machine.ts";
import { supervisorMachine } from "../../machines/supervisor/machine.ts";
import { workflowMachine } from "../../machines/workflow/machine.ts";
import type { Config } from "../config/load-config.ts";
import { makeDataDir } from "../data-folder.ts";
import { secrets } from "../secrets.ts";
import { listenTrouble } from "./listen-trouble.ts";
import type { Closing } from "./start-worker.ts";

export type { Inspector };

/** An inspector in the making: what it needs is made before the worker is, and the page is served after. */
export interface Inspecting {
  /** The worker's options, which also tell the inspector. */
  watch(options: RuntimeOptions): RuntimeOptions;
  readonly onWorkflowMove: NonNullable<EmbeddedOptions["onWorkflowMove"]>;
  attach(source: InspectionSource): void;
  /** A problem where its address can't be had: that is said, and the worker works. */
  serve(store: StepStore, closing: Closing): Promise<Inspector | { problem: string }>;
}

export function prepareInspector(
  { settings, sources }: Pick<Config, "settings" | "sources">,
  log: Log,
): Inspecting {
  const { inspectPort, inspectHost: host } = settings;
  const feed = new Feed(Date.now);
  return {
    watch: (options) => ({
      ...options,
      onStepEnd: (notice) => {
        feed.ended(noteOf(notice));
        options.onStepEnd?.(notice);
      },
      onLoopMove: (notice) => {
        if (feed.isRecording) tellLoop(feed, notice, Date.now());
        options.onLoopMove?.(notice);
      },
    }),
    onWorkflowMove(runId, events, state) {
      const id = `workflow:${runId}`;
      const about = { machine: "workflow", name: runId, parent: null, stepId: null };
      feed.appeared({ ...about, id, runId, stepType: null, about: null, passed: [] });
      const { phase, failure, asking } = state;
      const isOver = phase !== "running" && phase !== "stopping";
      const [first, ...more] = events as { type?: string }[];
      feed.moved({
        id,
        event: `${first?.type ?? "xstate.init"}${more.length === 0 ? "" : ` +${more.length}`}`,
        detail: { events },
        source: null,
        value: phase,
        status: isOver ? "done" : "active",
        // Read when somebody looks: a run may have thousands of steps.
        context: {
          asking,
          failure,
          get steps() {
            return state.steps();
          },
        },
        at: Date.now(),
      });
    },
    attach: (source) => feed.attach(source),
    async serve(store, closing) {
      const port = inspectPort ?? 0;
      try {
        const inspector = await startInspector({
          feed,
          machines: {
            step: stepMachine,
            "agent-loop": agentLoopMachine,
            workflow: workflowMachine,
            supervisor: supervisorMachine,
          },
          find: (key) => store.find(key),
          host,
          port,
          hide: secrets.hide,
          log,
        });
        secrets.add([inspector.token]);
        closing.add("inspector", () => inspector.close());
        return inspector;
      } catch (error) {
        feed.close();
        const hostBy = "STATEPLANE_INSPECT_HOST";
        const problem = listenTrouble(
          error,
          { host, port, portKey: "inspectPort", hostBy },
          sources,
        );
        log.warn({}, `the inspector is not served, and the worker goes on without: ${problem}`);
        return { problem };
      }
    },
  };
}

function noteOf(notice: StepEndNotice): StepNote {
  const { runId, stepId, actorId, stepType, how, snapshot, stateHistory } = notice;
  const status = how === "settled" ? (snapshot?.context.result?.status ?? how) : how;
  return { runId, stepId, actorId, stepType, passed: stateHistory, state: how, outcome: status };
}

/** Where the page is, with its token, for this user alone; returns the file. */
export async function writeInspectorNote(dataDir: string, address: string): Promise<string> {
  const file = join(dataDir, `inspector-${process.pid}.txt`);
  await makeDataDir(dataDir);
  await removeLeftNotes(dataDir);
  await replacePrivateFile(file, `${address}\n`);
  return file;
}

/** Of workers that were killed: each holds the token of a page that is gone. */
async function removeLeftNotes(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    const pid = Number(/^inspector-(\d+)\.txt$/u.exec(name)?.[1] ?? 0);
    if (pid > 0 && !isAlive({ pid })) await rm(join(dataDir, name), { force: true });
  }
}
