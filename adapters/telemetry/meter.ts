import { ValueType } from "@opentelemetry/api";
import { hrTime } from "@opentelemetry/core";
import { emptyResource } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type Histogram as HistogramPoint,
  InstrumentType,
  type MetricData,
  type MetricDescriptor,
  type MetricProducer,
} from "@opentelemetry/sdk-metrics";
import type {
  Counter,
  Gauge,
  Histogram,
  HistogramOptions,
  Instrument,
  InstrumentOptions,
  Meter,
  Show,
} from "../../machines/contracts/ports/meter.ts";
import { Buckets, Family, Sum, Told } from "./counted.ts";

/*
 * Numbers that are found once and then only added to. The SDK's own instruments sort, write and hash the attributes of
 * every number, a dozen times a step; here that is done once for each set of labels, and the SDK is given the sums when
 * a reader collects, by its interface for producers of metrics.
 *
 * Each reader has a producer of its own, since a collector may want what was counted since it was last told, in place
 * of all there ever was: `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`. The least and the greatest value are only
 * told with all there ever was.
 */

type Tell = (show: Show) => void | Promise<void>;

export class SummingMeter implements Meter {
  readonly #counters: Family<Sum>[] = [];
  readonly #histograms: Family<Buckets>[] = [];
  readonly #gauges: (Gauge & { descriptor: MetricDescriptor })[] = [];
  readonly #tells: Tell[] = [];
  readonly #startedAt = hrTime();

  createCounter(name: string, options: InstrumentOptions): Instrument<Counter> {
    const family = new Family(describe(name, options), () => new Sum());
    this.#counters.push(family);
    return family;
  }

  createHistogram(name: string, options: HistogramOptions): Instrument<Histogram> {
    const boundaries = [...options.boundaries];
    const family = new Family(describe(name, options), () => new Buckets(boundaries));
    this.#histograms.push(family);
    return family;
  }

  createGauge(name: string, options: InstrumentOptions): Gauge {
    const gauge = { name, descriptor: describe(name, options) };
    this.#gauges.push(gauge);
    return gauge;
  }

  onRead(tell: Tell): void {
    this.#tells.push(tell);
  }

  /** What one reader is given at each collection. */
  producer(temporalityOf: (type: InstrumentType) => AggregationTemporality): MetricProducer {
    const sums = new Told<Sum, number>(temporalityOf(InstrumentType.COUNTER), this.#startedAt);
    const buckets = new Told<Buckets, HistogramPoint>(
      temporalityOf(InstrumentType.HISTOGRAM),
      this.#startedAt,
    );
    return {
      collect: async () => {
        const { shown, errors } = await this.#read();
        const metrics: MetricData[] = [
          ...this.#counters.map((family) => ({
            ...sums.next(family),
            dataPointType: DataPointType.SUM as const,
            isMonotonic: true,
          })),
          ...this.#histograms.map((family) => ({
            ...buckets.next(family),
            dataPointType: DataPointType.HISTOGRAM as const,
          })),
          ...this.#gauges.map((gauge) => ({
            descriptor: gauge.descriptor,
            aggregationTemporality: AggregationTemporality.CUMULATIVE,
            dataPointType: DataPointType.GAUGE as const,
            dataPoints: shown.get(gauge) ?? [],
          })),
        ].filter(({ dataPoints }) => dataPoints.length > 0);
        const scopeMetrics = [{ scope: { name: "stateplane" }, metrics }];
        return { resourceMetrics: { resource: emptyResource(), scopeMetrics }, errors };
      },
    };
  }

  /** What the gauges show now. */
  async #read(): Promise<{ shown: Map<Gauge, DataPoint<number>[]>; errors: unknown[] }> {
    const shown = new Map<Gauge, DataPoint<number>[]>();
    const show: Show = (gauge, value, labels = {}) => {
      const now = hrTime();
      const point = { attributes: labels, startTime: now, endTime: now, value };
      shown.set(gauge, [...(shown.get(gauge) ?? []), point]);
    };
    const told = await Promise.allSettled(this.#tells.map(async (tell) => tell(show)));
    const errors = told.flatMap((one) =>
      one.status === "rejected" ? [one.reason as unknown] : [],
    );
    return { shown, errors };
  }
}

const describe = (name: string, { description, unit = "" }: InstrumentOptions) => ({
  name,
  description,
  unit,
  valueType: ValueType.DOUBLE,
});
