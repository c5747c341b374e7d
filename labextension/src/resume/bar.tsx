/** After a kernel death: what happened, what comes back, one click. */
import * as React from 'react';
import { ReactWidget } from '@jupyterlab/apputils';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { Message } from '@lumino/messaging';
import { Button } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDead } from '../api';
import type { CellsModel } from '../cells/model';
import { ago, joined, messageOf, saving, uncoloured } from '../format';
import { ISaid, magic } from '../kernel';

/** What the bar says of an execution that did not end well. Pure. */
export function tellOf(dead: IDead, trans: TranslationBundle): string {
  const when = ago(dead.at, trans);
  const saved = saving(dead.saved_duration, dead.saved_cost);
  const why = dead.why ?? trans.__('it ended without warning');
  const what =
    dead.status === 'waiting'
      ? trans.__('The last execution stopped to wait')
      : when
        ? trans.__('The last execution was interrupted %1: %2', when, why)
        : trans.__('The last execution was interrupted: %1', why);
  const back = trans._n(
    '%1 checkpoint can be put back, up to “%2”',
    '%1 checkpoints can be put back, up to “%2”',
    dead.restorable,
    dead.last
  );
  return uncoloured(joined(what, back, saved && trans.__('saves %1', saved)));
}

export class ResumeBar extends ReactWidget {
  constructor(
    private readonly _panel: NotebookPanel,
    private readonly _model: CellsModel,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-kitaru-ResumeBar');
    this.hide();
    _model.changed.connect(this._onChanged, this);
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    // The box above a notebook gives its children the height that they ask for, not the one they have.
    this._observer = new ResizeObserver(() => this._fit());
    this._observer.observe(this.node.parentElement ?? this.node);
  }

  protected override onBeforeDetach(message: Message): void {
    this._observer?.disconnect();
    super.onBeforeDetach(message);
  }

  protected override onUpdateRequest(message: Message): void {
    super.onUpdateRequest(message);
    void this.renderPromise?.then(() => this._fit());
  }

  override dispose(): void {
    this._model.changed.disconnect(this._onChanged, this);
    super.dispose();
  }

  /** Put back in this kernel what the last execution had committed. */
  async resume(): Promise<void> {
    const dead = this._model.dead;
    if (dead === null || this._busy) {
      return;
    }
    this._busy = true;
    this.update();
    try {
      await this._panel.sessionContext.ready;
      this._said = await magic(this._panel.sessionContext, this._trans, 'resume', dead.execution);
    } catch (error) {
      // A kernel that dies meanwhile does not answer.
      const text = this._trans.__('The kernel did not answer: %1. Restart it, then resume again.', messageOf(error));
      this._said = { ok: false, text };
    } finally {
      this._busy = false;
    }
    if (this._said.ok) {
      this._last = dead.last;
    }
    this.update();
  }

  protected override render(): JSX.Element | null {
    const trans = this._trans;
    const said = this._said;
    const dead = this._model.dead;
    if (said?.ok) {
      return (
        <div className="jp-kitaru-Resume" role="status">
          <pre className="jp-kitaru-Resume-report">{said.text.replace(/^kitaru: /, '')}</pre>
          <div className="jp-kitaru-Resume-buttons">
            {this._next() && (
              <Button className="jp-mod-styled jp-mod-accept" onClick={() => this._go()}>
                {trans.__('Show where to go on')}
              </Button>
            )}
            <Button className="jp-mod-styled" onClick={() => this._dismiss()}>
              {trans.__('Close')}
            </Button>
          </div>
        </div>
      );
    }
    if (dead === null) {
      return null;
    }
    return (
      <div className="jp-kitaru-Resume" role="status">
        <div className="jp-kitaru-Resume-text">{tellOf(dead, trans)}</div>
        <div className="jp-kitaru-Resume-buttons">
          <Button className="jp-mod-styled jp-mod-accept" disabled={this._busy} onClick={() => void this.resume()}>
            {this._busy ? trans.__('Resuming…') : trans.__('Resume')}
          </Button>
          <Button className="jp-mod-styled" onClick={() => this._dismiss()}>
            {trans.__('Not now')}
          </Button>
        </div>
        {said && (
          <pre className="jp-kitaru-Resume-report jp-kitaru-error" role="alert">
            {said.text}
          </pre>
        )}
      </div>
    );
  }

  /** Whether it shows itself at all. */
  set wanted(wanted: boolean) {
    this._wanted = wanted;
    this._onChanged();
  }

  private _fit(): void {
    const height = this.node.firstElementChild?.scrollHeight ?? 0;
    if (!this.isDisposed && this.node.style.minHeight !== `${height}px`) {
      this.node.style.minHeight = `${height}px`;
      this.parent?.fit();
    }
  }

  private _onChanged(): void {
    const dead = this._model.dead;
    const key = dead ? `${dead.execution}:${dead.at}` : null;
    this.setHidden(!this._said?.ok && (!this._wanted || key === null || key === this._dismissed));
    this.update();
  }

  private _dismiss(): void {
    const dead = this._model.dead;
    this._dismissed = dead ? `${dead.execution}:${dead.at}` : null;
    this._said = null;
    this.hide();
  }

  /** The cell after the last one that was put back. */
  private _next(): number | null {
    const widgets = this._panel.content.widgets;
    const at = widgets.findIndex(cell => this._model.of(cell.model.id)?.checkpoint === this._last);
    return at >= 0 && at + 1 < widgets.length ? at + 1 : null;
  }

  private _go(): void {
    const next = this._next();
    if (next !== null) {
      const notebook = this._panel.content;
      notebook.deselectAll();
      notebook.activeCellIndex = next;
      void notebook.scrollToItem(next, 'smart');
      notebook.activate();
    }
    this._dismiss();
  }

  private _wanted = true;
  private _observer: ResizeObserver | null = null;
  private _busy = false;
  private _said: ISaid | null = null;
  private _last: string | null = null;
  private _dismissed: string | null = null;
}
