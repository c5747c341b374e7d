/** What the plugins share. */
import { Token } from '@lumino/coreutils';
import type { ISignal } from '@lumino/signaling';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IApi } from './api';
import type { Notebooks } from './cells/notebooks';
import type { Settings } from './settings';
import type { WaitsModel } from './waits/model';

/** What has changed on the server; `all` after a time without news. */
export interface IChange {
  readonly executions: readonly string[];
  readonly waits: readonly string[];
  readonly all: boolean;
}

/** News of the server, from Jupyter's own event stream. */
export interface INews {
  readonly changed: ISignal<INews, IChange>;
}

export interface IKitaru {
  readonly api: IApi;
  readonly news: INews;
  readonly waits: WaitsModel;
  readonly settings: Settings;
  readonly trans: TranslationBundle;
}

export const IKitaru = new Token<IKitaru>(
  'kitaru-nb-labextension:IKitaru',
  'The records of kitaru_nb on this server: its API, what is new, and the waits.'
);

export const INotebooks = new Token<Notebooks>(
  'kitaru-nb-labextension:INotebooks',
  'How the cells of the notebooks stand that are open.'
);
