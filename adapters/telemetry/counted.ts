import { hrTime } from "@opentelemetry/core";
import {
  AggregationTemporality,
  type DataPoint,
  type Histogram as HistogramPoint,
  type MetricDescriptor,
} from "@opentelemetry/sdk-metrics";
import type {
  Counter,
  Histogram,
  Instrument,
  Labels,
} from "../../machines/contracts/ports/meter.ts";

/** Sets of labels that one instrument counts apart, as many as in the SDK: further ones are counted together. */
const mostSets = 2_000;
const overflow: Labels = { "otel.metric.overflow": "true" };

/** What was counted under one set of labels. */
interface Counted<Point> {
  /** What came to it since it was like `earlier`, or ever; null for nothing. */
  since(earlier: this | undefined): Point | null;
  copy(): this;
}

/** What one instrument has counted, by its sets of labels. */
export class Family<Kind> implements Instrument<Kind> {
  readonly descriptor: MetricDescriptor;
  readonly counted = new Map<string, { labels: Labels; kind: Kind }>();
  readonly #make: () => Kind;

  constructor(descriptor: MetricDescriptor, make: () => Kind) {
    this.descriptor = descriptor;
    this.#make = make;
  }

  with(labels: Labels): Kind {
    const key = JSON.stringify(
      Object.entries(labels).toSorted(([one], [two]) => (one < two ? -1 : 1)),
    );
    const known = this.counted.get(key);
    if (known !== undefined) return known.kind;
    if (this.counted.size >= mostSets - 1 && labels !== overflow) return this.with(overflow);
    const kind = this.#make();
    this.counted.set(key, { labels, kind });
    return kind;
  }
}

/** What one reader was told of one kind of number. */
export class Told<Kind extends Counted<Point>, Point> {
  readonly #temporality: AggregationTemporality;
  readonly #earlier = new Map<Kind, { was: Kind; at: DataPoint<Point>["endTime"] }>();
  readonly #startedAt: DataPoint<Point>["startTime"];

  constructor(temporality: AggregationTemporality, startedAt: DataPoint<Point>["startTime"]) {
    this.#temporality = temporality;
    this.#startedAt = startedAt;
  }

  next({ descriptor, counted }: Family<Kind>) {
    const endTime = hrTime();
    const isDelta = this.#temporality === AggregationTemporality.DELTA;
    const dataPoints: DataPoint<Point>[] = [];
    for (const { labels, kind } of counted.values()) {
      const earlier = this.#earlier.get(kind);
      const value = kind.since(earlier?.was);
      if (isDelta) this.#earlier.set(kind, { was: kind.copy(), at: endTime });
      if (value === null) continue;
      const startTime = earlier?.at ?? this.#startedAt;
      dataPoints.push({ attributes: labels, startTime, endTime, value });
    }
    return { descriptor, aggregationTemporality: this.#temporality, dataPoints };
  }
}

export class Sum implements Counter, Counted<number> {
  #value = 0;

  add(amount: number): void {
    if (!(amount >= 0)) return;
    this.#value += amount;
  }

  since(earlier: Sum | undefined): number | null {
    const value = this.#value - (earlier === undefined ? 0 : earlier.#value);
    return value === 0 ? null : value;
  }

  copy(): this {
    const copy = new Sum();
    copy.#value = this.#value;
    return copy as this;
  }
}

export class Buckets implements Histogram, Counted<HistogramPoint> {
  readonly #boundaries: number[];
  readonly #counts: number[];
  #count = 0;
  #sum = 0;
  #min = Infinity;
  #max = -Infinity;

  constructor(boundaries: number[]) {
    this.#boundaries = boundaries;
    this.#counts = [...boundaries.map(() => 0), 0];
  }

  record(value: number): void {
    if (!(value >= 0)) return;
    let bucket = 0;
    // A loop over twenty numbers, of which the first ones are the frequent ones.
    while (bucket < this.#boundaries.length && (this.#boundaries[bucket] ?? 0) < value) bucket += 1;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#count += 1;
    this.#sum += value;
    if (value < this.#min) this.#min = value;
    if (value > this.#max) this.#max = value;
  }

  since(earlier: Buckets | undefined): HistogramPoint | null {
    if (earlier === undefined) {
      return this.#count === 0 ? null : { ...this.#point(), min: this.#min, max: this.#max };
    }
    const { buckets, count, sum } = this.#point();
    const before = earlier.#point();
    if (count === before.count) return null;
    const counts = buckets.counts.map((now, at) => now - (before.buckets.counts[at] ?? 0));
    const { boundaries } = buckets;
    return { buckets: { boundaries, counts }, count: count - before.count, sum: sum - before.sum };
  }

  #point() {
    const buckets = { boundaries: this.#boundaries, counts: [...this.#counts] };
    return { buckets, count: this.#count, sum: this.#sum };
  }

  copy(): this {
    const copy = new Buckets(this.#boundaries);
    copy.#counts.splice(0, Infinity, ...this.#counts);
    copy.#count = this.#count;
    copy.#sum = this.#sum;
    return copy as this;
  }
}
