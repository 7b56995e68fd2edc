import { readFileSync } from "node:fs";
import { join } from "node:path";
import { findInjection, flaggedFrom } from "../../machines/contracts/domain/screening/injection.ts";
import {
  createOutputScreen,
  defaultOutputScreening,
  type OutputRule,
  outputRules,
} from "../../machines/contracts/domain/screening/output-rules.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import { cpuMs } from "../support/cpu-time.ts";
import { unknownForms } from "../support/planted-secrets.ts";
import { median, table } from "./figures.ts";

interface Row {
  text: string;
  kind: string;
  half: "tuning" | "held-out";
}

/** How well one part tells what it looks for from what is harmless. */
export interface PartFigures {
  part: string;
  positives: number;
  benign: number;
  precision: number;
  recall: number;
  /** Share of harmless texts that are flagged. */
  falsePositives: number;
}

export interface ScreeningFigures {
  parts: PartFigures[];
  /** Milliseconds of a processor for one megabyte. */
  megabyte: { text: string; screened: number; everyRule: number; injection: number }[];
}

const folder = join(import.meta.dirname, "../../evals/datasets/screening");
const rows = (name: string): Row[] =>
  readFileSync(join(folder, `${name}.jsonl`), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Row);

function figuresOf(part: string, hits: number, positives: number, wrong: number, benign: number) {
  return {
    part,
    positives,
    benign,
    precision: hits / Math.max(1, hits + wrong),
    recall: hits / positives,
    falsePositives: wrong / benign,
  };
}

export function screeningParts(): PartFigures[] {
  const [attacks, benign] = [rows("attacks"), rows("benign")];
  const isFlagged = ({ text }: Row) => findInjection(text).score >= flaggedFrom;
  const injection = (["tuning", "held-out"] as const).map((half) => {
    const [bad, good] = [attacks, benign].map((all) => all.filter((row) => row.half === half));
    return figuresOf(
      `injection, ${half} half`,
      (bad ?? []).filter(isFlagged).length,
      (bad ?? []).length,
      (good ?? []).filter(isFlagged).length,
      (good ?? []).length,
    );
  });
  const isProse = ({ kind }: Row) => ["commit", "code", "docs", "prose", "readme"].includes(kind);
  const prose = benign.filter(isProse);
  const ofProse = figuresOf(
    "injection, code and prose alone",
    attacks.filter(isFlagged).length,
    attacks.length,
    prose.filter(isFlagged).length,
    prose.length,
  );
  const usual = createOutputScreen(defaultOutputScreening);
  const planted = unknownForms();
  const changed = benign.filter(({ text }) => usual(text).value !== text).length;
  const found = planted.filter(
    ({ text, gone }) => !String(usual(text).value).includes(gone),
  ).length;
  const secrets = figuresOf("output, default rules", found, planted.length, changed, benign.length);
  return [...injection, ofProse, secrets];
}

export function benchScreening(rounds: number): ScreeningFigures {
  const rules = Object.fromEntries(outputRules.map((rule) => [rule, "report"]));
  const usual = createOutputScreen(defaultOutputScreening);
  const every = createOutputScreen({ rules: rules as Record<OutputRule, "report">, linkHosts: [] });
  const prose = rows("benign").map(({ text }) => text);
  const people = Array.from({ length: 6_500 }, (_, id) => ({
    id,
    name: `person ${id}`,
    email: `person${id}@example.com`,
    phone: "+43 660 1234567",
    note: "asked to be called back before noon",
    input_tokens: 12,
  }));
  const long = prose.join("\n\n");
  const texts: [string, Json][] = [
    ["prose and code", long.repeat(Math.ceil(1e6 / long.length)).slice(0, 1e6)],
    ["JSON with an address in each row", people],
    ["one line of base64", "QUJD".repeat(250_000)],
  ];
  const msOf = (work: () => unknown): number => {
    const times = Array.from({ length: rounds + 3 }, () => {
      const from = cpuMs();
      work();
      return cpuMs() - from;
    });
    return median(times.slice(3));
  };
  const megabyte = texts.map(([text, value]) => ({
    text,
    screened: msOf(() => usual(value)),
    everyRule: msOf(() => every(value)),
    injection: msOf(() => findInjection(typeof value === "string" ? value : JSON.stringify(value))),
  }));
  return { parts: screeningParts(), megabyte };
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

export function screeningTable({ parts, megabyte }: ScreeningFigures): string {
  return [
    "what is told from what is harmless",
    table(
      ["part", "attacks", "benign", "precision", "recall", "benign flagged"],
      parts.map(({ part, positives, benign, precision, recall, falsePositives }) => [
        part,
        String(positives),
        String(benign),
        percent(precision),
        percent(recall),
        percent(falsePositives),
      ]),
    ),
    "milliseconds of a processor for a megabyte",
    table(
      ["text", "default rules", "every rule", "injection"],
      megabyte.map(({ text, screened, everyRule, injection }) => [
        text,
        screened.toFixed(1),
        everyRule.toFixed(1),
        injection.toFixed(1),
      ]),
    ),
  ].join("\n");
}
