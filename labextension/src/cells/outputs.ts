/** Putting outputs from the record into a cell. */
import type { ICodeCellModel } from '@jupyterlab/cells';
import { JSONExt } from '@lumino/coreutils';
import type { ICell, IOutput } from '../api';

/** Whether a step's last run ended after its notebook was saved for the last time. Pure. */
export function isMissed(step: ICell | undefined, savedAt: number): boolean {
  const began = Date.parse(step?.started_at ?? '');
  return began + (step?.duration ?? 0) * 1000 > savedAt; // never of what is not known
}

/** What is to be added to the outputs of before; null where they have to be made anew. Pure. */
export function addedTo(before: readonly IOutput[], now: readonly IOutput[]): readonly IOutput[] | null {
  const last = before.length - 1;
  if (now.length < before.length || !before.slice(0, -1).every((each, index) => JSONExt.deepEqual(each, now[index]))) {
    return null;
  }
  if (last < 0 || JSONExt.deepEqual(before[last], now[last])) {
    return now.slice(before.length);
  }
  const [old, grown] = [before[last], now[last]];
  const isSame = old.output_type === 'stream' && grown.output_type === 'stream' && old.name === grown.name;
  if (!isSame || typeof old.text !== 'string' || typeof grown.text !== 'string' || !grown.text.startsWith(old.text)) {
    return null;
  }
  return [{ ...grown, text: grown.text.slice(old.text.length) }, ...now.slice(before.length)];
}

/**
 * Put outputs into a cell; what it was given before stays, so that the page does not jump.
 *
 * They are not trusted, and saving the notebook does not make them so: they are a record's, which
 * may come from anybody, and nobody has run the cell on this page.
 */
export function put(model: ICodeCellModel, before: readonly IOutput[] | null, now: readonly IOutput[]): void {
  model.trusted = false;
  model.deleteMetadata('trusted');
  const added = before && addedTo(before, now);
  if (added) {
    added.forEach(each => model.outputs.add(each));
  } else {
    model.outputs.fromJSON([...now]);
  }
}

/** Whether a cell is as one that has not run. */
export function isBlank(model: ICodeCellModel): boolean {
  return model.outputs.length === 0 && model.executionCount === null;
}
