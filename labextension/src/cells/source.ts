/** A cell's source with or without the line that makes it a checkpoint. Pure. */

const MARK = /^[^\S\n]*%%checkpoint\b[^\n]*(\n|$)/m;

/** The mark goes on top, but below the magics that have to stand there, such as `%%time`. */
export function toggled(source: string, name = ''): string {
  if (MARK.test(source)) {
    return source.replace(MARK, '');
  }
  const mark = `%%checkpoint${name ? ` ${name}` : ''}\n`;
  const above = /^(?:[^\S\n]*%%(?:time|capture)\b[^\n]*\n)*/.exec(source)?.[0] ?? '';
  return above + mark + source.slice(above.length);
}
