/**
 * Which cells wait, and which were queued behind them. Pure bookkeeping, kept per browser tab.
 *
 * A tab's own storage outlives a reload and ends with the tab: so the tab that ran the cells knows
 * what to run again. A tab that is duplicated takes a copy along, so which of them does it is not
 * decided here.
 */

export interface IHeld {
  /** The cells behind the one that waits, in the order in which they were to run. */
  readonly queue: readonly string[];
}

/** The part of `Storage` that is used. */
export interface IStorage {
  readonly length: number;
  key(index: number): string | null;
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

const PREFIX = 'kitaru-nb:held:';

export class Queue {
  constructor(private readonly _storage: IStorage) {}

  /** A cell was given to the kernel. */
  scheduled(notebook: string, cell: string): void {
    const cells = this._scheduled.get(notebook) ?? [];
    this._scheduled.set(notebook, [...cells.filter(each => each !== cell), cell]);
    for (const address of this._addresses()) {
      // What is run by hand meanwhile is not run once more.
      const held = this.held(address);
      if (held?.queue.includes(cell)) {
        this._keep(address, { queue: held.queue.filter(each => each !== cell) });
      }
    }
  }

  /** A cell came to an end; what it waits for, if it does. */
  ended(notebook: string, cell: string, address: string | null): void {
    const cells = this._scheduled.get(notebook) ?? [];
    this._scheduled.set(
      notebook,
      cells.filter(each => each !== cell)
    );
    if (address !== null) {
      this._keep(address, { queue: cells.slice(cells.indexOf(cell) + 1) });
    }
  }

  /** What was held up by a wait, where this tab ran it. */
  held(address: string): IHeld | null {
    const text = this._storage.getItem(PREFIX + address);
    return text === null ? null : (JSON.parse(text) as IHeld);
  }

  /** It goes on. */
  release(address: string): void {
    this._storage.removeItem(PREFIX + address);
  }

  /** Of all that is held, also from before the page was loaded. */
  private _addresses(): string[] {
    const keys = Array.from({ length: this._storage.length }, (_, index) => this._storage.key(index) ?? '');
    return keys.filter(key => key.startsWith(PREFIX)).map(key => key.slice(PREFIX.length));
  }

  private _keep(address: string, held: IHeld): void {
    this._storage.setItem(PREFIX + address, JSON.stringify(held));
  }

  private readonly _scheduled = new Map<string, string[]>();
}
