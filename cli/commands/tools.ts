import { cutText } from "../../machines/contracts/domain/text.ts";
import { commandLine } from "../called-as.ts";
import type { Command } from "../command.ts";
import {
  allowingLine,
  type ShownServer,
  type ShownTool,
  summary,
} from "../compose/look-at-tools.ts";
import { CliError } from "../output/errors.ts";
import type { Output } from "../output/output.ts";
import { plain, visible } from "../output/plain.ts";
import { secrets } from "../secrets.ts";
import { unknown, withTools } from "./with-tools.ts";

/** `tools list [SERVER]`. */
export const listTools: Command = (context) => {
  const { invocation, output } = context;
  return withTools(
    context,
    invocation.args[0],
    async ({ look, tools }) => {
      const servers = await look();
      if (output.isJson) output.json({ servers: servers.map(asJson) });
      else {
        for (const [at, server] of servers.entries()) {
          if (at > 0) output.line("");
          listServer(server, tools.listedIn, output);
        }
      }
      return servers.some(({ problem }) => problem !== null) ? 3 : 0;
    },
    true,
  );
};

function listServer(
  server: ShownServer,
  listedIn: Parameters<typeof allowingLine>[1],
  output: Output,
): void {
  const said = secrets.redact(summary(server));
  output.line(`${output.colors.bold(plain(server.name))}  ${plain(said)}`);
  if (server.refused !== null) output.line(output.colors.red(plain(server.refused)));
  if (server.tools.length === 0) return;
  output.table(
    ["TOOL", "LISTS", "REPEATS", "ABOUT"],
    server.tools.map((tool) => [
      `${tool.flags.length > 0 ? "! " : ""}${tool.address}`,
      `${tool.standing}${tool.conditions.length > 0 ? "*" : ""}`,
      tool.isReadOnly ? "reads" : tool.isSafeToRepeat ? "safe" : "unsafe",
      tool.standing === "disabled" ? tool.reason : about(tool.description),
    ]),
  );
  if (server.tools.some(({ conditions }) => conditions.length > 0)) {
    output.line("* depends on the arguments; see:");
    output.line(`  ${commandLine("tools show TOOL")}`);
  }
  for (const { address, flags } of server.tools) {
    for (const flag of flags)
      output.line(output.colors.yellow(`! ${plain(address)}: ${visible(flag)}`));
  }
  const line = allowingLine(server, listedIn);
  if (line === null) return;
  output.line("To allow some:");
  output.line(`  ${plain(line)}`);
}

/** So that a row of a usual name fits in 80 columns. */
const aboutLength = 38;

/** The first sentence, or what of it fits. */
function about(description: string): string {
  const [first = ""] = plain(description)
    .trim()
    .split(/(?<=\.)\s/u);
  const line = first.replace(/\.$/u, "");
  return line.length > aboutLength ? `${cutText(line, aboutLength - 1).trimEnd()}…` : line;
}

const asJson = ({ name, pin, problem, refused, tools }: ShownServer) => ({
  name,
  identity: pin?.server ?? null,
  digest: pin?.digest ?? null,
  problem: problem === null ? null : secrets.redact(problem),
  quarantined: refused,
  tools: tools.map(toolAsJson),
});

const toolAsJson = (tool: ShownTool) => ({
  name: tool.name,
  address: tool.address,
  server: tool.server,
  standing: tool.standing,
  reason: tool.reason,
  by_arguments: tool.conditions,
  read_only: tool.isReadOnly,
  safe_to_repeat: tool.isSafeToRepeat,
  description: tool.description,
  flags: tool.flags,
});

/** `tools show TOOL`. */
export const showTool: Command = (context) => {
  const { invocation, output } = context;
  const name = invocation.args[0] ?? "";
  return withTools(
    context,
    undefined,
    async ({ look }) => {
      const tool = findShown(await look(), name);
      if (output.isJson) {
        const { inputSchema: input_schema, outputSchema: output_schema } = tool;
        output.json({ ...toolAsJson(tool), input_schema, output_schema });
        return 0;
      }
      const { inputSchema, outputSchema } = tool;
      output.pairs([
        ["tool", tool.name],
        ["server", tool.server],
        ["call it as", tool.address],
        ["lists", `${tool.standing}: ${tool.reason}`],
        ...tool.conditions.map((text): [string, string] => ["", visible(text)]),
        ["repeating it", tool.isReadOnly ? "reads only" : tool.isSafeToRepeat ? "safe" : "unsafe"],
        ...tool.flags.map((flag): [string, string] => ["look at", visible(flag)]),
      ]);
      output.line("");
      output.prose(visible(tool.description));
      for (const [title, schema] of [
        ["Input schema", inputSchema],
        ["Output schema", outputSchema],
      ] as const) {
        if (schema === null) continue;
        output.line("");
        output.line(`${title}:`);
        output.document(schema);
      }
      return 0;
    },
    true,
  );
};

/** @throws CliError for a name that means no tool, or several */
export function findShown(servers: readonly ShownServer[], name: string): ShownTool {
  const all = servers.flatMap(({ tools }) => tools);
  const exact = all.filter(
    (tool) => tool.address === name || `${tool.server}/${tool.name}` === name,
  );
  const found = exact.length > 0 ? exact : all.filter((tool) => tool.name === name);
  const [one] = found;
  if (one !== undefined && found.length === 1) return one;
  if (found.length > 1) {
    const addresses = found.map(({ address }) => address).join(" or ");
    throw new CliError(2, `tool ${JSON.stringify(name)} is on more than one server: ${addresses}`);
  }
  const silent = servers.filter(({ problem }) => problem !== null);
  const [first] = silent;
  if (first !== undefined && (all.length === 0 || name.startsWith(`${first.name}/`))) {
    throw new CliError(3, secrets.redact(first.problem ?? ""));
  }
  throw unknown(
    "tool",
    name,
    all.map(({ address }) => address),
  );
}
