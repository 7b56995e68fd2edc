#!/usr/bin/env node
import { isNodeNewEnough } from "../shared/node-version.ts";

if (isNodeNewEnough("stateplane-mcp-test-runner")) await import("./serve.ts");
