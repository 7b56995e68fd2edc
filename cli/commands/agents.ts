import type { Command } from "../command.ts";
import { withControlPlane } from "./with-control-plane.ts";

/** `agents list`. */
export const listAgents: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output, config } = context;
    const agents = await value(api.agents(config.settings.projectId, signal));
    if (output.isJson) {
      output.json(agents);
      return 0;
    }
    const rows = agents.map(({ slug, id, latest_version: latest }) => [
      slug,
      id,
      latest?.version ?? "none",
      latest?.model ?? "",
      latest?.allowed_tools?.join(", ") ?? "",
    ]);
    output.table(["AGENT", "ID", "VERSION", "MODEL", "TOOLS"], rows);
    return 0;
  });
