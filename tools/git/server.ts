#!/usr/bin/env node
import { isNodeNewEnough } from "../shared/node-version.ts";

if (isNodeNewEnough("stateplane-mcp-git")) await import("./serve.ts");
