/** A status as a word with a mark: the word says it, the colour only helps. */
import * as React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { BadgeStatus, CheckpointStatus, ExecutionStatus } from './api';

export type Status = ExecutionStatus | BadgeStatus | CheckpointStatus;

export function wordOf(status: Status, trans: TranslationBundle): string {
  switch (status) {
    case 'running':
      return trans.__('running');
    case 'queued':
      return trans.__('queued');
    case 'waiting':
      return trans.__('waiting');
    case 'completed':
      return trans.__('completed');
    case 'failed':
      return trans.__('failed');
    case 'interrupted':
      return trans.__('interrupted');
    case 'cancelled':
      return trans.__('cancelled');
    case 'restored':
      return trans.__('restored');
    case 'fresh':
      return trans.__('fresh');
    case 'stale':
      return trans.__('stale');
  }
}

export function StatusMark({ status }: { status: Status }): JSX.Element {
  return <span className="jp-kitaru-Mark" data-status={status} aria-hidden="true" />;
}

export function StatusWord({ status, trans }: { status: Status; trans: TranslationBundle }): JSX.Element {
  return (
    <span className="jp-kitaru-Status">
      <StatusMark status={status} />
      {wordOf(status, trans)}
    </span>
  );
}
