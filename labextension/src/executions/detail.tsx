/** One execution: how it stands, what can be done with it, its waits and its checkpoints. */
import * as React from 'react';
import { Button } from '@jupyterlab/ui-components';
import type { JSONObject, JSONValue } from '@lumino/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IApi, IExecutionDetail, IWait } from '../api';
import { ago, cost, duration, joined, moment, saving, titleOf, visible } from '../format';
import { StatusMark, StatusWord } from '../status';
import { written } from '../json';
import { useTicking } from '../ticking';
import { isYesOrNo } from '../waits/schema';
import type { INews } from '../tokens';
import { Log } from './log';
import { ProgressBar, progressOf } from './progress';
import { lengthOf } from './row';
import { Timeline } from './timeline';

export interface IDetailProps {
  api: IApi;
  news: INews;
  execution: IExecutionDetail;
  trans: TranslationBundle;
  onOpenExecution: (id: string) => void;
  onOpenNotebook?: () => void;
  onReplay: (checkpoint: string | null) => void;
  onCompare: (other: string) => void;
  onResume?: () => void;
  onCancel?: () => void;
}

export function Detail(props: IDetailProps): JSX.Element {
  useTicking();
  const { execution, trans } = props;
  const tokens = execution.tokens ? trans._n('%1 token', '%1 tokens', execution.tokens) : '';
  const saved = saving(execution.saved_duration, execution.saved_cost);
  const ended = execution.checkpoints.filter(each => each.status !== 'failed').length;
  const restored = execution.checkpoints.filter(each => each.status === 'restored').length;
  const [began, took] = [ago(execution.started_at, trans), duration(lengthOf(execution))];
  const isRunning = execution.status === 'running';
  // Where no end is known it is the number of checkpoints, which stands above.
  const far = execution.progress?.total == null ? '' : progressOf(execution.progress, trans);
  return (
    <div className="jp-kitaru-Detail">
      <h3 className="jp-kitaru-Detail-title">{titleOf(execution)}</h3>
      <div className="jp-kitaru-Detail-facts">
        <StatusWord status={execution.status} trans={trans} />
        <span title={moment(execution.started_at)}>{began && trans.__('began %1', began)}</span>
        <span>{took && (isRunning ? trans.__('%1 so far', took) : trans.__('took %1', took))}</span>
        <span>{cost(execution.cost)}</span>
        <span>{tokens}</span>
        <span>{trans._n('%1 checkpoint', '%1 checkpoints', ended)}</span>
        {restored > 0 && <span>{trans.__('%1 restored', restored)}</span>}
        {saved && <span>{trans.__('saved %1', saved)}</span>}
        {execution.attempts > 1 && <span>{trans._n('%1 attempt', '%1 attempts', execution.attempts)}</span>}
      </div>
      {far && (
        <div className="jp-kitaru-Detail-progress">
          <ProgressBar progress={execution.progress} label={trans.__('Progress')} trans={trans} />
          <span>{far}</span>
        </div>
      )}
      <div className="jp-kitaru-dim jp-kitaru-Detail-id">
        <code>{execution.id}</code>
        {execution.tags.map(tag => (
          <span key={tag}>#{visible(tag)}</span>
        ))}
      </div>
      <Related {...props} />
      <div className="jp-kitaru-buttons">
        {props.onResume && (
          <Button className="jp-mod-styled jp-mod-accept" onClick={props.onResume}>
            {trans.__('Resume')}
          </Button>
        )}
        {execution.checkpoints.length > 0 && (
          <Button className="jp-mod-styled" onClick={() => props.onReplay(null)}>
            {trans.__('Replay…')}
          </Button>
        )}
        {props.onOpenNotebook && (
          <Button className="jp-kitaru-link" onClick={props.onOpenNotebook}>
            {trans.__('Open notebook')}
          </Button>
        )}
        {props.onCancel && (
          <Button className="jp-kitaru-link" onClick={props.onCancel}>
            {trans.__('Cancel…')}
          </Button>
        )}
      </div>
      <Waits waits={execution.waits} trans={trans} />
      <Timeline
        api={props.api}
        execution={execution.id}
        checkpoints={execution.checkpoints}
        trans={trans}
        onReplay={props.onReplay}
      />
      <Outputs {...props} />
    </div>
  );
}

/** The log, read once somebody asks for it. */
function Outputs({ api, news, execution, trans }: IDetailProps): JSX.Element {
  const [open, setOpen] = React.useState(false);
  return (
    <>
      <button type="button" className="jp-kitaru-link jp-kitaru-start" aria-expanded={open} onClick={() => setOpen(!open)}>
        {open ? trans.__('Hide the log') : trans.__('Show the log and what cells showed')}
      </button>
      {open && <Log api={api} news={news} execution={execution.id} trans={trans} />}
    </>
  );
}

/** What was asked, and who answered what; the forms of those that are open stand in the inbox. */
function Waits({ waits, trans }: { waits: readonly IWait[]; trans: TranslationBundle }): JSX.Element | null {
  if (waits.length === 0) {
    return null;
  }
  return (
    <ul className="jp-kitaru-Asked" aria-label={trans.__('Waits')}>
      {waits.map(wait => (
        <li key={wait.address}>
          <StatusMark status={wait.status === 'pending' ? 'waiting' : wait.status === 'answered' ? 'completed' : 'cancelled'} />
          <span>{visible(wait.question ?? wait.name)}</span>
          <span className="jp-kitaru-dim" title={visible(joined(moment(wait.answered_at), wait.reason))}>
            {wait.status === 'pending'
              ? trans.__('waits')
              : wait.status === 'expired'
                ? trans.__('nobody answered in time')
                : visible(joined(answerOf(wait, trans), wait.answered_by, ago(wait.answered_at, trans)))}
          </span>
        </li>
      ))}
    </ul>
  );
}

function answerOf(wait: IWait, trans: TranslationBundle): string {
  if (isYesOrNo(wait.schema)) {
    return wait.answer === true ? trans.__('approved') : trans.__('rejected');
  }
  const text = wordsOfAnswer(wait.answer);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** An answer in one line; of a form its fields by name. Pure. */
export function wordsOfAnswer(answer: JSONValue): string {
  if (typeof answer === 'string') {
    return answer;
  }
  const isFlat = typeof answer === 'object' && answer !== null && !Array.isArray(answer);
  const fields = isFlat ? Object.entries(answer as JSONObject) : [];
  return fields.length && fields.every(([, value]) => typeof value !== 'object')
    ? fields.map(([name, value]) => `${name} ${String(value)}`).join(', ')
    : written(answer);
}

function Related({ execution, trans, onOpenExecution, onCompare }: IDetailProps): JSX.Element | null {
  const { parent, replays = [] } = execution;
  if (!parent && replays.length === 0) {
    return null;
  }
  return (
    <div className="jp-kitaru-Detail-related">
      {parent && (
        <div>
          {trans.__('Replay of')}{' '}
          <button type="button" className="jp-kitaru-link" onClick={() => onOpenExecution(parent)}>
            {parent}
          </button>
          <button type="button" className="jp-kitaru-link" onClick={() => onCompare(parent)}>
            {trans.__('Compare')}
          </button>
        </div>
      )}
      {replays.map(id => (
        <div key={id}>
          {trans.__('Replayed as')}{' '}
          <button type="button" className="jp-kitaru-link" onClick={() => onOpenExecution(id)}>
            {id}
          </button>
          <button type="button" className="jp-kitaru-link" onClick={() => onCompare(id)}>
            {trans.__('Compare')}
          </button>
        </div>
      ))}
    </div>
  );
}
