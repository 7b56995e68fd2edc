import { startEmbeddedControlPlane } from "../../adapters/control-plane/embedded/start.ts";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import { chaosAgent } from "./plan-step.ts";

export interface ChaosPlaneOptions {
  /** The SQLite file. */
  path: string;
  apiKey: string;
  redisUrl: string;
  prefix: string;
}

/** The embedded control plane in a process of its own. It says its URL once it listens; SIGTERM ends it. */
const options = JSON.parse(process.env["STATEPLANE_CHAOS_PLANE"] ?? "") as ChaosPlaneOptions;
const { redisUrl, prefix } = options;
const backend = await createRedisBackend({ url: redisUrl, prefix, consumer: "control-plane" });
const silent = () => {};
const plane = await startEmbeddedControlPlane({
  path: options.path,
  apiKey: options.apiKey,
  port: 0,
  host: "127.0.0.1",
  agents: [chaosAgent],
  publish: (fields) => backend.queue.publish(fields),
  log: {
    debug: silent,
    info: silent,
    // The stream is away when Redis is restarted.
    warn: silent,
    error: (fields, message) =>
      process.stderr.write(`control plane: ${message}: ${JSON.stringify(fields)}\n`),
  },
});
process.on("disconnect", () => process.exit(1));
// A Ctrl-C in the terminal is the chaos program's to answer.
process.on("SIGINT", silent);
process.once("SIGTERM", async () => {
  await plane.close();
  await backend.close();
  process.exit(0);
});
process.send?.(plane.url);
