/**
 * After an answer the cell that waited runs again, and those that had been queued behind it.
 *
 * The tab that ran them does so. Any other tab goes on only where the answer was given in it, and
 * only when nobody else has gone on by then.
 */
import { Notification } from '@jupyterlab/apputils';
import type { Cell } from '@jupyterlab/cells';
import { isCodeCellModel } from '@jupyterlab/cells';
import { INotebookTracker, Notebook, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import type { IDisposable } from '@lumino/disposable';
import { magic, standingOf } from '../kernel';
import { IFound, cellById, cellOfWait, waitShownIn } from '../notebooks';
import type { IKitaru } from '../tokens';
import type { IAnswered } from './model';
import { IHeld, Queue } from './queue';

const SUSPENDED = 'Suspended';
const PATIENCE = 1500;

export class GoOn implements IDisposable {
  constructor(
    private readonly _kitaru: IKitaru,
    private readonly _tracker: INotebookTracker,
    private readonly _queue: Queue
  ) {
    NotebookActions.executionScheduled.connect(this._onScheduled, this);
    NotebookActions.executed.connect(this._onExecuted, this);
    _kitaru.waits.answered.connect(this._onAnswered, this);
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      NotebookActions.executionScheduled.disconnect(this._onScheduled, this);
      NotebookActions.executed.disconnect(this._onExecuted, this);
      this._kitaru.waits.answered.disconnect(this._onAnswered, this);
    }
  }

  /** What runs the cell that shows this wait; none where it is not on this page, or runs. */
  offer(address: string): (() => void) | undefined {
    const found = cellOfWait(this._tracker, address);
    return found && !isRunning(found.cell) ? () => void this._run(address, found) : undefined;
  }

  private _onScheduled(_: unknown, args: { notebook: Notebook; cell: Cell }): void {
    this._queue.scheduled(args.notebook.id, args.cell.model.id);
  }

  private _onExecuted(_: unknown, args: { notebook: Notebook; cell: Cell; success: boolean; error?: unknown }): void {
    const model = args.cell.model;
    const panel = this._tracker.find(each => each.content === args.notebook);
    if (!panel || !isCodeCellModel(model)) {
      return;
    }
    const suspended = !args.success && (args.error as { errorName?: string } | null)?.errorName === SUSPENDED;
    const address = suspended ? waitShownIn(model) : null;
    this._queue.ended(args.notebook.id, panel.context.path, model.id, address);
    const wait = address === null ? undefined : this._kitaru.waits.get(address);
    if (address !== null && wait?.status === 'answered') {
      this._onAnswered(null, { wait, here: true }); // it came between the question and the cell's end
    } else if (address !== null) {
      void this._kitaru.waits.look(address);
    }
  }

  private _onAnswered(_: unknown, { wait, here }: IAnswered): void {
    if (!this._kitaru.settings.runOnAnswer) {
      return;
    }
    const found = cellOfWait(this._tracker, wait.address);
    if (!found || isRunning(found.cell)) {
      return; // a cell that holds on goes on by itself
    }
    if (this._queue.held(wait.address)) {
      void this._run(wait.address, found);
    } else if (here) {
      window.setTimeout(() => void this._runUnlessOthers(wait.address), PATIENCE);
    }
  }

  private async _runUnlessOthers(address: string): Promise<void> {
    const found = cellOfWait(this._tracker, address);
    const kernel = found?.panel.sessionContext.session?.kernel;
    if (!found || isRunning(found.cell) || kernel?.status === 'busy') {
      return;
    }
    if (!kernel || (await standingOf(kernel)) !== 'went on') {
      await this._run(address, found);
    }
  }

  private async _run(address: string, { panel, cell }: IFound): Promise<void> {
    const held = this._queue.held(address);
    this._queue.release(address);
    if (!(await this._isReady(panel, address))) {
      return;
    }
    const cells = [cell, ...behind(panel, held)];
    await NotebookActions.runCells(panel.content, cells, panel.sessionContext).catch(() => undefined);
  }

  /** Whether the kernel is in the state in which the cell waited; one that was started since is brought there. */
  private async _isReady(panel: NotebookPanel, address: string): Promise<boolean> {
    const context = panel.sessionContext;
    await context.ready;
    if (context.hasNoKernel) {
      await context.startKernel();
    }
    const kernel = context.session?.kernel;
    if (!kernel || (await standingOf(kernel)) !== 'new') {
      return true;
    }
    const { trans } = this._kitaru;
    const said = await magic(context, trans, 'resume', address.split('/')[0]);
    if (!said.ok) {
      Notification.warning(
        trans.__(
          'The answer is on record, but the kernel is another one than the one that waited: run the cells above, then the cell that waited. %1',
          said.text
        ),
        { autoClose: false }
      );
    }
    return said.ok;
  }

  private _isDisposed = false;
}

function isRunning(cell: Cell): boolean {
  return isCodeCellModel(cell.model) && cell.model.executionState === 'running';
}

function behind(panel: NotebookPanel, held: IHeld | null): Cell[] {
  return (held?.queue ?? []).map(id => cellById(panel, id)).filter((cell): cell is NonNullable<typeof cell> => !!cell);
}
