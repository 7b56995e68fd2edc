import { randomUUID } from "node:crypto";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import { type Allowlist, defaultOptions, type RuntimeOptions } from "../../actors/options.ts";
import { localVerdict } from "../../actors/step/verdicts.ts";
import { stepAction } from "../../actors/step/approvals.ts";
import { type Job, toEnvelope } from "../../machines/contracts/domain/job.ts";
import type { StepBackend, Delivery } from "../../machines/contracts/ports/step-backend.ts";
import {
  type Action,
  stricter,
  type Verdict,
  verdict,
} from "../../machines/contracts/domain/action.ts";
import type { ToolCheck } from "../../machines/contracts/ports/control-plane.ts";
import { faultyPorts } from "./faulty-ports.ts";
import type { Fault, History } from "./lifecycle-history.ts";
import {
  type LifecycleSubject,
  type LifecycleTool,
  readSubject,
  type WalkedSubject,
} from "./lifecycle-subject.ts";
import { type Life, LifecycleWorld, type Seen } from "./lifecycle-world.ts";
import { liveOnce } from "./live-once.ts";
import { isSame, plain } from "./lifecycle-promises.ts";
import { People } from "./people.ts";
import { type SimulatedControlPlane, simulatedControlPlane } from "./simulated-control-plane.ts";
import { type VirtualClock, virtualClock } from "./virtual-clock.ts";

/** What came of one walk. */
export interface Walk {
  job: Job;
  /** What really happened, in order. */
  seen: readonly Seen[];
  controlPlane: Pick<SimulatedControlPlane, "questions" | "accepted" | "isCancelled">;
  /** Whether the step came to its end: reported, and nothing of it left on the queue. */
  hasEnded: boolean;
  /** Faults that really struck, by kind. */
  struck: ReadonlyMap<Fault, number>;
}

/** More turns than the longest history can need: after them the step is stuck. */
const patience = 100;

/**
 * Walks one step from its job to its report through a history: real chart, real work behind its names, real
 * queue and store in memory, a simulated control plane, and a clock that moves only when all is quiet.
 */
export async function walkLifecycle(
  given: LifecycleSubject | LifecycleTool,
  history: History,
): Promise<Walk> {
  const subject = readSubject(given);
  const clock = virtualClock();
  const scope = { tenantId: null, projectId: null, agentId: null, traceId: null, spanId: null };
  const ids = { runId: "run_1", stepId: "stp_1", createdAt: clock.now() };
  const job: Job = { ...ids, ...scope, ...subject.job };
  const settings = settingsFor(subject, job);
  const path = `file:lifecycle-${randomUUID()}?mode=memory&cache=shared`;
  const newHome = (consumer: string) => createSqliteBackend({ path, consumer, clock });
  const street = await newHome("street");
  const backends = [street];
  const publish = () => street.queue.publish({ data: toEnvelope(job) });
  const controlPlane = simulatedControlPlane(job, {
    answers: history.verdicts,
    now: clock.now,
    approvalMs: settings.deadlines.approvalMs,
  });
  const world = new LifecycleWorld(history, {
    pause: () => clock.advance(settings.leaseMs + 1),
    publishAgain: async () => void (await publish()),
    endRun: () => controlPlane.cancelRun(),
  });
  const people = new People(history.decisions, { controlPlane, publish, clock, world });
  await publish();

  let hasEnded = false;
  let sessions = 0;
  for (let turn = 0; turn < patience && !hasEnded; turn += 1) {
    const backend = await newHome(`worker-${sessions}`);
    const delivery = await take(backend, settings.leaseMs);
    if (delivery !== undefined) {
      backends.push(backend);
      sessions += 1;
      const session: Life = {
        number: sessions,
        isDead: false,
        isOvertaken: false,
        cancel: () => {},
        drain: () => {},
      };
      const { allowlist } = settings;
      const lists = world.areToolsDenied ? denying(allowlist) : allowlist;
      const judged = judgeFor(subject, lists, job, controlPlane, world, session);
      const { handlers, tools } = subject.workOf(world.of(session), () => world.schema);
      const beside = { world, people, session, tools, judged };
      const ports = faultyPorts({ backend, controlPlane, clock, ...beside });
      const options: RuntimeOptions = {
        ...settings,
        allowlist: lists,
        policy: judged.policy,
        handlers,
      };
      const raised = liveOnce(ports, options, { job, delivery });
      session.cancel = () => {
        controlPlane.cancelRun();
        raised.tell({ type: "cancel.requested", reason: "a person cancelled the run" });
      };
      session.drain = () => raised.tell({ type: "drain.requested" });
      await seeThrough(raised, { session, backend, clock, settings, delivery, world });
      continue;
    }
    await backend.close();
    if (world.held.length > 0) {
      for (const wake of world.held.splice(0)) wake();
      await quiet();
    } else if (!(await people.decide()) && !(await wakeParked(street, clock, job))) {
      const { length } = await street.queue.stats();
      if (length > 0) clock.advance(settings.leaseMs + 1);
      else {
        hasEnded = (await street.store.find(job))?.phase === "reported";
        break;
      }
    }
  }
  for (const backend of backends) await backend.close();
  return { job, seen: world.seen, controlPlane, hasEnded, struck: world.struck };
}

function settingsFor({ options }: WalkedSubject, job: Job): RuntimeOptions {
  const tools = job.stepType === "tool" ? [stepAction(job).name] : [];
  const allowlist = { allowed: tools, approvalRequired: [], denied: [] };
  return { ...defaultOptions, allowlist, maxDeliveries: 50, ...options };
}

/** The same lists, with every tool that they let through denied. */
const denying = ({ allowed, approvalRequired, denied }: Allowlist): Allowlist => ({
  allowed,
  approvalRequired,
  denied: [...denied, ...allowed, ...approvalRequired],
});

/** What all policies together say of an action, noted as it is said. */
function judgeFor(
  subject: WalkedSubject,
  allowlist: Allowlist,
  job: Job,
  controlPlane: SimulatedControlPlane,
  world: LifecycleWorld,
  session: Life,
) {
  const step = stepAction(job);
  const users = (action: Action): Verdict =>
    subject.policy?.(action, job) ?? verdict.allow("no policy of the user's");
  const own = (action: Action): Verdict => {
    if (action.kind === "tool") {
      const tool = { server: "kit", name: action.name, input: action.input };
      const tools = job.input["allowed_tools"];
      const listed = Array.isArray(tools) ? tools.map(String) : null;
      return stricter(localVerdict(tool, allowlist, listed), users(action));
    }
    const isPlain = isSame(action, step) && job.stepType !== "approval";
    const said = isPlain ? verdict.allow("a plain step") : verdict.ask("nobody has allowed it");
    return stricter(said, users(action));
  };
  const note = (given: Action, kind: Verdict["kind"] | "away") => {
    const action = plain(given);
    const isOwn = isSame(action, step);
    world.seen.push({ what: "judged", session: session.number, kind, action, isOwn });
  };
  return {
    /** The user's policy; where the control plane is not asked about tools, the history speaks here too. */
    policy: (given: Action): Verdict => {
      if (given.kind === "tool") {
        if (own(given).kind === "deny") note(given, "deny");
        return users(given);
      }
      const drawn = controlPlane.nextAnswer();
      const said: Verdict = drawn === "away" ? verdict.allow("") : { kind: drawn, reason: drawn };
      note(given, stricter(own(given), said).kind);
      return stricter(users(given), said);
    },
    /** What the control plane said of a tool. */
    heard: ({ toolName: name, toolInput: input }: ToolCheck, said: Verdict | null) => {
      const action = { kind: "tool", name, input } as const;
      note(action, said === null ? "away" : stricter(own(action), said).kind);
    },
  };
}

async function take(backend: StepBackend, leaseMs: number): Promise<Delivery | undefined> {
  const [stale] = await backend.queue.claimStale(leaseMs, 1);
  if (stale !== undefined) return stale;
  const [fresh] = await backend.queue.read(1, 0, new AbortController().signal);
  return fresh;
}

/** Lets time pass for a session, its lease renewed as it goes, until it ends, dies or is overtaken. */
async function seeThrough(
  { ended, tell }: ReturnType<typeof liveOnce>,
  given: {
    session: Life;
    backend: StepBackend;
    clock: VirtualClock;
    settings: RuntimeOptions;
    delivery: Delivery;
    world: LifecycleWorld;
  },
): Promise<void> {
  const { session, backend, clock, settings, delivery, world } = given;
  let how: string | null = null;
  void ended.then((end) => {
    how = end;
    world.seen.push({ what: "ended", session: session.number, name: end });
  });
  const isOver = () => how !== null || session.isDead || session.isOvertaken;
  for (let turn = 0; turn < patience; turn += 1) {
    await quiet();
    if (isOver()) break;
    const next = clock.untilNext();
    if (next === null) break;
    clock.advance(Math.min(next, settings.leaseMs / 3));
    const lost = await backend.queue.renew([delivery.entryId]);
    if (lost.length > 0) tell({ type: "lease.lost" });
  }
  if (session.isDead) clock.advance(settings.leaseMs + 1);
}

/** Moves time on to the parked step's timer; false when it has none. */
async function wakeParked(street: StepBackend, clock: VirtualClock, job: Job): Promise<boolean> {
  const record = await street.store.find(job);
  if (record?.phase !== "parked" || record.wakeAt === null) return false;
  clock.advance(Math.max(record.wakeAt - clock.now(), 0));
  return (await street.store.wakeDue(10)) > 0;
}

/** Until every promise that can go on has gone on. */
async function quiet(): Promise<void> {
  for (let round = 0; round < 2; round += 1) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
