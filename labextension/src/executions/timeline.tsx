/** An execution's checkpoints, one below the other, with what each took and what it stored. */
import * as React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IApi, IArtifact, ICheckpoint } from '../api';
import { ago, cost, duration, joined, moment, uncoloured, visible } from '../format';
import { StatusMark, wordOf } from '../status';
import { Artifact, useAsked } from './artifact';

export interface ITimelineProps {
  api: IApi;
  execution: string;
  checkpoints: readonly ICheckpoint[];
  trans: TranslationBundle;
  onReplay?: (checkpoint: string) => void;
}

const MOST = 200; // drawn at once; the rest on request
const LONGEST = 400; // characters of an error

export function Timeline(props: ITimelineProps): JSX.Element {
  const { checkpoints, trans } = props;
  const [open, setOpen] = React.useState<string | null>(null);
  const [all, setAll] = React.useState(false);
  const longest = Math.max(1e-9, ...checkpoints.map(each => each.duration ?? 0));
  const labels = React.useMemo(() => labelsOf(checkpoints), [checkpoints]);
  const first = all ? 0 : Math.max(0, checkpoints.length - MOST);
  if (checkpoints.length === 0) {
    return (
      <div className="jp-kitaru-empty">
        {trans.__('No checkpoint is on record yet. Put %1 on top of a cell that takes long or costs money.', '%%checkpoint')}
      </div>
    );
  }
  return (
    <>
      {first > 0 && (
        <button type="button" className="jp-kitaru-link" onClick={() => setAll(true)}>
          {trans._n('Show %1 earlier checkpoint', 'Show %1 earlier checkpoints', first)}
        </button>
      )}
      <ol className="jp-kitaru-Timeline" aria-label={trans.__('Checkpoints')}>
        {checkpoints.slice(first).map((checkpoint, offset) => {
          const label = labels[first + offset];
          return (
            <Step
              key={label}
              {...props}
              label={label}
              checkpoint={checkpoint}
              share={(checkpoint.duration ?? 0) / longest}
              isOpen={open === label}
              onToggle={() => setOpen(open === label ? null : label)}
            />
          );
        })}
      </ol>
    </>
  );
}

/** How each checkpoint is typed: the second of a name is ``name#2``. Pure. */
export function labelsOf(checkpoints: readonly { name: string }[]): string[] {
  const seen = new Map<string, number>();
  return checkpoints.map(({ name }) => {
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return count === 1 ? name : `${name}#${count}`;
  });
}

/** The largest first: what is looked for is rarely a module or a flag. */
function bySize(artifacts: readonly IArtifact[]): IArtifact[] {
  return [...artifacts].sort((one, other) => (other.bytes ?? 0) - (one.bytes ?? 0));
}

interface IStepProps extends ITimelineProps {
  label: string;
  checkpoint: ICheckpoint;
  share: number;
  isOpen: boolean;
  onToggle: () => void;
}

function Step(props: IStepProps): JSX.Element {
  const { checkpoint, label, share, isOpen, trans } = props;
  const word = checkpoint.status === 'completed' ? trans.__('ran') : wordOf(checkpoint.status, trans);
  return (
    <li className="jp-kitaru-Step" data-status={checkpoint.status}>
      <button type="button" className="jp-kitaru-Step-head" aria-expanded={isOpen} onClick={props.onToggle}>
        <StatusMark status={checkpoint.status} />
        <span className="jp-kitaru-Step-name" title={visible(label)}>
          {visible(label)}
        </span>
        <span className="jp-kitaru-Step-figures">{joined(word, duration(checkpoint.duration), cost(checkpoint.cost))}</span>
        <span className="jp-kitaru-Step-bar" aria-hidden="true">
          <span style={{ width: `${Math.max(1, share * 100)}%` }} />
        </span>
      </button>
      {isOpen && (
        <div className="jp-kitaru-Step-body">
          <div className="jp-kitaru-dim" title={moment(checkpoint.started_at)}>
            {joined(
              ago(checkpoint.started_at, trans),
              checkpoint.reads.length > 0 && trans.__('reads %1', visible(checkpoint.reads.join(', ')))
            )}
          </div>
          {checkpoint.status === 'failed' && <Failure {...props} />}
          {bySize(checkpoint.artifacts).map(artifact => (
            <Artifact key={artifact.ref} api={props.api} artifact={artifact} trans={trans} />
          ))}
          {checkpoint.artifacts.length === 0 && checkpoint.status !== 'failed' && <div className="jp-kitaru-dim">{trans.__('It stored nothing.')}</div>}
          {props.onReplay && (
            <button type="button" className="jp-kitaru-link" onClick={() => props.onReplay!(label)}>
              {trans.__('Replay from here…')}
            </button>
          )}
        </div>
      )}
    </li>
  );
}

/** What it raised, in a few lines; the log below has the whole traceback. */
function Failure({ api, execution, label }: IStepProps): JSX.Element | null {
  const { value } = useAsked(() => api.outputs(execution, label), `${execution}:${label}`);
  const raised = value?.outputs.find(output => output.output_type === 'error');
  if (!raised) {
    return null; // it may have been killed: then there is nothing to say but that it failed
  }
  const said = uncoloured(joinedWith(': ', raised.ename, raised.evalue));
  return <div className="jp-kitaru-Step-error">{said.length > LONGEST ? `${said.slice(0, LONGEST)}…` : said}</div>;
}

function joinedWith(between: string, ...parts: unknown[]): string {
  return parts.filter(part => typeof part === 'string' && part).join(between);
}
