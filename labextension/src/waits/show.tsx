/** What is to be approved, drawn from the server's row: text, a diff, a table, or data. Never HTML. */
import * as React from 'react';
import type { JSONObject, JSONValue } from '@lumino/coreutils';

const MOST_ROWS = 200;

/** How a value is best looked at. */
export type Shown = 'diff' | 'text' | 'table' | 'fields' | 'json';

/** Choose how a value is drawn. Pure. */
export function kindOf(value: JSONValue): Shown {
  if (typeof value === 'string') {
    return isDiff(value) ? 'diff' : 'text';
  }
  if (Array.isArray(value) && value.length && value.every(isFlat)) {
    return 'table';
  }
  return isFlat(value) ? 'fields' : 'json';
}

export function Show({ value }: { value: JSONValue }): JSX.Element {
  switch (kindOf(value)) {
    case 'diff':
      return <Diff text={value as string} />;
    case 'text':
      return <pre className="jp-kitaru-Show">{value as string}</pre>;
    case 'table':
      return <Table rows={value as JSONObject[]} />;
    case 'fields':
      return <Pairs value={value as JSONObject} />;
    default:
      return <pre className="jp-kitaru-Show">{JSON.stringify(value, null, 2)}</pre>;
  }
}

/** A unified diff, its lines marked by more than their colour. */
export function Diff({ text }: { text: string }): JSX.Element {
  return (
    <pre className="jp-kitaru-Show jp-kitaru-Diff">
      {text.split('\n').map((line, index) => (
        <span key={index} className={`jp-kitaru-Diff-line${lineClass(line)}`}>
          {line || ' '}
        </span>
      ))}
    </pre>
  );
}

function Table({ rows }: { rows: JSONObject[] }): JSX.Element {
  const columns = [...new Set(rows.flatMap(row => Object.keys(row)))];
  const shown = rows.slice(0, MOST_ROWS);
  const numbers = new Set(columns.filter(column => shown.every(row => typeof (row[column] ?? 0) === 'number')));
  const classOf = (column: string) => (numbers.has(column) ? 'jp-mod-number' : '');
  return (
    <div className="jp-kitaru-Show jp-mod-table" tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map(column => (
              <th key={column} scope="col" className={classOf(column)}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((row, index) => (
            <tr key={index}>
              {columns.map(column => (
                <td key={column} className={classOf(column)}>
                  {text(row[column])}
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

function Pairs({ value }: { value: JSONObject }): JSX.Element {
  return (
    <dl className="jp-kitaru-Show jp-kitaru-Pairs">
      {Object.entries(value).map(([name, each]) => (
        <React.Fragment key={name}>
          <dt>{name}</dt>
          <dd>{text(each)}</dd>
        </React.Fragment>
      ))}
    </dl>
  );
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
  return value === undefined || value === null ? '' : String(value);
}
