/** `stateplane/control-plane`: a control plane's API as its clients and as workers use it, and the embedded one. */
export { type ControlPlaneApi, createControlPlaneApi } from "../../adapters/control-plane/api.ts";
export { createControlPlane } from "../../adapters/control-plane/client.ts";
export { watchRun, watchRuns } from "../../adapters/control-plane/watch-runs.ts";
export {
  type EmbeddedControlPlane,
  startEmbeddedControlPlane,
} from "../../adapters/control-plane/embedded/start.ts";
