import { setTimeout } from "node:timers/promises";
import { startDev, verdict } from "../../cli/library.ts";
import { createControlPlaneApi } from "../../cli/entries/control-plane.ts";
import { chargeCard } from "./charge-card.ts";

const bank = {
  convert: async (cents: number) => ({ ok: true as const, value: cents * 2 }),
  charge: async (card: string) => ({ ok: true as const, value: `receipt for ${card}` }),
};

await using dev = await startDev({
  handlers: { "tool:charge_card": chargeCard(bank) },
  allowlist: { allowed: ["charge_card"] },
  policy: ({ input }) =>
    Number(input["cents"]) > 1_000 ? verdict.ask("more than 10.00") : verdict.allow("little"),
  dataDir: ".stateplane/own-step",
});
const api = createControlPlaneApi({ url: dev.url, apiKey: dev.apiKey, timeoutMs: 5_000 });
const signal = AbortSignal.timeout(60_000);

const amounts = [500, 5_000];
const steps = amounts.map((cents) => ({
  type: "tool" as const,
  input: { tool_name: "charge_card", tool_input: { card: "c_1", cents } },
}));
const run = await api.createRun({ agentId: "assistant", input: {}, steps }, signal);
if (!run.ok) throw new Error(run.failure.message);

for (let isOver = false; !isOver; await setTimeout(50, undefined, { signal })) {
  const asked = await api.approvals(10, signal);
  for (const { id, reason } of asked.ok ? asked.value : []) {
    console.log(`a person is asked: ${reason}`);
    await api.resolveApproval(id, true, null, signal);
  }
  const now = await api.steps(run.value.id, signal);
  isOver = now.ok && now.value.every(({ status }) => /completed|failed/.test(status));
  for (const { status, output } of now.ok && isOver ? now.value : [])
    console.log(status, JSON.stringify(output));
}
await api.close();
