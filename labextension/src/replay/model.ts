/** What is typed into a replay's form, as the request it makes. Pure. */
import type { JSONValue } from '@lumino/coreutils';
import type { ICheckpoint, IInput, IReplay } from '../api';
import { labelsOf } from '../executions/timeline';

export interface IChangeRow {
  readonly name: string;
  /** A Python literal, or empty for as it was. */
  readonly value: string;
  /** Where the name was offered and not typed: what is known of what it held. */
  readonly was?: Pick<IInput, 'type' | 'literal'>;
}

/** The checkpoints one can begin at, as they are typed. */
export function beginnings(checkpoints: readonly ICheckpoint[]): string[] {
  return labelsOf(checkpoints);
}

/** The rows of the form for a checkpoint: what can be typed, then what was typed before of other names. */
export function rowsFor(inputs: readonly IInput[], typed: readonly IChangeRow[]): IChangeRow[] {
  const kept = typed.filter(row => row.value !== '');
  const offered = inputs.map(({ name, type, literal }) => ({
    name,
    value: kept.find(row => row.name === name)?.value ?? '',
    was: { type, literal }
  }));
  const others = kept.filter(row => !inputs.some(({ name }) => name === row.name));
  return [...offered, ...others.map(({ name, value }) => ({ name, value }))];
}

/** The request. Words and texts of JSON are sent as such, all else as it was typed: Python reads it exactly. */
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
    // JavaScript would make 1 of 1.0, and round 9007199254740993; an object could be taken for `{"expr": …}`.
    return value === null || typeof value === 'boolean' || typeof value === 'string' ? value : { expr: text };
  } catch {
    return { expr: text };
  }
}
