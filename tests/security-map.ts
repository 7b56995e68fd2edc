/**
 * node tests/security-map.ts
 *
 * Writes the map of docs/security.md: of each control the risks it is against, and the tests that prove it, by the promises
 * in their titles. tests/architecture/security-map.test.ts fails where the page says anything else.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readClaims } from "./architecture/claims.ts";
import { requirements } from "./requirements.ts";

/** OWASP's Top 10 for LLM Applications 2025, and for Agentic Applications 2026. */
const risks = {
  LLM01: "Prompt Injection",
  LLM02: "Sensitive Information Disclosure",
  LLM03: "Supply Chain",
  LLM04: "Data and Model Poisoning",
  LLM05: "Improper Output Handling",
  LLM06: "Excessive Agency",
  LLM07: "System Prompt Leakage",
  LLM08: "Vector and Embedding Weaknesses",
  LLM09: "Misinformation",
  LLM10: "Unbounded Consumption",
  ASI01: "Agent Goal Hijack",
  ASI02: "Tool Misuse and Exploitation",
  ASI03: "Identity and Privilege Abuse",
  ASI04: "Agentic Supply Chain Vulnerabilities",
  ASI05: "Unexpected Code Execution",
  ASI06: "Memory and Context Poisoning",
  ASI07: "Insecure Inter-Agent Communication",
  ASI08: "Cascading Failures",
  ASI09: "Human-Agent Trust Exploitation",
  ASI10: "Rogue Agents",
} as const;
type Risk = keyof typeof risks;

/** Risks that nothing here is against, and why. */
const without: Partial<Record<Risk, string>> = {
  LLM04: "no model is trained or tuned here",
  LLM09: "whether an answer is true is for evals and people to judge",
  ASI07: "agents here speak to each other through the control plane alone",
};

interface Control {
  control: string;
  against: readonly Risk[];
  /** Promises, by their ids in tests/requirements.ts. */
  proved: readonly string[];
}

const controls: readonly Control[] = [
  {
    control: "Texts from outside reach a model as marked data",
    against: ["LLM01", "ASI01", "ASI06"],
    proved: ["screening.marked", "screening.hidden"],
  },
  {
    control: "Orders to a model in what it only reads are flagged or kept from it",
    against: ["LLM01", "LLM07", "ASI01", "ASI06"],
    proved: ["screening.injection", "screening.calibrated"],
  },
  {
    control: "What comes out of a step is screened",
    against: ["LLM02", "LLM05"],
    proved: ["screening.rules", "screening.named", "screening.quiet", "screening.linear"],
  },
  {
    control: "Links that are code, or carry something away, are found",
    against: ["LLM02", "LLM05", "ASI09"],
    proved: ["screening.links"],
  },
  {
    control: "Secrets are in no output, log, span, artifact or error",
    against: ["LLM02", "ASI03"],
    proved: ["secrets.planted", "secrets.by-value", "secrets.by-name", "secrets.linear"],
  },
  {
    control: "Outputs and arguments are held to their schemas",
    against: ["LLM05", "ASI02"],
    proved: ["schema.bounded", "loop.arguments", "output.broken"],
  },
  {
    control: "Every tool call is judged, and denied by default",
    against: ["LLM06", "ASI02", "ASI10"],
    proved: ["policy.deny-default", "policy.closed", "policy.stricter", "policy.holds"],
  },
  {
    control: "A person says yes to exactly what is done, once",
    against: ["LLM06", "ASI02", "ASI09"],
    proved: ["approval.exact", "approval.used-once", "approval.forged", "link.whole"],
  },
  {
    control: "Calls are inspected for commands, hosts, pace and credentials",
    against: ["LLM02", "LLM06", "ASI02", "ASI10"],
    proved: ["airlock.judges", "airlock.hosts", "airlock.pace", "airlock.worker"],
  },
  {
    control: "Arguments that come from untrusted content are asked about",
    against: ["LLM01", "ASI01", "ASI02"],
    proved: ["provenance.found", "provenance.asked"],
  },
  {
    control: "Agents that combine private data, untrusted content and a way out are named",
    against: ["LLM01", "LLM06", "ASI01"],
    proved: ["agents.combination"],
  },
  {
    control: "Code runs in a sandbox that was attacked first",
    against: ["LLM05", "ASI05"],
    proved: ["sandbox.attested", "sandbox.calls", "sandbox.memory"],
  },
  {
    control: "Tools are pinned as they were accepted, and their texts screened",
    against: ["LLM03", "ASI04"],
    proved: ["mcp.pins", "mcp.screen", "airlock.drift"],
  },
  {
    control: "What is retrieved from is chosen by the configuration",
    against: ["LLM08", "ASI06"],
    proved: ["retrieval.addresses"],
  },
  {
    control: "Budgets stop a step before the call that would break them",
    against: ["LLM10", "ASI08"],
    proved: ["budget.before", "budget.atomic", "loop.caps"],
  },
  {
    control: "No effect runs twice unseen, and no failure spreads",
    against: ["ASI08"],
    proved: ["effect.unsafe-once", "once.report", "mcp.apart"],
  },
  {
    control: "Keys are hashed, limited and of one tenant",
    against: ["ASI03"],
    proved: ["key.hashed", "key.scopes", "tenant.unseen"],
  },
  {
    control: "What was decided is in an audit that shows tampering",
    against: ["ASI09", "ASI10"],
    proved: ["audit.tampering", "audit.cut"],
  },
];

const begin = "<!-- made by `node tests/security-map.ts` -->";
const end = "<!-- end of what is made -->";
const page = join(import.meta.dirname, "../docs/security.md");

/** The page with the map that the tests say, and the page as it is. */
export function securityPage(): { made: string; found: string } {
  const found = readFileSync(page, "utf8");
  const before = found.slice(0, found.indexOf(begin) + begin.length);
  const after = found.slice(found.indexOf(end));
  return { made: `${before}\n\n${map()}\n\n${after}`, found };
}

function map(): string {
  const claims = readClaims();
  const promises = new Map(requirements.map(({ id, promise }) => [id, promise]));
  const proofs = (id: string): string => {
    const files = [...new Set(claims.filter((one) => one.id === id).map(({ file }) => file))];
    if (files.length === 0) throw new Error(`no test proves ${id}`);
    return `${promises.get(id)} (\`${id}\`: ${files.map((file) => `tests/${file}`).join(", ")})`;
  };
  const rows = controls.map(({ control, against, proved }) => {
    return `| ${control} | ${against.join(", ")} | ${proved.map(proofs).join("; ")} |`;
  });
  const named = (Object.keys(risks) as Risk[]).map((risk) => {
    const count = controls.filter(({ against }) => against.includes(risk)).length;
    const held = count === 0 ? `none: ${without[risk] ?? "?"}` : String(count);
    return `| ${risk} | ${risks[risk]} | ${held} |`;
  });
  return [
    "| control | against | what is proved, and where |",
    "|---|---|---|",
    ...rows,
    "",
    "| risk | | controls |",
    "|---|---|---|",
    ...named,
  ].join("\n");
}

/** Risks without a control for which no reason is given. */
export const unexplained = (Object.keys(risks) as Risk[]).filter(
  (risk) => !(risk in without) && !controls.some(({ against }) => against.includes(risk)),
);

if (import.meta.main) writeFileSync(page, securityPage().made);
