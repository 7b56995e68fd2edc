import { expect, it } from "vitest";
import { loadConfig } from "../../cli/config/load-config.ts";

const load = (env: Record<string, string>) =>
  loadConfig({ flags: {}, env, folder: "/nonexistent", file: null });

it.each([
  ["STATEPLANE", "port"],
  ["STATEPLANE_INSPECT", "inspectPort"],
  ["WORKER_HTTP", "httpPort"],
] as const)(
  "no setting is taken from what Kubernetes says of a service, %s's [config.services]",
  async (service, key) => {
    const env = {
      [`${service}_PORT`]: "tcp://10.96.0.7:8080",
      [`${service}_PORT_8080_TCP`]: "tcp://10.96.0.7:8080",
      [`${service}_PORT_8080_TCP_ADDR`]: "10.96.0.7",
      [`${service}_PORT_8080_TCP_PORT`]: "8080",
      [`${service}_PORT_8080_TCP_PROTO`]: "tcp",
      [`${service}_SERVICE_HOST`]: "10.96.0.7",
      [`${service}_SERVICE_PORT`]: "8080",
      [`${service}_SERVICE_PORT_HTTP`]: "8080",
    };
    const { settings, misspelt } = await load(env);
    expect(settings[key]).toBeNull();
    expect(misspelt).toEqual([]);
    // Somebody's own words all the same.
    const own = { ...env, [`${service}_PORT`]: "8081" };
    expect((await load(own)).settings[key]).toBe(8081);
    const { [`${service}_SERVICE_HOST`]: _, ...alone } = env;
    await expect(load(alone)).rejects.toThrow("expected a port number");
  },
);
