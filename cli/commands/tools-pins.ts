import {
  changesBetween,
  readPin,
  type ToolChange,
  type ToolSetPin,
  writePin,
} from "../../adapters/mcp/pins.ts";
import type { Command } from "../command.ts";
import type { ShownServer } from "../compose/look-at-tools.ts";
import { makeDataDir } from "../data-folder.ts";
import { confirm } from "../output/confirm.ts";
import { CliError } from "../output/errors.ts";
import type { Output } from "../output/output.ts";
import { plain, visible } from "../output/plain.ts";
import { secrets } from "../secrets.ts";
import { type OpenTools, withTools } from "./with-tools.ts";

/** How a server's tools stand to what was accepted. */
interface Compared {
  server: ShownServer;
  state: "accepted" | "changed" | "new" | "unreadable" | "unreachable";
  changes: ToolChange[];
}

/** `tools diff [SERVER]`. */
export const diffTools: Command = (context) => {
  const { invocation, output } = context;
  return withTools(context, invocation.args[0], async (opened) => {
    const compared = await compareAll(opened);
    if (output.isJson) output.json({ servers: compared.map(asJson) });
    else compared.forEach((one) => show(one, output));
    if (compared.some(({ state }) => state === "unreachable")) return 3;
    return compared.some(({ state }) => state === "changed" || state === "unreadable") ? 1 : 0;
  });
};

/** `tools accept SERVER`. */
export const acceptTools: Command = async (context) => {
  const { invocation, output, config } = context;
  const [name = ""] = invocation.args;
  const { digest, yes } = invocation.flags;
  // What is accepted must be kept somewhere: before the first start there is no store yet.
  if (config.settings.redisUrl === null) await makeDataDir(config.settings.dataDir);
  return withTools(context, name, async (opened) => {
    const [compared] = await compareAll(opened);
    if (compared === undefined || opened.pins === null) throw new Error("no server was compared");
    const { server, state } = compared;
    const { pin } = server;
    if (pin === null) throw new CliError(3, secrets.redact(server.problem ?? ""));
    if (typeof digest === "string" && digest !== pin.digest) {
      const has = `its tools have the digest ${pin.digest}, not ${digest}`;
      throw new CliError(1, `MCP server ${name}: ${has}; nothing was accepted`);
    }
    if (!output.isJson) show(compared, output);
    if (state !== "accepted" && yes !== true && digest === undefined) {
      if (!process.stdin.isTTY) {
        throw new CliError(
          2,
          `${name}: there is no terminal to ask on: expected --digest or --yes`,
        );
      }
      if (!(await confirm("Accept exactly these tools?"))) {
        throw new CliError(1, `the tools of ${name} were not accepted`);
      }
    }
    await opened.pins.replace(name, writePin(pin));
    if (output.isJson) output.json({ server: name, digest: pin.digest, was: state });
    else output.line(`the tools of ${plain(name)} are accepted (${pin.digest.slice(0, 12)})`);
    return 0;
  });
};

async function compareAll({ look, pins }: OpenTools): Promise<Compared[]> {
  return Promise.all((await look()).map((server) => compare(server, pins)));
}

async function compare(server: ShownServer, pins: OpenTools["pins"]): Promise<Compared> {
  const { pin } = server;
  if (pin === null) return { server, state: "unreachable", changes: [] };
  const kept = (await pins?.find(server.name)) ?? null;
  if (kept === null) return { server, state: "new", changes: [] };
  const accepted = readPin(kept);
  if (accepted === null) return { server, state: "unreadable", changes: [] };
  // The digest alone decides, as it does for a step; what differs is there to be read.
  if (accepted.digest === pin.digest) return { server, state: "accepted", changes: [] };
  return { server, state: "changed", changes: changesBetween(accepted, pin) };
}

const asJson = ({ server, state, changes }: Compared) => ({
  name: server.name,
  state,
  digest: server.pin?.digest ?? null,
  changes,
  ...(server.problem === null ? {} : { problem: secrets.redact(server.problem) }),
});

function show({ server, state, changes }: Compared, output: Output): void {
  const { name, pin, problem, tools } = server;
  switch (state) {
    case "unreachable":
      output.prose(`${name}: ${secrets.redact(problem ?? "")}`);
      return;
    case "new":
      output.prose(`${name}: nothing was accepted yet; it has ${tools.length} tools${tail(pin)}`);
      for (const tool of tools) {
        output.line(`  ${plain(tool.name)}`);
        for (const flag of tool.flags) output.line(output.colors.yellow(`    ! ${visible(flag)}`));
      }
      return;
    case "unreadable":
      output.prose(`${name}: what was accepted can't be read${tail(pin)}`);
      return;
    case "accepted":
      output.prose(`${name}: as accepted${tail(pin)}`);
      return;
    case "changed":
      output.prose(`${name}: changed since it was accepted${tail(pin)}`);
      changes.forEach((change) => showChange(change, server, output));
  }
}

const tail = (pin: ToolSetPin | null) => (pin === null ? "" : ` (digest ${pin.digest})`);

function showChange(
  { tool, kind, parts, more }: ToolChange,
  { tools }: ShownServer,
  output: Output,
): void {
  const { colors } = output;
  output.line(`  ${kind} ${tool === null ? "the server itself" : `tool ${visible(tool)}`}`);
  for (const { path, before, after } of parts) {
    output.line(`    ${visible(path)}`);
    const side = (sign: string, value: unknown) =>
      (typeof value === "string" ? visible(value) : visible(JSON.stringify(value)))
        .split("\n")
        .map((line) => `      ${sign} ${line}`);
    if (before !== undefined) for (const line of side("-", before)) output.line(colors.red(line));
    if (after !== undefined) for (const line of side("+", after)) output.line(colors.green(line));
  }
  if (more > 0) output.line(`    and ${more} more places`);
  for (const flag of tools.find(({ name }) => name === tool)?.flags ?? []) {
    output.line(colors.yellow(`    ! ${visible(flag)}`));
  }
}
