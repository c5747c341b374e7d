/** What is asked of a kernel beside its notebook's cells: nothing of it lands in the notebook. */
import type { ISessionContext } from '@jupyterlab/apputils';
import type { Kernel, KernelMessage } from '@jupyterlab/services';

/** What a run of code said, and whether it failed. */
export interface ISaid {
  readonly ok: boolean;
  readonly text: string;
}

const EXTENSION = "__import__('sys').modules.get('kitaru_nb.notebook.extension')";

/** How a kernel stands to a wait: a cell of it waits, none does any more, or it has run nothing of ours yet. */
export type Standing = 'waits' | 'went on' | 'new';

const STANDINGS: Record<string, Standing> = { "'waits'": 'waits', "'went on'": 'went on' };

export async function standingOf(kernel: Kernel.IKernelConnection): Promise<Standing> {
  const expression = `(lambda found: 'new' if found is None else found.standing())(${EXTENSION})`;
  const future = kernel.requestExecute({
    code: '',
    silent: true,
    store_history: false,
    user_expressions: { kitaru: expression }
  });
  const reply = (await future.done) as KernelMessage.IExecuteReplyMsg;
  const content = reply.content as { user_expressions?: Record<string, any> };
  return STANDINGS[content.user_expressions?.kitaru?.data?.['text/plain']] ?? 'new';
}

/** Run a line magic of ours, with the extension loaded first. */
export async function magic(context: ISessionContext, line: string): Promise<ISaid> {
  const kernel = context.session?.kernel;
  if (!kernel) {
    return { ok: false, text: 'no kernel' };
  }
  await kernel.requestExecute({ code: '%load_ext kitaru_nb', silent: true, store_history: false }).done;
  return run(kernel, line);
}

/** Run code beside the notebook, and gather what it says. */
export async function run(kernel: Kernel.IKernelConnection, code: string): Promise<ISaid> {
  const future = kernel.requestExecute({ code, store_history: false, stop_on_error: false });
  const said: string[] = [];
  future.onIOPub = message => {
    const content = message.content as any;
    switch (message.header.msg_type) {
      case 'stream':
        said.push(content.text);
        break;
      case 'display_data':
      case 'execute_result':
      case 'update_display_data':
        said.push(`${content.data['text/plain'] ?? ''}\n`);
        break;
      case 'error':
        said.push(`${(content.traceback ?? []).join('\n') || content.evalue}\n`);
        break;
    }
  };
  const reply = (await future.done) as KernelMessage.IExecuteReplyMsg;
  return { ok: reply.content.status === 'ok', text: plain(said.join('')).trim() };
}

/** Text as a terminal would show it, without the colours. */
function plain(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/\u001b\[[0-9;]*m/g, '');
}
