/**
 * What is new on the server.
 *
 * The server tells through Jupyter's event stream, which every page has open anyway; so nothing is
 * polled. A slow heartbeat, while somebody looks at the page, makes up for events lost with a broken
 * connection, and keeps the server's watcher awake.
 */
import type { Event } from '@jupyterlab/services';
import { ISignal, Signal } from '@lumino/signaling';
import { Disposable } from './disposable';
import type { IChange, INews } from './tokens';

export const SCHEMA = 'https://kitaru-nb.dev/events/changed/v1';
const BEAT = 240_000; // less than what the server takes for the end of all interest, and a few requests at most

export class News extends Disposable implements INews {
  constructor(
    private readonly _stream: Event.Stream,
    beat: number = BEAT
  ) {
    super();
    _stream.connect(this._heard, this);
    this._timer = window.setInterval(() => {
      if (document.visibilityState === 'visible') {
        this._changed.emit({ executions: [], waits: [], all: true });
      }
    }, beat);
  }

  get changed(): ISignal<INews, IChange> {
    return this._changed;
  }

  protected override release(): void {
    window.clearInterval(this._timer);
    this._stream.disconnect(this._heard, this);
  }

  private _heard(_: unknown, event: Event.Emission): void {
    if (event.schema_id !== SCHEMA) {
      return;
    }
    const seq = Number(event.seq);
    // It only ever grows: one that does not is of another journal, of which nothing is known yet.
    const all = !(seq > this._seq);
    this._seq = seq;
    this._changed.emit({ executions: texts(event.executions), waits: texts(event.waits), all });
  }

  private readonly _changed = new Signal<INews, IChange>(this);
  private readonly _timer: number;
  private _seq = -1;
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((each): each is string => typeof each === 'string') : [];
}
