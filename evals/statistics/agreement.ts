import { type Interval, normalQuantile, wilson } from "./estimates.ts";

/** How often a judge and people said what, of the same work. */
export interface Confusion {
  /** Both said pass. */
  truePositives: number;
  /** The judge said pass, people fail. */
  falsePositives: number;
  /** Both said fail. */
  trueNegatives: number;
  /** The judge said fail, people pass. */
  falseNegatives: number;
}

export interface Rate extends Interval {
  /** Null where there is nothing to count. */
  rate: number | null;
  of: number;
}

/** What a judge's verdicts are worth, held to people's. */
export interface Agreement {
  /** Of the work that people passed, the share that the judge passes (sensitivity). */
  truePositiveRate: Rate;
  /** Of the work that people failed, the share that the judge fails (specificity). */
  trueNegativeRate: Rate;
  agreement: Rate;
  /** Null where it is not defined: one of both always said the same. */
  kappa: number | null;
}

/**
 * True positive and true negative rates and the agreement, with Wilson's intervals, and Cohen's kappa: the agreement
 * beyond what chance alone gives two who pass as often as these did, (p_o - p_e) / (1 - p_e).
 *
 * Source of kappa: Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement
 * 20(1), 1960.
 */
export function agreementOf(counted: Confusion, confidence = 0.95): Agreement {
  const { truePositives: tp, falsePositives: fp, trueNegatives: tn, falseNegatives: fn } = counted;
  const all = tp + fp + tn + fn;
  const rate = (some: number, of: number): Rate =>
    of === 0
      ? { rate: null, of, low: 0, high: 1 }
      : { rate: some / of, of, ...wilson(some, of, confidence) };
  const chance = all === 0 ? 1 : ((tp + fp) * (tp + fn) + (tn + fn) * (tn + fp)) / all ** 2;
  return {
    truePositiveRate: rate(tp, tp + fn),
    trueNegativeRate: rate(tn, tn + fp),
    agreement: rate(tp + tn, all),
    kappa: chance >= 1 ? null : ((tp + tn) / all - chance) / (1 - chance),
  };
}

/**
 * Whether the labels show that the judge is better than chance: the lower end of the interval of TPR - FPR is above 0.
 *
 * Source of the interval: Newcombe, "Interval estimation for the difference between independent proportions: comparison
 * of eleven methods", Statistics in Medicine 17(8), 1998, method 10.
 */
export function beatsChance({ truePositiveRate: tpr, trueNegativeRate: tnr }: Agreement): boolean {
  if (tpr.rate === null || tnr.rate === null) return false;
  return tpr.rate + tnr.rate - 1 > Math.hypot(tpr.rate - tpr.low, tnr.rate - tnr.low);
}

export interface Corrected extends Interval {
  /** The share that the judge passed. */
  observed: number;
  /** The share that people would pass, as far as can be told. */
  estimate: number;
}

/**
 * The pass rate that people would give, from a judge's: its errors, as they were measured on labelled work, are taken
 * out of the share that it passed of other work. Null where the judge is no better than chance, TPR + TNR ≤ 1: then its
 * verdicts say nothing.
 *
 * The estimate is (p + TNR - 1) / (TPR + TNR - 1), kept within 0 and 1: Rogan and Gladen, "Estimating prevalence from
 * the results of a screening test", American Journal of Epidemiology 107(1), 1978. The interval, which takes in that TPR
 * and TNR are estimates too, is that of Lang and Reiczigel, "Confidence limits for prevalence of disease adjusted for
 * estimated sensitivity and specificity", Preventive Veterinary Medicine 113(1), 2014: with z² more observations of which
 * half pass, and one more of each kind for either rate,
 * θ + 2z²(θ·v₁ - (1-θ)·v₀) ± z·√(p(1-p)/n + θ²v₁ + (1-θ)²v₀) / (TPR + TNR - 1), where v₁ and v₀ are the variances of the
 * two rates.
 *
 * @param passed of `judged` pieces of work that nobody labelled
 */
export function correctedPassRate(
  { truePositives: tp, falsePositives: fp, trueNegatives: tn, falseNegatives: fn }: Confusion,
  passed: number,
  judged: number,
  confidence = 0.95,
): Corrected | null {
  if (judged === 0 || tp + fn === 0 || tn + fp === 0) return null;
  const [sensitivity, specificity] = [tp / (tp + fn), tn / (tn + fp)];
  const observed = passed / judged;
  if (sensitivity + specificity <= 1) return null;
  const within = (share: number) => Math.min(1, Math.max(0, share));
  const estimate = within((observed + specificity - 1) / (sensitivity + specificity - 1));

  const z = normalQuantile((1 + confidence) / 2);
  const n = judged + z ** 2;
  const p = (passed + z ** 2 / 2) / n;
  const [positives, negatives] = [tp + fn + 2, tn + fp + 2];
  const [se, sp] = [(tp + 1) / positives, (tn + 1) / negatives];
  // So few labels that they can't tell the judge from chance.
  if (se + sp <= 1) return { observed, estimate, low: 0, high: 1 };
  const middle = within((p + sp - 1) / (se + sp - 1));
  const [v1, v0] = [(se * (1 - se)) / positives, (sp * (1 - sp)) / negatives];
  const shift = 2 * z ** 2 * (middle * v1 - (1 - middle) * v0);
  const variance = (p * (1 - p)) / n + middle ** 2 * v1 + (1 - middle) ** 2 * v0;
  const half = (z * Math.sqrt(variance)) / (se + sp - 1);
  return {
    observed,
    estimate,
    low: Math.min(estimate, within(middle + shift - half)),
    high: Math.max(estimate, within(middle + shift + half)),
  };
}
