/** What is typed into a replay's form, as the request it makes. Pure. */
import type { JSONValue } from '@lumino/coreutils';
import type { ICheckpoint, IReplay } from '../api';
import { labelsOf } from '../executions/timeline';

export interface IChangeRow {
  readonly name: string;
  /** A Python literal, or empty for as it was. */
  readonly value: string;
}

/** The checkpoints one can begin at, as they are typed. */
export function beginnings(checkpoints: readonly ICheckpoint[]): string[] {
  return labelsOf(checkpoints);
}

/** The names that a checkpoint reads: what one would want to change before it. */
export function namesRead(checkpoints: readonly ICheckpoint[], from: string): string[] {
  const at = labelsOf(checkpoints).indexOf(from);
  return at < 0 ? [] : [...checkpoints[at].reads];
}

/** The rows of the form for a checkpoint: what it reads, with what was typed before kept. */
export function rowsFor(names: readonly string[], typed: readonly IChangeRow[]): IChangeRow[] {
  const kept = typed.filter(row => row.value !== '');
  const fresh = names.filter(name => !kept.some(row => row.name === name)).map(name => ({ name, value: '' }));
  return [...kept, ...fresh];
}

/** The request. A value that is JSON is sent as that, anything else as an expression. */
export function requestOf(from: string, rows: readonly IChangeRow[]): IReplay {
  const inputs: Record<string, JSONValue | { expr: string }> = {};
  for (const { name, value } of rows) {
    if (name.trim() && value.trim()) {
      inputs[name.trim()] = valueOf(value.trim());
    }
  }
  return { from, inputs };
}

/** What is wrong with the rows, by their number; nothing where all is well. */
export function mistakes(rows: readonly IChangeRow[], trans: { __: (text: string, ...more: any[]) => string }): Record<number, string> {
  const found: Record<number, string> = {};
  rows.forEach(({ name, value }, index) => {
    if (value.trim() && !/^[^\W\d]\w*$/u.test(name.trim())) {
      found[index] = name.trim() ? trans.__('“%1” is no name', name.trim()) : trans.__('Which name is to have this value?');
    }
  });
  return found;
}

function valueOf(text: string): JSONValue | { expr: string } {
  try {
    const value = JSON.parse(text) as JSONValue;
    // An object could be taken for `{"expr": …}`; Python reads it as well.
    return typeof value === 'object' && value !== null ? { expr: text } : value;
  } catch {
    return { expr: text };
  }
}
