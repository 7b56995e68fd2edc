import { randomUUID } from "node:crypto";
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import { type Cards, chargeAction } from "../../examples/own-step/cards.ts";
import { chargeCard } from "../../examples/own-step/charge-card.ts";
import { defaultOptions } from "../../actors/options.ts";
import { type Job, toEnvelope } from "../../machines/contracts/domain/job.ts";
import { verdict } from "../../machines/contracts/domain/action.ts";
import { faultyPorts } from "../kit/faulty-ports.ts";
import { everyTool } from "../kit/lifecycle-subject.ts";
import { calmHistory } from "../kit/lifecycle-history.ts";
import { brokenLifecyclePromises } from "../kit/lifecycle-promises.ts";
import { type Life, LifecycleWorld } from "../kit/lifecycle-world.ts";
import { liveOnce, type OneLife } from "../kit/live-once.ts";
import { People } from "../kit/people.ts";
import { sampleJob } from "../kit/step-events.ts";
import { simulatedControlPlane } from "../kit/simulated-control-plane.ts";
import { tellStory } from "../kit/tell-story.ts";
import { virtualClock } from "../kit/virtual-clock.ts";
import { type Walk, walkLifecycle } from "../kit/walk-lifecycle.ts";

const tool_input = { card: "c_1", cents: 500 };
const job: Job = { ...sampleJob, input: { tool_name: "charge_card", tool_input } };
const options = {
  ...defaultOptions,
  maxDeliveries: 50,
  allowlist: { allowed: [], approvalRequired: ["charge_card"], denied: [] },
};
const cardsOf = (world: LifecycleWorld, session: Life): Cards => ({
  convert: (cents) =>
    world
      .of(session)
      .touch(
        { kind: "retrieval", name: "convert", input: { cents } },
        { repeat: "safe", answer: cents },
      ),
  charge: (card, cents) =>
    world.of(session).touch(chargeAction(card, cents), { repeat: "unsafe", answer: "receipt" }),
});

/** What comes from outside, each at a moment that the scheduler chooses. */
const events = ["grant", "reject", "cancel", "expire", "take over", "job again", "drain"] as const;
type Event = (typeof events)[number];
/** Each comes so many turns of the scheduler after the one before. */
interface Due {
  event: Event;
  after: number;
}

/** Every answer of every port waits for the scheduler; so do the events. */
class ScheduledWorld extends LifecycleWorld {
  readonly #scheduler: fc.Scheduler;

  constructor(scheduler: fc.Scheduler) {
    super(calmHistory, { pause: () => {}, publishAgain: async () => {} });
    this.#scheduler = scheduler;
  }

  override async moment<T>(session: Life, name: string, call: () => Promise<T>): Promise<T> {
    this.seen.push({ what: "called", session: session.number, name });
    await this.#scheduler.schedule(Promise.resolve(), `${session.number}: ${name}`);
    return call();
  }
}

async function play(scheduler: fc.Scheduler, played: readonly Due[]): Promise<Walk> {
  const clock = virtualClock();
  const path = `file:interleaving-${randomUUID()}?mode=memory&cache=shared`;
  const newHome = (consumer: string) => createSqliteBackend({ path, consumer, clock });
  const street = await newHome("street");
  const backends = [street];
  const publish = () =>
    street.queue.publish({ data: toEnvelope({ ...job, createdAt: clock.now() }) });
  const { approvalMs } = options.deadlines;
  const controlPlane = simulatedControlPlane(job, { answers: [], now: clock.now, approvalMs });
  const world = new ScheduledWorld(scheduler);
  const decide = async (decision: "grant" | "reject" | "expire") =>
    new People([decision], { controlPlane, publish, clock, world }).decide();
  const quick = new People(["reject"], { controlPlane, publish, clock, world });
  const sessions: { session: Life; raised: OneLife }[] = [];

  /** Another worker looks for work: new, released, or left by a lease that ran out. */
  const resumeFromRecord = async (): Promise<boolean> => {
    const backend = await newHome(`worker-${sessions.length}`);
    backends.push(backend);
    const [stale] = await backend.queue.claimStale(options.leaseMs, 1);
    const [fresh] = stale ? [stale] : await backend.queue.read(1, 0, new AbortController().signal);
    if (fresh === undefined) return false;
    const number = sessions.length + 1;
    const session: Life = { number, isDead: false, isOvertaken: false, cancel() {}, drain() {} };
    const heard = () => {
      const action = chargeAction(tool_input.card, tool_input.cents);
      world.seen.push({ what: "judged", session: number, kind: "ask", action, isOwn: true });
    };
    const given = {
      backend,
      controlPlane,
      clock,
      world,
      people: quick,
      session,
      tools: everyTool(() => world.schema),
      judged: { heard },
    };
    const handlers = { tool: chargeCard(cardsOf(world, session)) };
    for (const earlier of sessions) earlier.session.isOvertaken = true;
    const raised = liveOnce(faultyPorts(given), { ...options, handlers }, { job, delivery: fresh });
    sessions.push({ session, raised });
    void raised.ended.then((name) => world.seen.push({ what: "ended", session: number, name }));
    return true;
  };
  const happen = async (event: Event) => {
    world.seen.push({ what: "fault", session: 0, name: event });
    if (event === "job again") await publish();
    else if (event === "take over") {
      clock.advance(options.leaseMs + 1);
      await resumeFromRecord();
    } else if (event === "drain") sessions.at(-1)?.raised.tell({ type: "drain.requested" });
    else if (event === "cancel") {
      controlPlane.cancelRun();
      for (const { raised } of sessions)
        raised.tell({ type: "cancel.requested", reason: "by a person" });
    } else if (await decide(event)) await resumeFromRecord();
  };
  const happenInTurn = async () => {
    for (const { event, after } of played) {
      for (let turn = 0; turn <= after; turn += 1) {
        await scheduler.schedule(Promise.resolve(), `before ${event}`);
      }
      await happen(event);
    }
  };

  await publish();
  await resumeFromRecord();
  void happenInTurn();
  let hasEnded = false;
  // Faults have stopped: people answer, timers fire, workers take up what is left.
  for (let turn = 0; turn < 60 && !hasEnded; turn += 1) {
    await scheduler.waitIdle();
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (scheduler.count() > 0 || (await resumeFromRecord()) || (await decide("grant"))) continue;
    const record = await street.store.find(job);
    const { length } = await street.queue.stats();
    hasEnded = record?.phase === "reported" && length === 0;
    if (hasEnded) break;
    clock.advance(Math.max((record?.wakeAt ?? 0) - clock.now(), options.leaseMs + 1));
    await street.store.wakeDue(10);
  }
  for (const backend of backends) await backend.close();
  return { job, seen: world.seen, controlPlane, hasEnded, struck: new Map() };
}

it("every interleaving of grants, cancels, expiries and take-overs keeps every promise [interleavings]", async () => {
  const calm = await walkLifecycle(
    {
      handler: (world) =>
        chargeCard({
          convert: (cents) =>
            world.touch(
              { kind: "retrieval", name: "convert", input: { cents } },
              { repeat: "safe", answer: cents },
            ),
          charge: (card, cents) =>
            world.touch(chargeAction(card, cents), { repeat: "unsafe", answer: "receipt" }),
        }),
      job,
      policy: () => verdict.ask("money leaves"),
    },
    calmHistory,
  );
  const passed = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(fc.record({ event: fc.constantFrom(...events), after: fc.nat({ max: 8 }) }), {
        minLength: 1,
        maxLength: 6,
      }),
      async (scheduler, played) => {
        const walk = await play(scheduler, played);
        const broken = brokenLifecyclePromises(walk, calm);
        passed.add(
          walk.seen.map((item) => `${item.what}${"name" in item ? item.name : ""}`).join(),
        );
        if (broken.length > 0) throw new Error(`${broken.join("\n")}\n${tellStory(walk)}`);
      },
    ),
    { numRuns: Number(process.env["INTERLEAVINGS"] ?? 300) },
  );
  // The scheduler really chose: there were many different histories.
  expect(passed.size).toBeGreaterThan(200);
});
