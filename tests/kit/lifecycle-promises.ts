import { digestOf, stepAction, actionDigest } from "../../actors/step/approvals.ts";
import type { Action } from "../../machines/contracts/domain/action.ts";
import type { Fault } from "./lifecycle-history.ts";
import type { Seen } from "./lifecycle-world.ts";
import type { Walk } from "./walk-lifecycle.ts";

/** A promise about every walk of every handler; `broken` says how a walk breaks it, or null. */
export interface LifecyclePromise {
  /** Its id in the list of requirements. */
  id: string;
  promise: string;
  /** @param calm the walk in which nothing went wrong: how often the handler means to do each thing */
  broken(walk: Walk, calm: Walk): string | null;
}

type Touch = Extract<Seen, { what: "touched" }>;

const isTouch = (seen: Seen): seen is Touch => seen.what === "touched";
const touchesOf = ({ seen }: Walk): Touch[] => seen.filter(isTouch);
/** An action as its handler writes it, before its name is resolved. */
export const plain = ({ kind, name, input }: Action) => ({ kind, name, input });
export const isSame = (one: Action, other: Action): boolean =>
  digestOf(plain(one)) === digestOf(plain(other));

/** Whether a person said yes to this action, whatever it was resolved to, with the digest of what they were shown. */
const isGrantOf = (item: Seen, action: Action, { job }: Walk): boolean =>
  item.what === "decided" &&
  item.status === "approved" &&
  item.digest === actionDigest(job, item.action) &&
  isSame(item.action, action);

const nameOf = (action: Action): string => `${action.kind} ${action.name}`;

function countByAction(touches: readonly Touch[]): Map<string, { action: Action; count: number }> {
  const counts = new Map<string, { action: Action; count: number }>();
  for (const { action } of touches) {
    const key = digestOf(action);
    counts.set(key, { action, count: (counts.get(key)?.count ?? 0) + 1 });
  }
  return counts;
}

/** Repetitions beyond what the handler means to do, by action. */
function surplus(touches: readonly Touch[], calm: Walk): { action: Action; count: number }[] {
  const meant = countByAction(touchesOf(calm));
  return [...countByAction(touches)].flatMap(([key, { action, count }]) => {
    const extra = count - Math.max(1, meant.get(key)?.count ?? 1);
    return extra > 0 ? [{ action, count: extra }] : [];
  });
}

/** Grants of the question "this may have run: again?" */
const repeatsGranted = ({ seen }: Walk): number =>
  seen.filter(
    (item) =>
      item.what === "decided" && item.status === "approved" && item.action.kind === "repeat",
  ).length;

const journalling = "append completed";

/**
 * Whether a touch was answered and its session went on after the call that journals the answer: then nobody needs
 * it again. Otherwise it was interrupted: the session died, was abandoned, or could not reach the journal.
 */
function wasCompleted(seen: readonly Seen[], touch: Touch): boolean {
  const [answered, ...after] = seen
    .slice(seen.indexOf(touch) + 1)
    .filter(
      (item) =>
        "session" in item &&
        item.session === touch.session &&
        item.what !== "judged" &&
        item.what !== "asked",
    );
  // Released while the journal's line was still under way: the line is refused, as after a death.
  const isLetGo = (item: Seen) =>
    item.what === "ended" || (item.what === "called" && item.name === "release");
  const isWell = (item: Seen | undefined) =>
    item !== undefined && item.what !== "fault" && !isLetGo(item);
  // A report may come between: of a step that was cancelled while the effect was under way.
  const written = after.findIndex((item) => item.what === "called" && item.name === journalling);
  return answered?.what === "answered" && isWell(after[written]) && isWell(after[written + 1]);
}

export const lifecyclePromises: readonly LifecyclePromise[] = [
  {
    id: "effect.unsafe-once",
    promise: "an unsafe effect is never executed twice unseen",
    broken(walk, calm) {
      const unsafe = touchesOf(walk).filter(({ repeat }) => repeat === "unsafe");
      const extra = surplus(unsafe, calm);
      const count = extra.reduce((sum, one) => sum + one.count, 0);
      if (count <= repeatsGranted(walk)) return null;
      return `${extra.map(({ action }) => nameOf(action)).join(", ")}: done ${count} times more than intended, and nobody was asked`;
    },
  },
  {
    id: "effect.completed-once",
    promise: "completed effects are not repeated",
    broken(walk, calm) {
      const { seen } = walk;
      const whole = touchesOf(walk).filter(
        (touch) => touch.repeat === "safe" && !touch.isLate && wasCompleted(seen, touch),
      );
      const [extra] = surplus(whole, calm);
      return extra === undefined ? null : `${nameOf(extra.action)} was paid for again`;
    },
  },
  {
    id: "policy.permitted",
    promise: "nothing is done that neither policy allowed nor a person granted, exactly as it is",
    broken(walk) {
      const rogue = touchesOf(walk).find((touch) => !isPermitted(walk, touch));
      return rogue === undefined ? null : `${nameOf(rogue.action)} was done without permission`;
    },
  },
  {
    id: "policy.denied-never",
    promise: "nothing is done after a denial, a rejection or an expiry",
    broken({ seen }) {
      const late = seen.filter(isTouch).find((touch) => {
        const before = seen.slice(0, seen.indexOf(touch));
        const isDenied = before.some(
          (item) =>
            item.what === "judged" &&
            item.session === touch.session &&
            item.kind === "deny" &&
            (item.isOwn || isSame(item.action, touch.action)),
        );
        return isDenied || (!touch.isLate && isRefused(before, touch.session));
      });
      return late === undefined ? null : `${nameOf(late.action)} was done after the denial`;
    },
  },
  {
    id: "policy.holds",
    promise: "a permission is used where it holds, not where it was given",
    broken({ seen, job }) {
      const touches = seen.filter(isTouch).filter(({ isLate }) => !isLate);
      const since = (kind: Fault) =>
        seen.find((item) => item.what === "fault" && item.name.startsWith(`${kind}:`));
      const later = (kind: Fault, is: (touch: Touch) => boolean) => {
        const fault = since(kind);
        if (fault === undefined || !("session" in fault)) return undefined;
        return touches.find((touch) => touch.session > fault.session && is(touch));
      };
      const ended = later("run ends unseen", () => true);
      if (ended !== undefined) return `${nameOf(ended.action)} was done for a run that had ended`;
      const denied = later(
        "tools are denied from the next session on",
        ({ action }) => action.kind === "tool" || job.stepType === "tool",
      );
      if (denied !== undefined) return `${nameOf(denied.action)} was done, denied by then`;
      const stale = touches.find((touch) => {
        const before = seen.slice(0, seen.indexOf(touch));
        const change = before.findLast(({ what }) => what === "changed");
        if (change?.what !== "changed" || touch.session <= change.session) return false;
        const isJudged = before.some(
          (item) =>
            item.what === "judged" && item.kind === "allow" && item.session === touch.session,
        );
        const isGranted = before.some(
          (item) =>
            item.what === "decided" &&
            item.status === "approved" &&
            isSame(item.action, touch.action) &&
            item.action.schema === change.schema,
        );
        return touch.action.kind === "tool" && !isJudged && !isGranted;
      });
      if (stale === undefined) return null;
      return `${nameOf(stale.action)} was done on a yes for another schema of the tool`;
    },
  },
  {
    id: "approval.used-once",
    promise: "a granted approval is used once",
    broken(walk) {
      const spent = touchesOf(walk).filter(
        ({ action, repeat }) =>
          repeat === "unsafe" && walk.seen.some((item) => isGrantOf(item, action, walk)),
      );
      const over = [...countByAction(spent).values()].find(
        ({ count }) => count > 1 + repeatsGranted(walk),
      );
      return over === undefined ? null : `${nameOf(over.action)}: ${over.count} times on one grant`;
    },
  },
  {
    id: "once.report",
    promise: "a step is reported once, and does nothing afterwards",
    broken({ seen, controlPlane }) {
      if (controlPlane.accepted.length > 1) return `${controlPlane.accepted.length} reports`;
      const settled = seen.findIndex(
        ({ what, ...item }) => what === "ended" && "name" in item && item.name === "settled",
      );
      if (settled === -1) return null;
      const late = seen.slice(settled).find((item) => isTouch(item) && !item.isLate);
      return late === undefined ? null : "the world was touched after the step had ended";
    },
  },
  {
    id: "path.ends",
    promise: "every path ends once faults stop, with a report unless the run was cancelled",
    broken({ hasEnded, controlPlane }) {
      if (!hasEnded) return "the step never ended";
      const isTold = controlPlane.accepted.length === 1 || controlPlane.isCancelled();
      return isTold ? null : "the step ended without a report";
    },
  },
  {
    id: "path.completes",
    promise: "the step completes where nothing goes wrong, unless policy denies it",
    broken(_walk, { hasEnded, seen, controlPlane }) {
      const [report] = controlPlane.accepted;
      const isDenied = seen.some((item) => item.what === "judged" && item.kind === "deny");
      if (!hasEnded || isDenied || report === undefined) return null;
      if (report.body.status === "completed") return null;
      return `with no fault at all it ended ${report.body.status}: ${JSON.stringify(report.body.error)}`;
    },
  },
];

/**
 * A person's no, or nobody's yes in time, ends the step: sessions that begin later do nothing. Unless nobody waits
 * for that answer any more: the asker died before it parked, and policy, asked anew, allowed the step.
 */
function isRefused(before: readonly Seen[], session: number): boolean {
  return before.some((item, at) => {
    if (item.what !== "decided" || item.status === "approved") return false;
    const wasAlive = before
      .slice(0, at)
      .some((other) => "session" in other && other.session === session);
    const { digest: refused } = item;
    const asked = before.findLastIndex(
      (other) => other.what === "asked" && other.digest === refused,
    );
    const since = before.slice(asked);
    return !wasAlive && !since.some((other) => other.what === "judged" && other.kind === "allow");
  });
}

/** Judged by what was said before the touch: by the policies in any session, or by people, of this very action. */
function isPermitted(walk: Walk, touch: Touch): boolean {
  const { seen, job } = walk;
  const before = seen.slice(0, seen.indexOf(touch));
  const isGranted = (action: Action) => before.some((item) => isGrantOf(item, action, walk));
  if (isGranted(touch.action)) return true;
  const own = stepAction(job);
  const isAllowed = (action: Action) =>
    before.some(
      (item) => item.what === "judged" && item.kind === "allow" && isSame(item.action, action),
    );
  const needsExactly = touch.action.kind === "tool" || touch.repeat === "unsafe";
  if (needsExactly) return isAllowed(touch.action);
  return isAllowed(own) || isGranted(own);
}

/** Every promise that a walk breaks, as sentences; empty when it keeps them all. */
export function brokenLifecyclePromises(walk: Walk, calm: Walk): string[] {
  return lifecyclePromises.flatMap(({ promise, broken }) => {
    const how = broken(walk, calm);
    return how === null ? [] : [`${promise}: ${how}`];
  });
}
