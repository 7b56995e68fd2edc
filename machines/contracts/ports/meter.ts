/** What a number was counted of, such as `{ verdict: "deny" }`: of each label few different values. */
export type Labels = Readonly<Record<string, string>>;

/** A number that only grows: what is less than nothing, or no number, is not added. */
export interface Counter {
  add(amount: number): void;
}

/** How many of the numbers seen, from 0 up, fell between which bounds. */
export interface Histogram {
  record(value: number): void;
}

/**
 * A kind of number, counted apart for each set of labels. The same labels find the same one; whoever counts often
 * keeps it, since to find it takes longer than to count.
 */
export interface Instrument<Counted> {
  with(labels: Labels): Counted;
}

/** What is the case when somebody reads the numbers; see {@link Meter.onRead}. */
export interface Gauge {
  readonly name: string;
}

export interface InstrumentOptions {
  description: string;
  /** As OpenTelemetry writes units: `s`, `{token}`. Absent for what is only counted. */
  unit?: string;
}

export interface HistogramOptions extends InstrumentOptions {
  /** Upper bounds of its buckets, each included, growing; what is above the last is counted too. */
  boundaries: readonly number[];
}

/** Where a worker counts its work: nobody waits for it, and nothing of it fails. */
export interface Meter {
  createCounter(name: string, options: InstrumentOptions): Instrument<Counter>;
  createHistogram(name: string, options: HistogramOptions): Instrument<Histogram>;
  createGauge(name: string, options: InstrumentOptions): Gauge;
  /** `tell` is called at each reading, and says what the gauges show; what it does not say is not shown. */
  onRead(tell: (show: Show) => void | Promise<void>): void;
}

export type Show = (gauge: Gauge, value: number, labels?: Labels) => void;
