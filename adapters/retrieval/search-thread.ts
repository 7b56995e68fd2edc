import { type Search, searchCollection } from "./search-collection.ts";
import { serveThread } from "./thread.ts";

serveThread(async (search: Search) => searchCollection(search));
