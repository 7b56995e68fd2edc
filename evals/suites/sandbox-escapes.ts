import { fileURLToPath } from "node:url";
import { defineSuite } from "../define.ts";

/** Programs in a sandbox step that try to get out of it, or to use too much; each says ESCAPED where it could. */
export default defineSuite({
  name: "sandbox-escapes",
  description:
    "Code in a sandbox step that tries to reach the network, the host and other processes",
  datasets: [{ path: fileURLToPath(new URL("../datasets/sandbox-escapes", import.meta.url)) }],
  scorers: [{ type: "expected_output_match" }],
  settings: { timeout_ms: 60_000, max_parallel: 4 },
  gates: { pass_rate_threshold: 1, deterministic: true },
  config: () => ({ logLevel: "error" }),
});
