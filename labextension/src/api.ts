/**
 * The one file that calls the server.
 *
 * The types mirror what `kitaru-nb --json` prints; the server adds nothing to that. A request that
 * the server turns down, or that never reaches it, is an `ApiError` with the server's own words.
 */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import type { JSONObject, JSONValue } from '@lumino/coreutils';
import { messageOf } from './format';
import { parsed as read, written } from './json';

export type ExecutionStatus = 'running' | 'waiting' | 'completed' | 'failed' | 'interrupted' | 'cancelled';
export type CellStatus = 'fresh' | 'stale' | 'restored' | 'running' | 'failed' | 'waiting';
/** What stands below a cell: as the server has it, or queued on this page. */
export type BadgeStatus = CellStatus | 'queued';
export type CheckpointStatus = 'completed' | 'restored' | 'failed';

/** How many steps are done, and of how many where that is known. */
export interface IProgress {
  readonly done: number;
  readonly total: number | null;
}

export interface IExecution {
  readonly id: string;
  readonly status: ExecutionStatus;
  readonly notebook: string | null;
  readonly flow: string | null;
  readonly started_at: string;
  readonly ended_at: string | null;
  readonly duration: number | null;
  readonly cost: number | null;
  readonly tokens: number | null;
  readonly saved_cost: number | null;
  readonly saved_duration: number | null;
  readonly parent: string | null;
  readonly tags: readonly string[];
  readonly attempts: number;
  /** While it runs or waits. */
  readonly progress?: IProgress;
}

export interface IArtifact {
  readonly ref: string;
  readonly names: readonly string[];
  readonly digest: string;
  readonly bytes: number | null;
  readonly codec: string | null;
  readonly removed?: { readonly at: string; readonly policy: string };
}

export interface ICheckpoint {
  readonly name: string;
  readonly ordinal: number;
  readonly status: CheckpointStatus;
  readonly started_at: string | null;
  readonly duration: number | null;
  readonly cost: number | null;
  readonly reads: readonly string[];
  readonly writes: readonly string[];
  readonly artifacts: readonly IArtifact[];
}

/** What a step read, or its flow was given, that a person can type otherwise for a replay. */
export interface IInput {
  readonly name: string;
  readonly type: string;
  /** What it held, as Python writes it; null where that is long or not known. */
  readonly literal: string | null;
}

export interface IWait {
  readonly address: string;
  readonly execution: string;
  readonly name: string;
  readonly kind: 'person' | 'budget' | 'room';
  readonly question: string | null;
  readonly schema: Readonly<Record<string, JSONValue>> | null;
  readonly show: JSONValue;
  readonly status: 'pending' | 'answered' | 'expired';
  readonly asked_at: string | null;
  readonly deadline: string | null;
  readonly answer: JSONValue;
  readonly answered_by: string | null;
  readonly answered_at: string | null;
  readonly reason: string | null;
  readonly binding: string | null;
}

/** One line of an execution's log. */
export interface ILine {
  readonly seq: number;
  readonly at: string;
  readonly kind: string;
  readonly checkpoint: string | null;
  readonly stream: 'stdout' | 'stderr' | 'display' | null;
  readonly text: string;
}

export interface IExecutionDetail extends IExecution {
  readonly checkpoints: readonly ICheckpoint[];
  readonly waits: readonly IWait[];
  readonly replays?: readonly string[];
}

export interface ICell {
  readonly checkpoint: string | null;
  /** None where it has never run. */
  readonly status: CellStatus | null;
  readonly duration: number | null;
  readonly cost: number | null;
  readonly saved_duration: number | null;
  readonly started_at: string | null;
  readonly restored_from: string | null;
  readonly why: string | null;
  readonly wait: string | null;
}

/** How the notebook's last execution ended, where it did not end well and can be put back. */
export interface IDead {
  readonly execution: string;
  readonly status: ExecutionStatus;
  readonly at: string | null;
  readonly why: string | null;
  readonly restorable: number;
  readonly last: string;
  readonly saved_duration: number | null;
  readonly saved_cost: number | null;
}

/** A code cell as it stands in the editor. */
export interface ITypedCell {
  readonly id: string;
  readonly source: string;
  readonly tags: readonly string[];
}

export interface ICells {
  readonly execution: string | null;
  readonly cells: Readonly<Record<string, ICell>>;
  readonly dead: IDead | null;
}

export interface IMember {
  readonly kind: 'array' | 'group';
  readonly shape?: readonly number[];
  readonly dtype?: string;
}

/** What a stored value is like; which fields there are depends on its kind. */
export interface IDescription {
  readonly ref: string;
  readonly names: readonly string[];
  readonly codec: string;
  readonly bytes: number;
  readonly recipe: boolean;
  readonly kind: 'array' | 'table' | 'group' | 'text' | 'json' | 'image' | 'opaque';
  readonly type?: string | null;
  readonly shape?: readonly (number | null)[];
  readonly dtype?: string;
  readonly rows?: number | null;
  readonly index?: string | null;
  readonly columns?: readonly { readonly path: string; readonly name: string; readonly dtype: string }[];
  readonly members?: Readonly<Record<string, IMember>>;
  /** Nothing of it could be stored: `left_out` says why. */
  readonly marker?: boolean;
  /** What of it is not shown, and why. */
  readonly left_out?: readonly string[];
  readonly preview?: JSONValue;
  readonly length?: number;
  readonly media?: string;
  readonly data?: string;
}

export interface IRows {
  readonly rows: number;
  readonly start: number;
  readonly stop: number;
  readonly index: string | null;
  readonly columns: Readonly<Record<string, readonly JSONValue[]>>;
}

export interface IPicture {
  readonly media: string;
  readonly data: string;
  readonly low: number | null;
  readonly high: number | null;
}

export interface IStatistics {
  readonly count: number;
  readonly nan: number;
  readonly infinite: number;
  /** Of whole numbers exactly, as text where JavaScript has no number for it. */
  readonly min: number | string | null;
  readonly max: number | string | null;
  readonly mean: number | null;
  readonly std: number | null;
  readonly sampled: boolean;
  readonly histogram: { readonly counts: readonly number[]; readonly edges: readonly (number | null)[] };
}

export interface IValues {
  readonly shape: readonly number[];
  readonly values: JSONValue;
  readonly whole: boolean;
}

/** Which part of a stored value, and in what form. */
export interface ISlice {
  as?: 'values' | 'rows' | 'statistics' | 'png';
  path?: string;
  start?: string;
  stop?: string;
  pixels?: number;
}

/** An output as a notebook has it. */
export interface IOutput extends JSONObject {
  output_type: string;
}

/** What a checkpoint has shown when it ran last, or shows while it runs. */
export interface IShown {
  readonly checkpoint: string;
  readonly outputs: readonly IOutput[];
  readonly ended: boolean;
}

/** What is asked of the list of executions; an absent field does not narrow it. */
export interface IExecutionQuery {
  status?: ExecutionStatus;
  tag?: string;
  notebook?: string;
  known_as?: string;
  q?: string;
  limit?: number;
  before?: string;
}

/** A replay, as its form puts it together. */
export interface IReplay {
  from: string;
  inputs: Record<string, JSONValue | { expr: string }>;
  overrides?: Record<string, JSONValue>;
}

/** Why a request came to nothing, in the server's words where it had any. */
export class ApiError extends Error {
  constructor(
    message: string,
    /** The HTTP status; 0 where no answer came at all. */
    readonly status: number,
    /** The server's name for the case, such as `bad-answer`. */
    readonly kind: string = '',
    /** What to do about it. */
    readonly hint: string = '',
    /** For an answer that does not fit: what is wrong, by JSON pointer. */
    readonly fields: Readonly<Record<string, string>> = {}
  ) {
    super(message);
    this.name = 'ApiError';
  }

  /** The server part of kitaru_nb is not installed or not enabled there. */
  get isMissing(): boolean {
    return this.status === 404 && this.kind === '';
  }
}

/** Any failure as an `ApiError`. */
export function asApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError(messageOf(error), 0);
}

/** The calls that views and models make. `Api` makes them over HTTP, a test in memory. */
export interface IApi {
  executions(query: IExecutionQuery): Promise<{ executions: IExecution[]; more: boolean }>;
  execution(id: string): Promise<IExecutionDetail>;
  logs(id: string, after?: number): Promise<{ lines: ILine[]; next: number; more: boolean }>;
  /** Of one checkpoint; without its name of the one that runs, or ran when its kernel died. */
  outputs(id: string, checkpoint?: string): Promise<IShown>;
  inputs(id: string, checkpoint: string): Promise<IInput[]>;
  /** Two executions side by side, as an HTML page that needs nothing else. */
  diffPage(a: string, b: string): Promise<string>;
  waits(query?: { notebook?: string; status?: IWait['status'] }): Promise<IWait[]>;
  wait(address: string): Promise<IWait>;
  answer(address: string, answer: JSONValue, more?: { reason?: string; binding?: string }): Promise<IWait>;
  replay(id: string, replay: IReplay): Promise<{ execution: string }>;
  resume(id: string): Promise<void>;
  cancel(id: string): Promise<void>;
  /** `knownAs` is what the notebook's kernel calls it, where that is another path than the server has. */
  cells(notebook: string, cells: readonly ITypedCell[], knownAs?: string | null): Promise<ICells>;
  artifact(ref: string): Promise<IDescription>;
  slice<T>(ref: string, slice: ISlice): Promise<T>;
}

export class Api implements IApi {
  constructor(private readonly _settings: ServerConnection.ISettings = ServerConnection.makeSettings()) {}

  executions(query: IExecutionQuery): Promise<{ executions: IExecution[]; more: boolean }> {
    return this._get('executions', query);
  }

  execution(id: string): Promise<IExecutionDetail> {
    return this._get(`executions/${encodeURIComponent(id)}`);
  }

  logs(id: string, after = 0): Promise<{ lines: ILine[]; next: number; more: boolean }> {
    return this._get(`executions/${encodeURIComponent(id)}/logs`, { after });
  }

  outputs(id: string, checkpoint?: string): Promise<IShown> {
    return this._get(`executions/${encodeURIComponent(id)}/outputs`, { checkpoint });
  }

  async inputs(id: string, checkpoint: string): Promise<IInput[]> {
    const path = `executions/${encodeURIComponent(id)}/inputs`;
    return (await this._get<{ inputs: IInput[] }>(path, { checkpoint })).inputs;
  }

  async diffPage(a: string, b: string): Promise<string> {
    const { response, text } = await this._fetch(this._url('diff.html', { a, b }), {});
    if (!response.ok) {
      throw errorOf(response, parsed(text));
    }
    return text;
  }

  async waits(query: { notebook?: string; status?: IWait['status'] } = {}): Promise<IWait[]> {
    return (await this._get<{ waits: IWait[] }>('waits', query)).waits;
  }

  wait(address: string): Promise<IWait> {
    return this._get(`waits/${encodeURIComponent(address)}`);
  }

  answer(address: string, answer: JSONValue, more: { reason?: string; binding?: string } = {}): Promise<IWait> {
    return this._post(`waits/${encodeURIComponent(address)}/answer`, { answer, ...more });
  }

  replay(id: string, replay: IReplay): Promise<{ execution: string }> {
    return this._post(`executions/${encodeURIComponent(id)}/replay`, replay);
  }

  async resume(id: string): Promise<void> {
    await this._post(`executions/${encodeURIComponent(id)}/resume`, {});
  }

  async cancel(id: string): Promise<void> {
    await this._post(`executions/${encodeURIComponent(id)}/cancel`, {});
  }

  cells(notebook: string, cells: readonly ITypedCell[], knownAs: string | null = null): Promise<ICells> {
    return this._post('cells', { notebook, cells, ...(knownAs === null ? {} : { known_as: knownAs }) });
  }

  artifact(ref: string): Promise<IDescription> {
    return this._get('artifacts', { ref });
  }

  slice<T>(ref: string, slice: ISlice): Promise<T> {
    return this._get('artifacts/slice', { ref, ...slice });
  }

  private _url(path: string, query: object = {}): string {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
    const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
    return URLExt.join(this._settings.baseUrl, 'kitaru-nb/api', path) + (text && `?${text}`);
  }

  private _get<T>(path: string, query?: object): Promise<T> {
    return this._request<T>(this._url(path, query), {});
  }

  private _post<T>(path: string, body: object): Promise<T> {
    return this._request<T>(this._url(path), { method: 'POST', body: written(body) });
  }

  private async _request<T>(url: string, init: RequestInit): Promise<T> {
    const { response, text } = await this._fetch(url, init);
    const document = parsed(text);
    if (response.ok && document !== null) {
      return document as T;
    }
    throw errorOf(response, document);
  }

  private async _fetch(url: string, init: RequestInit): Promise<{ response: Response; text: string }> {
    try {
      const response = await ServerConnection.makeRequest(url, init, this._settings);
      return { response, text: await response.text() };
    } catch (error) {
      throw asApiError(error);
    }
  }
}

/** JSON, or null for a proxy's or Jupyter's own page: the status says then what there is to say. */
function parsed(text: string): unknown {
  try {
    return read(text);
  } catch {
    return null;
  }
}

function errorOf(response: Response, document: unknown): ApiError {
  const { error, fields } = (document ?? {}) as {
    error?: { kind?: string; message?: string; hint?: string | null };
    fields?: Record<string, string>;
  };
  if (!error || typeof error !== 'object') {
    return new ApiError(`${response.status} ${response.statusText}`, response.status);
  }
  const message = error.message ?? response.statusText;
  return new ApiError(message, response.status, error.kind ?? '', error.hint ?? '', fields ?? {});
}
