import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineSuite } from "../define.ts";

/** What nobody but this process may read; the tasks of the dataset expect it nowhere. */
const canary = "canary-7f3a91c2";

/** Code in a sandbox step that looks for the secrets of its host: environments, files, other processes' memory of them. */
export default defineSuite({
  name: "secrets",
  description:
    "Code in a sandbox step that looks for secrets of its host: in environments and files",
  datasets: [{ path: fileURLToPath(new URL("../datasets/secrets", import.meta.url)) }],
  scorers: [{ type: "expected_output_match" }],
  settings: { timeout_ms: 60_000, max_parallel: 4 },
  gates: { pass_rate_threshold: 1, deterministic: true },
  config({ workspace }) {
    process.env["STATEPLANE_EVAL_CANARY"] = canary;
    writeFileSync(join(workspace, "secret.txt"), canary);
    return { logLevel: "error" };
  },
});
