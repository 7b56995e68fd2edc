import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { policiesApi, type PolicyView } from "../../adapters/control-plane/policies-api.ts";
import type { Command } from "../command.ts";
import { CliError } from "../output/errors.ts";
import { safeJson } from "../output/plain.ts";
import { readDocument, readInput } from "./read-document.ts";
import { withControlPlane } from "./with-control-plane.ts";

/** `policy list`, in the order in which they decide. */
export const listPolicies: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output } = context;
    const found = await value(policiesApi(api).list(signal));
    const policies = found.toSorted((one, other) => other.priority - one.priority);
    if (output.isJson) output.json(policies);
    else if (policies.length === 0)
      output.remark("there is no policy: the agents' lists alone decide");
    else output.table(["POLICY", "NAME", "PRIORITY", "EFFECT", "CONDITIONS"], policies.map(row));
    return 0;
  });

const row = ({ id, name, priority, effect, enabled, conditions }: PolicyView) => [
  id,
  name,
  String(priority),
  enabled ? effect : `${effect} (disabled)`,
  safeJson(conditions),
];

/** `policy apply FILE`: each is made, or takes the place of the one with its name. */
export const applyPolicies: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output, invocation, folder } = context;
    const [file = ""] = invocation.args;
    const wanted = readPolicies(await readDocument(file, folder, null), file);
    const policies = policiesApi(api);
    const known = await value(policies.list(signal));
    const kept: PolicyView[] = [];
    for (const [at, policy] of wanted.entries()) {
      const same = known.find(({ name }) => name === policy["name"]);
      // What a file does not say is as a new policy has it, and not what it once was.
      const whole = {
        description: null,
        approval: null,
        priority: 100,
        conditions: {},
        enabled: true,
        ...policy,
      };
      const put = await policies.put(same?.id ?? null, same === undefined ? policy : whole, signal);
      if (!put.ok && put.failure.kind === "refused") {
        const words = String(put.failure.details?.["said"] ?? put.failure.message);
        const done = at === 0 ? "" : `; the ${at} before it are in force`;
        throw new CliError(2, `${file}: policy ${at + 1}: ${words}${done}`);
      }
      kept.push(await value(Promise.resolve(put)));
    }
    if (output.isJson) output.json(kept);
    else output.pairs(kept.map(({ id, name, effect }) => [id, `${name}: ${effect}`] as const));
    return 0;
  });

/** @throws CliError */
function readPolicies(document: Json, file: string): JsonObject[] {
  const all = Array.isArray(document) ? document : [document];
  const policies = all.filter(isJsonObject);
  if (policies.length === all.length && policies.every(({ name }) => typeof name === "string")) {
    return policies;
  }
  const expected = "a policy or a list of them, each with a name and an effect";
  throw new CliError(2, `${file}: expected ${expected}`);
}

/** `policy delete`. */
export const deletePolicy: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output, invocation } = context;
    const gone = await value(policiesApi(api).remove(invocation.args[0] ?? "", signal));
    if (output.isJson) output.json(gone);
    else output.pairs([["deleted", `${gone.id} (${gone.name})`]]);
    return 0;
  });

/** `policy explain`: what would become of one call, and by which rule; nothing is called and nothing counted. */
export const explainPolicy: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output, invocation } = context;
    const [agent = "", tool = ""] = invocation.args;
    const { server, at } = invocation.flags;
    const said = await value(
      policiesApi(api).explain(
        {
          agent,
          tool_name: tool,
          tool_input: await readInput(context),
          ...(typeof server === "string" ? { server } : {}),
          ...(typeof at === "string" ? { at } : {}),
        },
        signal,
      ),
    );
    if (output.isJson) {
      output.json(said);
      return 0;
    }
    const by =
      said.policy === null ? "no policy speaks of it" : `${said.policy.name} (${said.policy.id})`;
    output.pairs([
      ["effect", said.effect],
      ["reason", said.reason],
      ["the agent's lists", `${said.lists.effect}: ${said.lists.reason}`],
      ["deciding policy", by],
      ["response level", said.response_level ?? "none: no tool is registered"],
    ]);
    if (said.considered.length === 0) return 0;
    output.line("");
    output.table(
      ["POLICY", "PRIORITY", "EFFECT", "COVERS IT", "WHY"],
      said.considered.map(({ name, priority, effect, covers, why }) => [
        name,
        String(priority),
        effect,
        covers ? "yes" : "no",
        why,
      ]),
    );
    return 0;
  });
