/** The line below a checkpoint cell's source that says how it stands. */
import { ReactWidget } from '@jupyterlab/apputils';
import * as React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { BadgeStatus, ICell } from '../api';
import { clock, cost, duration, joined, moment, saving, uncoloured } from '../format';
import { StatusMark, wordOf } from '../status';
import type { Turn } from './running';

/** What a badge says. */
export interface IBadge {
  readonly status: BadgeStatus;
  readonly cell: ICell | null;
}

/**
 * How a cell stands, put together from what the server says and what this page sees. Pure.
 *
 * That a cell runs or will run, the page knows first; that one waits, also of cells that are no
 * checkpoints. One that waits while it holds on to the kernel waits.
 */
export function badgeOf(cell: ICell | undefined, turn: Turn | null, waits: boolean): IBadge | null {
  if (waits && turn !== 'queued') {
    return { status: 'waiting', cell: cell ?? null };
  }
  if (turn && cell) {
    return { status: turn, cell };
  }
  return cell?.status ? { status: cell.status, cell } : null;
}

/** The words beside the status. Pure. */
export function figuresOf({ status, cell }: IBadge, trans: TranslationBundle): string {
  if (cell === null || status === 'running' || status === 'queued' || status === 'waiting') {
    return '';
  }
  const when = clock(cell.started_at);
  if (status === 'restored') {
    const saved = saving(cell.saved_duration ?? cell.duration, cell.cost);
    return joined(saved && trans.__('saved %1', saved), when);
  }
  return joined(duration(cell.duration), cost(cell.cost), when);
}

export class Badge extends ReactWidget {
  constructor(private readonly _trans: TranslationBundle) {
    super();
    this.addClass('jp-kitaru-Badge');
    this.hide();
  }

  get badge(): IBadge | null {
    return this._badge;
  }

  set badge(badge: IBadge | null) {
    if (JSON.stringify(badge) !== JSON.stringify(this._badge)) {
      this._badge = badge;
      this.setHidden(badge === null);
      this.update();
    }
  }

  protected override render(): JSX.Element | null {
    const badge = this._badge;
    if (badge === null) {
      return null;
    }
    const { status, cell } = badge;
    const trans = this._trans;
    const said = uncoloured(cell?.why ?? '');
    const why = joined(said, moment(cell?.started_at));
    return (
      <span className="jp-kitaru-Badge-line" data-status={status} title={why} tabIndex={-1}>
        <StatusMark status={status} />
        <span className="jp-kitaru-Badge-status">{wordOf(status, trans)}</span>
        <span className="jp-kitaru-Badge-figures">{figuresOf(badge, trans)}</span>
        {(status === 'stale' || status === 'failed') && <span className="jp-kitaru-Badge-why">{said}</span>}
      </span>
    );
  }

  private _badge: IBadge | null = null;
}
