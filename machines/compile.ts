/**
 * A pure chart is a finite table. `compile` reads a machine's own state nodes once (transition-table.ts); its
 * actor then looks up what XState's interpreter would work out again for every event.
 *
 * Taking a transition runs its flat list of actions in order. An `assign` makes a new context, which everything
 * after it sees. Every other action goes to the actor scope's `actionExecutor` with the context of that moment:
 * a running actor executes it at once, one that has not started puts it off, XState's `transition()` only
 * collects it. Entering a final state then computes its output. If it is nested, its parent's done event is
 * taken as a further microstep before anything else; if it is a child of the root, the status becomes `done`,
 * and the exit actions of all active nodes run last.
 *
 * What stays XState's. The result is the machine with `transition` and `getInitialSnapshot` replaced, so the
 * actor system, inspection, persistence and the types are unchanged. Snapshots have XState's shape and XState's
 * own `can`, `matches` and `hasTag`, and either side can go on from a snapshot of the other. The interpreter does
 * so here for XState's own events (`xstate.stop`, errors of child actors) and for snapshots no longer active:
 * both are rare, and it is right about them by definition.
 *
 * What a table cannot say is refused when compiling. An assigner that calls `spawn` fails when it does.
 * tests/model/compile.test.ts holds all of this to the interpreter.
 */
import type { AnyEventObject, AnyMachineSnapshot, AnyStateMachine, MachineContext } from "xstate";
import {
  type Action,
  answersOf,
  type Candidate,
  type Definition,
  isReserved,
  nameOf,
  type Node,
  readTable,
  type Scope,
  type Shape,
  shapeOf,
  titleOf,
} from "./transition-table.ts";

const none: readonly never[] = [];

/**
 * Makes actor logic that behaves as the machine does, in a fraction of its time. Compile after `provide`: what
 * is provided to the result gives an interpreted machine again.
 *
 * @example
 * const logic = compile(machine.provide({ actions }));
 * const actor = createActor(logic, { input });
 * @throws Error that names the machine, the state and the feature, if it uses one that is not covered
 */
export function compile<M extends AnyStateMachine>(machine: M): M {
  const interpreter: AnyStateMachine = machine;
  const { leaves, first, initial } = readTable(machine);
  // Before its first state a machine stands in its root alone, and XState already says where it will begin.
  const unborn = shapeOf([machine.root], first.active.value);
  const { matches, hasTag, can, getMeta, toJSON } = interpreter.resolveState({
    value: first.active.value,
    context: {},
  });
  const limit = machine.options.maxIterations ?? Number.POSITIVE_INFINITY;
  const spawn = (): never => {
    throw new Error(`${titleOf(machine)} is compiled, and a compiled chart does not spawn actors`);
  };

  // The keys and their order are XState's: a snapshot is persisted in this order.
  const makeSnapshot = (
    { value, tags, _nodes }: Shape,
    status: string,
    output: unknown,
    context: MachineContext,
    {
      error,
      children,
      historyValue,
    }: Pick<AnyMachineSnapshot, "error" | "children" | "historyValue">,
  ): AnyMachineSnapshot =>
    ({
      status,
      output,
      error,
      machine,
      context,
      _nodes,
      value,
      tags,
      children,
      historyValue,
      matches,
      hasTag,
      can,
      getMeta,
      toJSON,
    }) as unknown as AnyMachineSnapshot;

  /** Runs actions in order; returns the context they leave. */
  const run = (
    actions: readonly Action[],
    before: MachineContext,
    event: AnyEventObject,
    scope: Scope,
  ): MachineContext => {
    const { self, system } = scope;
    let context = before;
    // Assignments in a row share one copy: nobody has seen it before an action is told of it.
    let isShared = true;
    for (const { type, assign, exec, params: read } of actions) {
      const params = read === null ? undefined : read({ context, event });
      if (assign === null) {
        const info = { context, event, self, system };
        isShared = true;
        scope.actionExecutor({ type, info, params, exec } as Parameters<
          Scope["actionExecutor"]
        >[0]);
      } else {
        const change = assign({ context, event, spawn, self, system }, params);
        // XState's Object.assign({}, context, change) gives the same and takes eighty times as long.
        context = Object.assign(isShared ? { ...context } : context, change);
        isShared = false;
      }
    }
    return context;
  };

  /** One microstep. As in XState, the same snapshot comes back if neither the leaf nor the context changed. */
  const take = (
    snapshot: AnyMachineSnapshot,
    candidate: Candidate,
    event: AnyEventObject,
    scope: Scope,
  ): AnyMachineSnapshot => {
    const { target } = candidate;
    let context = run(candidate.actions, snapshot.context, event, scope);
    if (candidate.completes && target.isEnd) {
      const output = endOutput(target.node, context, event, scope);
      context = run(target.lastExits, context, event, scope);
      return makeSnapshot(target.done, "done", output, context, snapshot);
    }
    if (candidate.stays && context === snapshot.context) return snapshot;
    return makeSnapshot(target.active, "active", snapshot.output, context, snapshot);
  };

  /** Takes done events of nested final states until there are none. */
  const settle = (
    entered: AnyMachineSnapshot,
    by: Candidate,
    event: AnyEventObject,
    scope: Scope,
  ): AnyMachineSnapshot => {
    let snapshot = entered;
    let last: Candidate | null = by;
    let cause = event;
    for (let turn = 1; snapshot.status === "active"; turn += 1) {
      if (turn > limit) throw new Error(endless(limit));
      if (!last?.completes || last.target.parentDone === null) break;
      const output = outputOf(last.target.node, snapshot.context, cause, scope);
      cause = { type: last.target.parentDone, output };
      last = select(last.target.afterDone, snapshot, cause);
      if (last !== null) snapshot = take(snapshot, last, cause, scope);
      inspect(scope, cause, snapshot, last?.taken ?? none);
    }
    return snapshot;
  };

  const transition = (
    snapshot: AnyMachineSnapshot,
    event: AnyEventObject,
    scope: Scope,
  ): AnyMachineSnapshot => {
    const leaf = leaves.get(snapshot._nodes[snapshot._nodes.length - 1]);
    const known = leaf?.candidates.get(event.type);
    if (leaf === undefined || snapshot.status !== "active" || (!known && isReserved(event.type)))
      return interpreter.transition(snapshot, event, scope);
    const candidates = known ?? (leaf.hasWildcards ? answersOf(leaf, event.type) : none);
    const candidate = select(candidates, snapshot, event);
    const next = candidate === null ? snapshot : take(snapshot, candidate, event, scope);
    inspect(scope, event, next, candidate === null ? none : candidate.taken);
    return candidate?.completes ? settle(next, candidate, event, scope) : next;
  };

  const getInitialSnapshot = (scope: Scope, input: unknown): AnyMachineSnapshot => {
    const event = { type: "xstate.init", input };
    const { context } = machine.config as { context?: unknown };
    const made = { error: undefined, children: {}, historyValue: {} };
    const given = typeof context === "object" && context !== null ? context : {};
    let snapshot = makeSnapshot(unborn, "active", undefined, given, made);
    try {
      if (typeof context === "function") {
        const own = { ...context({ spawn, input, self: scope.self }) };
        snapshot = makeSnapshot(unborn, "active", undefined, own, made);
      }
      const next = take(snapshot, initial, event, scope);
      return initial.completes ? settle(next, initial, event, scope) : next;
    } catch (error) {
      return { ...snapshot, status: "error", error } as AnyMachineSnapshot;
    }
  };

  // A twin of the machine with two methods of its own.
  return Object.assign(Object.create(machine), { transition, getInitialSnapshot }) as M;
}

/** The first enabled candidate. */
function select(
  candidates: readonly Candidate[],
  snapshot: AnyMachineSnapshot,
  event: AnyEventObject,
): Candidate | null {
  for (const candidate of candidates) {
    const { guard } = candidate;
    if (guard === null) return candidate;
    try {
      if (guard(snapshot, event)) return candidate;
    } catch (error) {
      const definition = candidate.taken[0] as Definition;
      const name = nameOf(definition.guard);
      const place = `in transition for event '${event.type}' in state node '${definition.source.id}'`;
      const title = name === undefined ? "" : `'${name}' `;
      // Word for word what the interpreter says.
      throw new Error(`Unable to evaluate guard ${title}${place}:\n${(error as Error).message}`, {
        cause: error,
      });
    }
  }
  return null;
}

/** Tells inspectors of a microstep, as the interpreter does: the system can, though its type does not say so. */
function inspect(
  { self, system }: Scope,
  event: AnyEventObject,
  snapshot: AnyMachineSnapshot,
  _transitions: readonly Definition[],
): void {
  const { _sendInspectionEvent: send } = system as unknown as {
    _sendInspectionEvent: (event: object) => void;
  };
  send({ type: "@xstate.microstep", actorRef: self, event, snapshot, _transitions });
}

function outputOf(node: Node, context: MachineContext, event: AnyEventObject, { self }: Scope) {
  const output: unknown = node.output;
  return typeof output === "function" ? output({ context, event, self }) : output;
}

/** What the machine gives out when it ends in this leaf. */
function endOutput(node: Node, context: MachineContext, event: AnyEventObject, scope: Scope) {
  const { root } = node.machine;
  const output = node === root ? undefined : outputOf(node, context, event, scope);
  const done = { type: `xstate.done.state.${node.id}`, output };
  return outputOf(root, context, done, scope);
}

const endless = (limit: number) =>
  `Infinite loop detected: the machine has processed more than ${limit} microsteps without reaching a stable state. This usually happens when there's a cycle of transitions (e.g., eventless transitions or raised events causing state A -> B -> C -> A).`;
