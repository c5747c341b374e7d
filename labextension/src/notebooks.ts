/** Finding cells in the notebooks that are open on this page. */
import type { CodeCell, ICodeCellModel } from '@jupyterlab/cells';
import { isCodeCellModel } from '@jupyterlab/cells';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { IWait } from './api';
import { addressOf } from './waits/renderer';

export interface IFound {
  readonly panel: NotebookPanel;
  readonly cell: CodeCell;
}

/** The cell whose output shows a wait. */
export function cellOfWait(tracker: INotebookTracker, address: string): IFound | null {
  return first(tracker, model => waitShownIn(model) === address);
}

/** A cell by its id, in one notebook. */
export function cellById(panel: NotebookPanel, id: string): CodeCell | null {
  const cell = panel.content.widgets.find(each => each.model.id === id);
  return cell && isCodeCellModel(cell.model) ? (cell as CodeCell) : null;
}

/** The address of the wait in a cell's outputs; the last one where there are several. */
export function waitShownIn(model: ICodeCellModel): string | null {
  for (let index = model.outputs.length - 1; index >= 0; index--) {
    const address = addressOf(model.outputs.get(index).data);
    if (address !== null) {
      return address;
    }
  }
  return null;
}

/** Whether somebody who looks at this page sees the notebook that asks a question. */
export function isInSight(
  tracker: INotebookTracker,
  { address, execution }: IWait,
  executionOf: (panel: NotebookPanel) => string | null | undefined
): boolean {
  const panel = cellOfWait(tracker, address)?.panel ?? tracker.find(each => executionOf(each) === execution);
  return document.visibilityState === 'visible' && panel?.isVisible === true;
}

function first(tracker: INotebookTracker, fits: (model: ICodeCellModel) => boolean): IFound | null {
  const panel = tracker.find(each => each.content.widgets.some(cell => isCodeCellModel(cell.model) && fits(cell.model)));
  const cell = panel?.content.widgets.find(each => isCodeCellModel(each.model) && fits(each.model));
  return panel && cell ? { panel, cell: cell as CodeCell } : null;
}
