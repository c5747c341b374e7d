/** One execution in the list: two lines, and how far it is while it runs. */
import * as React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IExecution } from '../api';
import { age, cost, day, duration, joined, moment, saving, titleOf, visible } from '../format';
import { StatusMark, wordOf } from '../status';
import { ProgressBar, progressOf } from './progress';

export const ROW_HEIGHT = 46;

/** When each answer of the server was first drawn. */
const drawn = new WeakMap<IExecution, number>();

/** How long it has run, or ran. */
export function lengthOf(execution: IExecution, now: number = Date.now()): number | null {
  if (execution.status !== 'running') {
    return execution.duration;
  }
  if (execution.duration === null) {
    return (now - Date.parse(execution.started_at)) / 1000;
  }
  const first = drawn.get(execution) ?? now;
  drawn.set(execution, first);
  return execution.duration + (now - first) / 1000;
}

export interface IRowProps {
  execution: IExecution;
  focused: boolean;
  /** Whether it needs its name: where all have the same one, it is called by when it began. */
  isNamed: boolean;
  /** The moment in which it is drawn, coarsely: what is told of times is true for about as long. */
  moment: number;
  trans: TranslationBundle;
  onOpen: (id: string) => void;
}

export const ExecutionRow = React.memo(function ExecutionRow(props: IRowProps) {
  const { execution, focused, isNamed, trans, onOpen } = props;
  const ago = age(execution.started_at, trans);
  const title = isNamed ? titleOf(execution) : day(execution.started_at);
  const saved = saving(execution.saved_duration, execution.saved_cost);
  const what = joined(
    wordOf(execution.status, trans),
    progressOf(execution.progress, trans),
    duration(lengthOf(execution)),
    saved && trans.__('saved %1', saved),
    execution.parent && trans.__('replay'),
    execution.attempts > 1 && trans._n('%1 attempt', '%1 attempts', execution.attempts),
    ...execution.tags.slice(0, 2).map(tag => `#${visible(tag)}`)
  );
  return (
    <>
      <button
        type="button"
        className="jp-kitaru-Row"
        tabIndex={focused ? 0 : -1}
        onClick={() => onOpen(execution.id)}
        aria-label={joined(titleOf(execution), moment(execution.started_at), what, cost(execution.cost))}
        title={visible(joined(execution.notebook ?? execution.flow, execution.id, moment(execution.started_at)))}
      >
        <StatusMark status={execution.status} />
        <span className="jp-kitaru-Row-title">{title}</span>
        <span className="jp-kitaru-Row-cost">{cost(execution.cost)}</span>
        <span className="jp-kitaru-Row-more">{what}</span>
        <span className="jp-kitaru-Row-age">{ago}</span>
      </button>
      <ProgressBar progress={execution.progress} label={trans.__('Progress of %1', title)} trans={trans} />
    </>
  );
});
