/** What belongs to each notebook that is open: the state of its cells, its badges, its Resume bar, its lost outputs. */
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { ISignal, Signal } from '@lumino/signaling';
import { ResumeBar } from '../resume/bar';
import type { IKitaru } from '../tokens';
import { Badges } from './badges';
import { CellsModel } from './model';
import { Shown } from './shown';

export interface IParts {
  readonly model: CellsModel;
  readonly badges: Badges;
  readonly bar: ResumeBar;
  readonly shown: Shown;
}

export class Notebooks {
  constructor(
    private readonly _kitaru: IKitaru,
    tracker: INotebookTracker
  ) {
    tracker.forEach(panel => this._add(panel));
    tracker.widgetAdded.connect((_, panel) => this._add(panel));
    tracker.currentChanged.connect((_, panel) => panel && this.of(panel)?.model.later());
    _kitaru.settings.changed.connect(() => this._parts.forEach(parts => this._set(parts)));
  }

  /** More is known of an open notebook. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  of(panel: NotebookPanel): IParts | undefined {
    return this._parts.get(panel);
  }

  private _add(panel: NotebookPanel): void {
    if (this._parts.has(panel)) {
      return;
    }
    const model = new CellsModel(panel, this._kitaru.api, this._kitaru.news);
    const bar = new ResumeBar(panel, model, this._kitaru.trans);
    panel.contentHeader.insertWidget(0, bar);
    const shown = new Shown(panel, model, this._kitaru.api);
    const parts = { model, badges: new Badges(panel, model, this._kitaru), bar, shown };
    this._parts.set(panel, parts);
    model.changed.connect(() => this._changed.emit());
    this._set(parts);
    panel.disposed.connect(() => this._parts.delete(panel));
  }

  private _set({ badges, bar }: IParts): void {
    badges.shown = this._kitaru.settings.showBadges;
    bar.wanted = this._kitaru.settings.offerResume;
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _parts = new Map<NotebookPanel, IParts>();
}
