import { type } from "arktype";
import type { Policy } from "../../adapters/control-plane/embedded/policy.ts";
import { newPolicy } from "../../adapters/control-plane/embedded/routes/policy-routes.ts";
import { couldMean, toolLabel } from "../../machines/contracts/domain/tool-lists.ts";
import type { Command, Context } from "../command.ts";
import { chooseTools } from "../compose/choose-tools.ts";
import { agentSeeds } from "../compose/start-plane.ts";
import { CliError } from "../output/errors.ts";
import { type Question, questions } from "../prove/explore.ts";
import { type AskedTool, type Proof, prove } from "../prove/prove.ts";
import { readDocument } from "./read-document.ts";
import { findShown } from "./tools.ts";
import { withTools } from "./with-tools.ts";

/** `policy prove --tool TOOL`: exit code 0 for no, 1 for a witness. */
export const provePolicy: Command = async (context) => {
  const { config, env, output, invocation } = context;
  const { settings } = config;
  const name = invocation.flags["tool"];
  if (typeof name !== "string") throw new CliError(2, "policy prove: expected --tool NAME");
  const question = askedQuestion(context);
  const policies = await readPolicies(context);
  const chosen = await chooseTools(config, env);
  const { tool, assumptions, disabled } = await findTool(context, name);
  const isOwnPlane = settings.controlPlaneUrl === null;
  const rules = {
    allowlist: chosen.allowlist,
    policy: settings.policy ?? undefined,
    agents: agentSeeds(settings, chosen),
    policies,
    toolPolicy: settings.toolPolicy,
    isOwnPlane,
    isFailingOpen: settings.failClosed === "off",
  };
  if (!isOwnPlane) {
    assumptions.push("the control plane may allow whatever it is asked, but for --policies");
  }
  if (settings.handlers !== undefined) {
    assumptions.push("handlers of your own do nothing but what they ask permission for");
  }
  const words = questions[question].asks(toolLabel(tool));
  const proof = prove(
    disabled === null ? rules : { ...rules, agents: [] },
    tool,
    question,
    Date.now(),
  );
  if (disabled !== null) assumptions.push(`it can't be called at all: ${disabled}`);
  if (output.isJson) output.json(asJson(context, { question, words, tool, proof, assumptions }));
  else print(context, { words, proof, assumptions, hasFunction: settings.policy != null });
  return proof.witness === null ? 0 : 1;
};

/** @throws CliError where more than one is asked */
function askedQuestion({ invocation }: Context): Question {
  const names = Object.keys(questions) as Question[];
  const asked = names.filter((name) => invocation.flags[name] === true);
  if (asked.length > 1) {
    const flags = names.map((name) => `--${name}`).join(", ");
    throw new CliError(2, `policy prove: expected one of ${flags}`);
  }
  return asked[0] ?? "unapproved";
}

/** @throws CliError that names what can't be used */
async function readPolicies({ invocation, folder }: Context): Promise<Policy[]> {
  const { policies: file } = invocation.flags;
  if (typeof file !== "string") return [];
  const document = await readDocument(file, folder, "policies");
  return (Array.isArray(document) ? document : [document]).map((given, at): Policy => {
    const read = newPolicy(given);
    if (read instanceof type.errors) {
      throw new CliError(2, `${file}: policy ${at + 1}: ${read.summary.replaceAll("\n", "; ")}`);
    }
    const { project_id: projectId = "", ...policy } = read;
    const unsaid = { description: null, priority: 100, conditions: {}, enabled: true };
    const made = { id: `policy ${at + 1}`, createdAt: 0, updatedAt: 0 };
    return { ...unsaid, ...made, projectId, ...policy };
  });
}

interface Found {
  tool: AskedTool;
  assumptions: string[];
  /** Why it can't be called, whatever policy says. */
  disabled: string | null;
}

/** The tool as it is resolved when it is judged; a tool that only a handler of the user's does has no server. */
async function findTool(context: Context, name: string): Promise<Found> {
  const { settings } = context.config;
  const own: Found = {
    tool: { server: null, name, schema: null, address: name, inputSchema: null },
    assumptions: [],
    disabled: null,
  };
  const hasHandler = settings.handlers?.[`tool:${name}`] !== undefined;
  const { servers } = await chooseTools(context.config, context.env);
  if (hasHandler && servers.length === 0 && (settings.tools ?? []).length === 0) return own;
  return withTools(
    context,
    undefined,
    async ({ look }) => {
      const shown = await look();
      const silent = shown.find(
        (server) => server.problem !== null && name.startsWith(`${server.name}/`),
      );
      const tools = shown.flatMap((server) => server.tools);
      const isListed = tools.some((tool) => couldMean(`${tool.server}/${tool.name}`, name));
      if (!isListed && hasHandler) return own;
      if (!isListed && silent !== undefined) {
        const bare = name.slice(silent.name.length + 1);
        const assumption = `server ${silent.name} has a tool ${bare}, whose schema is not known: ${silent.problem}`;
        const tool = { ...own.tool, server: silent.name, name: bare };
        return { ...own, tool, assumptions: [assumption] };
      }
      const found = findShown(shown, name);
      const { server, address, inputSchema, standing, reason } = found;
      return {
        tool: { server, name: found.name, schema: null, address, inputSchema },
        assumptions: [],
        disabled: standing === "disabled" ? reason : null,
      };
    },
    true,
  );
}

const count = (number: number, what: string) =>
  `${number.toLocaleString("en-US")} ${what}${number === 1 ? "" : "s"}`;

function print(
  { output }: Context,
  said: { words: string; proof: Proof; assumptions: string[]; hasFunction: boolean },
): void {
  const { words, proof, assumptions, hasFunction } = said;
  const { witness } = proof;
  if (witness === null) output.prose(`${words} No.\n`);
  else {
    output.prose(`${words} Yes, in ${count(witness.steps.length, "move")}:\n`);
    output.table(
      ["", "STATE", "WHAT HAPPENS THERE"],
      witness.steps.map(({ state, happens }, at) => [String(at + 1), state, happens]),
    );
    output.line("");
    output.pairs([
      ["agent", witness.agent],
      ["step", witness.step === "tool" ? "a tool step" : "an llm step, whose model calls the tool"],
      ["arguments", JSON.stringify(witness.ran.input)],
    ]);
    output.line("");
  }
  const paths = `${proof.hasMore ? "more than " : ""}${count(proof.paths, "path")}`;
  output.prose(
    `Examined: ${paths} through ${count(proof.states, "state")} and ${count(proof.moves, "move")} of the step and agent-loop machines, for ${count(proof.agents, "agent")}.`,
  );
  if (hasFunction) {
    output.prose(`The policy function was tried with ${count(proof.calls, "set")} of arguments.`);
  }
  for (const assumption of assumptions) output.prose(`Taken for granted: ${assumption}.`);
}

function asJson(
  { config }: Context,
  said: { question: Question; words: string; tool: AskedTool; proof: Proof; assumptions: string[] },
) {
  const { question, words, tool, proof, assumptions } = said;
  const { witness } = proof;
  return {
    question,
    words,
    tool: { server: tool.server, name: tool.name },
    answer: witness === null ? "no" : "yes",
    paths: proof.paths,
    has_more_paths: proof.hasMore,
    states: proof.states,
    moves: proof.moves,
    agents: proof.agents,
    arguments_tried: config.settings.policy == null ? null : proof.calls,
    assumptions,
    witness: witness && {
      agent: witness.agent,
      step_type: witness.step,
      arguments: witness.ran.input,
      reason: witness.ran.verdict.reason,
      steps: witness.steps,
    },
  };
}
