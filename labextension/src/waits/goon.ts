/**
 * After an answer the cell that waited runs again, and those that had been queued behind it.
 *
 * The tab that ran them does so, and asks the kernel for its turn first: a tab may have a double.
 * Any other tab goes on only where the answer was given in it, and only when nobody else has gone
 * on by then.
 */
import { Notification } from '@jupyterlab/apputils';
import type { Cell } from '@jupyterlab/cells';
import { isCodeCellModel } from '@jupyterlab/cells';
import { INotebookTracker, Notebook, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';
import type { IWait } from '../api';
import { Disposable } from '../disposable';
import { messageOf } from '../format';
import { isFirst, magic, standingOf } from '../kernel';
import { IFound, cellById, cellOfWait, waitShownIn } from '../notebooks';
import type { IKitaru } from '../tokens';
import type { IAnswered } from './model';
import { IHeld, Queue } from './queue';

const SUSPENDED = 'Suspended';
const PATIENCE = 1500; // milliseconds for the tab that ran the cells, which knows what was behind

export class GoOn extends Disposable {
  constructor(
    private readonly _kitaru: IKitaru,
    private readonly _tracker: INotebookTracker,
    private readonly _queue: Queue
  ) {
    super();
    NotebookActions.executionScheduled.connect(this._onScheduled, this);
    NotebookActions.executed.connect(this._onExecuted, this);
    _kitaru.waits.answered.connect(this._onAnswered, this);
  }

  protected override release(): void {
    NotebookActions.executionScheduled.disconnect(this._onScheduled, this);
    NotebookActions.executed.disconnect(this._onExecuted, this);
    this._kitaru.waits.answered.disconnect(this._onAnswered, this);
  }

  /** What runs the cell that shows this wait; none where it is not on this page, or runs. */
  offer(address: string): (() => void) | undefined {
    const found = cellOfWait(this._tracker, address);
    return found && !isRunning(found.cell) ? () => this._begin(this._run(address, found)) : undefined;
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
    this._queue.ended(args.notebook.id, model.id, address);
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
      this._begin(this._goOn(wait, found));
    } else if (here) {
      window.setTimeout(() => !this.isDisposed && this._begin(this._goOnUnlessOthers(wait)), PATIENCE);
    }
  }

  /** What keeps the cells from running, such as a kernel that dies, is said: the answer stays. */
  private _begin(going: Promise<void>): void {
    const { trans } = this._kitaru;
    going.catch(error => {
      const text = trans.__('The answer is on record, but the cell did not run: %1. Run it to go on.', messageOf(error));
      Notification.warning(text, { autoClose: false });
    });
  }

  private async _goOnUnlessOthers(wait: IWait): Promise<void> {
    const found = cellOfWait(this._tracker, wait.address);
    const kernel = found?.panel.sessionContext.session?.kernel;
    if (found && !isRunning(found.cell) && !(kernel && (await standingOf(kernel)) === 'went on')) {
      await this._goOn(wait, found);
    }
  }

  /** Run them by itself: once for an answer, whoever else would. */
  private async _goOn(wait: IWait, found: IFound): Promise<void> {
    const kernel = await kernelOf(found.panel);
    if (kernel && !(await isFirst(kernel, `${wait.address} ${wait.answered_at}`))) {
      this._queue.release(wait.address);
      return;
    }
    await this._run(wait.address, found);
  }

  /** Run them. They stay held until the kernel is ready for them: where it is not, a button does it later. */
  private async _run(address: string, { panel, cell }: IFound): Promise<void> {
    if (this._running.has(address)) {
      return;
    }
    this._running.add(address);
    try {
      if (await this._isReady(panel, address)) {
        const cells = [cell, ...behind(panel, this._queue.held(address))];
        this._queue.release(address);
        await NotebookActions.runCells(panel.content, cells, panel.sessionContext);
      }
    } finally {
      this._running.delete(address);
    }
  }

  /** Whether the kernel is in the state in which the cell waited; one that was started since is brought there. */
  private async _isReady(panel: NotebookPanel, address: string): Promise<boolean> {
    const kernel = await kernelOf(panel);
    if (!kernel || (await standingOf(kernel)) !== 'new') {
      return true;
    }
    const { trans } = this._kitaru;
    const said = await magic(panel.sessionContext, trans, 'resume', address.split('/')[0]);
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

  private readonly _running = new Set<string>();
}

/** The notebook's kernel; where it has none, one is started. */
async function kernelOf({ sessionContext }: NotebookPanel): Promise<Kernel.IKernelConnection | null> {
  await sessionContext.ready;
  if (sessionContext.hasNoKernel) {
    await sessionContext.startKernel();
  }
  return sessionContext.session?.kernel ?? null;
}

function isRunning(cell: Cell): boolean {
  return isCodeCellModel(cell.model) && cell.model.executionState === 'running';
}

function behind(panel: NotebookPanel, held: IHeld | null): Cell[] {
  return (held?.queue ?? []).map(id => cellById(panel, id)).filter((cell): cell is NonNullable<typeof cell> => !!cell);
}
