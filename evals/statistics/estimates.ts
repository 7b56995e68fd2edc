import { mean, sum } from "simple-statistics";

/*
 * What one sample says, each with its uncertainty. Where tasks share a fixture they fail together, and counting them as
 * independent makes every interval too narrow: all that is said here of a mean is computed by cluster.
 */

/** A value and the cluster that it belongs to: equal values of one cluster are not so many pieces of evidence. */
export interface Clustered {
  value: number;
  cluster: string;
}

export interface Estimate {
  mean: number;
  /** Standard error of the mean; null where a single cluster shows no spread. */
  error: number | null;
  clusters: number;
}

/**
 * The mean, with a standard error that takes clusters as the independent units (CR1: Liang and Zeger's sandwich with the
 * correction G/(G-1)). With a cluster a value it is the ordinary s/√n.
 *
 * Source of its use for evals: Miller, "Adding Error Bars to Evals", arXiv:2411.00640, section 2.2.
 */
export function clusteredMean(values: readonly Clustered[]): Estimate {
  if (values.length === 0) return { mean: Number.NaN, error: null, clusters: 0 };
  const middle = mean(values.map(({ value }) => value));
  const sums = [...byCluster(values.map((each) => ({ ...each, value: each.value - middle })))];
  const groups = sums.length;
  if (groups < 2) return { mean: middle, error: null, clusters: groups };
  const squares = sum(sums.map((each) => each * each));
  const error = Math.sqrt((groups / (groups - 1)) * squares) / values.length;
  return { mean: middle, error, clusters: groups };
}

/** The sum of each cluster's values. */
export function byCluster(values: readonly Clustered[]): IterableIterator<number> {
  const sums = new Map<string, number>();
  for (const { value, cluster } of values) sums.set(cluster, (sums.get(cluster) ?? 0) + value);
  return sums.values();
}

export interface Interval {
  low: number;
  high: number;
}

/**
 * Wilson's score interval of a share, which stays within 0 and 1 and says something at both ends.
 *
 * @param passed may be a fraction, where it comes of an effective sample size
 * @param confidence such as 0.95
 */
export function wilson(passed: number, total: number, confidence = 0.95): Interval {
  if (total <= 0) return { low: 0, high: 1 };
  const z = normalQuantile(1 - (1 - confidence) / 2);
  const share = passed / total;
  const scale = 1 + (z * z) / total;
  const centre = share + (z * z) / (2 * total);
  const spread = z * Math.sqrt((share * (1 - share)) / total + (z * z) / (4 * total * total));
  return {
    low: passed <= 0 ? 0 : Math.max(0, (centre - spread) / scale),
    high: passed >= total ? 1 : Math.min(1, (centre + spread) / scale),
  };
}

/**
 * Wilson's interval of a pass rate over tasks in clusters: the number of trials is replaced by how many independent
 * ones would be as uncertain (Kish's effective sample size), at most the trials that there are. Where all pass or all
 * fail, nothing can be seen of the spread, and each cluster counts once.
 *
 * @param rates the share of passed trials of each task
 */
export function passRateInterval(
  rates: readonly Clustered[],
  trials: number,
  confidence = 0.95,
): Interval {
  const { mean: rate, error, clusters } = clusteredMean(rates);
  if (clusters === 0) return { low: 0, high: 1 };
  const seen = error === null || error === 0 ? clusters : (rate * (1 - rate)) / (error * error);
  const total = Math.max(1, Math.min(trials, seen));
  return wilson(rate * total, total, confidence);
}

/**
 * pass@k: the chance that at least one of k trials passes, from n trials of which c passed, unbiased; null where there
 * are fewer than k trials.
 *
 * Source: Chen et al., "Evaluating Large Language Models Trained on Code", arXiv:2107.03374, section 2.1.
 */
export function passAtK(trials: number, passed: number, k: number): number | null {
  if (k > trials) return null;
  return 1 - chosen(trials - passed, trials, k);
}

/**
 * pass^k: the chance that all of k trials pass, likewise.
 *
 * Source: Yao et al., "τ-bench", arXiv:2406.12045, section 4.
 */
export function passHatK(trials: number, passed: number, k: number): number | null {
  if (k > trials) return null;
  return chosen(passed, trials, k);
}

/** C(few, k) / C(all, k), as a product: no term is ever large. */
function chosen(few: number, all: number, k: number): number {
  let share = 1;
  for (let at = 0; at < k; at += 1) share *= Math.max(0, few - at) / (all - at);
  return share;
}

/** The logarithm of how many ways there are to choose k of n. */
export function logChoose(n: number, k: number): number {
  let log = 0;
  for (let at = 1; at <= Math.min(k, n - k); at += 1) {
    log += Math.log((n - Math.min(k, n - k) + at) / at);
  }
  return log;
}

/**
 * The standard normal distribution's quantile, right to 1e-9. simple-statistics' `probit` is off in the third digit.
 *
 * Source: Acklam's rational approximation (2003), with one step of Halley's method.
 */
export function normalQuantile(share: number): number {
  if (!(share > 0 && share < 1)) {
    if (share === 0) return Number.NEGATIVE_INFINITY;
    return share === 1 ? Number.POSITIVE_INFINITY : Number.NaN;
  }
  if (share > 0.5) return -normalQuantile(1 - share);
  const first = share < 0.02425 ? ofTail(Math.sqrt(-2 * Math.log(share))) : ofMiddle(share - 0.5);
  const off = (normalShare(first) - share) * Math.sqrt(2 * Math.PI) * Math.exp((first * first) / 2);
  return first - off / (1 + (first * off) / 2);
}

const polynomial = (x: number, coefficients: readonly number[]) =>
  coefficients.reduce((value, coefficient) => value * x + coefficient, 0);

function ofMiddle(q: number): number {
  const r = q * q;
  const over = [
    -39.69683028665376, 220.9460984245205, -275.9285104469687, 138.357751867269, -30.66479806614716,
    2.506628277459239,
  ];
  const under = [
    -54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972,
    -13.28068155288572, 1,
  ];
  return (q * polynomial(r, over)) / polynomial(r, under);
}

function ofTail(q: number): number {
  const over = [
    -0.007784894002430293, -0.3223964580411365, -2.400758277161838, -2.549732539343734,
    4.374664141464968, 2.938163982698783,
  ];
  const under = [0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416, 1];
  return polynomial(q, over) / polynomial(q, under);
}

/**
 * The standard normal distribution's share below x, by the series and the continued fraction of the error function.
 *
 * Source: Abramowitz and Stegun, 26.2.11 and 26.2.14.
 */
export function normalShare(x: number): number {
  const size = Math.abs(x);
  const density = Math.exp((-size * size) / 2) / Math.sqrt(2 * Math.PI);
  if (size < 3) {
    let term = size;
    let total = size;
    for (let n = 3; term > 1e-17 * total; n += 2) {
      term *= (size * size) / n;
      total += term;
    }
    return x < 0 ? 0.5 - density * total : 0.5 + density * total;
  }
  let fraction = size;
  for (let n = 60; n >= 1; n -= 1) fraction = size + n / fraction;
  const tail = density / fraction;
  return x < 0 ? tail : 1 - tail;
}
