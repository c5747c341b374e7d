/** One wait: what is asked, what is to be approved, and the form. Props in, callbacks out. */
import * as React from 'react';
import { Button } from '@jupyterlab/ui-components';
import type { JSONValue } from '@lumino/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { IExecution, IWait, asApiError } from '../api';
import { ago, cost, duration, joined, moment, span, titleOf, visible } from '../format';
import { wordsOf } from '../problem';
import { useTicking } from '../ticking';
import { Fields } from './fields';
import { isYesOrNo } from './schema';
import { Show } from './show';

export interface ICardProps {
  wait: IWait;
  trans: TranslationBundle;
  onAnswer: (answer: JSONValue, reason?: string) => Promise<unknown>;
  /** Asked once for what it has cost so far. */
  execution?: () => Promise<IExecution>;
  /** Runs the cell that waited again, where this page has it and it has not gone on. */
  onGoOn?: () => void;
  /** Shows the cell that asks. */
  onReveal?: () => void;
}

export function WaitCard(props: ICardProps): JSX.Element {
  const { wait, trans } = props;
  const title = visible(wait.question ?? trans.__('Nothing is asked yet'));
  return (
    <section className="jp-kitaru-Wait" data-status={wait.status} aria-label={title}>
      <div className="jp-kitaru-Wait-question">{title}</div>
      {wait.show !== null && wait.show !== undefined && <Show value={wait.show} />}
      {wait.status === 'pending' ? <Pending {...props} /> : <Ended {...props} />}
    </section>
  );
}

function Pending(props: ICardProps): JSX.Element {
  const { wait, trans } = props;
  const [busy, setBusy] = React.useState(false);
  const [problem, setProblem] = React.useState<{ text: string; fields: Readonly<Record<string, string>> } | null>(null);
  const [reason, setReason] = React.useState('');
  const pressed = React.useRef<HTMLElement | null>(null);
  const send = async (answer: JSONValue) => {
    pressed.current = document.activeElement as HTMLElement | null;
    setBusy(true);
    setProblem(null);
    try {
      await props.onAnswer(answer, reason || undefined);
    } catch (failure) {
      const error = asApiError(failure);
      setProblem({ text: wordsOf(error, trans), fields: error.fields });
    } finally {
      setBusy(false);
    }
  };
  // The question that was read may be another one by now: what was typed for the old one goes.
  React.useEffect(() => setProblem(null), [wait.binding]);
  const atField = problem !== null && Object.keys(problem.fields).length > 0;
  // Being disabled took the keyboard away: it goes back, or to the field that is wrong.
  React.useEffect(() => {
    if (problem !== null && !atField) {
      pressed.current?.focus();
    }
  }, [problem]);
  return (
    <>
      {wait.kind !== 'person' ? (
        <InTerminal wait={wait} trans={trans} />
      ) : isYesOrNo(wait.schema) ? (
        <YesOrNo trans={trans} busy={busy} reason={reason} onReason={setReason} onSend={send} />
      ) : (
        <Fields
          key={wait.binding}
          schema={wait.schema ?? {}}
          errors={problem?.fields ?? {}}
          busy={busy}
          trans={trans}
          onSubmit={send}
        >
          <Button type="submit" className="jp-mod-styled jp-mod-accept" disabled={busy}>
            {trans.__('Send answer')}
          </Button>
        </Fields>
      )}
      {problem && !atField && (
        <div className="jp-kitaru-error" role="alert">
          {problem.text}
        </div>
      )}
      <Footnote {...props} />
    </>
  );
}

interface IYesOrNo {
  trans: TranslationBundle;
  busy: boolean;
  reason: string;
  onReason: (text: string) => void;
  onSend: (answer: boolean) => void;
}

function YesOrNo({ trans, busy, reason, onReason, onSend }: IYesOrNo): JSX.Element {
  const id = `kitaru${React.useId().replace(/:/g, '')}`;
  const [open, setOpen] = React.useState(false);
  const field = React.useRef<HTMLInputElement>(null);
  React.useEffect(() => field.current?.focus(), [open]);
  return (
    <>
      {open && (
        <div className="jp-kitaru-Field">
          <label className="jp-kitaru-Field-label" htmlFor={id}>
            {trans.__('Reason')} <span className="jp-kitaru-dim">{trans.__('(goes on record with your answer)')}</span>
          </label>
          <input
            id={id}
            ref={field}
            className="jp-mod-styled"
            value={reason}
            disabled={busy}
            onChange={event => onReason(event.target.value)}
          />
        </div>
      )}
      <div className="jp-kitaru-buttons">
        <Button className="jp-mod-styled jp-mod-accept" disabled={busy} onClick={() => onSend(true)}>
          {trans.__('Approve')}
        </Button>
        <Button className="jp-mod-styled jp-mod-warn" disabled={busy} onClick={() => onSend(false)}>
          {trans.__('Reject')}
        </Button>
        {!open && (
          <Button className="jp-kitaru-link" disabled={busy} onClick={() => setOpen(true)}>
            {trans.__('Add a reason')}
          </Button>
        )}
      </div>
    </>
  );
}

function InTerminal({ wait, trans }: { wait: IWait; trans: TranslationBundle }): JSX.Element {
  const [what, command] =
    wait.kind === 'room'
      ? [trans.__('Make room in a terminal to go on:'), `kitaru-nb gc && kitaru-nb resume ${wait.execution}`]
      : [trans.__('Raise the budget in a terminal to go on:'), `kitaru-nb resume ${wait.execution} --budget USD`];
  return (
    <div className="jp-kitaru-Field">
      <div className="jp-kitaru-dim">{what}</div>
      <code className="jp-kitaru-command">{command}</code>
    </div>
  );
}

function Ended({ wait, trans, onGoOn }: ICardProps): JSX.Element {
  if (wait.status === 'expired') {
    return (
      <div className="jp-kitaru-Wait-ended" role="status">
        {trans.__('Nobody answered in time. To ask anew, change the question and run the cell again.')}
      </div>
    );
  }
  return (
    <>
      <div className="jp-kitaru-Wait-ended" role="status">
        <Answer wait={wait} trans={trans} />
        <span className="jp-kitaru-dim" title={moment(wait.answered_at)}>
          {visible(joined(wait.answered_by, ago(wait.answered_at, trans), wait.reason))}
        </span>
      </div>
      {onGoOn && (
        <div className="jp-kitaru-buttons">
          <Button className="jp-mod-styled jp-mod-accept" onClick={onGoOn}>
            {trans.__('Run this cell to go on')}
          </Button>
        </div>
      )}
    </>
  );
}

function Answer({ wait, trans }: { wait: IWait; trans: TranslationBundle }): JSX.Element {
  if (isYesOrNo(wait.schema)) {
    return <strong>{wait.answer === true ? trans.__('Approved') : trans.__('Rejected')}</strong>;
  }
  if (typeof wait.answer === 'object' && wait.answer !== null) {
    return <Show value={wait.answer} />;
  }
  return <strong>{visible(String(wait.answer))}</strong>;
}

function Footnote({ wait, trans, execution, onReveal }: ICardProps): JSX.Element {
  useTicking();
  const [so, setSo] = React.useState<IExecution | null>(null);
  React.useEffect(() => {
    let gone = false;
    // What it has cost is an extra: where it cannot be had, the question stands without it.
    execution?.().then(
      found => !gone && setSo(found),
      () => undefined
    );
    return () => {
      gone = true;
    };
  }, [wait.address, wait.asked_at]);
  const asked = ago(wait.asked_at, trans);
  const left = wait.deadline ? (Date.parse(wait.deadline) - Date.now()) / 1000 : null;
  // A notebook whose kernel is there runs on, whatever waits: how long says nothing of the question.
  const sum = so ? joined(so.status === 'running' ? '' : duration(so.duration), cost(so.cost)) : '';
  const parts = joined(
    asked && trans.__('asked %1', asked),
    left !== null && (left > 0 ? trans.__('open for %1 more', span(left, trans)) : trans.__('the time is up')),
    so && titleOf(so),
    sum && trans.__('%1 so far', sum)
  );
  return (
    <div className="jp-kitaru-Wait-foot jp-kitaru-dim">
      <span title={moment(wait.asked_at)}>{parts}</span>
      {onReveal && (
        <Button className="jp-kitaru-link" onClick={onReveal}>
          {trans.__('Show the cell')}
        </Button>
      )}
    </div>
  );
}
