/** What lives as long as the page shows it. */
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';

/** Ends once, however often it is told to: then nothing hears of it any more. */
export abstract class Disposable implements IDisposable {
  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      this.release();
      Signal.clearData(this);
    }
  }

  /** Let go of all that was connected, started and made. */
  protected abstract release(): void;

  private _isDisposed = false;
}
