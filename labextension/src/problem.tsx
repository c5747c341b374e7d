/** What went wrong, and what to do about it. */
import * as React from 'react';
import { Button } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ApiError } from './api';
import { joined, uncoloured } from './format';

export interface IProblemProps {
  trans: TranslationBundle;
  error?: ApiError;
  text?: string;
  onRetry?: () => void;
}

export function Problem({ trans, error, text, onRetry }: IProblemProps): JSX.Element {
  return (
    <div className="jp-kitaru-Problem" role="alert">
      <div>{uncoloured(text ?? (error ? whatOf(error, trans) : ''))}</div>
      {error && hintOf(error, trans) && <div className="jp-kitaru-dim">{uncoloured(hintOf(error, trans))}</div>}
      {onRetry && (
        <Button className="jp-mod-styled" onClick={onRetry}>
          {trans.__('Try again')}
        </Button>
      )}
    </div>
  );
}

/** The same in one line. */
export function wordsOf(error: ApiError, trans: TranslationBundle): string {
  return uncoloured(joined(whatOf(error, trans), hintOf(error, trans)));
}

function whatOf(error: ApiError, trans: TranslationBundle): string {
  if (error.isMissing) {
    return trans.__('The server part of kitaru_nb does not answer here.');
  }
  return error.status === 0 ? trans.__('The Jupyter server cannot be reached: %1', error.message) : error.message;
}

function hintOf(error: ApiError, trans: TranslationBundle): string {
  if (error.isMissing) {
    return trans.__(
      'Install kitaru-nb where the Jupyter server runs, or enable it there: jupyter server extension enable kitaru_nb'
    );
  }
  if (error.status === 0) {
    return trans.__('What is on record is safe. See that the server runs and can be reached, then try again.');
  }
  if (error.status === 401 || error.status === 403) {
    return error.hint || trans.__('Reload the page and log in again. Where it stays so, you may only look here.');
  }
  return error.hint || trans.__('Try again; where it stays so, the log of the Jupyter server says why.');
}
