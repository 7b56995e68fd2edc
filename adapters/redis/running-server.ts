import { randomBytes } from "node:crypto";
import { createConnection } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { StoreUnreachable } from "../../machines/contracts/domain/errors.ts";
import {
  type Address,
  ask,
  findRedisServer,
  freePort,
  startRedisProcess,
} from "./redis-process.ts";

/** How long another program may take to start the server, or a stopping server to end. */
export const patienceMs = 20_000;
/** A unix socket's path, with its closing zero, has 104 bytes on macOS and 108 on Linux. */
const longestSocketPath = 103;

/** A server that runs, as one who uses it has it. */
export interface Running {
  address: Address;
  isStartedHere: boolean;
  /** Resolves when it has ended: with how, for the middle of a sentence. */
  ended: Promise<string>;
  /** For its owner. */
  end(): Promise<unknown>;
  /** No more is heard of it. */
  leave(): void;
}

/** A server that somebody else started: the end of a connection that asks for nothing is the server's. */
export function joinServer(address: Address): Running {
  const { promise: ended, resolve: end } = Promise.withResolvers<string>();
  const socket = createConnection(address).unref();
  socket.on("error", () => {});
  socket.once("close", () => end("ended"));
  return {
    address,
    isStartedHere: false,
    ended,
    end: () => ask(address, "SHUTDOWN NOSAVE", patienceMs).catch(() => ""),
    leave: () => socket.destroy(),
  };
}

/** @throws StoreUnreachable when there is no program to start, or it does not start or answer */
export async function startServer(directory: string, address: Address): Promise<Running> {
  const { ended, stop: end } = await startRedisProcess(findServer(), directory, address);
  return { address, isStartedHere: true, ended, end, leave() {} };
}

export class ServerMissing extends StoreUnreachable {
  constructor() {
    super("redis-server or valkey-server", "not found on the PATH");
  }
}

export function findServer(): string {
  const binary = findRedisServer(process.env["PATH"] ?? "");
  if (binary === null) throw new ServerMissing();
  return binary;
}

/** Whether our server listens there. One that loads its data is waited for. */
export async function answers(address: Address, directory: string): Promise<boolean> {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const reply = await ask(address, "PING", 2_000).catch((error: NodeJS.ErrnoException) => error);
    if (reply === "+PONG") return true;
    // Nobody listens, or a stranger does who got the port meanwhile.
    if (reply instanceof Error ? reply.code !== undefined : !reply.startsWith("-LOADING")) {
      return false;
    }
    if (Date.now() > deadline) {
      throw new StoreUnreachable(`the Redis server in ${directory}`, "it runs but does not answer");
    }
    await sleep(50);
  }
}

export async function chooseAddress(directory: string): Promise<Address> {
  const path = join(directory, "redis.sock");
  if (Buffer.byteLength(path) <= longestSocketPath) return { path };
  const password = randomBytes(24).toString("hex");
  return { host: "127.0.0.1", port: await freePort(), password };
}

export function urlOf(address: Address): string {
  if ("path" in address) return `unix://${pathToFileURL(address.path).pathname}`;
  return `redis://:${address.password ?? ""}@${address.host}:${address.port}`;
}
