import { type } from "arktype";
import type { ScorerType } from "./registry.ts";

const nothing = type({});

const testPass: ScorerType = {
  shape: nothing,
  make: () => ({
    name: "test_pass",
    reads: ["tests_pass"],
    needs: ["tests"],
    applies: ({ expected }) => expected["tests_pass"] === true,
    score(_task, { tests = { passed: 0, failed: 0, total: 0 } }) {
      const { passed, failed, total } = tests;
      if (passed + failed === 0) return { score: 0, passed: false, message: "No test ran." };
      const message = `${passed} of ${passed + failed} tests pass.`;
      return {
        score: passed / (passed + failed),
        passed: failed === 0,
        message,
        details: { total },
      };
    },
  }),
};

const coverageShape = type({ "min_coverage?": "0 <= number <= 100" });

const testCoverage: ScorerType<typeof coverageShape.infer> = {
  shape: coverageShape,
  make: ({ min_coverage: least = 0 }) => ({
    name: "test_coverage",
    reads: ["test_coverage_improved"],
    needs: ["coverage"],
    applies: ({ expected }) => expected["test_coverage_improved"] === true,
    score(_task, { coverage = { before: 0, after: 0 } }) {
      const { before, after } = coverage;
      const isBetter = after > before;
      const passed = isBetter && after >= least;
      const needed = isBetter && !passed ? `, and ${least} % are needed` : "";
      const message = `Coverage went from ${before} % to ${after} %${needed}.`;
      return { score: passed ? 1 : isBetter ? 0.75 : 0, passed, message };
    },
  }),
};

const lint: ScorerType = {
  shape: nothing,
  make: () => ({
    name: "lint",
    reads: ["lint_pass"],
    needs: ["lint"],
    applies: ({ expected }) => expected["lint_pass"] === true,
    score(_task, { lint: found = { errors: 0, warnings: 0 } }) {
      const { errors, warnings } = found;
      const score =
        errors > 0
          ? Math.max(0, 1 - 0.2 * errors - 0.02 * warnings)
          : Math.max(0.7, 1 - 0.05 * warnings);
      const message = `The linter found ${errors} errors and ${warnings} warnings.`;
      return { score: Number(score.toFixed(4)), passed: errors === 0, message };
    },
  }),
};

/** A line that was added, with a type of Python's or TypeScript's on a parameter or a result. */
const hint = /^\+(?!\+\+).*(?:->\s*["'\w]|[\w?]\s*:\s*["'\w[{(]|\):\s*["'\w[{(])/mu;

const typeCheck: ScorerType = {
  shape: nothing,
  make: () => ({
    name: "type_check",
    reads: ["type_check_pass", "type_hints_added"],
    needs: ["types"],
    applies: ({ expected }) =>
      expected["type_check_pass"] === true || expected["type_hints_added"] === true,
    score({ expected }, { types = { errors: 0 }, diff }) {
      const { errors } = types;
      const isHinted =
        expected["type_hints_added"] !== true || (diff !== undefined && hint.test(diff));
      const score = isHinted ? Math.max(0, 1 - 0.1 * errors) : 0;
      const said = `The type checker found ${errors} errors`;
      const message = isHinted ? `${said}.` : `${said}, and no type was added.`;
      return { score: Number(score.toFixed(4)), passed: isHinted && errors === 0, message };
    },
  }),
};

export const codeScorers = {
  test_pass: testPass,
  test_coverage: testCoverage,
  lint,
  type_check: typeCheck,
};
