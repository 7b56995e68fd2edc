import {
  type AnyActorRef,
  type AnyStateMachine,
  createEmptyActor,
  type EventFrom,
  type InputFrom,
  type SnapshotFrom,
} from "xstate";
import type { Scope } from "./transition-table.ts";

/** A chart that is gone through without an actor. */
export interface PureTransitions<M extends AnyStateMachine> {
  initial(input: InputFrom<M>): Moved<M>;
  next(snapshot: SnapshotFrom<M>, event: EventFrom<M>): Moved<M>;
}

export interface Moved<M extends AnyStateMachine> {
  snapshot: SnapshotFrom<M>;
  /** Types of the actions that the transition asks for, in their order. */
  actions: string[];
}

/**
 * What XState's `initialTransition` and `transition` do, for a chart that spawns nothing. For each event XState's make
 * an actor, with two systems, and its first snapshot, which fails with a stack where the context needs an input, and is
 * thrown away. Here one actor without a chart stands in for all.
 *
 * @example
 * const { initial, next } = pureTransitions(compile(machine));
 * const { snapshot, actions } = next(initial(input).snapshot, { type: "reply.received" });
 */
export function pureTransitions<M extends AnyStateMachine>(logic: M): PureTransitions<M> {
  const self = createEmptyActor() as AnyActorRef as Scope["self"];
  const nothing = () => {};
  const move = (transition: (scope: Scope) => unknown): Moved<M> => {
    const actions: string[] = [];
    const snapshot = transition({
      self,
      system: self.system,
      id: self.id,
      sessionId: self.sessionId,
      logger: nothing,
      defer: nothing,
      emit: nothing,
      stopChild: nothing,
      actionExecutor: ({ type }) => void actions.push(type),
    });
    return { snapshot: snapshot as SnapshotFrom<M>, actions };
  };
  return {
    initial: (input) => move((scope) => logic.getInitialSnapshot(scope, input)),
    next: (snapshot, event) => move((scope) => logic.transition(snapshot, event, scope)),
  };
}
