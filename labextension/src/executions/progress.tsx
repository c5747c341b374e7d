/** How far an execution is: in words, and as a bar where it is known how far there is to go. */
import * as React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IProgress } from '../api';

/** ``12 of 40``, ``12 steps``; empty where there is nothing to say. */
export function progressOf(progress: IProgress | undefined, trans: TranslationBundle): string {
  if (!progress || (progress.total === null && progress.done === 0)) {
    return '';
  }
  const { done, total } = progress;
  return total === null ? trans._n('%1 step', '%1 steps', done) : trans.__('%1 of %2', done, total);
}

export interface IProgressBarProps {
  progress: IProgress | undefined;
  /** Whose progress it is. */
  label: string;
  trans: TranslationBundle;
}

export function ProgressBar({ progress, label, trans }: IProgressBarProps): JSX.Element | null {
  if (!progress || progress.total === null) {
    return null;
  }
  const { done, total } = progress;
  return (
    <div
      className="jp-kitaru-Progress"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={total}
      aria-valuenow={done}
      aria-valuetext={progressOf(progress, trans)}
    >
      <span style={{ width: `${(100 * done) / total}%` }} />
    </div>
  );
}
