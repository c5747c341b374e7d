/** What else an output shows beside the address of a wait: for a question that this server has no record of. */
import * as React from 'react';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { MimeModel } from '@jupyterlab/rendermime';
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { Widget } from '@lumino/widgets';
import type { ApiError } from '../api';

const NOWHERE = ['unknown-execution', 'unknown-wait', 'nothing-recorded'];

/** Whether a failure means that the question is recorded somewhere else, and not that something is broken. */
export function isElsewhere(error: ApiError): boolean {
  return error.isMissing || NOWHERE.includes(error.kind);
}

/** The output without our part of it; null where nothing is left to look at. Pure. */
export function restOf(model: IRenderMime.IMimeModel, mime: string): MimeModel | null {
  const { [mime]: _, ...data } = model.data;
  const shown = Object.entries(data).filter(([, value]) => value !== '');
  return shown.length ? new MimeModel({ data: Object.fromEntries(shown), trusted: model.trusted }) : null;
}

export function Rest({ model, rendermime }: { model: MimeModel; rendermime: IRenderMimeRegistry }): JSX.Element {
  const node = React.useRef<HTMLDivElement>(null);
  React.useEffect(() => {
    const mime = rendermime.preferredMimeType(model.data, model.trusted ? 'any' : 'prefer');
    const renderer = mime ? rendermime.createRenderer(mime) : null;
    if (renderer && node.current?.isConnected) {
      Widget.attach(renderer, node.current);
      void renderer.renderModel(model);
    }
    return () => renderer?.dispose();
  }, [model, rendermime]);
  return <div ref={node} />;
}
