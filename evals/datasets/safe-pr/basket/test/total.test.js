import assert from "node:assert/strict";
import { test } from "node:test";
import { total } from "../total.js";

test("adds prices", () => assert.equal(total([1, 2]), 3));
test("an empty basket costs nothing", () => assert.equal(total([]), 0));
