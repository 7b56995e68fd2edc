import type { Requirement } from "./requirements.ts";

/** What is promised of what goes into a step's model, and of what comes out of a step. */
export const screeningRequirements: readonly Requirement[] = [
  {
    id: "screening.rules",
    promise: "what a rule looks for is found, and told, taken out or refused as configured",
  },
  { id: "screening.quiet", promise: "what is harmless comes out of screening as it went in" },
  { id: "screening.links", promise: "a text links to the allowed hosts and to no others" },
  {
    id: "screening.named",
    promise: "what is called a secret is taken out of JSON, by its key and by its entry",
  },
  { id: "screening.linear", promise: "no text makes a rule take more than its length is worth" },
  {
    id: "screening.marked",
    promise: "what comes from outside reaches a model as marked data, and can't end its marking",
  },
  { id: "screening.hidden", promise: "a model is not shown what a person can't see" },
  {
    id: "secrets.planted",
    promise:
      "secrets of the environment, of the job and of files near it are in nothing that a step gives on",
  },
  {
    id: "screening.calibrated",
    promise: "at most two in a hundred harmless texts are flagged, and most attacks are",
  },
  { id: "screening.injection", promise: "orders to a model are flagged, in disguise too" },
];
