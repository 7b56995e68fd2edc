import type { JsonObject } from "../../../../machines/contracts/domain/json.ts";
import { newId, type Agent, type AgentVersion, seedIds } from "../documents.ts";
import type { Budget } from "../../../../machines/contracts/domain/budget.ts";
import type { Change } from "./change.ts";

/** An agent as the configuration declares it. What is absent or null is the caller's of a run to give. */
export interface AgentSeed {
  slug: string;
  name?: string;
  model?: string | null;
  systemPrompt?: string | null;
  modelParams?: JsonObject | null;
  allowedTools?: string[] | null;
  approvalRequiredTools?: string[];
  deniedTools?: string[];
  /** Limits in the wire's words, `max_total_tokens` and so on. */
  budget?: Partial<Budget>;
  /** Milliseconds; a day where absent. */
  approvalExpiresInMs?: number | null;
}

/** Makes the declared agent the latest version of its slug; nothing changes when it already is. */
export function registerAgent(change: Change, seed: AgentSeed): void {
  const { now, store } = change;
  const agent: Agent = store.agents.find(seed.slug) ?? {
    id: newId("agt", now),
    tenantId: store.home,
    projectId: seedIds.project,
    slug: seed.slug,
    name: seed.name ?? seed.slug,
    description: null,
    status: "active",
    createdAt: now,
  };
  store.agents.put({ ...agent, name: seed.name ?? agent.name, status: "active" });
  const settings = settingsOf(seed);
  const versions = store.versions.ofAgent(agent.id);
  const [latest] = versions;
  if (latest !== undefined && same(latest, settings)) return;
  const taken = new Set(versions.map((version) => version.version));
  let patch = versions.length;
  while (taken.has(`1.0.${patch}`)) patch++;
  const id = newId("agv", now);
  store.versions.put({
    id,
    tenantId: agent.tenantId,
    agentId: agent.id,
    version: `1.0.${patch}`,
    createdAt: now,
    ...settings,
  });
  const { model } = settings;
  change.audit(null, "agent.version_created", { agent_id: agent.id, version_id: id, model });
}

type Settings = Omit<AgentVersion, "id" | "tenantId" | "agentId" | "version" | "createdAt">;

const settingsOf = (seed: AgentSeed): Settings => ({
  model: seed.model ?? null,
  systemPrompt: seed.systemPrompt ?? null,
  modelParams: seed.modelParams ?? null,
  allowedTools: seed.allowedTools ?? null,
  approvalRequiredTools: seed.approvalRequiredTools ?? [],
  deniedTools: seed.deniedTools ?? [],
  budget: seed.budget ?? {},
  approvalExpiresInMs: seed.approvalExpiresInMs ?? null,
});

const same = (version: AgentVersion, settings: Settings) =>
  (Object.keys(settings) as (keyof Settings)[]).every(
    (key) => JSON.stringify(version[key]) === JSON.stringify(settings[key]),
  );
