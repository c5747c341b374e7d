/**
 * A word to whoever looks elsewhere: a question has come, or its time is nearly over.
 *
 * Each is said once per page. What was waiting already when the page was opened is no news; the
 * panel counts it.
 */
import { Notification } from '@jupyterlab/apputils';
import type { IWait } from '../api';
import { Disposable } from '../disposable';
import { span, visible } from '../format';
import type { IKitaru } from '../tokens';

const GRACE = 2000; // milliseconds for the cell's own output to come, which shows whose question it is
const LATE = 0.2; // of the time that there was
const LONGEST = 3_600_000; // between two looks at the clock; a timer of weeks would fire at once
const SHOWN_FOR = 10_000; // it stays in the list of notifications
const MOST = 100; // characters of a question; a notification has room for 140

/** What the notices need of the rest of the page. */
export interface INoticeParts {
  /** Whether somebody who looks at this page sees where the question is asked. */
  isSeen: (wait: IWait) => boolean;
  /** Go to the question. */
  show: (wait: IWait) => void;
}

/** When to remind of a question, in milliseconds; null where it has no deadline. Pure. */
export function reminderAt({ asked_at, deadline }: IWait): number | null {
  const [from, to] = [Date.parse(asked_at ?? ''), Date.parse(deadline ?? '')];
  return to > from ? to - (to - from) * LATE : null;
}

export class Notices extends Disposable {
  constructor(
    private readonly _kitaru: IKitaru,
    private readonly _parts: INoticeParts
  ) {
    super();
    _kitaru.waits.changed.connect(this._look, this);
  }

  protected override release(): void {
    window.clearTimeout(this._timer);
    this._kitaru.waits.changed.disconnect(this._look, this);
  }

  private _look(): void {
    const { waits } = this._kitaru;
    if (!waits.isRead) {
      return;
    }
    const pending = waits.inbox ?? [];
    for (const wait of pending) {
      if (!this._noticed.has(wait.address)) {
        this._noticed.add(wait.address);
        if (this._isBegun) {
          window.setTimeout(() => this._notice(wait.address), GRACE);
        }
      }
    }
    this._isBegun = true;
    for (const [address, notices] of this._said) {
      if (waits.get(address)?.status !== 'pending') {
        notices.forEach(id => Notification.dismiss(id));
        this._said.delete(address);
      }
    }
    this._remind(pending);
  }

  private _notice(address: string): void {
    const { trans, waits } = this._kitaru;
    const wait = waits.get(address);
    if (!this.isDisposed && wait?.status === 'pending' && !this._parts.isSeen(wait)) {
      const text = trans.__('“%1” waits for an answer.', titleOf(wait));
      this._say(wait, text, 'info', SHOWN_FOR);
    }
  }

  /** Remind of those whose time it is, and come back when it is the next one's. */
  private _remind(pending: readonly IWait[]): void {
    const { trans } = this._kitaru;
    const now = Date.now();
    let next = Infinity;
    for (const wait of pending) {
      const at = reminderAt(wait);
      if (at === null || this._reminded.has(wait.address)) {
        continue;
      }
      const left = Date.parse(wait.deadline ?? '') - now;
      if (at > now) {
        next = Math.min(next, at - now);
      } else if (left > 0) {
        this._reminded.add(wait.address);
        const text = trans.__('“%1” waits for an answer for %2 more.', titleOf(wait), span(left / 1000, trans));
        this._say(wait, text, 'warning', false);
      }
    }
    window.clearTimeout(this._timer);
    if (next < Infinity) {
      this._timer = window.setTimeout(() => this._look(), Math.min(next, LONGEST));
    }
  }

  private _say(wait: IWait, text: string, type: 'info' | 'warning', autoClose: number | false): void {
    if (!this._kitaru.settings.notices) {
      return;
    }
    const { trans } = this._kitaru;
    const callback = () => this._parts.show(wait);
    const actions = [{ label: trans.__('Show'), caption: trans.__('Go to the question'), callback }];
    const id = Notification.emit(text, type, { autoClose, actions });
    this._said.set(wait.address, [...(this._said.get(wait.address) ?? []), id]);
  }

  private readonly _noticed = new Set<string>();
  private readonly _reminded = new Set<string>();
  private readonly _said = new Map<string, string[]>();
  private _timer: number | undefined = undefined;
  private _isBegun = false;
}

function titleOf({ question, name }: IWait): string {
  const text = visible(question ?? name).replace(/\s+/g, ' ').trim();
  return text.length > MOST ? `${text.slice(0, MOST)}…` : text;
}
