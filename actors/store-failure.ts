/** The store could not be reached: the step is let go, and whoever takes it over finds it as it was. */
export class StoreFailure extends Error {
  override name = "StoreFailure";
}

/** The lease is lost: another worker has the step, and nothing may be written. */
export class LeaseLost extends Error {
  override name = "LeaseLost";
}

/** Tells a store's rejection from every other unexpected error. */
export async function stored<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new StoreFailure(error instanceof Error ? error.message : String(error), {
      cause: error,
    });
  }
}
