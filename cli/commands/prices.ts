import { type Price, priceTableVersion, type PriceTable } from "../../adapters/llm/prices.ts";
import { nearest } from "../../machines/contracts/domain/nearest.ts";
import type { ModelTarget } from "../../machines/contracts/ports/model-provider.ts";
import type { Command } from "../command.ts";
import { pricesOf } from "../compose/compose-models.ts";
import { CliError } from "../output/errors.ts";
import type { Output } from "../output/output.ts";
import { plain } from "../output/plain.ts";
import { commandLine } from "../called-as.ts";

type Priced = { target: ModelTarget; price: Price };
type Rates = Price["tiers"][number]["rates"];

const unit = "dollars per million tokens";

/** `prices`: what a model costs, or all that are known, or those whose names hold a text. */
export const showPrices: Command = async ({ invocation, output, config }) => {
  const table = pricesOf(config.settings);
  const [name] = invocation.args;
  const found = name === undefined ? null : table.findByName(name);
  const shown = found === null ? named(table, name) : [found];
  if (output.isJson) {
    output.json({ lists: priceTableVersion, unit, models: shown.map(asJson) });
    return 0;
  }
  const [only] = shown;
  if (only !== undefined && shown.length === 1) showOne(only, output);
  else showAll(shown, output);
  return 0;
};

/** @throws CliError when the name stands in no model's */
function named(table: PriceTable, name: string | undefined): Priced[] {
  const all = table.list();
  if (name === undefined) return all;
  const text = name.toLowerCase();
  const held = all.filter(({ target }) => nameOf(target).toLowerCase().includes(text));
  if (held.length > 0) return held;
  const meant =
    nearest(
      text,
      all.map(({ target }) => target.model),
    ) ??
    nearest(
      text,
      all.map(({ target }) => nameOf(target)),
    );
  const hint = meant === null ? "" : `did you mean ${meant}? Else `;
  const fix = `${hint}give it under "prices" in the configuration`;
  throw new CliError(2, `there is no price for a model named like ${JSON.stringify(name)}; ${fix}`);
}

const nameOf = ({ provider, model }: ModelTarget) =>
  provider === "" ? model : `${provider}/${model}`;

/** Of an integer of micro-dollars. */
const written = (micros: number) => String(micros / 1_000_000);

const kinds: [keyof Rates, string][] = [
  ["input", "input"],
  ["cacheRead", "cache read"],
  ["cacheWrite5m", "cache write, 5 minutes"],
  ["cacheWrite1h", "cache write, 1 hour"],
  ["output", "output"],
  ["reasoning", "reasoning"],
];

function showOne({ target, price }: Priced, output: Output): void {
  const [base, ...longer] = price.tiers;
  output.prose(`${nameOf(target)}, ${unit}`);
  const headings = ["", "PRICE", ...longer.map(({ above }) => `ABOVE ${above}`)];
  const rows = kinds.map(([kind, label]) => [
    label,
    ...(base === undefined ? [] : [written(base.rates[kind])]),
    ...longer.map(({ rates }) => written(rates[kind])),
  ]);
  output.table(headings, rows);
  if (price.perCall > 0) output.line(`and $${written(price.perCall)} a call`);
  if (longer.length > 0)
    output.prose("Above that many tokens of input, the higher price holds for the whole call.");
  output.line(`from ${plain(price.source)}`);
}

function showAll(shown: readonly Priced[], output: Output): void {
  output.prose(`${unit}; ${priceTableVersion}`);
  const providers = [...new Set(shown.map(({ target }) => target.provider))];
  for (const provider of providers) {
    const own = shown.filter(({ target }) => target.provider === provider);
    output.line("");
    const rows = own.map(({ target, price }) => {
      const rates = price.tiers[0]?.rates;
      const isTiered = price.tiers.length > 1;
      const cells = rates === undefined ? [] : [rates.input, rates.cacheRead, rates.output];
      return [target.model, ...cells.map((micros) => `${written(micros)}${isTiered ? "+" : ""}`)];
    });
    output.table([provider || "any provider", "INPUT", "CACHED", "OUTPUT"], rows);
  }
  if (shown.some(({ price }) => price.tiers.length > 1)) {
    output.line("");
    output.line("+ costs more for a long input; see:");
    output.line(`  ${commandLine("prices MODEL")}`);
  }
}

const asJson = ({ target, price }: Priced) => ({
  ...target,
  source: price.source,
  per_call: price.perCall / 1_000_000,
  tiers: price.tiers.map(({ above, rates }) => ({
    above_input_tokens: above,
    input: rates.input / 1_000_000,
    output: rates.output / 1_000_000,
    cache_read: rates.cacheRead / 1_000_000,
    cache_write_5m: rates.cacheWrite5m / 1_000_000,
    cache_write_1h: rates.cacheWrite1h / 1_000_000,
    reasoning: rates.reasoning / 1_000_000,
  })),
});
