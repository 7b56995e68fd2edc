import { type Json, type JsonObject, withOwnNames } from "../json.ts";
import { isPassBesideLogin } from "../secret-names.ts";
import { cutText } from "../text.ts";
import { controlsIn } from "./hidden-characters.ts";
import { activeText, linkForms } from "./links.ts";
import { isSecretEntry } from "./named-secrets.ts";
import { personalForms } from "./personal-data.ts";
import { scannerOf, secretsInOutputs } from "./secrets.ts";
import { hideSpans, noSpans, redacted, type Span } from "./spans.ts";

/** What is looked for in everything that a step gives on. */
export const outputRules = [
  "secrets",
  "emails",
  "phones",
  "cards",
  "ibans",
  "socialSecurityNumbers",
  "foreignLinks",
  "activeLinks",
  "controlCharacters",
] as const;
export type OutputRule = (typeof outputRules)[number];

/** `fail`: the output is not given on, and the step fails, or an agent's model is told that the result is withheld. */
export const ruleActions = ["off", "report", "redact", "fail"] as const;
export type RuleAction = (typeof ruleActions)[number];

export interface OutputScreening {
  rules: Readonly<Record<OutputRule, RuleAction>>;
  /** Hosts that texts may link to. Empty: only what carries something away is a foreign link; see links.ts. */
  linkHosts: readonly string[];
}

export const defaultOutputScreening: OutputScreening = {
  rules: {
    secrets: "redact",
    emails: "off",
    phones: "off",
    cards: "off",
    ibans: "off",
    socialSecurityNumbers: "off",
    foreignLinks: "report",
    activeLinks: "redact",
    controlCharacters: "report",
  },
  linkHosts: [],
};

/** What was found, without what it is. */
export interface Finding {
  rule: OutputRule | "injection" | "hiddenCharacters";
  kind: string;
  /** JSON pointer. */
  at: string;
  count: number;
  action: "reported" | "redacted" | "refused" | "removed" | "withheld";
}

/** Findings that are told of one output; of more the last one says how many. */
const mostFindings = 50;

export interface Screened {
  /** The value, or a copy without what is redacted. */
  value: Json;
  findings: Finding[];
  /** Whether a rule says that the value must not be given on. */
  isRefused: boolean;
}

/** Where secrets stand that are known by their values. */
export type FindKnown = (text: string) => Span[];

export type OutputScreen = (value: Json, findKnown?: FindKnown | null, at?: string) => Screened;

const ruleOfKind: Readonly<Record<string, OutputRule>> = {
  email: "emails",
  phone: "phones",
  card: "cards",
  iban: "ibans",
  "social-security-number": "socialSecurityNumbers",
  "foreign-link": "foreignLinks",
  "active-link": "activeLinks",
  "control-character": "controlCharacters",
};
const ruleOf = (kind: string): OutputRule => ruleOfKind[kind] ?? "secrets";

/**
 * Screens what a step gives on, by its configuration. The forms that are wanted are made into one scanner: a text in which
 * nothing is found costs one look at each character.
 */
export function createOutputScreen({ rules, linkHosts }: OutputScreening): OutputScreen {
  const isOn = (kind: string): boolean => rules[ruleOf(kind)] !== "off";
  const forms = [...secretsInOutputs, ...personalForms].filter(({ kind }) => isOn(kind));
  const scan = scannerOf([...forms, ...linkForms({ hosts: linkHosts, isOn })]);
  const hasSecrets = rules.secrets !== "off";
  const hasActive = isOn("active-link");
  const hasControls = rules.controlCharacters !== "off";
  const spansIn: SpansIn = (text, findKnown) => {
    const formed = scan(text);
    const known = findKnown === null ? noSpans : findKnown(text);
    const controls = hasControls ? controlsIn(text) : noSpans;
    const active = hasActive ? activeText(text) : noSpans;
    if (known.length + controls.length + active.length === 0) return formed;
    // Not by `push(...)`: a file that is no text has more controls than a call may have arguments.
    return [...formed, ...known, ...controls, ...active];
  };
  return (value, findKnown = null, at = "") => {
    return new Screening(rules, spansIn, hasSecrets ? findKnown : null).run(value, at);
  };
}

/** Levels of lists and objects, as many as a journal keeps; code that calls itself for each must end. */
const deepest = 900;

type SpansIn = (text: string, findKnown: FindKnown | null) => readonly Span[];

/**
 * One value, walked once. Nearly all values have nothing in them, and most are small, so nothing is made for a text, a list
 * or an object before something is found there: no copy, no list of entries, no place.
 */
class Screening {
  readonly #rules: OutputScreening["rules"];
  readonly #spansIn: SpansIn;
  readonly #findKnown: FindKnown | null;
  #findings: Map<string, Finding> | null = null;
  #more = 0;
  #isRefused = false;
  #path: (string | number)[] = [];

  constructor(rules: OutputScreening["rules"], spansIn: SpansIn, findKnown: FindKnown | null) {
    this.#rules = rules;
    this.#spansIn = spansIn;
    this.#findKnown = findKnown;
  }

  run(value: Json, at: string): Screened {
    this.#path = at === "" ? [] : at.split("/").slice(1);
    const screened = this.#screen(value);
    const findings = this.#findings === null ? [] : [...this.#findings.values()];
    if (this.#more > 0) {
      findings.push({
        rule: "secrets",
        kind: "further findings",
        at: "",
        count: this.#more,
        action: "reported",
      });
    }
    return { value: screened, findings, isRefused: this.#isRefused };
  }

  #screen(value: Json): Json {
    if (typeof value === "string") return this.#text(value);
    if (typeof value !== "object" || value === null) return value;
    if (this.#path.length > deepest) return this.#refuse();
    return Array.isArray(value) ? this.#list(value) : this.#object(value);
  }

  #list(list: Json[]): Json[] {
    let copy: Json[] | null = null;
    for (let index = 0; index < list.length; index += 1) {
      const item = list[index] as Json;
      this.#path.push(index);
      const screened = this.#screen(item);
      this.#path.pop();
      if (screened === item) continue;
      copy ??= [...list];
      copy[index] = screened;
    }
    return copy ?? list;
  }

  #object(object: JsonObject): JsonObject {
    const keys = Object.keys(object);
    let changed: [string, Json][] | null = null;
    for (let index = 0; index < keys.length; index += 1) {
      const key = keys[index] as string;
      const item = object[key] as Json;
      this.#path.push(key);
      const value = this.#isNamedSecret(object, key, item)
        ? this.#whole(item as string)
        : this.#screen(item);
      this.#path.pop();
      const name = key.length < 6 ? key : this.#text(key);
      if (value !== item || name !== key) changed ??= Object.entries(object).slice(0, index);
      changed?.push([name, value]);
    }
    return changed === null ? object : withOwnNames(changed);
  }

  /** What is deeper is looked at by nobody, and so not given on. */
  #refuse(): Json {
    this.#isRefused = true;
    const at = cutText(this.#pointer(), 400);
    const kind = `something deeper than ${deepest} levels`;
    this.#tell({ rule: "secrets", kind, at, count: 1, action: "refused" });
    return redacted;
  }

  #pointer(): string {
    return this.#path
      .map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`)
      .join("");
  }

  /** `{"password": "…"}`, and `{"name": "PASSWORD", "value": "…"}`. */
  #isNamedSecret(object: JsonObject, key: string, item: Json): boolean {
    if (this.#rules.secrets === "off" || typeof item !== "string" || item.includes(redacted))
      return false;
    const named = key === "value" ? (object["name"] ?? object["key"]) : key;
    if (typeof named !== "string") return false;
    return isSecretEntry(isPassBesideLogin(key, object) ? "password" : named, item);
  }

  #whole(text: string): string {
    return this.#found(text, [{ start: 0, end: text.length, kind: "named-secret" }]);
  }

  #text(text: string): string {
    const spans = this.#spansIn(text, this.#findKnown);
    return spans.length === 0 ? text : this.#found(text, spans);
  }

  #found(text: string, spans: readonly Span[]): string {
    const at = this.#pointer();
    const hidden: Span[] = [];
    for (const span of spans) {
      const rule = ruleOf(span.kind);
      const wanted = this.#rules[rule];
      if (wanted === "fail") this.#isRefused = true;
      // What is refused is shown to nobody, in no message either.
      if (wanted !== "report") hidden.push(span);
      const action = wanted === "fail" ? "refused" : wanted === "redact" ? "redacted" : "reported";
      this.#tell({ rule, kind: span.kind, at: cutText(at, 400), count: 1, action });
    }
    return hideSpans(text, hidden);
  }

  #tell(finding: Finding): void {
    const key = `${finding.kind} ${finding.at}`;
    this.#findings ??= new Map();
    const known = this.#findings.get(key);
    if (known !== undefined) known.count += 1;
    else if (this.#findings.size < mostFindings) this.#findings.set(key, finding);
    else this.#more += 1;
  }
}
