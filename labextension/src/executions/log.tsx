/**
 * What happened in an execution and what its steps showed, as it comes on record.
 *
 * What a step shows is on record once it has run for two seconds, what is large when it has ended;
 * also where the page that ran it was closed, or reloaded without being saved: here it is again.
 */
import * as React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import { IApi, ILine, asApiError } from '../api';
import { moment, uncoloured } from '../format';
import { Problem } from '../problem';
import type { IChange, INews } from '../tokens';

const MOST = 2000; // lines that are kept on the page; the command line has them all

export interface ILogProps {
  api: IApi;
  news: INews;
  execution: string;
  trans: TranslationBundle;
}

export function Log({ api, news, execution, trans }: ILogProps): JSX.Element {
  const [lines, setLines] = React.useState<readonly ILine[]>([]);
  const [problem, setProblem] = React.useState<unknown>(null);
  const [turn, setTurn] = React.useState(0);
  const box = React.useRef<HTMLDivElement>(null);

  React.useEffect(() => {
    let next = 0;
    let gone = false;
    let reading = false;
    let again = false;
    const read = async () => {
      if (reading) {
        again = true;
        return;
      }
      reading = true;
      try {
        let more = true;
        while (more && !gone) {
          again = false;
          const page = await api.logs(execution, next);
          if (!gone) {
            setProblem(null);
          }
          next = page.next;
          more = page.more || again;
          if (!gone && page.lines.length) {
            setLines(known => [...known, ...page.lines].slice(-MOST));
          }
        }
      } catch (error) {
        if (!gone) {
          setProblem(error);
        }
      }
      reading = false;
    };
    const heard = (_: INews, change: IChange) => {
      if (change.all || change.executions.includes(execution)) {
        void read();
      }
    };
    setLines([]);
    setProblem(null);
    news.changed.connect(heard);
    void read();
    return () => {
      gone = true;
      news.changed.disconnect(heard);
    };
  }, [execution, turn]);
  React.useEffect(() => {
    const node = box.current;
    if (node) {
      node.scrollTop = node.scrollHeight;
    }
  }, [lines]);

  return (
    <>
      {problem ? <Problem trans={trans} error={asApiError(problem)} onRetry={() => setTurn(turn + 1)} /> : null}
      {(lines.length > 0 || !problem) && (
        <div ref={box} className="jp-kitaru-Log" role="log" aria-label={trans.__('Log')} tabIndex={0}>
          {lines.map((line, index) => (
            <div key={index} data-stream={line.stream ?? 'event'} title={moment(line.at)}>
              {uncoloured(line.text)}
            </div>
          ))}
          {lines.length === 0 && <div className="jp-kitaru-dim">{trans.__('Nothing yet.')}</div>}
        </div>
      )}
    </>
  );
}
