/** Replay an execution from one of its checkpoints on, with changed values: a form, then its result. */
import * as React from 'react';
import { ReactWidget } from '@jupyterlab/apputils';
import { Button } from '@jupyterlab/ui-components';
import { IExecution, IExecutionDetail, IInput, asApiError } from '../api';
import { cost, duration, joined, titleOf } from '../format';
import { lengthOf } from '../executions/row';
import { replayIcon } from '../icons';
import { Problem } from '../problem';
import { StatusWord } from '../status';
import { useTicking } from '../ticking';
import type { IChange, IKitaru, INews } from '../tokens';
import { IChangeRow, beginnings, mistakes, requestOf, rowsFor } from './model';

export interface IReplayActions {
  open: (execution: string) => void;
  compare: (a: string, b: string) => void;
}

export class ReplayView extends ReactWidget {
  constructor(
    private readonly _kitaru: IKitaru,
    private readonly _execution: string,
    private readonly _from: string | null,
    private readonly _actions: IReplayActions
  ) {
    super();
    this.addClass('jp-kitaru-View');
    this.title.icon = replayIcon;
    const { trans } = _kitaru;
    this.title.label = trans.__('Replay');
    this.title.caption = _execution;
    this.title.closable = true;
  }

  protected override render(): JSX.Element {
    return (
      <ReplayForm kitaru={this._kitaru} execution={this._execution} from={this._from} actions={this._actions} />
    );
  }
}

interface IFormProps {
  kitaru: IKitaru;
  execution: string;
  from: string | null;
  actions: IReplayActions;
}

export function ReplayForm({ kitaru, execution, from, actions }: IFormProps): JSX.Element {
  const { api, trans } = kitaru;
  const [original, setOriginal] = React.useState<IExecutionDetail | null>(null);
  const [unread, setUnread] = React.useState<unknown>(null);
  const [begin, setBegin] = React.useState('');
  const [rows, setRows] = React.useState<readonly IChangeRow[]>([]);
  const [refused, setRefused] = React.useState<unknown>(null);
  const [busy, setBusy] = React.useState(false);
  const [begun, setBegun] = React.useState<string | null>(null);

  const read = () => {
    setUnread(null);
    api.execution(execution).then(found => {
      const labels = beginnings(found.checkpoints);
      const at = from !== null && labels.includes(from) ? from : labels[0] ?? '';
      setOriginal(found);
      setBegin(at);
    }, setUnread);
  };
  React.useEffect(read, [execution]);
  React.useEffect(() => {
    let isLate = false;
    // Where they cannot be told nothing is offered; any name can be typed all the same.
    const offer = (inputs: readonly IInput[]) => isLate || setRows(typed => rowsFor(inputs, typed));
    if (begin) {
      api.inputs(execution, begin).then(offer, () => offer([]));
    }
    return () => {
      isLate = true;
    };
  }, [execution, begin]);

  if (unread) {
    return <Problem trans={trans} error={asApiError(unread)} onRetry={read} />;
  }
  if (original === null) {
    return <div className="jp-kitaru-empty">{trans.__('Reading…')}</div>;
  }
  const wrong = mistakes(rows, trans);
  const change = (index: number, row: Partial<IChangeRow>) =>
    setRows(rows.map((each, at) => (at === index ? { ...each, ...row } : each)));
  const send = async (event: React.FormEvent) => {
    event.preventDefault();
    if (Object.keys(wrong).length || busy) {
      return;
    }
    setBusy(true);
    setRefused(null);
    try {
      setBegun((await api.replay(execution, requestOf(begin, rows))).execution);
    } catch (error) {
      setRefused(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <form className="jp-kitaru-Replay" onSubmit={event => void send(event)} aria-label={trans.__('Replay')}>
      <h2>{trans.__('Replay “%1”', titleOf(original))}</h2>
      <p className="jp-kitaru-dim">
        {trans.__(
          'What is before the checkpoint is reused. The checkpoint itself and all after it run, as a new execution in the background. This notebook and its kernel are not touched.'
        )}
      </p>
      <div className="jp-kitaru-Field">
        <label className="jp-kitaru-Field-label" htmlFor="kitaru-replay-from">
          {trans.__('From checkpoint')}
        </label>
        <select id="kitaru-replay-from" value={begin} onChange={event => setBegin(event.target.value)}>
          {beginnings(original.checkpoints).map((label, index) => (
            <option key={label} value={label}>
              {joined(label, duration(original.checkpoints[index].duration), cost(original.checkpoints[index].cost))}
            </option>
          ))}
        </select>
      </div>
      <fieldset className="jp-kitaru-Changes">
        <legend className="jp-kitaru-Field-label">{trans.__('With other values')}</legend>
        <p className="jp-kitaru-dim">
          {trans.__('Python literals, such as 0.1, "text" or (1, 2). What is left empty stays as it was.')}
        </p>
        {rows.map((row, index) => (
          <div key={index} className="jp-kitaru-Changes-row jp-kitaru-Field">
            {row.was ? (
              <code title={row.was.type}>{row.name}</code>
            ) : (
              <input
                aria-label={trans.__('Name %1', index + 1)}
                placeholder={trans.__('name')}
                value={row.name}
                onChange={event => change(index, { name: event.target.value })}
              />
            )}
            <span aria-hidden="true">=</span>
            <input
              aria-label={trans.__('Value of %1', row.name || index + 1)}
              aria-invalid={wrong[index] !== undefined}
              placeholder={row.was?.literal ?? (row.was ? trans.__('a %1, as it was', row.was.type) : trans.__('as it was'))}
              value={row.value}
              onChange={event => change(index, { value: event.target.value })}
            />
            {wrong[index] && (
              <span className="jp-kitaru-Field-error" role="alert">
                {wrong[index]}
              </span>
            )}
          </div>
        ))}
        <Button type="button" className="jp-kitaru-link" onClick={() => setRows([...rows, { name: '', value: '' }])}>
          {trans.__('Change another name')}
        </Button>
      </fieldset>
      {refused ? <Problem trans={trans} error={asApiError(refused)} /> : null}
      <div className="jp-kitaru-buttons">
        <Button type="submit" className="jp-mod-styled jp-mod-accept" disabled={busy || !begin}>
          {busy ? trans.__('Beginning…') : trans.__('Replay')}
        </Button>
      </div>
      {begun && <Begun key={begun} kitaru={kitaru} original={execution} id={begun} actions={actions} />}
    </form>
  );
}

interface IBegunProps {
  kitaru: IKitaru;
  original: string;
  id: string;
  actions: IReplayActions;
}

/** The replay as it runs: it follows the news. */
function Begun({ kitaru, original, id, actions }: IBegunProps): JSX.Element {
  useTicking();
  const { api, news, trans } = kitaru;
  const [execution, setExecution] = React.useState<IExecution | null>(null);
  React.useEffect(() => {
    // Of one that cannot be read yet the next news is waited for.
    const look = () => void api.execution(id).then(setExecution, () => undefined);
    const heard = (_: INews, change: IChange) => {
      if (change.all || change.executions.includes(id)) {
        look();
      }
    };
    look();
    news.changed.connect(heard);
    return () => {
      news.changed.disconnect(heard);
    };
  }, [id]);
  return (
    <div className="jp-kitaru-Begun" role="status">
      <div className="jp-kitaru-Detail-facts">
        {execution ? <StatusWord status={execution.status} trans={trans} /> : trans.__('begun')}
        <code>{id}</code>
        {execution && <span>{joined(duration(lengthOf(execution)), cost(execution.cost))}</span>}
      </div>
      <div className="jp-kitaru-buttons">
        <Button type="button" className="jp-mod-styled" onClick={() => actions.open(id)}>
          {trans.__('Show it')}
        </Button>
        <Button type="button" className="jp-mod-styled" onClick={() => actions.compare(original, id)}>
          {trans.__('Compare with the original')}
        </Button>
      </div>
    </div>
  );
}
