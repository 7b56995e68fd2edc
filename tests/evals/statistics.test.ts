import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Clustered,
  clusteredMean,
  logChoose,
  normalQuantile,
  normalShare,
  passAtK,
  passHatK,
  passRateInterval,
  wilson,
} from "../../evals/statistics/estimates.ts";
import {
  atLeast,
  bootstrapInterval,
  effectSize,
  holm,
  mcnemar,
  randomBits,
  signFlipTest,
  smallestDetectable,
} from "../../evals/statistics/tests.ts";

/*
 * Values of scipy 1.17.1 and statsmodels 0.15.0, and the command that made each:
 *   statsmodels.stats.proportion.proportion_confint(x, n, method="wilson")
 *   statsmodels.api.OLS(v, ones).fit(cov_type="cluster", cov_kwds={"groups": g}).bse; scipy.stats.sem(v)
 *   statsmodels.stats.contingency_tables.mcnemar([[0, b], [c, 0]], exact=True).pvalue
 *   scipy.stats.permutation_test((d,), sum, permutation_type="samples", alternative="greater"), all and 10^6 ways
 *   scipy.stats.bootstrap((d,), mean, method="percentile", n_resamples=200000)
 *   statsmodels.stats.multitest.multipletests(p, method="holm"); scipy.stats.norm.ppf and .cdf
 */
const apart = (values: readonly number[]): Clustered[] =>
  values.map((value, at) => ({ value, cluster: String(at) }));
const scores = [1, 0.5, 0, 1, 1, 0.25, 0.75, 1, 0, 0.5, 1, 0.9];
const groups = [0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 5];
const drawn = [
  0.71, -0.67, 0.23, -0.07, -0.04, 0.04, -0.51, 0.03, -0.16, 1.1, 0.17, -0.01, 0.02, -0.1, -0.22,
  -0.02, 0.24, 0.03, 0.39, 0.04, 0.11, 0.56, 0.26, -0.05, 0.05, 0.26, 0.68, 0.02, 0.03, 0.4, -0.17,
  0.01, 0.36, 0.27, 0.13, 0.3, -0.75, 0.41, -0.19, -0.4,
];

describe("statistics give published values", () => {
  it.each([
    [0, 10, 0, 0.27753279986288926],
    [7, 10, 0.39677814746114537, 0.8922087325936989],
    [57, 60, 0.8629948352365147, 0.9828504978356043],
    [60, 60, 0.9398281478579099, 1],
    [171, 180, 0.9077191903535553, 0.9734748615169928],
  ])("[evals.statistics] Wilson's interval of %i in %i", (passed, total, low, high) => {
    const interval = wilson(passed, total);
    expect(interval.low).toBeCloseTo(low, 9);
    expect(interval.high).toBeCloseTo(high, 9);
  });

  it("[evals.statistics] the mean's standard error, by cluster and without", () => {
    const clustered = scores.map((value, at) => ({ value, cluster: String(groups[at]) }));
    expect(clusteredMean(clustered)).toMatchObject({ clusters: 6 });
    expect(clusteredMean(clustered).mean).toBeCloseTo(0.6583333333333333, 12);
    expect(clusteredMean(clustered).error).toBeCloseTo(0.09922151, 8);
    expect(clusteredMean(apart(scores)).error).toBeCloseTo(0.1146194846552115, 12);
  });

  it.each([
    [9, 2, 0.0654296875],
    [2, 9, 0.0654296875],
    [1, 0, 1],
    [5, 5, 1],
    [15, 4, 0.0192108154296875],
    [40, 70, 0.005447429511444476],
    [0, 0, 1],
  ])("[evals.statistics] McNemar's exact test of %i worse and %i better", (worse, better, p) => {
    expect(mcnemar(worse, better)).toBeCloseTo(p, 9);
  });

  it("[evals.statistics] the sign-flip test, exactly and by drawing", () => {
    const few = [0.1, -0.05, 0.3, 0.2, 0.15, -0.1, 0.4, 0.25, 0.05, 0.12];
    expect(signFlipTest(apart(few)).rise).toBe(0.01171875);
    expect(effectSize(few)).toBeCloseTo(0.9235589222731387, 9);
    expect(Math.abs(signFlipTest(apart(drawn)).rise - 0.06396)).toBeLessThan(0.008);
  });

  it("[evals.statistics] the bootstrap's interval, the same for the same seed", () => {
    const { low, high } = bootstrapInterval(apart(drawn), { draws: 20_000 }) ?? {};
    expect(Math.abs((low ?? 9) - -0.02)).toBeLessThan(0.008);
    expect(Math.abs((high ?? 9) - 0.1955)).toBeLessThan(0.008);
    expect(bootstrapInterval(apart(drawn), { draws: 20_000 })).toEqual({ low, high });
    expect(bootstrapInterval(apart([1]))).toBeNull();
  });

  it("[evals.statistics] pass@k and pass^k", () => {
    const at = [passAtK(10, 3, 1), passAtK(10, 3, 5), passAtK(200, 13, 100), passAtK(5, 0, 3)];
    const expected = [0.3, 0.9166666666666666, 0.9999194971988055, 0];
    for (const [place, value] of expected.entries()) expect(at[place]).toBeCloseTo(value, 12);
    expect(passHatK(10, 7, 5)).toBeCloseTo(0.08333333333333333, 12);
    expect(passHatK(8, 6, 4)).toBeCloseTo(0.21428571428571427, 12);
    expect([passAtK(2, 2, 3), passHatK(2, 2, 3)]).toEqual([null, null]);
  });

  it("[evals.statistics] the normal distribution, Holm's procedure and the Poisson binomial", () => {
    const quantiles = [
      [0.001, -3.090232306167813],
      [0.02, -2.053748910631823],
      [0.8, 0.8416212335729143],
      [0.975, 1.959963984540054],
      [0.9999, 3.719016485455709],
    ] as const;
    for (const [share, z] of quantiles) expect(normalQuantile(share)).toBeCloseTo(z, 8);
    const shares = [
      [-6, 9.865876450376946e-10],
      [-3.5, 0.00023262907903552502],
      [0.3, 0.6179114221889526],
      [2.99, 0.9986051127645078],
      [3.01, 0.9986937615512306],
      [5, 0.9999997133484281],
    ] as const;
    for (const [z, share] of shares) expect(normalShare(z)).toBeCloseTo(share, 12);
    expect(holm([0.001, 0.04, 0.013, 0.02, 0.3], 0.05)).toEqual([true, false, false, false, false]);
    expect(atLeast(1, [0.05, 0.1, 0.5, 0.02])).toBeCloseTo(0.58105, 12);
    expect(atLeast(2, [0.05, 0.1, 0.5, 0.02])).toBeCloseTo(0.08495, 12);
    expect(Math.exp(logChoose(60, 30)) / 118264581564861424).toBeCloseTo(1, 9);
  });
});

describe("statistics hold on any sample", () => {
  const between = fc.double({ min: -1, max: 1, noNaN: true });
  const sample = fc.array(
    fc.record({ value: between, cluster: fc.constantFrom("a", "b", "c", "d", "e") }),
    {
      minLength: 1,
      maxLength: 40,
    },
  );

  it("[evals.statistics] a test's chance is one, and what is worse in one direction is better in the other", () => {
    fc.assert(
      fc.property(sample, (differences) => {
        const turned = differences.map((each) => ({ ...each, value: -each.value }));
        const { rise, fall } = signFlipTest(differences);
        expect(Math.min(rise, fall)).toBeGreaterThan(0);
        expect(Math.max(rise, fall)).toBeLessThanOrEqual(1);
        // Each way is counted by one of them, that of the sums themselves by both.
        expect(rise + fall).toBeGreaterThanOrEqual(1);
        const other = signFlipTest(turned);
        expect([other.rise, other.fall]).toEqual(
          [fall, rise].map((chance) => expect.closeTo(chance, 1)),
        );
      }),
    );
  });

  it("[evals.statistics] intervals hold the estimate, and clusters never make one claim more than its trials", () => {
    fc.assert(
      fc.property(sample, fc.integer({ min: 1, max: 5 }), (differences, epochs) => {
        const rates = differences.map((each) => ({ ...each, value: Math.abs(each.value) }));
        const trials = rates.length * epochs;
        const { low, high } = passRateInterval(rates, trials);
        const { mean } = clusteredMean(rates);
        expect(low).toBeLessThanOrEqual(mean + 1e-9);
        expect(high).toBeGreaterThanOrEqual(mean - 1e-9);
        const plain = wilson(mean * trials, trials);
        expect(high - low).toBeGreaterThanOrEqual(plain.high - plain.low - 1e-9);
      }),
    );
  });

  it("[evals.statistics] of tasks that share a fixture no more is claimed than of one", () => {
    const copies = drawn.slice(0, 12).flatMap((value, at) => {
      return [1, 2, 3].map(() => ({ value, cluster: String(at) }));
    });
    const once = apart(drawn.slice(0, 12));
    expect(signFlipTest(copies)).toEqual(signFlipTest(once));
    expect(clusteredMean(copies).error).toBeCloseTo(clusteredMean(once).error ?? Number.NaN, 12);
    const [low, high] = [bootstrapInterval(once)?.low ?? 9, bootstrapInterval(once)?.high ?? 9];
    expect(bootstrapInterval(copies)?.low).toBeCloseTo(low, 12);
    expect(bootstrapInterval(copies)?.high).toBeCloseTo(high, 12);
    expect(smallestDetectable(copies, { level: 0.02 })).toBeCloseTo(
      smallestDetectable(once, { level: 0.02 }) ?? Number.NaN,
      12,
    );
  });

  it("[evals.statistics] a sample too small to show anything says so, and one without differences claims not to see all", () => {
    expect(smallestDetectable(apart([0.1, 0, 0.2]), { level: 0.02 })).toBeNull();
    const same = apart(Array.from({ length: 60 }, () => 0));
    expect(smallestDetectable(same, { level: 0.02, floor: 0.01 })).toBeCloseTo(0.02895, 4);
    expect(signFlipTest(same)).toEqual({ rise: 1, fall: 1 });
  });

  it("[evals.statistics] random bits are even", () => {
    const random = randomBits(7);
    const counts = Array.from({ length: 16 }, () => 0);
    for (let at = 0; at < 16_000; at += 1) {
      const bucket = random() >>> 28;
      counts[bucket] = (counts[bucket] ?? 0) + 1;
    }
    // Chi-squared with 15 degrees of freedom: 30.58 at 1 %.
    const chi = counts.reduce((sum, count) => sum + (count - 1_000) ** 2 / 1_000, 0);
    expect(chi).toBeLessThan(30.58);
  });
});
