/** How the cells of one open notebook stand: the server's word, asked for when something has changed. */
import { isCodeCellModel } from '@jupyterlab/cells';
import type { ICellModel } from '@jupyterlab/cells';
import type { NotebookPanel } from '@jupyterlab/notebook';
import { ISignal, Signal } from '@lumino/signaling';
import { ApiError, IApi, ICell, IDead, ITypedCell, asApiError } from '../api';
import { Disposable } from '../disposable';
import { notebookOf } from '../kernel';
import type { IChange, INews } from '../tokens';

const OURS = /kitaru|%%checkpoint/; // in a source, of which the kernel may have something on record
const PAUSE = 700; // after the last key, and between two looks while cells run

export class CellsModel extends Disposable {
  constructor(
    private readonly _panel: NotebookPanel,
    private readonly _api: IApi,
    private readonly _news: INews
  ) {
    super();
    _news.changed.connect(this._onNews, this);
    _panel.disposed.connect(this.dispose, this);
    void _panel.context.ready.then(() => {
      if (!this.isDisposed) {
        _panel.content.modelContentChanged.connect(this.later, this);
        this.later();
      }
    });
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The execution that the notebook belongs to; null where there is none yet. */
  get execution(): string | null {
    return this._execution;
  }

  get dead(): IDead | null {
    return this._dead;
  }

  /** What the kernel calls the notebook, where nothing is on record under the path that the server has. */
  get knownAs(): string | null {
    return this._knownAs;
  }

  /** Why it cannot be told how the cells stand, if so. */
  get problem(): ApiError | null {
    return this._problem;
  }

  of(id: string): ICell | undefined {
    return this._cells[id];
  }

  protected override release(): void {
    window.clearTimeout(this._timer);
    this._news.changed.disconnect(this._onNews, this);
    this._panel.disposed.disconnect(this.dispose, this);
    if (!this._panel.isDisposed) {
      this._panel.content.modelContentChanged.disconnect(this.later, this);
    }
  }

  /** A cell was run: what is known of the cells is out of date. */
  renew(): void {
    this._stale = true;
    this.later();
  }

  /** Ask again soon: however many changes there are, it is asked once for them. */
  later(): void {
    if (this._isAsking) {
      this._again = true;
      return;
    }
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => void this._ask(), PAUSE);
  }

  private async _ask(): Promise<void> {
    const model = this._panel.content.model;
    if (this.isDisposed || !model) {
      return;
    }
    if (document.visibilityState !== 'visible' || !this._panel.isVisible) {
      this._timer = window.setTimeout(() => void this._ask(), PAUSE * 4);
      return; // nobody sees it: what is asked then is asked once, when somebody does
    }
    const cells = [...model.cells].filter(isCodeCellModel).map(typed);
    const asked = JSON.stringify(cells);
    if (asked === this._asked && !this._stale) {
      return; // outputs have changed, or a cell was only looked at
    }
    this._isAsking = true;
    this._stale = false;
    try {
      const path = this._panel.context.localPath;
      let found = await this._api.cells(path, cells, this._knownAs);
      if (found.execution === null && (await this._learn(cells))) {
        found = await this._api.cells(path, cells, this._knownAs);
      }
      this._asked = asked;
      this._cells = found.cells;
      this._execution = found.execution;
      this._dead = found.dead;
      this._problem = null;
    } catch (error) {
      this._cells = {}; // how a cell stood is no word on how it stands
      this._problem = asApiError(error);
      this._asked = '';
    }
    this._isAsking = false;
    if (this.isDisposed) {
      return;
    }
    this._changed.emit();
    if (this._again) {
      this._again = false;
      this.later();
    }
  }

  /** Ask the kernel what it calls the notebook, where it may have something on record; whether that is new. */
  private async _learn(cells: readonly ITypedCell[]): Promise<boolean> {
    const kernel = this._panel.sessionContext.session?.kernel;
    if (kernel?.status !== 'idle' || !cells.some(({ source }) => OURS.test(source))) {
      return false; // a kernel that is at something would answer after it
    }
    const before = this._knownAs;
    this._knownAs = (await notebookOf(kernel)) ?? before;
    return this._knownAs !== before;
  }

  private _onNews(_: INews, change: IChange): void {
    // Ids sort by time: a newer one than ours may be this notebook's next.
    if (change.all || change.executions.some(id => this._execution === null || id >= this._execution)) {
      this.renew();
    }
  }

  private _cells: Readonly<Record<string, ICell>> = {};
  private _execution: string | null = null;
  private _knownAs: string | null = null;
  private _dead: IDead | null = null;
  private _problem: ApiError | null = null;
  private _asked = '';
  private _stale = true;
  private _isAsking = false;
  private _again = false;
  private _timer: number | undefined = undefined;
  private readonly _changed = new Signal<this, void>(this);
}

function typed(model: ICellModel): ITypedCell {
  const tags = model.getMetadata('tags');
  return {
    id: model.id,
    source: model.sharedModel.getSource(),
    tags: Array.isArray(tags) ? tags.filter((tag): tag is string => typeof tag === 'string') : []
  };
}
