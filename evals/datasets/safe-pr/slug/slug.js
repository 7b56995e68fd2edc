/** A name as a part of an address. */
export const slug = (name) => name.toLowerCase().replace(" ", "-");
