import { terminal } from "../../machines/contracts/failure.ts";
import { fail, ok, type Outcome } from "../../machines/contracts/outcome.ts";
import type { Extension } from "../../machines/contracts/ports/control-plane.ts";
import type { ControlPlaneApi } from "./api.ts";

const known: readonly Extension[] = ["idempotent-results", "approvals", "events"];
const keptMs = 60_000;

type Advertised = Outcome<ReadonlySet<Extension>>;

/**
 * Asks `GET /health` what the control plane can do beyond the reference, at most once a minute however
 * many steps ask at a time. A failure is not kept. A gateway without `/health` advertises nothing.
 */
export function createExtensions(
  api: Pick<ControlPlaneApi, "health">,
): (signal: AbortSignal) => Promise<Advertised> {
  let kept: { value: Advertised; until: number } | null = null;
  let asking: Promise<Advertised> | null = null;

  const ask = async (): Promise<Advertised> => {
    // Many wait for this one answer, so no single caller may call it off; the request's deadline bounds it.
    const health = await api.health(new AbortController().signal).finally(() => (asking = null));
    if (!health.ok && health.failure.kind !== "not_found") return health;
    const said = health.ok ? (health.value.extensions ?? []) : [];
    const value = ok(new Set(known.filter((extension) => said.includes(extension))));
    kept = { value, until: performance.now() + keptMs };
    return value;
  };

  return async (signal) => {
    if (kept !== null && performance.now() < kept.until) return kept.value;
    asking ??= ask();
    return orCalledOff(asking, signal);
  };
}

function orCalledOff(answer: Promise<Advertised>, signal: AbortSignal): Promise<Advertised> {
  const calledOff = fail(terminal("cancelled", "GET /health: called off"));
  if (signal.aborted) return Promise.resolve(calledOff);
  return new Promise((resolve, reject) => {
    const onAbort = () => resolve(calledOff);
    signal.addEventListener("abort", onAbort, { once: true });
    answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
