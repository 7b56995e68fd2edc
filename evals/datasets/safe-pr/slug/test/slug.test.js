import assert from "node:assert/strict";
import { test } from "node:test";
import { slug } from "../slug.js";

test("is in small letters", () => assert.equal(slug("Basket"), "basket"));
test("has no space left", () => assert.equal(slug("Red Wool Hat"), "red-wool-hat"));
