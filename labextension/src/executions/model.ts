/** The list of executions as the panel shows it, page by page, and the one that is open. No DOM. */
import { ISignal, Signal } from '@lumino/signaling';
import { ApiError, ExecutionStatus, IApi, IExecution, IExecutionDetail, asApiError } from '../api';
import { Disposable } from '../disposable';
import type { IChange, INews } from '../tokens';

export interface IFilter {
  /** Only those of the notebook that is in front. */
  readonly scope: 'notebook' | 'all';
  readonly status: ExecutionStatus | '';
  /** Words in id, notebook, flow or tags; `tag:NAME` asks for a tag. */
  readonly text: string;
}

const PAGE = 100;
const PAUSE = 400; // between two looks, however fast the news comes
const FEW = 3;

export class ExecutionsModel extends Disposable {
  constructor(
    private readonly _api: IApi,
    private readonly _news: INews
  ) {
    super();
    _news.changed.connect(this._onNews, this);
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get filter(): IFilter {
    return this._filter;
  }

  /** The notebook in front, as the server's paths have it; null where there is none. */
  get notebook(): string | null {
    return this._notebook;
  }

  /** Newest first, as far as they have been asked for. */
  get list(): readonly IExecution[] {
    return this._list;
  }

  get more(): boolean {
    return this._more;
  }

  /** Nothing has been answered yet. */
  get isLoading(): boolean {
    return this._isLoading;
  }

  get problem(): ApiError | null {
    return this._problem;
  }

  /** The id of the execution that is looked at closely. */
  get selected(): string | null {
    return this._selected;
  }

  get detail(): IExecutionDetail | null {
    return this._detail;
  }

  get detailProblem(): ApiError | null {
    return this._detailProblem;
  }

  protected override release(): void {
    window.clearTimeout(this._timer);
    window.clearTimeout(this._typing);
    this._news.changed.disconnect(this._onNews, this);
  }

  /** Begin to keep the list; before, nothing is asked of the server. */
  open(): Promise<void> {
    this._isOpen = true;
    return this.refresh();
  }

  /** Nobody looks any more: news is only remembered. */
  close(): void {
    this._isOpen = false;
  }

  /** The notebook in front, and what its kernel calls it where that is another path. */
  setNotebook(path: string | null, knownAs: string | null = null): void {
    if (path !== this._notebook || knownAs !== this._knownAs) {
      this._notebook = path;
      this._knownAs = knownAs;
      if (this._filter.scope === 'notebook' && this._isOpen) {
        void this.refresh();
      }
      this._changed.emit();
    }
  }

  setFilter(filter: Partial<IFilter>): void {
    this._filter = { ...this._filter, ...filter };
    this._changed.emit();
    window.clearTimeout(this._typing);
    if (!this._isOpen) {
      return;
    }
    this._isReading = true; // what is asked for from now on is about another list
    this._typing = window.setTimeout(() => void this.refresh(), filter.text === undefined ? 0 : 250);
  }

  /** The list from its beginning. */
  async refresh(): Promise<void> {
    const turn = ++this._turn;
    this._isReading = true;
    this._isLoading = this._list.length === 0;
    try {
      const query = this._query();
      const page = query ? await this._api.executions(query) : { executions: [], more: false };
      if (turn === this._turn) {
        this._list = page.executions;
        this._more = page.more;
        this._problem = null;
      }
    } catch (error) {
      if (turn === this._turn) {
        this._problem = asApiError(error);
      }
    }
    if (turn === this._turn) {
      this._isReading = false;
      this._isLoading = false;
    }
    this._changed.emit();
  }

  /** The next page. */
  async loadMore(): Promise<void> {
    const last = this._list[this._list.length - 1];
    const query = this._query();
    if (!this._more || this._isFetching || !last || !query) {
      return;
    }
    this._isFetching = true;
    const turn = this._turn;
    try {
      const page = await this._api.executions({ ...query, before: last.id });
      if (turn === this._turn) {
        this._list = [...this._list, ...page.executions];
        this._more = page.more;
      }
    } catch (error) {
      if (turn === this._turn) {
        this._problem = asApiError(error);
      }
    } finally {
      this._isFetching = false;
    }
    this._changed.emit();
  }

  /** Look at one execution closely; at none for null. */
  async select(id: string | null): Promise<void> {
    this._selected = id;
    if (this._detail?.id !== id) {
      this._detail = null;
    }
    this._detailProblem = null;
    this._changed.emit();
    if (id !== null) {
      await this._lookClosely(id);
    }
  }

  private async _lookClosely(id: string): Promise<void> {
    const look = ++this._look;
    try {
      const detail = await this._api.execution(id);
      if (this._selected === id && look === this._look) {
        this._detail = detail;
        this._detailProblem = null;
      }
    } catch (error) {
      if (this._selected === id && look === this._look) {
        this._detailProblem = asApiError(error);
      }
    }
    this._changed.emit();
  }

  private _query(): Parameters<IApi['executions']>[0] | null {
    const { scope, status, text } = this._filter;
    if (scope === 'notebook' && this._notebook === null) {
      return null;
    }
    const words = text.split(/\s+/).filter(Boolean);
    const tag = words.find(word => word.startsWith('tag:'))?.slice(4);
    const rest = words.filter(word => !word.startsWith('tag:')).join(' ');
    return {
      limit: PAGE,
      ...(status ? { status } : {}),
      ...(tag ? { tag } : {}),
      ...(rest ? { q: rest } : {}),
      ...(scope === 'notebook' ? { notebook: this._notebook! } : {}),
      ...(scope === 'notebook' && this._knownAs !== null ? { known_as: this._knownAs } : {})
    };
  }

  private _onNews(_: INews, change: IChange): void {
    this._pending = {
      executions: [...new Set([...this._pending.executions, ...change.executions])],
      waits: [],
      all: this._pending.all || change.all
    };
    if (this._isOpen && this._timer === undefined) {
      this._timer = window.setTimeout(() => void this._catchUp(), PAUSE);
    }
  }

  /** What has changed since the last look: the newest page, and what is further down one by one. */
  private async _catchUp(): Promise<void> {
    if (this._isReading) {
      this._timer = window.setTimeout(() => void this._catchUp(), PAUSE);
      return; // what comes first of two answers that are under way is not always the newer one
    }
    const change = this._pending;
    this._pending = { executions: [], waits: [], all: false };
    const turn = this._turn;
    try {
      const query = this._query();
      if (query) {
        const page = await this._api.executions(query);
        await this._merge(page.executions, page.more, change.executions, turn);
      }
      if (turn === this._turn) {
        this._problem = null;
      }
      if (this._selected && (change.all || change.executions.includes(this._selected))) {
        await this._lookClosely(this._selected);
      }
    } catch (error) {
      if (turn === this._turn) {
        this._problem = asApiError(error);
      }
    }
    this._timer = undefined;
    this._changed.emit();
    if (this._isOpen && (this._pending.all || this._pending.executions.length)) {
      this._timer = window.setTimeout(() => void this._catchUp(), PAUSE);
    }
  }

  private async _merge(
    page: readonly IExecution[],
    more: boolean,
    changed: readonly string[],
    turn: number
  ): Promise<void> {
    if (turn !== this._turn) {
      return; // another list has been asked for
    }
    const inPage = new Set(page.map(each => each.id));
    const last = page[page.length - 1];
    // Ids sort by time: what is older than the page's last one stands below it as before.
    const isBelow = ({ id }: IExecution) => !!last && more && id < last.id && !inPage.has(id);
    const stale = this._list.filter(each => isBelow(each) && changed.includes(each.id)).slice(0, FEW);
    const looked = await Promise.all(stale.map(each => this._api.execution(each.id)));
    if (turn !== this._turn) {
      return;
    }
    const renewed = new Map(looked.map(each => [each.id, each] as const));
    const below = this._list.filter(isBelow);
    this._more = below.length ? this._more : more;
    this._list = [...page, ...below.map(each => renewed.get(each.id) ?? each)];
  }

  private _filter: IFilter = { scope: 'notebook', status: '', text: '' };
  private _notebook: string | null = null;
  private _knownAs: string | null = null;
  private _list: readonly IExecution[] = [];
  private _more = false;
  private _isLoading = true;
  private _isFetching = false;
  private _isOpen = false;
  private _problem: ApiError | null = null;
  private _selected: string | null = null;
  private _detail: IExecutionDetail | null = null;
  private _detailProblem: ApiError | null = null;
  private _pending: IChange = { executions: [], waits: [], all: false };
  private _turn = 0;
  private _look = 0;
  private _isReading = false;
  private _timer: number | undefined = undefined;
  private _typing: number | undefined = undefined;
  private readonly _changed = new Signal<this, void>(this);
}
