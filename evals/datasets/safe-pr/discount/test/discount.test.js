import assert from "node:assert/strict";
import { test } from "node:test";
import { discounted } from "../discount.js";

test("takes the discount off", () => assert.equal(discounted(1000, 10), 900));
test("leaves whole cents", () => assert.equal(discounted(999, 15), 849));
