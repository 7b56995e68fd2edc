import type { JsonObject } from "../../../../machines/contracts/domain/json.ts";
import { newId } from "../documents.ts";
import type { KeptPolicy, Policy } from "../policy.ts";
import { ApiError } from "../routes/request.ts";
import type { Place, Rows } from "../rows.ts";
import type { Change } from "./change.ts";

export type PolicySettings = Omit<Policy, "id" | "projectId" | "createdAt" | "updatedAt">;

/** More would make every check of a tool slow. */
const most = 1000;

/** @throws ApiError 400 for a name that is taken, 409 when there are too many */
export function addPolicy(change: Change, projectId: string, settings: PolicySettings): KeptPolicy {
  const { now, store } = change;
  const place = { tenantId: store.home, projectId };
  refuseTaken(store, place, settings.name, null);
  if (store.policies.of(place).length >= most) {
    throw new ApiError(409, `there are ${most} policies, which is the most: delete some`);
  }
  refuseTerms(settings);
  const policy: KeptPolicy = {
    id: newId("pol", now),
    ...place,
    ...settings,
    createdAt: now,
    updatedAt: now,
  };
  store.policies.put(policy);
  change.audit(null, "policy.created", asDetails(policy));
  return policy;
}

/** @throws ApiError 404 for an unknown policy, 400 for a name that is taken */
export function changePolicy(
  change: Change,
  id: string,
  some: Partial<PolicySettings>,
): KeptPolicy {
  const { now, store } = change;
  const known = findPolicy(store, id);
  refuseTaken(store, known, some.name ?? known.name, id);
  const policy: KeptPolicy = { ...known, ...some, updatedAt: now };
  refuseTerms(policy);
  store.policies.put(policy);
  change.audit(null, "policy.changed", asDetails(policy));
  return policy;
}

/** @throws ApiError 404 for an unknown policy */
export function removePolicy(change: Change, id: string): KeptPolicy {
  const policy = findPolicy(change.store, id);
  change.store.policies.remove(id);
  change.audit(null, "policy.deleted", { policy_id: id, name: policy.name });
  return policy;
}

/** @throws ApiError 404 for an unknown policy */
export function findPolicy(store: Rows, id: string): KeptPolicy {
  const policy = store.policies.find(id);
  if (policy === undefined) throw new ApiError(404, `policy ${id} not found`);
  return policy;
}

function refuseTaken(store: Rows, place: Place, name: string, own: string | null): void {
  const taken = store.policies.of(place).find((policy) => policy.name === name);
  if (taken !== undefined && taken.id !== own) {
    throw new ApiError(400, `a policy with the name "${name}" exists already: ${taken.id}`);
  }
}

/** Terms that nobody would ever be held to are a mistake. */
function refuseTerms({ effect, approval }: Pick<Policy, "effect" | "approval">): void {
  if (approval && effect !== "require_approval") {
    throw new ApiError(422, `approval: only a policy with the effect require_approval has it`);
  }
}

const asDetails = ({
  id,
  name,
  priority,
  effect,
  enabled,
  conditions,
  approval,
}: Policy): JsonObject => ({
  policy_id: id,
  name,
  priority,
  effect,
  enabled,
  conditions: conditions as JsonObject,
  approval: (approval ?? null) as JsonObject | null,
});
