import { quantileSorted, sampleStandardDeviation } from "simple-statistics";
import {
  byCluster,
  type Clustered,
  clusteredMean,
  type Interval,
  logChoose,
  normalQuantile,
} from "./estimates.ts";

/*
 * What two samples of the same tasks say of each other. All of it is paired: a task is compared with itself, so that
 * what makes one task harder than another cancels out, and few tasks show much.
 */

/** The one-sided chances of a change at least as large, were nothing changed; 1 where nothing differs. */
export interface Chances {
  /** Of as high a rise. */
  rise: number;
  /** Of as deep a fall. */
  fall: number;
}

/**
 * The main test of whether a mean has changed: over all ways to swap before and after of whole clusters, the share in
 * which the sum of differences is at least as large as it is. Under the null hypothesis, that before and after were made
 * by the same agent, each such way was as likely as the one that was seen; nothing is assumed of how values are
 * distributed.
 *
 * Exact up to 2^14 ways; beyond, over 5,000 drawn at random, the seen one counted in (Phipson and Smyth, 2010), so that
 * the test never rejects more often than it says.
 *
 * @param differences after less before, a value a task
 */
export function signFlipTest(differences: readonly Clustered[], seed = 1): Chances {
  const sums = Float64Array.from(byCluster(differences)).filter((each) => each !== 0);
  if (sums.length === 0) return { rise: 1, fall: 1 };
  const seen = sums.reduce((total, each) => total + each, 0);
  const slack = 1e-9 * sums.reduce((total, each) => total + Math.abs(each), 0);
  const isExact = sums.length <= 14;
  const totals = isExact ? allFlips(sums) : someFlips(sums, seed);
  let [higher, lower] = isExact ? [0, 0] : [1, 1];
  for (const total of totals) {
    if (total >= seen - slack) higher += 1;
    if (total <= seen + slack) lower += 1;
  }
  const ways = totals.length + (isExact ? 0 : 1);
  return { rise: higher / ways, fall: lower / ways };
}

/** The sum under every choice of signs: each doubles those before it. */
function allFlips(sums: Float64Array): Float64Array {
  const totals = new Float64Array(2 ** sums.length);
  for (const [at, each] of sums.entries()) {
    const half = 2 ** at;
    for (let way = 0; way < half; way += 1) {
      const total = totals[way] ?? 0;
      totals[way + half] = total - each;
      totals[way] = total + each;
    }
  }
  return totals;
}

function someFlips(sums: Float64Array, seed: number): Float64Array {
  const random = randomBits(seed);
  const totals = new Float64Array(5_000);
  for (let draw = 0; draw < totals.length; draw += 1) {
    let [total, bits] = [0, 0];
    for (let at = 0; at < sums.length; at += 1, bits >>>= 1) {
      if (at % 32 === 0) bits = random();
      total += (2 * (bits & 1) - 1) * (sums[at] ?? 0);
    }
    totals[draw] = total;
  }
  return totals;
}

/** How many clusters must differ before {@link signFlipTest} can fall to a level at all. */
export const clustersNeeded = (level: number): number => Math.ceil(-Math.log2(level));

/**
 * McNemar's exact test of pairs that passed or failed: of those that changed, as many should have got better as worse.
 *
 * @returns the two-sided chance, as R's `binom.test(worse, worse + better)`
 */
export function mcnemar(worse: number, better: number): number {
  const changed = worse + better;
  let tail = 0;
  for (let at = 0; at <= Math.min(worse, better); at += 1) {
    tail += Math.exp(logChoose(changed, at) - changed * Math.LN2);
  }
  return Math.min(1, 2 * tail);
}

/**
 * The interval of a mean difference by the percentile bootstrap over clusters, the same for the same seed; null where
 * there are fewer than two.
 */
export function bootstrapInterval(
  differences: readonly Clustered[],
  { confidence = 0.95, seed = 1, draws = 1_000 } = {},
): Interval | null {
  const groups = new Map<string, { sum: number; count: number }>();
  for (const { value, cluster } of differences) {
    const { sum = 0, count = 0 } = groups.get(cluster) ?? {};
    groups.set(cluster, { sum: sum + value, count: count + 1 });
  }
  const all = [...groups.values()];
  if (all.length < 2) return null;
  const random = randomBits(seed);
  const sums = Float64Array.from(all, ({ sum }) => sum);
  const counts = Float64Array.from(all, ({ count }) => count);
  const means = Float64Array.from({ length: draws }, () => {
    let [total, count] = [0, 0];
    for (let at = 0; at < sums.length; at += 1) {
      const drawn = Math.floor((random() / 2 ** 32) * sums.length);
      total += sums[drawn] ?? 0;
      count += counts[drawn] ?? 0;
    }
    return total / count;
  }).sort();
  const outside = (1 - confidence) / 2;
  return {
    low: quantileSorted(Array.from(means), outside),
    high: quantileSorted(Array.from(means), 1 - outside),
  };
}

/**
 * Holm's procedure: of several tests at once, which reject, so that the chance of any false one is at most the level.
 *
 * @returns whether each rejects, in the order given
 */
export function holm(chances: readonly number[], level: number): boolean[] {
  const rejects = chances.map(() => false);
  const order = chances.map((_, at) => at).sort((a, b) => (chances[a] ?? 1) - (chances[b] ?? 1));
  for (const [rank, at] of order.entries()) {
    if ((chances[at] ?? 1) > level / (chances.length - rank)) break;
    rejects[at] = true;
  }
  return rejects;
}

/** The chance that at least so many of independent events happen, each with a chance of its own (Poisson binomial). */
export function atLeast(count: number, chances: readonly number[]): number {
  let exactly = [1];
  for (const chance of chances) {
    const next = Array.from({ length: exactly.length + 1 }, () => 0);
    for (const [at, share] of exactly.entries()) {
      next[at] = (next[at] ?? 0) + share * (1 - chance);
      next[at + 1] = (next[at + 1] ?? 0) + share * chance;
    }
    exactly = next;
  }
  return exactly.slice(count).reduce((total, share) => total + share, 0);
}

/** Cohen's d of paired differences: their mean in standard deviations of theirs; null where they do not vary. */
export function effectSize(differences: readonly number[]): number | null {
  if (differences.length < 2) return null;
  const spread = sampleStandardDeviation([...differences]);
  if (spread < 1e-12) return null;
  return differences.reduce((total, each) => total + each, 0) / differences.length / spread;
}

/**
 * The smallest true difference that a sample shows four times in five: (z for the level + z for the power) × standard
 * error; null where the sample can show none, however large.
 *
 * Source: Miller, arXiv:2411.00640, section 5.
 *
 * @param floor the least standard error to believe: a sample in which nothing differed would claim to see everything
 */
export function smallestDetectable(
  differences: readonly Clustered[],
  { level, power = 0.8, floor = 0 }: { level: number; power?: number; floor?: number },
): number | null {
  const { error, clusters } = clusteredMean(differences);
  if (error === null || clusters < clustersNeeded(level)) return null;
  return (normalQuantile(1 - level) + normalQuantile(power)) * Math.max(error, floor);
}

/**
 * Random 32 bits, the same for the same seed.
 *
 * Source: Doty-Humphrey's sfc32, as in PractRand.
 */
export function randomBits(seed: number): () => number {
  let [a, b, c, counter] = [0, seed >>> 0, 0x9e3779b9, 1];
  const next = () => {
    const result = (a + b + counter) >>> 0;
    counter = (counter + 1) >>> 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) >>> 0;
    c = (((c << 21) | (c >>> 11)) + result) >>> 0;
    return result;
  };
  for (let at = 0; at < 15; at += 1) next();
  return next;
}
