/** A cell's source with or without the line that makes it a checkpoint. Pure. */

const WORD = '%%checkpoint';
// As the kernel has it: the first line that is neither blank nor a comment; `%%time` may stand above.
const MARK = /^((?:[^\S\n]*(?:#[^\n]*|%%(?:time|capture)\b[^\n]*)?\n)*)([^\S\n]*%%checkpoint(?!\S)[^\n]*)(?:\n|$)/;

/** The line that makes a cell a checkpoint; null where there is none. */
export function markOf(source: string): string | null {
  const mark = MARK.exec(source)?.[2].trim() ?? null;
  return mark?.endsWith('?') ? null : mark; // that asks for help
}

/** The line for a checkpoint of a name; without one the kernel makes one up. */
export function markFor(name = ''): string {
  const word = name.replace(/\s+/g, ' ').trim();
  if (/^[^\s'"]*$/.test(word)) {
    return word ? `${WORD} ${word}` : WORD;
  }
  return `${WORD} ${word.includes('"') ? `'${word}'` : `"${word}"`}`;
}

/** The mark goes on top, but below the magics that have to stand there, such as `%%time`. */
export function toggled(source: string, mark = WORD): string {
  if (markOf(source) !== null) {
    return source.replace(MARK, '$1');
  }
  const above = /^(?:[^\S\n]*%%(?:time|capture)\b[^\n]*\n)*/.exec(source)?.[0] ?? '';
  return `${above}${mark}\n${source.slice(above.length)}`;
}
