/** A price in cents after a discount in percent. */
export const discounted = (cents, percent) => cents * (1 - percent / 100);
