/**
 * What a checkpoint cell has shown while no page was there to take it.
 *
 * A page that is closed or loses its connection while a cell runs loses what the cell shows: the
 * kernel says it once. It is on record, so here it is put into the cell, and again as more comes,
 * until the cell has ended. What is put there is not trusted: it is the record's, not this kernel's.
 */
import type { Cell, CodeCell, ICodeCellModel } from '@jupyterlab/cells';
import { isCodeCellModel } from '@jupyterlab/cells';
import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { IApi, IOutput, IShown, asApiError } from '../api';
import { Disposable } from '../disposable';
import { cellById } from '../notebooks';
import type { CellsModel } from './model';
import { isBlank, isMissed, put } from './outputs';

/** What is followed: a step of an execution, what of it the cell was given, and what the cell held then. */
interface IFollowed {
  readonly execution: string;
  readonly checkpoint: string;
  given: readonly IOutput[] | null;
  held: string;
}

/** What came of putting it there. */
export type Outcome = 'shown' | 'nothing' | 'runs here';

export class Shown extends Disposable {
  constructor(
    private readonly _panel: NotebookPanel,
    private readonly _model: CellsModel,
    private readonly _api: IApi
  ) {
    super();
    NotebookActions.executionScheduled.connect(this._onScheduled, this);
    _model.changed.connect(this._look, this);
    _panel.sessionContext.statusChanged.connect(this._onStatus, this);
    _panel.disposed.connect(this.dispose, this);
    void _panel.context.ready.then(() => {
      if (!this.isDisposed) {
        this._savedAt = Date.parse(_panel.context.contentsModel?.last_modified ?? '');
        this._blank = new Set([...(_panel.content.model?.cells ?? [])].filter(isCodeCellModel).filter(isBlank).map(({ id }) => id));
      }
    });
  }

  protected override release(): void {
    NotebookActions.executionScheduled.disconnect(this._onScheduled, this);
    this._model.changed.disconnect(this._look, this);
    if (!this._panel.isDisposed) {
      this._panel.sessionContext.statusChanged.disconnect(this._onStatus, this);
    }
    this._panel.disposed.disconnect(this.dispose, this);
  }

  /**
   * Put what a step has shown last into a cell, whatever the cell holds.
   *
   * Raises what the server says where it cannot be read.
   */
  async show(cell: CodeCell, execution: string, checkpoint: string): Promise<Outcome> {
    const { id } = cell.model;
    if (this._runsHere(cell.model)) {
      return 'runs here';
    }
    this._blank.delete(id);
    this._follow(id, execution, checkpoint);
    try {
      return await this._read(id);
    } catch (error) {
      this._followed.delete(id);
      throw error;
    }
  }

  /** Once at a time: a look that is called for meanwhile is taken after it. */
  private _look(): void {
    if (this._looking) {
      this._again = true;
      return;
    }
    this._looking = true;
    void this._lookOnce()
      // The next news is the next try; what the record's server has to say is said by the panel.
      .catch(error => console.warn('kitaru-nb: what cells have shown could not be read', error))
      .finally(() => {
        this._looking = false;
        if (this._again) {
          this._again = false;
          this._look();
        }
      });
  }

  private async _lookOnce(): Promise<void> {
    const { execution } = this._model;
    for (const id of [...this._followed.keys()]) {
      await this._read(id);
    }
    if (execution === null || this.isDisposed) {
      return;
    }
    for (const [id, checkpoint] of this._steps()) {
      if (isMissed(this._model.of(id), this._savedAt)) {
        this._follow(id, execution, checkpoint);
        await this._read(id);
      }
    }
    // A kernel does one thing at a time: what is followed is the one that runs.
    if (this._mayRun && this._followed.size === 0 && this._steps().length > 0) {
      await this._findRunning(execution);
    }
  }

  /** Put what the step that runs, or ran when the kernel died, has shown into its cell. */
  private async _findRunning(execution: string): Promise<void> {
    this._dead = this._model.dead?.execution ?? null;
    const found = await this._api.outputs(execution).catch(orNothing);
    const step = this._steps().find(([, checkpoint]) => checkpoint === found?.checkpoint);
    if (found && step && !this.isDisposed) {
      this._take(step[0], this._follow(step[0], execution, found.checkpoint), found);
    }
  }

  private _follow(id: string, execution: string, checkpoint: string): IFollowed {
    const followed: IFollowed = { execution, checkpoint, given: null, held: '' };
    this._followed.set(id, followed);
    return followed;
  }

  /** The checkpoint cells that held nothing when the notebook was opened and were not run here, in their order. */
  private _steps(): [string, string][] {
    const found: [string, string][] = [];
    for (const id of this._blank) {
      const checkpoint = this._model.of(id)?.checkpoint;
      const cell = checkpoint && !this._followed.has(id) && cellById(this._panel, id);
      if (checkpoint && cell && isBlank(cell.model)) {
        found.push([id, checkpoint]);
      }
    }
    return found;
  }

  /**
   * Whether a step may be running that another page began, or have died while it ran.
   *
   * The first is over when the kernel is seen idle here; of the second it is asked once.
   */
  private get _mayRun(): boolean {
    const { dead } = this._model;
    const status = this._panel.sessionContext.session?.kernel?.status;
    // One that was busy when this page came may not have told it yet.
    return dead ? dead.execution !== this._dead : !this._wasIdle && (status === 'busy' || status === 'unknown');
  }

  /** Read what a followed step has shown, and put it into its cell. */
  private async _read(id: string): Promise<Outcome> {
    const followed = this._followed.get(id);
    if (!followed) {
      return 'nothing';
    }
    const found = await this._api.outputs(followed.execution, followed.checkpoint).catch(orNothing);
    if (this.isDisposed || this._followed.get(id) !== followed) {
      return 'nothing'; // the cell was run meanwhile
    }
    return this._take(id, followed, found);
  }

  /** Put what a followed step has shown into its cell; of one that has ended, for the last time. */
  private _take(id: string, followed: IFollowed, found: IShown | null): Outcome {
    const model = cellById(this._panel, id)?.model;
    const isOthers = followed.given !== null && model && followed.held !== textOf(model); // cleared, for one
    if (found === null || !model || isOthers) {
      this._followed.delete(id);
      return 'nothing';
    }
    put(model, followed.given, found.outputs);
    followed.given = found.outputs;
    followed.held = textOf(model);
    this._blank.delete(id);
    if (found.ended || this._model.dead) {
      this._followed.delete(id);
    }
    return 'shown';
  }

  /** A cell that runs here takes what it shows from its kernel; where that does nothing, its word was lost. */
  private _runsHere(model: ICodeCellModel): boolean {
    const status = this._panel.sessionContext.session?.kernel?.status;
    return model.executionState === 'running' && status !== undefined && status !== 'idle' && status !== 'dead';
  }

  private _onScheduled(_: unknown, { cell }: { cell: Cell }): void {
    if (cell.parent === this._panel.content) {
      this._blank.delete(cell.model.id);
      this._followed.delete(cell.model.id);
    }
  }

  private _onStatus(): void {
    if (this._panel.sessionContext.session?.kernel?.status === 'idle') {
      this._wasIdle = true;
    } else if (this._mayRun && this._blank.size) {
      this._look();
    }
  }

  private _blank = new Set<string>();
  private readonly _followed = new Map<string, IFollowed>();
  private _savedAt = NaN;
  private _wasIdle = false;
  private _dead: string | null = null;
  private _looking = false;
  private _again = false;
}

function textOf(model: ICodeCellModel): string {
  return JSON.stringify(model.outputs.toJSON());
}

/** That nothing is on record is an answer, too. */
function orNothing(error: unknown): null {
  const refused = asApiError(error);
  if (refused.kind === 'unknown-checkpoint') {
    return null;
  }
  throw refused;
}
