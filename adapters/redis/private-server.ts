import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { StoreUnreachable } from "../../machines/contracts/domain/errors.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { isAlive, noteProcess } from "./living-process.ts";
import { makePrivateFolder } from "./private-files.ts";
import type { Address } from "./redis-process.ts";
import {
  answers,
  chooseAddress,
  findServer,
  joinServer,
  patienceMs,
  type Running,
  ServerMissing,
  startServer,
  urlOf,
} from "./running-server.ts";
import {
  aloneIn,
  readServerNote,
  removeServerNote,
  type ServerNote,
  writeServerNote,
} from "./server-note.ts";

/*
 * A server of our own in a directory, kept running. Its note (`server.json`) names its owner, the process that keeps it.
 *
 *   nobody's      no note, or its owner is gone: the next program becomes the owner, of the server that still runs there,
 *                 or of one that it starts
 *   another's     the owner runs: others join its server. Where none answers, the owner is starting it again, and they
 *                 wait for that: two servers would write one file
 *   left          its owner was killed: of those who joined, the first to leave ends it as its owner would
 *   it ends       the owner starts it again, on the same data and the same address. Where the owner stopped it, whoever
 *                 still needs it becomes its owner, and starts it
 *   it ends thrice in a row, or can't be started    `lost` says so
 *
 * All this is done under the directory's lock.
 */

/** A server that ran for so long was well: its end is the first of a row. */
const healthyMs = 10_000;
const mostEnds = 3;
const pauseMs = 100;
/** After each start that failed, longer. */
const restMs = 500;

export interface PrivateRedis {
  readonly url: string;
  /** Resolves when the server can't be kept running: with why and what to do, in a sentence. */
  readonly lost: Promise<string>;
  /** Ends the server if it is this program's to end. */
  stop(): Promise<void>;
}

/**
 * A Redis or Valkey of our own with its data in `directory`, reached over a unix socket that only this user
 * may open; where the path is too long for one, over a loopback port with a password. It is started again when it
 * ends. Of several programs in one directory the first starts the server and ends it, and the others join it.
 *
 * @param options.log told when the server was started again
 * @throws StoreUnreachable when there is no server on the PATH, or it does not start or answer
 */
export async function startPrivateRedis(options: {
  directory: string;
  log?: Pick<Log, "info" | "warn">;
}): Promise<PrivateRedis> {
  const directory = resolve(options.directory);
  findServer();
  await makePrivateFolder(directory);
  const keeper = new Keeper(directory, options.log ?? { info() {}, warn() {} });
  await keeper.begin();
  return { url: keeper.url, lost: keeper.lost, stop: () => keeper.stop() };
}

class Keeper {
  readonly lost: Promise<string>;
  readonly #directory: string;
  readonly #log: Pick<Log, "info" | "warn">;
  readonly #lose: (why: string) => void;
  #running: Running | null = null;
  #address: Address | null = null;
  #since = 0;
  #isOwner = false;
  #ends = 0;
  #recovering: Promise<void> | null = null;
  #isStopped = false;
  #stopping: Promise<void> | null = null;

  constructor(directory: string, log: Pick<Log, "info" | "warn">) {
    const { promise, resolve: lose } = Promise.withResolvers<string>();
    this.#directory = directory;
    this.#log = log;
    this.lost = promise;
    this.#lose = lose;
  }

  get url(): string {
    return this.#address === null ? "" : urlOf(this.#address);
  }

  async begin(): Promise<void> {
    const running = await this.#have(performance.now() + patienceMs);
    if (running !== null) this.#use(running);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#isStopped = true;
    await this.#recovering;
    const running = this.#running;
    running?.leave();
    if (!(await this.#isOursToEnd())) return;
    let ending: Promise<unknown> | null = null;
    const end = () => (ending ??= Promise.resolve(running?.end()));
    // An ending server removes its socket: nobody may start the next one before it has.
    await aloneIn(this.#directory, patienceMs, async () => {
      if (!(await this.#isOursToEnd())) return;
      await end();
      await removeServerNote(this.#directory);
    });
    if (this.#isOwner) await end();
  }

  /** Whoever leaves a server whose owner was killed ends it in its place: others start it again, or there is nobody. */
  async #isOursToEnd(): Promise<boolean> {
    if (this.#isOwner) return true;
    const note = await readServerNote(this.#directory);
    return note !== null && !isAlive(note.owner);
  }

  #use(running: Running): void {
    this.#running = running;
    this.#address = running.address;
    this.#since = performance.now();
    void running.ended.then((how) => {
      this.#running = null;
      if (!this.#isStopped) this.#recovering = this.#recover(how);
    });
  }

  /** Sees to it that the server runs again, or says that it can't. */
  async #recover(how: string): Promise<void> {
    if (performance.now() - this.#since > healthyMs) this.#ends = 0;
    const wasOurs = this.#isOwner;
    if (wasOurs) this.#ends += 1;
    let last = how;
    while (this.#ends < mostEnds) {
      try {
        const running = await this.#have(Number.POSITIVE_INFINITY);
        if (running === null) return;
        if (urlOf(running.address) !== this.url) {
          running.leave();
          this.#lose(
            `the Redis server in ${this.#directory} has another address now: start this program again`,
          );
          return;
        }
        this.#use(running);
        if (running.isStartedHere) this.#tell(wasOurs, last);
        return;
      } catch (error) {
        if (error instanceof ServerMissing) {
          this.#lose(
            `the Redis server in ${this.#directory} ${how} and can't be started again: there is no redis-server or valkey-server on the PATH any more; install one and start this program again, its data is kept there`,
          );
          return;
        }
        this.#ends += 1;
        last = `could not be started (${error instanceof Error ? error.message : String(error)})`;
        await sleep(this.#ends * restMs);
      }
    }
    this.#lose(
      `the Redis server in ${this.#directory} can't be kept running: ${mostEnds} times in a row it ended soon or did not start, and at last it ${last}; see redis.log there, and whether memory and disk suffice, then start this program again, its data is kept there`,
    );
  }

  #tell(wasOurs: boolean, how: string): void {
    const where = `the Redis server in ${this.#directory}`;
    if (wasOurs) {
      const text = `${where} ${how} and was started again on the same data; work goes on`;
      this.#log.warn({}, text);
    } else {
      this.#log.info({}, `${where} was ended with the program that kept it; this one keeps it now`);
    }
  }

  /**
   * The server that runs in the directory, or a new one; null when nobody needs it any more.
   *
   * @param until how long its owner may take to start it again, by `performance.now()`
   */
  async #have(until: number): Promise<Running | null> {
    while (!this.#isStopped) {
      const found = await aloneIn(this.#directory, patienceMs, () => this.#joinOrStart());
      const where = `the Redis server in ${this.#directory}`;
      if (found === undefined) {
        const reason = `another program was still starting it after ${patienceMs} ms`;
        throw new StoreUnreachable(where, reason);
      }
      if (!("owner" in found)) return found;
      if (performance.now() > until) {
        const { pid } = found.owner;
        const reason = `process ${pid} keeps it, and has not started it again within ${patienceMs} ms: end that process, or, if it is no program of Stateplane, remove server.json there`;
        throw new StoreUnreachable(where, reason);
      }
      await sleep(pauseMs);
    }
    return null;
  }

  /** Under the lock. Where the server is for somebody else to start, what the note says of it. */
  async #joinOrStart(): Promise<Running | ServerNote> {
    const note = await readServerNote(this.#directory);
    if (note !== null && (await answers(note.address, this.#directory))) return this.#join(note);
    if (note !== null && isAlive(note.owner) && !this.#isOwner) return note;
    return this.#start();
  }

  async #join(note: ServerNote): Promise<Running> {
    const { address } = note;
    if (!isAlive(note.owner)) {
      await writeServerNote(this.#directory, { ...note, owner: noteProcess(process.pid) });
      this.#isOwner = true;
    }
    return joinServer(address);
  }

  async #start(): Promise<Running> {
    const address = this.#address ?? (await chooseAddress(this.#directory));
    // Before the start: a server whose starter dies here is still found by the next.
    await writeServerNote(this.#directory, { owner: noteProcess(process.pid), address });
    try {
      const running = await startServer(this.#directory, address);
      this.#isOwner = true;
      return running;
    } catch (error) {
      await removeServerNote(this.#directory);
      throw error;
    }
  }
}
