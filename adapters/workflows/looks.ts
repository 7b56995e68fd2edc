import { jsonpath } from "json-p3";
import { spend, spendOnComparing } from "./work.ts";

/** Makes a path that was read count each part of a value that it looks at. */
export function countLooks({ segments }: jsonpath.JSONPathQuery): void {
  for (const { selectors } of segments) {
    for (const selector of selectors) {
      const resolve = selector.resolve.bind(selector);
      selector.resolve = (node) => {
        spend(1);
        const found = resolve(node);
        spend(found.length);
        return found;
      };
      if (selector instanceof jsonpath.selectors.FilterSelector) countIn(selector.expression);
    }
  }
}

type Expression = jsonpath.expressions.FilterExpression;

function countIn(expression: Expression): void {
  const { RootQuery, RelativeQuery } = jsonpath.expressions;
  const { InfixExpression, PrefixExpression, LogicalExpression, FunctionExtension } =
    jsonpath.expressions;
  const evaluate = expression.evaluate.bind(expression);
  expression.evaluate = (context) => {
    spend(1);
    return evaluate(context);
  };
  if (expression instanceof RootQuery || expression instanceof RelativeQuery) {
    countLooks(expression.path);
  } else if (expression instanceof InfixExpression) {
    countIn(expression.left);
    countIn(expression.right);
    if (!expression.logical) countComparing(expression.left, expression.right);
  } else if (expression instanceof PrefixExpression) countIn(expression.right);
  else if (expression instanceof LogicalExpression) countIn(expression.expression);
  else if (expression instanceof FunctionExtension) {
    for (const argument of expression.args) countIn(argument);
  }
}

/** The right side is worked out last, and then both are compared. */
function countComparing(left: Expression, right: Expression): void {
  let one: unknown;
  const [first, second] = [left.evaluate.bind(left), right.evaluate.bind(right)];
  left.evaluate = (context) => (one = first(context)) as ReturnType<Expression["evaluate"]>;
  right.evaluate = (context) => {
    const other = second(context);
    spendOnComparing(onlyValue(one), onlyValue(other));
    one = undefined;
    return other;
  };
}

const onlyValue = (side: unknown): unknown =>
  side instanceof jsonpath.JSONPathNodeList && side.length === 1 ? side.nodes[0]?.value : side;
