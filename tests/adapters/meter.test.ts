import {
  AggregationTemporality,
  type CollectionResult,
  MeterProvider,
  type MetricData,
  MetricReader,
} from "@opentelemetry/sdk-metrics";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SummingMeter } from "../../adapters/telemetry/meter.ts";

class Reader extends MetricReader {
  override async onForceFlush() {}
  override async onShutdown() {}
}

const providerOf = (readers: MetricReader[]) => new MeterProvider({ readers });

const { CUMULATIVE, DELTA } = AggregationTemporality;
const boundaries = [0.5, 1, 2, 10];

/** The SDK's own instruments and ours, each read by a reader that wants all there ever was, and by one that wants news. */
function both() {
  const ours = new SummingMeter();
  const readers = [CUMULATIVE, DELTA].map((temporality) => ({
    theirs: new Reader({ aggregationTemporalitySelector: () => temporality }),
    ours: new Reader({ metricProducers: [ours.producer(() => temporality)] }),
  }));
  const provider = providerOf(readers.map(({ theirs }) => theirs));
  providerOf(readers.map((one) => one.ours));
  const theirs = provider.getMeter("stateplane");
  const about = { description: "What is counted.", unit: "s" };
  const made = {
    theirs: {
      count: theirs.createCounter("counted", about),
      time: theirs.createHistogram("timed", {
        ...about,
        advice: { explicitBucketBoundaries: boundaries },
      }),
    },
    ours: {
      count: ours.createCounter("counted", about),
      time: ours.createHistogram("timed", { ...about, boundaries }),
    },
  };
  return { readers, ...made };
}

/** What is exported of a collection, without the times of it. */
function exported({ resourceMetrics }: CollectionResult) {
  const all = resourceMetrics.scopeMetrics.flatMap((scope) =>
    scope.metrics.map((metric: MetricData) => ({
      scope: scope.scope.name,
      name: metric.descriptor.name,
      description: metric.descriptor.description,
      unit: metric.descriptor.unit,
      valueType: metric.descriptor.valueType,
      dataPointType: metric.dataPointType,
      temporality: metric.aggregationTemporality,
      points: metric.dataPoints
        .map(({ attributes, value }) => {
          const key = JSON.stringify(Object.entries(attributes).toSorted());
          // The least and the greatest are told with all there ever was.
          if (typeof value === "number" || metric.aggregationTemporality === CUMULATIVE) {
            return { key, value };
          }
          return { key, value: { ...value, min: undefined, max: undefined } };
        })
        .toSorted((one, two) => (one.key < two.key ? -1 : 1)),
    })),
  );
  return all.toSorted((one, two) => (one.name < two.name ? -1 : 1));
}

describe("what is counted", () => {
  it("is exported as by the SDK's own instruments, all of it or the news, whenever it is read [metrics.summed]", async () => {
    const label = fc.constantFrom("a", "b", "c");
    const counted = fc.record({
      what: fc.constantFrom("count" as const, "time" as const),
      labels: fc.oneof(
        fc.record({ x: label, y: label }),
        fc.record({ y: label, x: label }, { requiredKeys: [] }),
      ),
      // Quarters add up exactly, in whatever order.
      amount: fc.oneof(
        fc.integer({ min: 0, max: 60 }).map((quarters) => quarters / 4),
        fc.constantFrom(-1, 0, 0.5, 10),
      ),
    });
    const read = fc.record({ read: fc.subarray([0, 1], { minLength: 1 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof({ weight: 5, arbitrary: counted }, read)),
        async (moves) => {
          const { readers, theirs, ours } = both();
          const check = async (which: readonly number[]) => {
            for (const at of which) {
              const reader = readers[at];
              if (reader === undefined) continue;
              const [their, our] = [await reader.theirs.collect(), await reader.ours.collect()];
              expect(exported(our)).toEqual(exported(their));
            }
          };
          for (const move of moves) {
            if ("read" in move) {
              await check(move.read);
            } else if (move.what === "count") {
              // The SDK tells of what nothing was added to.
              if (!(move.amount > 0)) continue;
              theirs.count.add(move.amount, move.labels);
              ours.count.with(move.labels).add(move.amount);
            } else {
              theirs.time.record(move.amount, move.labels);
              ours.time.with(move.labels).record(move.amount);
            }
          }
          await check([0, 1]);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("is kept apart for two thousand sets of labels, and for the others together [metrics.summed]", async () => {
    const { readers, theirs, ours } = both();
    for (let nth = 0; nth < 2_100; nth += 1) {
      theirs.count.add(1, { nth: String(nth) });
      ours.count.with({ nth: String(nth) }).add(1);
    }
    const points = async (reader: MetricReader | undefined) => {
      const [metric] = exported((await reader?.collect()) as CollectionResult);
      return metric?.points.map(({ key, value }) => ({ key: key.replaceAll('"', ""), value }));
    };
    const our = await points(readers[0]?.ours);
    expect(our).toHaveLength(2_000);
    expect(our).toEqual(await points(readers[0]?.theirs));
  });

  it("shows what is the case at each reading, and not what was [metrics.summed]", async () => {
    const meter = new SummingMeter();
    const reader = new Reader({ metricProducers: [meter.producer(() => DELTA)] });
    providerOf([reader]);
    const gauge = meter.createGauge("alive", { description: "Alive." });
    let alive: Record<string, number> = { waiting: 2, working: 1 };
    meter.onRead(async (show) => {
      for (const [state, count] of Object.entries(alive)) show(gauge, count, { state });
    });
    meter.onRead(() => {
      throw new Error("can't be looked at");
    });
    const shown = async () => {
      const collected = await reader.collect();
      expect(collected.errors).toHaveLength(1);
      return exported(collected).flatMap(({ points }) => points.map(({ value }) => value));
    };
    expect(await shown()).toEqual([2, 1]);
    alive = { working: 3 };
    expect(await shown()).toEqual([3]);
    alive = {};
    expect(await shown()).toEqual([]);
  });
});
