/**
 * The MIME renderer: a wait in a cell's output.
 *
 * Of what the output says only the address is believed. Question, schema and what is to be approved
 * come from the server, so that a notebook from elsewhere cannot show a harmless question over a
 * real one. A question that the server has no record of, since its kernel records elsewhere, is left to
 * what else the output holds: the kernel's own form, or the words.
 */
import * as React from 'react';
import { ReactWidget } from '@jupyterlab/apputils';
import type { IRenderMimeRegistry, MimeModel } from '@jupyterlab/rendermime';
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { UseSignal } from '@jupyterlab/ui-components';
import type { IKitaru } from '../tokens';
import { Problem } from '../problem';
import { WaitCard } from './card';
import { Rest, isElsewhere, restOf } from './rest';

export const MIME = 'application/vnd.kitaru-nb.wait+json';

/** The address in an output's data; null where there is none. */
export function addressOf(data: { readonly [mime: string]: unknown } | undefined): string | null {
  const bundle = data?.[MIME];
  const address = typeof bundle === 'object' && bundle !== null ? (bundle as { address?: unknown }).address : null;
  return typeof address === 'string' && address.length < 1000 ? address : null;
}

export class WaitRenderer extends ReactWidget implements IRenderMime.IRenderer {
  constructor(
    private readonly _kitaru: IKitaru,
    private readonly _goOn: (address: string) => (() => void) | undefined,
    private readonly _rendermimeOf: (node: Node) => IRenderMimeRegistry
  ) {
    super();
    this.addClass('jp-kitaru-Renderer');
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._address = addressOf(model.data);
    this._rest = restOf(model, MIME);
    if (this._address !== null && !this._kitaru.waits.get(this._address)) {
      void this._kitaru.waits.look(this._address);
    }
    this.update();
    await this.renderPromise;
  }

  protected override render(): JSX.Element {
    const { waits, trans, api } = this._kitaru;
    const address = this._address;
    if (address === null) {
      return <Problem trans={trans} text={trans.__('This output names no wait.')} />;
    }
    return (
      <UseSignal signal={waits.changed}>
        {() => {
          const wait = waits.get(address);
          const problem = waits.problemOf(address);
          if (wait) {
            return (
              <WaitCard
                wait={wait}
                trans={trans}
                onAnswer={(answer, reason) => waits.answer(wait, answer, reason)}
                execution={() => api.execution(wait.execution)}
                onGoOn={this._goOn(address)}
              />
            );
          }
          if (problem && isElsewhere(problem) && this._rest) {
            return (
              <>
                <Rest model={this._rest} rendermime={this._rendermimeOf(this.node)} />
                <div className="jp-kitaru-dim jp-kitaru-Renderer-note">
                  {trans.__('This server has no record of the question: its kernel keeps its own.')}
                </div>
              </>
            );
          }
          if (problem) {
            return <Problem trans={trans} error={problem} onRetry={() => void waits.look(address)} />;
          }
          return <div className="jp-kitaru-dim">{trans.__('Asking the server…')}</div>;
        }}
      </UseSignal>
    );
  }

  private _address: string | null = null;
  private _rest: MimeModel | null = null;
}
