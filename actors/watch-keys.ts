import { type Failure, ok } from "../machines/contracts/domain/failure.ts";
import {
  type ModelAttempt,
  modelFailureDetails,
  type ModelProvider,
} from "../machines/contracts/ports/model-provider.ts";
import type { TroubleWatch } from "./trouble.ts";

/**
 * The same models; what their answers show of this worker's keys is told to the watch, which says it once. A provider
 * whose key is refused while another one serves in its place is told of, too: nobody else would.
 */
export function watchKeys(models: ModelProvider, watch: TroubleWatch): ModelProvider {
  type Said = Pick<ModelAttempt, "reason" | "status" | "message"> & { provider?: string };
  const tell = ({ provider, reason, status, message }: Said) => {
    // Without a status nobody has refused it: it is missing, and each step says which variable to set.
    if (provider === undefined || reason !== "auth" || status === undefined) return;
    watch.met(`model provider ${provider}`, "ours", message);
  };

  function tellFailure(failure: Failure): void {
    const said = modelFailureDetails(failure);
    said?.attempts?.forEach(tell);
    // A key that is good, and not for this model or call, is no trouble of the worker's.
    if (said !== null && failure.kind !== "forbidden") tell({ ...said, message: failure.message });
  }

  return {
    // A provider of the user's own may be an object with a prototype.
    targets: (model) => models.targets?.(model) ?? ok([]),
    async complete(request, signal, onPart) {
      const outcome = await models.complete(request, signal, onPart);
      if (!outcome.ok) tellFailure(outcome.failure);
      else {
        const { provider, attempts = [] } = outcome.value;
        // One that served with the same key has refused no more than a model.
        attempts.filter((attempt) => attempt.provider !== provider).forEach(tell);
        watch.well(`model provider ${provider}`);
      }
      return outcome;
    },
  };
}
