/** `stateplane/ports`: the neighbours of a worker, a page of verbs each, for those who bring their own. */
export type { RuntimePorts } from "../../actors/ports.ts";
export type * from "../../machines/contracts/ports/artifact-store.ts";
export type * from "../../machines/contracts/ports/clock.ts";
export type * from "../../machines/contracts/ports/control-plane.ts";
export type * from "../../machines/contracts/ports/model-provider.ts";
export type * from "../../machines/contracts/ports/prices.ts";
export type * from "../../machines/contracts/ports/retriever.ts";
export type * from "../../machines/contracts/ports/sandbox.ts";
export type * from "../../machines/contracts/ports/schema-checker.ts";
export type * from "../../machines/contracts/ports/step-backend.ts";
export type * from "../../machines/contracts/ports/tool-host.ts";
