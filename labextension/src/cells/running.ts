/**
 * Which cell of a notebook its kernel is at.
 *
 * JupyterLab says of a cell that it runs from the moment it is given to the kernel, however many stand
 * before it. The kernel says when it begins with one.
 */
import type { Cell } from '@jupyterlab/cells';
import { CodeCell, isCodeCellModel } from '@jupyterlab/cells';
import { NotebookPanel } from '@jupyterlab/notebook';
import type { KernelMessage } from '@jupyterlab/services';
import { ISignal, Signal } from '@lumino/signaling';
import { Disposable } from '../disposable';

/** How a cell that was given to the kernel stands. */
export type Turn = 'running' | 'queued';

export class Running extends Disposable {
  constructor(private readonly _panel: NotebookPanel) {
    super();
    _panel.sessionContext.iopubMessage.connect(this._onMessage, this);
    _panel.disposed.connect(this.dispose, this);
  }

  /** The kernel has begun with another cell. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** How a cell stands that was run from this page; null where it is done with. */
  of(cell: Cell): Turn | null {
    if (!isCodeCellModel(cell.model) || cell.model.executionState !== 'running') {
      return null;
    }
    // What was given to the kernel, not what it last heard: a cell keeps the future of its last run.
    const asked = (cell as CodeCell).outputArea.future?.msg.header.msg_id;
    return asked !== undefined && asked === this._at ? 'running' : 'queued';
  }

  protected override release(): void {
    if (!this._panel.isDisposed) {
      this._panel.sessionContext.iopubMessage.disconnect(this._onMessage, this);
    }
    this._panel.disposed.disconnect(this.dispose, this);
  }

  private _onMessage(_: unknown, message: KernelMessage.IMessage): void {
    if (message.header.msg_type === 'execute_input') {
      this._at = (message.parent_header as { msg_id?: string }).msg_id ?? null;
      this._changed.emit();
    }
  }

  private _at: string | null = null;
  private readonly _changed = new Signal<this, void>(this);
}
