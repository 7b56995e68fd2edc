import { type Env, readVariable } from "./secret-files.ts";

/**
 * What the collector is sent with every export, its key for the most part: `name=value,name=value`, percent-encoded, in
 * variables that OpenTelemetry names (specification, protocol exporter). Its SDK reads them by itself, but not the files
 * that `NAME_FILE` names.
 */
const signals = ["TRACES", "METRICS"] as const;
const ofAll = "OTEL_EXPORTER_OTLP_HEADERS";
const variableOf = (signal: (typeof signals)[number]) => `OTEL_EXPORTER_OTLP_${signal}_HEADERS`;

export const headerVariables: readonly string[] = [ofAll, ...signals.map(variableOf)];

/** Those of one signal, before which those of all stand back. */
export function collectorHeaders(
  signal: (typeof signals)[number],
  env: Env,
): Record<string, string> {
  const pairs = [ofAll, variableOf(signal)].flatMap((name) => pairsOf(name, env));
  return Object.fromEntries(pairs.map(({ name, value }) => [name, value]));
}

/** All that must not be said: each value as it stands there, as it is sent, and the words behind `Bearer`. */
export const headerSecrets = (env: Env): string[] =>
  headerVariables
    .flatMap((name) => pairsOf(name, env))
    .flatMap(({ written, value }) => [written, value, ...value.split(/\s+/u).slice(1)]);

function pairsOf(variable: string, env: Env) {
  const text = readVariable(variable, env)?.value ?? "";
  return text.split(",").flatMap((pair) => {
    const at = pair.indexOf("=");
    const written = pair.slice(at + 1).trim();
    const name = decoded(pair.slice(0, Math.max(at, 0)).trim());
    return name === "" || written === "" ? [] : [{ name, written, value: decoded(written) }];
  });
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
