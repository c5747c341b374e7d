/** Two executions side by side, as the server draws them: a page that runs nothing, in a frame that lets it. */
import * as React from 'react';
import { ReactWidget } from '@jupyterlab/apputils';
import { diffIcon } from './icons';
import { asApiError } from './api';
import { Problem } from './problem';
import { useIsLight } from './theme';
import type { IChange, IKitaru, INews } from './tokens';

export class CompareView extends ReactWidget {
  constructor(
    private readonly _kitaru: IKitaru,
    private readonly _a: string,
    private readonly _b: string
  ) {
    super();
    this.addClass('jp-kitaru-View');
    this.addClass('jp-mod-frame');
    this.title.icon = diffIcon;
    const { trans } = _kitaru;
    this.title.label = trans.__('Compare');
    this.title.caption = `${_a} – ${_b}`;
    this.title.closable = true;
  }

  protected override render(): JSX.Element {
    return <Comparison kitaru={this._kitaru} a={this._a} b={this._b} />;
  }
}

function Comparison({ kitaru, a, b }: { kitaru: IKitaru; a: string; b: string }): JSX.Element {
  const { api, news, trans } = kitaru;
  const light = useIsLight();
  const [page, setPage] = React.useState<string | null>(null);
  const [problem, setProblem] = React.useState<unknown>(null);
  const read = () => {
    setProblem(null);
    api.diffPage(a, b).then(setPage, setProblem);
  };
  React.useEffect(() => {
    const heard = (_: INews, change: IChange) => {
      if (change.executions.includes(a) || change.executions.includes(b)) {
        read();
      }
    };
    read();
    news.changed.connect(heard);
    return () => {
      news.changed.disconnect(heard);
    };
  }, [a, b]);
  if (problem) {
    return <Problem trans={trans} error={asApiError(problem)} onRetry={read} />;
  }
  if (page === null) {
    return <div className="jp-kitaru-empty">{trans.__('Comparing…')}</div>;
  }
  return (
    <iframe
      className="jp-kitaru-Frame"
      sandbox=""
      srcDoc={themed(page, light)}
      title={trans.__('Comparison of %1 and %2', a, b)}
    />
  );
}

/** The page told of the theme: a frame of an origin of its own learns of it in no other way. Pure. */
export function themed(page: string, light: boolean): string {
  return page.replace('<html', `<html data-jp-theme-light="${light}"`);
}
