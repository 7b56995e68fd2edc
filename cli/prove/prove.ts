import type { ToolRule } from "../../machines/contracts/domain/tool-lists.ts";
import { argumentsOf, hintsOf } from "./arguments.ts";
import { type Examined, explore, mostPaths, type Question } from "./explore.ts";
import type { Call, World } from "./life.ts";
import { momentsOf, type Rules, verdictsOn, verdictsOnOwn, worldOf } from "./verdicts-of.ts";

export interface AskedTool {
  server: string | null;
  name: string;
  /** Digest of its schema; null where it is not known. */
  schema: string | null;
  /** What a job calls it. */
  address: string;
  inputSchema: unknown;
}

export interface Proof {
  states: number;
  moves: number;
  paths: number;
  /** Whether there are more paths than were counted. */
  hasMore: boolean;
  agents: number;
  /** Sets of arguments that policy was asked about. */
  calls: number;
  /** The shortest way to what was asked about. */
  witness: (NonNullable<Examined["witness"]> & Pick<World, "agent"> & { step: string }) | null;
}

/**
 * Walks every step that could call the tool: a tool step with each kind of call, and an agent's loop whose model makes
 * calls of every kind. Calls are of a kind when policy can say the same of them.
 */
export function prove(rules: Rules, tool: AskedTool, question: Question, now: number): Proof {
  const said: readonly ToolRule[] = [
    ...rules.allowlist.allowed,
    ...rules.allowlist.approvalRequired,
    ...rules.allowlist.denied,
    ...rules.policies.flatMap(({ conditions }) => conditions.tools ?? []),
  ];
  const inputs = argumentsOf(tool.inputSchema, hintsOf(tool, said, rules.policy));
  const moments = momentsOf(rules.policies, now);
  const proof: Proof = {
    states: 0,
    moves: 0,
    paths: 0,
    hasMore: false,
    agents: rules.agents.length,
    calls: inputs.length,
    witness: null,
  };
  for (const agent of rules.agents) {
    for (const stepType of ["tool", "llm"] as const) {
      const kinds = new Map<string, Kind>();
      for (const input of inputs) {
        const world = worldOf(agent, stepType, tool, input);
        const call = verdictsOn(rules, world, input, moments);
        const key = JSON.stringify(
          call.verdicts.map(({ kind, failsStep }) => [kind, failsStep]).sort(),
        );
        const known = kinds.get(key);
        // The plainest arguments stand for their kind.
        if (known === undefined || isPlainer(input, known.call.input)) {
          kinds.set(key, { world, call, alike: known?.call ?? null });
        } else known.alike ??= call;
      }
      for (const world of toWalk(rules, stepType, [...kinds.values()])) {
        add(proof, world, explore(world, question));
      }
    }
  }
  return proof;
}

/** Calls of which policy can say the same. */
interface Kind {
  world: World;
  call: Call;
  /** Another one. */
  alike: Call | null;
}

const isPlainer = (one: object, other: object) =>
  JSON.stringify(one).length < JSON.stringify(other).length && Object.keys(one).length > 0;

function toWalk(rules: Rules, stepType: "tool" | "llm", kinds: readonly Kind[]): World[] {
  if (stepType === "tool") return kinds.map(({ world, call }) => ({ ...world, calls: [call] }));
  const [first] = kinds;
  if (first === undefined) return [];
  // Two at least: a yes to one must not let the other run.
  const more = kinds.length === 1 && first.alike !== null ? [first.alike] : [];
  const calls = [...kinds.map(({ call }) => call), ...more];
  return [{ ...first.world, calls, own: verdictsOnOwn(rules, first.world) }];
}

function add(proof: Proof, { agent, job }: World, found: Examined): void {
  proof.states += found.states;
  proof.moves += found.moves;
  proof.paths += found.paths;
  proof.hasMore ||= found.paths >= mostPaths;
  const { witness } = found;
  if (witness === null) return;
  if (proof.witness === null || witness.steps.length < proof.witness.steps.length) {
    proof.witness = { ...witness, agent, step: job.stepType };
  }
}
