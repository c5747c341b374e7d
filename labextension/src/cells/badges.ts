/**
 * Badges on the cells of one notebook.
 *
 * A badge is a widget in its cell's own layout, so it goes where the cell goes, also in and out of
 * the document as the notebook scrolls. One is made with the first thing there is to say.
 */
import { Cell, CodeCell, isCodeCellModel } from '@jupyterlab/cells';
import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import type { PanelLayout } from '@lumino/widgets';
import { Disposable } from '../disposable';
import { waitShownIn } from '../notebooks';
import type { IKitaru } from '../tokens';
import { Badge, badgeOf } from './badge';
import type { CellsModel } from './model';
import { Running } from './running';

export class Badges extends Disposable {
  constructor(
    private readonly _panel: NotebookPanel,
    private readonly _model: CellsModel,
    private readonly _kitaru: IKitaru
  ) {
    super();
    this._running = new Running(_panel);
    this._running.changed.connect(this._onTurn, this);
    _model.changed.connect(this._draw, this);
    _kitaru.waits.changed.connect(this._draw, this);
    NotebookActions.executionScheduled.connect(this._onRun, this);
    NotebookActions.executed.connect(this._onRun, this);
    _panel.disposed.connect(this.dispose, this);
  }

  protected override release(): void {
    this._running.dispose();
    this._model.changed.disconnect(this._draw, this);
    this._kitaru.waits.changed.disconnect(this._draw, this);
    NotebookActions.executionScheduled.disconnect(this._onRun, this);
    NotebookActions.executed.disconnect(this._onRun, this);
    this._panel.disposed.disconnect(this.dispose, this);
    this._badges.forEach(badge => badge.dispose());
    this._badges.clear();
  }

  /** Show them, or take them away. */
  set shown(shown: boolean) {
    this._shown = shown;
    this._draw();
  }

  private _onRun(_: unknown, { cell }: { cell: Cell }): void {
    if (cell.parent === this._panel.content) {
      this._drawOne(cell);
      this._model.renew();
    }
  }

  /** Of the cells that the kernel has not done yet one begins. */
  private _onTurn(): void {
    if (!this.isDisposed && !this._panel.isDisposed) {
      this._panel.content.widgets.filter(cell => this._running.of(cell)).forEach(cell => this._drawOne(cell));
    }
  }

  private _draw(): void {
    if (!this.isDisposed && !this._panel.isDisposed) {
      this._panel.content.widgets.forEach(cell => this._drawOne(cell));
    }
  }

  private _drawOne(cell: Cell): void {
    if (!isCodeCellModel(cell.model)) {
      return;
    }
    const address = waitShownIn(cell.model);
    const waits = address !== null && this._kitaru.waits.get(address)?.status === 'pending';
    const badge = this._shown ? badgeOf(this._model.of(cell.model.id), this._running.of(cell), waits) : null;
    const known = this._badges.get(cell);
    if (known) {
      known.badge = badge;
    } else if (badge) {
      this._add(cell as CodeCell, badge);
    }
  }

  private _add(cell: CodeCell, badge: Badge['badge']): void {
    const widget = new Badge(this._kitaru.trans);
    widget.badge = badge;
    this._badges.set(cell, widget);
    cell.disposed.connect(() => this._badges.delete(cell));
    void cell.ready.then(() => {
      const layout = cell.layout as PanelLayout | null;
      if (!widget.isDisposed && layout) {
        const input = layout.widgets.findIndex(each => each.hasClass('jp-Cell-inputWrapper'));
        layout.insertWidget(input + 1, widget);
      }
    });
  }

  private readonly _running: Running;
  private readonly _badges = new Map<Cell, Badge>();
  private _shown = true;
}
