import type { RuntimePorts } from "../../actors/ports.ts";
import { type Failure, retryable, type Outcome } from "../../machines/contracts/domain/failure.ts";
import { StoreError } from "../../machines/contracts/domain/errors.ts";
import type { Clock } from "../../machines/contracts/ports/clock.ts";
import type { ControlPlane, ToolCheck } from "../../machines/contracts/ports/control-plane.ts";
import type { StepBackend, StepStore } from "../../machines/contracts/ports/step-backend.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import type { Verdict } from "../../machines/contracts/domain/action.ts";
import type { Life, LifecycleWorld } from "./lifecycle-world.ts";
import { noNeighbours } from "./live-once.ts";
import type { People } from "./people.ts";

const away: Failure = retryable("unavailable", "nobody answered");
const awayStore = (): never => {
  throw new StoreError("passing", "the store can't be reached");
};
const awayOutcome = <T>(): Outcome<T> => ({ ok: false, failure: away });

/** One session's neighbours: the real backend and the simulated control plane, with a moment around every call. */
export function faultyPorts(scene: {
  backend: StepBackend;
  controlPlane: ControlPlane;
  clock: Clock;
  world: LifecycleWorld;
  people: People;
  session: Life;
  tools: ToolHost;
  judged: { heard: (check: ToolCheck, said: Verdict | null) => void };
}): RuntimePorts {
  const { backend, controlPlane, clock, world, people, session, tools, judged } = scene;
  const stored = <T>(name: string, call: () => Promise<T>): Promise<T> =>
    world.moment(session, name, call, { fails: awayStore, losesTheAnswer: awayStore });
  const asked = <T>(name: string, call: () => Promise<Outcome<T>>): Promise<Outcome<T>> =>
    world.moment(session, name, call, { fails: awayOutcome<T>, losesTheAnswer: awayOutcome<T> });
  const store: StepStore = {
    open: (...given) => stored("open", () => backend.store.open(...given)),
    append: (...given) =>
      stored(`append ${given[1][0]?.event}`, () => backend.store.append(...given)),
    record: (...given) => stored("record", () => backend.store.record(...given)),
    park: (...given) => stored("park", () => backend.store.park(...given)),
    settle: (...given) => stored("settle", () => backend.store.settle(...given)),
    wakeDue: (...given) => backend.store.wakeDue(...given),
    find: (...given) => backend.store.find(...given),
  };
  return {
    ...noNeighbours,
    clock,
    tools,
    store,
    queue: {
      ...backend.queue,
      release: (ids) => stored("release", () => backend.queue.release(ids)),
    },
    controlPlane: {
      ping: (signal) => controlPlane.ping(signal),
      extensions: (signal) => controlPlane.extensions(signal),
      async checkTool(check, signal) {
        const said = await asked("checkTool", () => controlPlane.checkTool(check, signal));
        judged.heard(check, said.ok ? said.value : null);
        return said;
      },
      report: (report, signal) =>
        asked(`report ${report.body.status}`, () => controlPlane.report(report, signal)),
      async requestApproval(step, ask, signal) {
        const put = () => {
          const { digest, action } = ask;
          world.seen.push({ what: "asked", session: session.number, digest, name: action.name });
          return controlPlane.requestApproval(step, ask, signal);
        };
        const approval = await asked("requestApproval", put);
        if (approval.ok) await people.decideEarly();
        return approval;
      },
      findApproval: (id, signal) =>
        asked("findApproval", () => controlPlane.findApproval(id, signal)),
      run: (runId, signal) => asked("run", () => controlPlane.run(runId, signal)),
      steps: (runId, signal) => asked("steps", () => controlPlane.steps(runId, signal)),
    },
  };
}
