import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
import { startTestRedis, type TestRedis } from "./redis.ts";

/** A name behind which the one or the other of two servers answers. Connections there are stay where they lead. */
export interface RedisPair {
  url: string;
  one: TestRedis;
  two: TestRedis;
  /** New connections lead to the second server from now on. */
  switchOver(): void;
  stop(): Promise<void>;
}

export async function startRedisPair(): Promise<RedisPair> {
  const [one, two] = await Promise.all([startTestRedis(), startTestRedis()]);
  const proxy: TcpProxy = await startTcpProxy(one.port);
  return {
    url: `redis://127.0.0.1:${proxy.port}`,
    one,
    two,
    switchOver: () => proxy.leadTo(two.port),
    stop: async () => {
      await proxy.stop();
      await Promise.all([one.stop(), two.stop()]);
    },
  };
}
