import type {
  InspectedActor,
  InspectedMove,
  InspectionListener,
  InspectionSource,
  Watching,
} from "../../../machines/contracts/ports/inspection.ts";
import type { Batch, Entry, LogLine, Moment } from "./entries.ts";
import { KeptContexts } from "./kept-contexts.ts";
import { type StepNote, stepKey, Unwatched } from "./unwatched.ts";

/*
 * What an inspector knows of machines at work, and how those who look are told.
 *
 *   recording   while somebody looks, and for the first `early` steps of the process, so that a page that is opened
 *               after a short run shows all of it. The sources are watched, and each move that they tell is kept with its
 *               context. Of a flood they leave steps out (see `Watching`): of those the ones that last are asked for
 *               before a batch, and of those that ended as many are kept as while nobody looks
 *   otherwise   nothing is watched, and nothing is made for us; of a step that ended its states alone are kept, which
 *               its worker tells anyway
 *
 * Everything is bounded: the entries of what has ended, the moments of each, the log, and the contexts of what has ended,
 * whose size is estimated: see kept-contexts.ts. What is alive keeps its contexts by
 * reference, and they share most of what they hold.
 *
 * Those who look hear of changes together, at most every `everyMs`: per entry how it stands now, however often it moved.
 * So neither their number nor their speed is anything to the worker's memory.
 */

/** Steps after the start that are recorded though nobody looks. */
const early = 200;
const mostEnded = 2_000;
const mostEntries = 40_000;
const mostMoments = 100;
const mostLogged = 2_000;
/** Of the log, in one batch. */
const mostLines = 100;
const everyMs = 50;
/** After a batch of more than `busy` entries. */
const everyMsBusy = 250;
const busy = 200;
/** How long it is recorded on after the last one left: a page that is loaded again misses nothing. */
const lingerMs = 5_000;

export class Feed {
  readonly #now: () => number;
  readonly #entries = new Map<number, Entry>();
  readonly #byActor = new Map<string, Entry>();
  /** The newest session of each step. */
  readonly #byStep = new Map<string, Entry>();
  /** The rounds of each step that is alive. */
  readonly #loops = new Map<string, Entry[]>();
  readonly #ended: Entry[] = [];
  #endedFrom = 0;
  readonly #log: LogLine[] = [];
  #logged = 0;
  readonly #contexts = new KeptContexts();
  readonly #changed = new Set<Entry>();
  #gone: number[] = [];
  #flushed = 0;
  #isBusy = false;
  #isFlood = false;
  #timer: NodeJS.Timeout | null = null;
  readonly #onBatch = new Set<(batch: Batch) => void>();
  readonly #listeners = new Set<InspectionListener>();
  readonly #sources = new Set<InspectionSource>();
  #watched: Watching[] | null = null;
  #linger: NodeJS.Timeout | null = null;
  readonly #unwatched = new Unwatched();
  /** Ended since the last batch, and are in no entry. */
  #unseen = 0;
  #looking = 0;
  #steps = 0;
  #ids = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  get isRecording(): boolean {
    return this.#watched !== null;
  }

  attach(source: InspectionSource): void {
    this.#sources.add(source);
    if (this.#watched !== null) this.#watched.push(this.#watch(source));
    else if (this.#looking > 0 || this.#steps < early) this.#record();
  }

  /** Nothing more is watched. */
  close(): void {
    this.#steps = early;
    this.#stop();
    this.#sources.clear();
    this.#onBatch.clear();
    this.#listeners.clear();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** All there is, the oldest first. */
  entries(): Iterable<Entry> {
    return this.#entries.values();
  }

  entry(id: number): Entry | null {
    return this.#entries.get(id) ?? null;
  }

  log(most: number): readonly LogLine[] {
    return this.#log.slice(-most);
  }

  /** Hears of changes from now on; somebody looks until the returned function is called. */
  onBatch(listener: (batch: Batch) => void): () => void {
    // What came until now is told to those who look already, and to them alone.
    if (this.#timer !== null) {
      clearTimeout(this.#timer);
      this.#flush();
    }
    this.#onBatch.add(listener);
    return this.#look(() => this.#onBatch.delete(listener));
  }

  /** Hears each move, after those that are alive were told; somebody looks until the returned function is called. */
  listen(listener: InspectionListener): () => void {
    const end = this.#look(() => this.#listeners.delete(listener));
    for (const { actor, outcome, moments } of this.#entries.values()) {
      const last = moments.at(-1);
      if (outcome !== null || last === undefined || actor.id === "") continue;
      listener.appeared(actor);
      listener.moved({ ...last, id: actor.id, source: null, status: "active" });
    }
    this.#listeners.add(listener);
    return end;
  }

  #look(forget: () => void): () => void {
    this.#looking += 1;
    if (this.#linger !== null) clearTimeout(this.#linger);
    this.#takeUnwatched();
    // Nobody is told how many came while nobody looked.
    if (this.#looking === 1) this.#unseen = 0;
    this.#record();
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      forget();
      this.#looking -= 1;
      if (this.#looking > 0 || this.#steps < early) return;
      this.#linger = setTimeout(() => this.#looking === 0 && this.#stop(), lingerMs).unref();
    };
  }

  #record(): void {
    if (this.#watched !== null) return;
    const watched: Watching[] = [];
    this.#watched = watched;
    for (const source of this.#sources) watched.push(this.#watch(source));
  }

  #watch(source: InspectionSource): Watching {
    return source.watch(this, () => {
      this.#isFlood = true;
      this.#wake();
    });
  }

  #stop(): void {
    for (const { stop } of this.#watched ?? []) stop();
    this.#watched = null;
  }

  appeared(actor: InspectedActor): void {
    const { id, machine, runId, stepId } = actor;
    if (!this.#byActor.has(id)) {
      const known = machine === "step" ? this.#byStep.get(stepKey(runId, stepId)) : undefined;
      // It was watched before, and is watched again.
      const entry = known?.actor.id === id ? known : this.#add(actor, this.#now());
      this.#byActor.set(id, entry);
    }
    for (const listener of this.#listeners) listener.appeared(actor);
  }

  moved(move: InspectedMove): void {
    const entry = this.#byActor.get(move.id);
    if (entry === undefined) return;
    const { event, detail, value, status, context, at } = move;
    const last = entry.moments.at(-1);
    // Told of what was there already: no move, but its context may be news.
    if (detail === null && last?.value === value) last.context = context;
    else this.#note(entry, { at, event, detail, value, context });
    entry.status = status;
    // How a step's session ended is told by its worker, with the step's outcome.
    if (status !== "active" && entry.actor.machine !== "step") {
      this.#end(entry, status === "done" ? value || "done" : status);
    }
    for (const listener of this.#listeners) listener.moved(move);
  }

  /** A step's session ended. */
  ended(note: StepNote): void {
    this.#steps += 1;
    const isEarly = this.isRecording && this.#steps <= early;
    if (isEarly || this.#isKnown(note)) this.#take(note, this.#now());
    else {
      this.#unwatched.keep(note, this.#now());
      this.#wake();
    }
    if (this.#steps === early && this.#looking === 0) this.#stop();
  }

  #isKnown({ actorId, runId, stepId }: StepNote): boolean {
    if (this.#byActor.has(actorId)) return true;
    return this.#loops.size > 0 && this.#loops.has(stepKey(runId, stepId));
  }

  #takeUnwatched(): void {
    const { all, unseen } = this.#unwatched.takeAll();
    this.#unseen += unseen;
    for (const { note, at } of all) this.#take(note, at);
  }

  #take({ runId, stepId, actorId, stepType, passed, state, outcome }: StepNote, at: number): void {
    const key = stepKey(runId, stepId);
    const own = this.#byActor.get(actorId);
    // It began before the one that is at work: an entry that is made now would be the later of the two.
    if (own === undefined && this.#byStep.get(key)?.status === "active") {
      this.#unseen += 1;
      return;
    }
    for (const round of this.#loopsOf(key)) this.#end(round, "stopped");
    if (own !== undefined && own.outcome === null) return this.#end(own, outcome, state);
    const about = { id: actorId, machine: "step", name: stepId, parent: null, about: null };
    const entry = this.#add({ ...about, runId, stepId, stepType, passed }, at);
    this.#end(entry, outcome, state);
  }

  #loopsOf(key: string): readonly Entry[] {
    const found = this.#loops.get(key) ?? [];
    this.#loops.delete(key);
    return found.filter(({ outcome }) => outcome === null);
  }

  #add(actor: InspectedActor, at: number): Entry {
    const { machine, runId, stepId } = actor;
    // An earlier session of the same step may be among those that ended and wait.
    if (machine === "step") this.#takeUnwatched();
    this.#ids += 1;
    const entry: Entry = {
      id: this.#ids,
      actor,
      value: "",
      status: "active",
      outcome: null,
      began: at,
      at,
      event: "",
      moves: 0,
      moments: [],
    };
    this.#entries.set(entry.id, entry);
    const key = stepKey(runId, stepId);
    if (machine === "step") this.#byStep.set(key, entry);
    if (machine !== "step" && stepId !== null)
      this.#loops.set(key, [...(this.#loops.get(key) ?? []), entry]);
    if (this.#entries.size > mostEntries) {
      const [oldest] = this.#entries.values();
      if (oldest !== undefined) this.#drop(oldest);
    }
    return entry;
  }

  #note(entry: Entry, moment: Moment): void {
    const { moments, actor } = entry;
    moments.push(moment);
    if (moments.length > mostMoments) moments.shift();
    const { at, event, value } = moment;
    entry.moves += 1;
    entry.at = at;
    entry.event = event;
    entry.value = value;
    this.#logged += 1;
    if (this.#logged - this.#flushed <= mostLines || this.#onBatch.size === 0) {
      const { machine, name, runId } = actor;
      this.#log.push({ n: this.#logged, at, entry: entry.id, machine, name, runId, event, value });
      // Seldom, and many at a time: to take one off the front moves all the others.
      if (this.#log.length > 2 * mostLogged) this.#log.splice(0, mostLogged);
    }
    this.#touch(entry);
  }

  #end(entry: Entry, outcome: string, state = entry.value): void {
    if (entry.outcome !== null) return;
    entry.outcome = outcome;
    entry.value = state;
    if (entry.status === "active") entry.status = "done";
    if (entry.actor.machine === "step" && state !== "settled") this.#unwatched.expect(entry.actor);
    this.#byActor.delete(entry.actor.id);
    this.#touch(entry);
    this.#ended.push(entry);
    this.#contexts.keep(entry, this.#now());
    if (this.#ended.length - this.#endedFrom > mostEnded) {
      const oldest = this.#ended[this.#endedFrom];
      this.#endedFrom += 1;
      if (oldest !== undefined) this.#drop(oldest);
      if (this.#endedFrom > mostEnded) {
        this.#ended.splice(0, this.#endedFrom);
        this.#endedFrom = 0;
      }
    }
  }

  #drop(entry: Entry): void {
    const { id, actor } = entry;
    this.#entries.delete(id);
    this.#changed.delete(entry);
    if (this.#byActor.get(actor.id) === entry) this.#byActor.delete(actor.id);
    const key = stepKey(actor.runId, actor.stepId);
    if (this.#byStep.get(key) === entry) this.#byStep.delete(key);
    this.#contexts.forget(entry);
    if (this.#onBatch.size > 0) this.#gone.push(id);
  }

  #touch(entry: Entry): void {
    if (this.#onBatch.size === 0) return;
    this.#changed.add(entry);
    this.#wake();
  }

  #wake(): void {
    if (this.#looking === 0) return;
    this.#timer ??= setTimeout(() => this.#flush(), this.#isBusy ? everyMsBusy : everyMs);
  }

  #flush(): void {
    const wasFlood = this.#isFlood;
    this.#isFlood = false;
    for (const watching of this.#watched ?? []) watching.catchUp();
    this.#takeUnwatched();
    // What was told just now is in this batch, and needs no other.
    this.#timer = null;
    const log: LogLine[] = [];
    for (let at = this.#log.length - 1; at >= 0; at -= 1) {
      const line = this.#log[at];
      if (line === undefined || line.n <= this.#flushed || log.length === mostLines) break;
      log.push(line);
    }
    log.reverse();
    const skipped = this.#logged - this.#flushed - log.length;
    const batch = { changed: this.#changed, gone: this.#gone, log, skipped, unseen: this.#unseen };
    for (const tell of this.#onBatch) tell(batch);
    this.#isBusy = wasFlood || this.#changed.size > busy;
    this.#changed.clear();
    this.#gone = [];
    this.#unseen = 0;
    this.#flushed = this.#logged;
    if (this.#isFlood) this.#wake();
  }
}
