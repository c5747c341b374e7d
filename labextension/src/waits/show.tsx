/** What is to be approved, drawn from the server's row: text, a diff, a table, a picture, or data. Never HTML. */
import * as React from 'react';
import type { JSONObject, JSONValue } from '@lumino/coreutils';
import { visible } from '../format';
import { written } from '../json';

const MOST_ROWS = 200;

/** How a value is best looked at. */
export type Kind = 'picture' | 'diff' | 'text' | 'table' | 'fields' | 'json';

/** Under this name a value has its PNG in base64. No other kind of picture is drawn: an SVG holds scripts. */
const PNG = 'image/png';

/** Choose how a value is drawn. Pure. */
export function kindOf(value: JSONValue): Kind {
  if (typeof value === 'string') {
    return isDiff(value) ? 'diff' : 'text';
  }
  if (Array.isArray(value) && value.length && value.every(isFlat)) {
    return 'table';
  }
  if (pngOf(value) !== null) {
    return 'picture';
  }
  return isFlat(value) ? 'fields' : 'json';
}

/** The base64 of a value that is a picture; null where it is none, or not base64 and nothing else. Pure. */
export function pngOf(value: JSONValue): string | null {
  const data = isFlat(value) ? (value as JSONObject)[PNG] : null;
  const rest = isFlat(value) ? Object.keys(value as JSONObject).filter(name => name !== PNG && name !== 'text/plain') : [];
  return typeof data === 'string' && rest.length === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(data) ? data : null;
}

export function Show({ value }: { value: JSONValue }): JSX.Element {
  switch (kindOf(value)) {
    case 'picture':
      return <Picture data={pngOf(value)!} words={text((value as JSONObject)['text/plain'])} />;
    case 'diff':
      return <Diff text={value as string} />;
    case 'text':
      return <pre className={`jp-kitaru-Show${isAligned(value as string) ? ' jp-mod-aligned' : ''}`}>{visible(value as string)}</pre>;
    case 'table':
      return <Grid {...gridOf(value as JSONObject[])} />;
    case 'fields':
      return <Pairs value={value as JSONObject} />;
    default:
      return <pre className="jp-kitaru-Show">{visible(written(value, 2))}</pre>;
  }
}

/** What a screen reader says of it is its text; where it is no picture after all, so does everybody see. */
function Picture({ data, words }: { data: string; words: string }): JSX.Element {
  return (
    <div className="jp-kitaru-Show jp-mod-picture" tabIndex={0}>
      <img src={`data:${PNG};base64,${data}`} alt={words} title={words} />
    </div>
  );
}

/** A unified diff, its lines marked by more than their colour. */
export function Diff({ text }: { text: string }): JSX.Element {
  return (
    <pre className="jp-kitaru-Show jp-kitaru-Diff">
      {text.split('\n').map((line, index) => (
        <span key={index} className={`jp-kitaru-Diff-line${lineClass(line)}`}>
          {visible(line) || ' '}
        </span>
      ))}
    </pre>
  );
}

export interface IGrid {
  /** What stands above the columns; two may have one name. */
  columns: readonly string[];
  rows: readonly (readonly (JSONValue | undefined)[])[];
}

/** Objects as the rows of a table. Pure. */
export function gridOf(objects: readonly JSONObject[]): IGrid {
  const columns = [...new Set(objects.flatMap(each => Object.keys(each)))];
  return { columns, rows: objects.map(each => columns.map(column => each[column])) };
}

export function Grid({ columns, rows }: IGrid): JSX.Element {
  const shown = rows.slice(0, MOST_ROWS);
  const classes = columns.map((_, place) => (shown.every(row => isNumber(row[place] ?? 0)) ? 'jp-mod-number' : ''));
  return (
    <div className="jp-kitaru-Show jp-mod-table" tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map((column, place) => (
              <th key={place} scope="col" className={classes[place]}>
                {visible(column)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((row, index) => (
            <tr key={index}>
              {columns.map((_, place) => (
                <td key={place} className={classes[place]}>
                  {text(row[place])}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > shown.length && <div className="jp-kitaru-dim">… {rows.length - shown.length}</div>}
    </div>
  );
}

/** Whether it is a number, or one that comes as text since JavaScript has none for it. */
function isNumber(value: JSONValue): boolean {
  return typeof value === 'number' || typeof value === 'bigint' || (typeof value === 'string' && /^(-?\d{16,}|-?inf|nan)$/.test(value));
}

function Pairs({ value }: { value: JSONObject }): JSX.Element {
  return (
    <dl className="jp-kitaru-Show jp-kitaru-Pairs">
      {Object.entries(value).map(([name, each]) => (
        <React.Fragment key={name}>
          <dt>{visible(name)}</dt>
          <dd>{text(each)}</dd>
        </React.Fragment>
      ))}
    </dl>
  );
}

/** Whether a text is a table, as pandas writes one: lines of one width, with columns. Broken lines could not be read. Pure. */
export function isAligned(value: string): boolean {
  const lines = value.split('\n', 3);
  return lines.length === 3 && lines.every(line => line.length === lines[0].length && line.includes('  '));
}

function isDiff(value: string): boolean {
  return /^@@ .* @@/m.test(value) || (/^--- /m.test(value) && /^\+\+\+ /m.test(value));
}

function lineClass(line: string): string {
  if (/^(\+\+\+|---|@@|diff )/.test(line)) {
    return ' jp-mod-head';
  }
  return line.startsWith('+') ? ' jp-mod-added' : line.startsWith('-') ? ' jp-mod-removed' : '';
}

function isFlat(value: JSONValue): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.keys(value).length > 0 &&
    Object.values(value).every(each => typeof each !== 'object' || each === null)
  );
}

function text(value: JSONValue | undefined): string {
  return value === undefined || value === null ? '' : visible(String(value));
}
