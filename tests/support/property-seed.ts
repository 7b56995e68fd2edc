import { configureGlobal } from "fast-check";

/*
 * The suite asks the same questions each time, so that a failure is that of the change in hand. New ones are asked with
 * STATEPLANE_TEST_SEED=random; a failure prints its seed, and that number asks them again.
 */
const seed = process.env["STATEPLANE_TEST_SEED"] ?? "1";
if (seed !== "random") configureGlobal({ seed: Number(seed) });
