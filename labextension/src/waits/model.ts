/** The waits this page knows of, and their answers. State and signals, no DOM. */
import type { JSONValue } from '@lumino/coreutils';
import { ISignal, Signal } from '@lumino/signaling';
import { ApiError, IApi, IWait, asApiError } from '../api';
import { Disposable } from '../disposable';
import type { IChange, INews } from '../tokens';

/** An answer, and whether this page gave it, or was about to when another one came. */
export interface IAnswered {
  readonly wait: IWait;
  readonly here: boolean;
}

export class WaitsModel extends Disposable {
  constructor(
    private readonly _api: IApi,
    private readonly _news: INews
  ) {
    super();
    _news.changed.connect(this._onNews, this);
  }

  /** Something about a wait, or about the inbox, is not as it was. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** A question that was pending has its answer, whoever gave it. */
  get answered(): ISignal<this, IAnswered> {
    return this._answered;
  }

  /** The questions that nobody has answered yet, as the server orders them; null before `open`. */
  get inbox(): readonly IWait[] | null {
    return this._inbox && this._inbox.map(address => this._known.get(address)!).filter(isPending);
  }

  /** Whether the inbox has been read by now. */
  get isRead(): boolean {
    return this._inboxTurn > 0;
  }

  /** Why the inbox could not be read, if so. */
  get problem(): ApiError | null {
    return this._problem;
  }

  protected override release(): void {
    this._news.changed.disconnect(this._onNews, this);
  }

  /** The wait, where it is known by now. */
  get(address: string): IWait | undefined {
    return this._known.get(address);
  }

  /** Why a wait could not be read, if so. */
  problemOf(address: string): ApiError | undefined {
    return this._problems.get(address);
  }

  /** Begin to keep the inbox: it is what a badge counts. */
  async open(): Promise<void> {
    if (this._inbox === null) {
      this._inbox = [];
      await this.refresh();
    }
  }

  /** Read the inbox again. */
  async refresh(): Promise<void> {
    const turn = ++this._turn;
    try {
      const waits = await this._api.waits({ status: 'pending' });
      if (turn < this._inboxTurn) {
        return; // what was asked for later is here already
      }
      this._inboxTurn = turn;
      const gone = (this._inbox ?? []).filter(
        address => this._known.get(address)?.status === 'pending' && !waits.some(wait => wait.address === address)
      );
      this._inbox = waits.map(wait => wait.address);
      this._problem = null;
      waits.forEach(wait => this._learn(wait, turn));
      await Promise.all(gone.map(address => this.look(address)));
    } catch (error) {
      if (turn >= this._inboxTurn) {
        this._problem = asApiError(error);
      }
    }
    this._changed.emit();
  }

  /** Read one wait again. */
  async look(address: string): Promise<void> {
    const turn = ++this._turn;
    try {
      const wait = await this._api.wait(address);
      this._problems.delete(address);
      this._learn(wait, turn);
      // A page that shows a question does not wait for the news of it.
      if (this._inbox !== null && isPending(this._known.get(address)) && !this._inbox.includes(address)) {
        this._inbox = [...this._inbox, address];
      }
    } catch (error) {
      this._problems.set(address, asApiError(error));
    }
    this._changed.emit();
  }

  /**
   * Give an answer. The first one counts, so sending it twice does no harm.
   *
   * Where somebody was faster, or the question is another one by now, the wait is read again and
   * the server's refusal is thrown.
   */
  async answer(wait: IWait, answer: JSONValue, reason?: string): Promise<IWait> {
    const more = { ...(reason ? { reason } : {}), ...(wait.binding ? { binding: wait.binding } : {}) };
    // The news of it may be here before the reply.
    this._answering.add(wait.address);
    try {
      const answered = await this._api.answer(wait.address, answer, more);
      // Whatever was asked before this may have been read before it.
      this._learn(answered, ++this._turn);
    } catch (error) {
      this._answering.delete(wait.address);
      if (asApiError(error).status === 409) {
        await this.look(wait.address);
      }
      throw error;
    } finally {
      this._answering.delete(wait.address);
    }
    this._changed.emit();
    return this._known.get(wait.address)!;
  }

  private _onNews(_: INews, change: IChange): void {
    if (this._inbox !== null && (change.all || change.waits.length)) {
      void this.refresh();
    }
    const listed = new Set(this._inbox ?? []);
    const shown = [...this._known.keys(), ...this._problems.keys()].filter(address => !listed.has(address));
    const news = change.all ? shown : shown.filter(address => change.waits.includes(address));
    new Set(news).forEach(address => {
      if (this._known.get(address)?.status !== 'answered') {
        void this.look(address);
      }
    });
  }

  /** Take note of a wait as it was at `turn` or later; what is known from later stays. */
  private _learn(wait: IWait, turn: number): void {
    if (turn < (this._turns.get(wait.address) ?? 0)) {
      return;
    }
    this._turns.set(wait.address, turn);
    const before = this._known.get(wait.address);
    this._known.set(wait.address, wait);
    if (before?.status === 'pending' && wait.status === 'answered') {
      this._answered.emit({ wait, here: this._answering.has(wait.address) });
    }
  }

  private readonly _known = new Map<string, IWait>();
  private readonly _problems = new Map<string, ApiError>();
  private readonly _answering = new Set<string>();
  private readonly _turns = new Map<string, number>();
  private _turn = 0;
  private _inboxTurn = 0;
  private _inbox: string[] | null = null;
  private _problem: ApiError | null = null;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _answered = new Signal<this, IAnswered>(this);
}

function isPending(wait: IWait | undefined): wait is IWait {
  return wait?.status === 'pending';
}
