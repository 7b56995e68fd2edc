import { type AuditApi, auditApi, type EntryView } from "../../adapters/control-plane/audit-api.ts";
import { type AuditHead, checkChain } from "../../adapters/control-plane/audit-chain.ts";
import type { Command } from "../command.ts";
import { CliError } from "../output/errors.ts";
import { safeJson } from "../output/plain.ts";
import { type Client, readLimit, withControlPlane } from "./with-control-plane.ts";

const pageSize = 1000;

/** `audit tail`: the newest entries, oldest first. */
export const tailAudit: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output, invocation } = context;
    const limit = readLimit(invocation);
    const audit = auditApi(api);
    const { count } = await value(audit.head(signal));
    const entries = await value(audit.entries(Math.max(0, count - limit), limit, signal));
    if (output.isJson) output.json(entries);
    else if (entries.length === 0) output.remark("nothing has been decided or changed yet");
    else output.table(["N", "TIME", "BY", "EVENT", "RUN", "DETAILS"], entries.map(row));
    return 0;
  });

const row = (entry: EntryView) => [
  String(entry.seq),
  entry.created_at,
  entry.by ?? "unknown",
  entry.event,
  entry.run_id ?? "",
  safeJson(entry.details),
];

/** `audit verify`: reads the whole chain and computes every hash here; exit 1 where one does not fit. */
export const verifyAudit: Command = (context) =>
  withControlPlane(context, async (client) => {
    const { output, invocation } = context;
    const noted = readHead(invocation.flags["head"]);
    const audit = auditApi(client.api);
    const { file, ...head } = await client.value(audit.head(client.signal));
    const check = checkChain(
      head,
      [file, noted].filter((known) => known !== null),
    );
    const problem = await firstProblem(audit, client, check, head.count);
    if (output.isJson) output.json({ ...check.head, isWhole: problem === null, problem });
    else if (problem === null) {
      output.pairs([
        ["audit", `whole: ${check.head.count} entries, none changed and none missing`],
        ["head", `${check.head.count}:${check.head.hash}`],
      ]);
    }
    if (problem === null) return 0;
    if (output.isJson) return 1;
    throw new CliError(1, `the audit was tampered with: ${problem}`);
  });

async function firstProblem(
  audit: AuditApi,
  { signal, value }: Client,
  check: ReturnType<typeof checkChain>,
  until: number,
): Promise<string | null> {
  for (;;) {
    // What is added meanwhile is checked the next time: the head was read first.
    const wanted = Math.min(pageSize, until - check.head.count);
    const entries = wanted <= 0 ? [] : await value(audit.entries(check.head.count, wanted, signal));
    for (const entry of entries) {
      const problem = check.take(entry);
      if (problem !== null) return problem;
    }
    if (entries.length === 0) return check.end();
  }
}

/** `--head COUNT:HASH`, as an earlier verify printed it. @throws CliError */
function readHead(text: string | true | undefined): AuditHead | null {
  if (typeof text !== "string") return null;
  const [, count, hash] = /^(\d{1,15}):([0-9a-f]{64})$/u.exec(text) ?? [];
  if (count !== undefined && hash !== undefined) return { count: Number(count), hash };
  throw new CliError(2, "--head: expected COUNT:HASH, as `audit verify` printed it");
}
