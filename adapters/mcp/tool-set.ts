import { setImmediate } from "node:timers/promises";
import type { Tool } from "@modelcontextprotocol/client";
import { type Failure, fail, ok, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { SchemaChecker } from "../../machines/contracts/ports/schema-checker.ts";
import type { ToolSource } from "./catalog.ts";
import { checkPin, type PinOptions, pinOf, type ServerIdentity, type ToolSetPin } from "./pins.ts";
import { screenTool } from "./screen.ts";

/** A server's tools as the server lists them. */
export interface ListedTools extends ToolSource {
  /** What `tools` would give without waiting; null where it would wait, or fail. */
  readonly current: Map<string, Tool> | null;
  /** Who it says that it is; null before it was ever reached. */
  readonly identity: ServerIdentity | null;
  /** What was left out when its tools were last read, and why. */
  readonly unreadable: ReadonlyMap<string, string>;
}

export interface ToolSetOptions {
  schemas: SchemaChecker;
  /** Null where nothing is compared with what was accepted. */
  pins: PinOptions | null;
  log: Log;
}

/** What was found of one list of a server's tools. */
interface Judged {
  listed: Map<string, Tool>;
  usable: Map<string, Tool>;
  disabled: ReadonlyMap<string, string>;
  pin: ToolSetPin;
  /** What a person should look at, by tool. */
  flags: ReadonlyMap<string, string[]>;
}

/**
 * The tools of one server that may be used. Of a list that was accepted ({@link checkPin}), those whose schemas can be
 * applied: one schema that can't costs its own tool and no other. Each list of the server is judged once.
 */
export class ToolSet<S extends ListedTools> implements ToolSource {
  readonly listed: S;
  readonly #options: ToolSetOptions;
  /** By the list itself: another one is another object. */
  readonly #judged = new WeakMap<Map<string, Tool>, Promise<Judged>>();
  #accepted: Map<string, Tool> | null = null;
  #last: Judged | null = null;
  #told: string | null = null;
  /** Whether its last list was one that nobody has accepted. */
  isQuarantined = false;

  constructor(listed: S, options: ToolSetOptions) {
    this.listed = listed;
    this.#options = options;
  }

  get name(): string {
    return this.listed.name;
  }

  get down(): boolean {
    return this.listed.down;
  }

  get lastTools(): ReadonlySet<string> {
    return this.listed.lastTools;
  }

  /** What {@link tools} would give without waiting; null where it would wait, or fail. */
  get current(): Map<string, Tool> | null {
    const { current } = this.listed;
    const isAccepted = this.#options.pins === null || this.#accepted === current;
    return isAccepted && this.#last?.listed === current ? this.#last.usable : null;
  }

  async tools(signal: AbortSignal): Promise<Outcome<Map<string, Tool>>> {
    const listed = await this.listed.tools(signal);
    if (!listed.ok) return listed;
    const judged = await this.#judge(listed.value);
    const refused = await this.#refusal(listed.value, judged.pin);
    if (refused !== null) return fail(refused);
    return ok(judged.usable);
  }

  /** Why a tool of the last list can't be used, as a sentence's end; null when it can, or is not there. */
  disabled(tool: string): string | null {
    return this.#last?.disabled.get(tool) ?? this.listed.unreadable.get(tool) ?? null;
  }

  /** Everything that is known of the server's tools, accepted or not. */
  async look(signal: AbortSignal): Promise<Outcome<ToolSetLook>> {
    const listed = await this.listed.tools(signal);
    if (!listed.ok) return listed;
    const { pin, disabled, flags } = await this.#judge(listed.value);
    const refused = await this.#refusal(listed.value, pin);
    return ok({
      pin,
      tools: [...listed.value.values()],
      disabled: new Map([...this.listed.unreadable, ...disabled]),
      flags,
      refused,
    });
  }

  #judge(listed: Map<string, Tool>): Promise<Judged> {
    const known = this.#judged.get(listed) ?? this.#judgeNew(listed);
    this.#judged.set(listed, known);
    return known;
  }

  async #judgeNew(listed: Map<string, Tool>): Promise<Judged> {
    const { log, schemas } = this.#options;
    const usable = new Map<string, Tool>();
    const disabled = new Map<string, string>();
    const flags = new Map<string, string[]>();
    for (const [name, tool] of listed) {
      const about = { server: this.name, tool: name };
      const problem = schemaProblem(schemas, tool);
      if (problem === null) usable.set(name, tool);
      else {
        disabled.set(name, problem);
        log.warn({ ...about, problem }, "MCP tool disabled: its schema can't be used");
      }
      const findings = screenTool(tool);
      if (findings.length > 0) {
        flags.set(name, findings);
        log.warn({ ...about, findings }, "MCP tool's texts should be looked at");
      }
      // Hundreds of schemas take a while to compile, and steps go on meanwhile.
      await setImmediate();
    }
    const identity = this.listed.identity ?? { name: "", version: "" };
    const judged = { listed, usable, disabled, flags, pin: pinOf(identity, listed.values()) };
    this.#last = judged;
    return judged;
  }

  /** Looked up again until the list is accepted: somebody may accept it at any time. */
  async #refusal(listed: Map<string, Tool>, pin: ToolSetPin): Promise<Failure | null> {
    const { pins, log } = this.#options;
    if (pins === null || this.#accepted === listed) return null;
    const checked = await checkPin(pins, this.name, pin);
    this.isQuarantined = !checked.ok;
    if (checked.ok) {
      this.#accepted = listed;
      return null;
    }
    const { failure } = checked;
    if (this.#told !== failure.message) {
      log.warn(
        { server: this.name, problem: failure.message },
        "MCP server's tools may not be used",
      );
      this.#told = failure.message;
    }
    return failure;
  }
}

export interface ToolSetLook {
  pin: ToolSetPin;
  /** All that can be read, usable or not. */
  tools: Tool[];
  /** Why some can't be used, by name; some of them are not among `tools`. */
  disabled: ReadonlyMap<string, string>;
  flags: ReadonlyMap<string, string[]>;
  /** Why none of them may be used now; null when they may. */
  refused: Failure | null;
}

function schemaProblem(schemas: SchemaChecker, { inputSchema, outputSchema }: Tool): string | null {
  const input = schemas.compile(inputSchema as JsonObject);
  if (typeof input === "string") return `its input schema ${input}`;
  if (outputSchema === undefined) return null;
  const output = schemas.compile(outputSchema as JsonObject);
  return typeof output === "string" ? `its output schema ${output}` : null;
}
