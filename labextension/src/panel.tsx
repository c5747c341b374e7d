/** The side panel: the inbox of waits on top, the executions below, or one of them closely. */
import * as React from 'react';
import { ReactWidget, showDialog, Dialog } from '@jupyterlab/apputils';
import { Button, UseSignal, caretLeftIcon, refreshIcon } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ApiError, IExecutionDetail, IWait, asApiError } from './api';
import { Detail } from './executions/detail';
import type { ExecutionsModel } from './executions/model';
import { ExecutionRow, ROW_HEIGHT } from './executions/row';
import { VirtualList } from './executions/virtual';
import { kitaruIcon } from './icons';
import { Problem } from './problem';
import { wordOf } from './status';
import { useTicking } from './ticking';
import type { IKitaru } from './tokens';
import { WaitCard } from './waits/card';

export const PANEL_ID = 'kitaru-nb-panel';
const STATUSES = ['running', 'waiting', 'completed', 'failed', 'interrupted', 'cancelled'] as const;
const MOST_CARDS = 20;
// Beside the words, in which a percent sign has a meaning.
const LOAD = '%load_ext kitaru_nb';
const MARK = '%%checkpoint';

/** What the panel asks the rest of the page to do. */
export interface IPanelActions {
  /** Shows the cell that asks, where its notebook is open; undefined where it is not. */
  reveal: (wait: IWait) => (() => void) | undefined;
  openNotebook: (execution: IExecutionDetail) => (() => void) | undefined;
  /** Resumes in the open notebook that the execution belongs to; undefined where none does. */
  resumeHere: (execution: IExecutionDetail) => (() => void) | undefined;
  replay: (execution: IExecutionDetail, checkpoint: string | null) => void;
  compare: (a: string, b: string) => void;
}

export class KitaruPanel extends ReactWidget {
  constructor(
    private readonly _kitaru: IKitaru,
    private readonly _executions: ExecutionsModel,
    private readonly _actions: IPanelActions
  ) {
    super();
    const { trans } = _kitaru;
    this.id = PANEL_ID;
    this.addClass('jp-kitaru-Panel');
    this.title.icon = kitaruIcon;
    this.title.caption = trans.__('Kitaru: waits and executions');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Kitaru'));
    void _kitaru.waits.open();
    _kitaru.waits.changed.connect(this._count, this);
  }

  override dispose(): void {
    this._kitaru.waits.changed.disconnect(this._count, this);
    super.dispose();
  }

  /** Moves the keyboard to the search field. */
  search(): void {
    this.node.querySelector<HTMLInputElement>('input[type=search]')?.focus();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    void this._executions.open();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this._executions.close();
  }

  protected override render(): JSX.Element {
    const { waits } = this._kitaru;
    return (
      <UseSignal signal={waits.changed}>
        {() => (
          <UseSignal signal={this._executions.changed}>
            {() => (
              <>
                <Inbox kitaru={this._kitaru} actions={this._actions} isNew={this._isNew} />
                {this._executions.selected ? (
                  <One kitaru={this._kitaru} model={this._executions} actions={this._actions} />
                ) : (
                  <All model={this._executions} trans={this._kitaru.trans} />
                )}
              </>
            )}
          </UseSignal>
        )}
      </UseSignal>
    );
  }

  /** Whether there is nothing to look at yet, so that there is room to say what will be. */
  private get _isNew(): boolean {
    return this._executions.list.length === 0 && this._executions.selected === null;
  }

  /** How many wait for somebody is said on the tab, too. */
  private _count(): void {
    const count = this._kitaru.waits.inbox?.length ?? 0;
    this.title.label = count && this.node.closest('.jp-mod-left-right') ? String(count) : '';
    this.title.dataset = { ...this.title.dataset, kitaruWaits: String(count) };
  }
}

interface IInboxProps {
  kitaru: IKitaru;
  actions: IPanelActions;
}

function Inbox({ kitaru, actions, isNew }: IInboxProps & { isNew: boolean }): JSX.Element {
  const { waits, trans } = kitaru;
  const inbox = waits.inbox ?? [];
  const [all, setAll] = React.useState(false);
  const isQuiet = !waits.problem && inbox.length === 0 && !isNew;
  const shown = all ? inbox : inbox.slice(0, MOST_CARDS);
  return (
    <section className="jp-kitaru-Inbox" aria-label={trans.__('Waits for you')}>
      <h2 className="jp-kitaru-Panel-head">
        {trans.__('Waits for you')}
        {inbox.length > 0 && <span className="jp-kitaru-Count">{inbox.length}</span>}
        {isQuiet && <span className="jp-kitaru-None">{trans.__('none')}</span>}
      </h2>
      {waits.problem ? (
        <Problem trans={trans} error={waits.problem} onRetry={() => void waits.refresh()} />
      ) : isQuiet ? null : inbox.length === 0 ? (
        <div className="jp-kitaru-empty">{trans.__('Nothing. A cell or flow that calls wait() shows here.')}</div>
      ) : (
        <div className="jp-kitaru-Inbox-cards">
          {shown.map(wait => (
            <Card key={wait.address} kitaru={kitaru} actions={actions} wait={wait} />
          ))}
          {shown.length < inbox.length && (
            <button type="button" className="jp-kitaru-link" onClick={() => setAll(true)}>
              {trans.__('Show all %1', inbox.length)}
            </button>
          )}
        </div>
      )}
    </section>
  );
}

function Card({ kitaru, actions, wait }: IInboxProps & { wait: IWait }): JSX.Element {
  const { waits, api, trans } = kitaru;
  return (
    <WaitCard
      wait={waits.get(wait.address) ?? wait}
      trans={trans}
      onAnswer={(answer, reason) => waits.answer(wait, answer, reason)}
      execution={() => api.execution(wait.execution)}
      onReveal={actions.reveal(wait)}
    />
  );
}

function All({ model, trans }: { model: ExecutionsModel; trans: TranslationBundle }): JSX.Element {
  useTicking();
  const { filter, list } = model;
  const open = React.useCallback((id: string) => void model.select(id), [model]);
  return (
    <section className="jp-kitaru-Executions" aria-label={trans.__('Executions')}>
      <h2 className="jp-kitaru-Panel-head">
        {trans.__('Executions')}
        <span className="jp-kitaru-Scope" role="radiogroup" aria-label={trans.__('Which executions')}>
          {(['notebook', 'all'] as const).map(scope => (
            <label key={scope}>
              <input
                type="radio"
                name="kitaru-scope"
                checked={filter.scope === scope}
                onChange={() => model.setFilter({ scope })}
              />
              <span>{scope === 'all' ? trans.__('All') : trans.__('This notebook')}</span>
            </label>
          ))}
        </span>
      </h2>
      <div className="jp-kitaru-Filter">
        <input
          type="search"
          placeholder={trans.__('Search')}
          title={trans.__('Words in id, notebook, flow or tags; tag:NAME for a tag')}
          aria-label={trans.__('Search executions')}
          value={filter.text}
          onChange={event => model.setFilter({ text: event.target.value })}
        />
        <select
          aria-label={trans.__('Status')}
          value={filter.status}
          onChange={event => model.setFilter({ status: event.target.value as (typeof STATUSES)[number] | '' })}
        >
          <option value="">{trans.__('Any status')}</option>
          {STATUSES.map(status => (
            <option key={status} value={status}>
              {wordOf(status, trans)}
            </option>
          ))}
        </select>
      </div>
      {model.problem ? (
        <Problem trans={trans} error={model.problem} onRetry={() => void model.refresh()} />
      ) : list.length === 0 ? (
        <div className="jp-kitaru-empty">{model.isLoading ? trans.__('Reading…') : emptyOf(model, trans)}</div>
      ) : (
        <VirtualList
          count={list.length}
          rowHeight={ROW_HEIGHT}
          label={trans.__('Executions, newest first')}
          onEnd={() => void model.loadMore()}
          row={(index, focused) => (
            <ExecutionRow
              execution={list[index]}
              isNamed={filter.scope === 'all'}
              focused={focused}
              moment={Math.floor(Date.now() / 10_000)}
              trans={trans}
              onOpen={open}
            />
          )}
        />
      )}
    </section>
  );
}

function emptyOf(model: ExecutionsModel, trans: TranslationBundle): string {
  const { filter, notebook } = model;
  if (filter.scope === 'notebook' && notebook === null) {
    return trans.__('Open a notebook to see its executions, or look at all.');
  }
  if (filter.text || filter.status) {
    return trans.__('No execution fits. Search for something else, or for any status.');
  }
  return filter.scope === 'notebook'
    ? trans.__('This notebook has none yet. Type %1, and %2 on top of a cell that takes long.', LOAD, MARK)
    : trans.__('There is none yet. Run a notebook with %1 cells, or type: kitaru-nb run NOTEBOOK', MARK);
}

function One({ kitaru, model, actions }: IInboxProps & { model: ExecutionsModel }): JSX.Element {
  const { api, trans } = kitaru;
  const { detail, detailProblem, selected } = model;
  const node = React.useRef<HTMLDivElement>(null);
  React.useEffect(() => node.current?.querySelector('button')?.focus(), [selected]);
  const [refused, setRefused] = React.useState<ApiError | null>(null);
  const act = async (action: () => Promise<unknown>) => {
    setRefused(null);
    try {
      await action();
    } catch (error) {
      setRefused(asApiError(error));
    }
  };
  const cancel = async (id: string) => {
    const asked = await showDialog({
      title: trans.__('Cancel this execution?'),
      body: trans.__('It ends for good: it cannot be resumed. What it has on record stays, and can be replayed.'),
      buttons: [Dialog.cancelButton({ label: trans.__('Keep it') }), Dialog.warnButton({ label: trans.__('Cancel it') })]
    });
    if (asked.button.accept) {
      await act(() => api.cancel(id));
    }
  };
  const goesOn = detail?.status === 'interrupted' || detail?.status === 'failed';
  const here = detail ? actions.resumeHere(detail) : undefined;
  return (
    <section className="jp-kitaru-Executions" aria-label={trans.__('Execution')} ref={node}>
      <div className="jp-kitaru-Panel-head">
        <Button className="jp-kitaru-back" onClick={() => void model.select(null)}>
          <caretLeftIcon.react tag="span" />
          {trans.__('All executions')}
        </Button>
        <Button
          className="jp-kitaru-back"
          title={trans.__('Read again')}
          aria-label={trans.__('Read again')}
          onClick={() => void model.select(selected)}
        >
          <refreshIcon.react tag="span" />
        </Button>
      </div>
      <div className="jp-kitaru-scroll">
        {refused && <Problem trans={trans} error={refused} />}
        {detailProblem ? (
          <Problem trans={trans} error={detailProblem} onRetry={() => void model.select(selected)} />
        ) : detail === null ? (
          <div className="jp-kitaru-empty">{trans.__('Reading…')}</div>
        ) : (
          <Detail
            api={api}
            news={kitaru.news}
            execution={detail}
            trans={trans}
            onOpenExecution={id => void model.select(id)}
            onOpenNotebook={actions.openNotebook(detail)}
            onReplay={checkpoint => actions.replay(detail, checkpoint)}
            onCompare={other => actions.compare(other, detail.id)}
            onResume={goesOn ? here ?? (() => void act(() => api.resume(detail.id))) : undefined}
            onCancel={
              ['running', 'waiting', 'interrupted'].includes(detail.status) ? () => void cancel(detail.id) : undefined
            }
          />
        )}
      </div>
    </section>
  );
}
