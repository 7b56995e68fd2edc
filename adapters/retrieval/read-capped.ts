/** The most we take of an answer, bytes. */
const limit = 8 * 1024 * 1024;

/** A body as text; null as soon as it is too large, and then the connection is given up. */
export async function readCapped(body: AsyncIterable<Uint8Array>): Promise<string | null> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop early destroys the stream.
  for await (const chunk of body) {
    size += chunk.length;
    if (size > limit) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
