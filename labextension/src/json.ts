/**
 * JSON to the letter: a whole number that JavaScript has no number for is a `bigint`.
 *
 * `JSON.parse` would round it, and somebody would approve another account than the one that is paid.
 * Types say `JSONValue` all the same: whoever only passes values on, compares or draws them need not know.
 */

/** A text or a number in JSON, whatever stands in the text. */
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** The value. */
export function parsed(text: string): unknown {
  const plain: unknown = JSON.parse(text);
  if (!/\d{16}/.test(text)) {
    return plain;
  }
  const mark = newMark();
  const marked = text.replace(TOKENS, token => (isLarge(token) ? `"${mark}${token}"` : token));
  return JSON.parse(marked, (_, each: unknown) =>
    typeof each === 'string' && each.startsWith(mark) ? BigInt(each.slice(mark.length)) : each
  );
}

/** The JSON of a value. */
export function written(value: unknown, indent?: number): string {
  const mark = newMark();
  const text = JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? `${mark}${each}` : each), indent);
  return text.replace(new RegExp(`"${mark}(-?\\d+)"`, 'g'), '$1');
}

/** What is typed as a number: exactly that, or the text where it is none. */
export function typedNumber(text: string): number | bigint | string {
  const typed = text.trim();
  if (isLarge(typed)) {
    return BigInt(typed);
  }
  const found = Number(typed);
  return typed === '' || !Number.isFinite(found) ? text : found;
}

/** Whether it is a whole number in digits that a `number` may not hold exactly. */
function isLarge(token: string): boolean {
  return /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token));
}

/** No text that is on record can begin with it. */
function newMark(): string {
  return `kitaru-${Math.random().toString(36).slice(2)}-`;
}
