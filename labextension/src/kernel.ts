/** What is asked of a kernel beside its notebook's cells: nothing of it lands in the notebook. */
import type { ISessionContext } from '@jupyterlab/apputils';
import type { Kernel, KernelMessage } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { UUID } from '@lumino/coreutils';

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
  const said = await valueOf(kernel, `(lambda found: 'new' if found is None else found.standing())(${EXTENSION})`);
  return STANDINGS[said ?? ''] ?? 'new';
}

/**
 * What the kernel calls its notebook; null where it has not loaded our extension, or does not know.
 *
 * A kernel on another machine, or one that was told so, knows its notebook by another path than the
 * server that shows it.
 */
export async function notebookOf(kernel: Kernel.IKernelConnection): Promise<string | null> {
  const told = await valueOf(kernel, `(lambda found: None if found is None else found.notebook())(${EXTENSION})`);
  return told === null || told === 'None' ? null : stringOf(told);
}

/**
 * Whether this is the first time that anybody asks this kernel for this turn.
 *
 * A kernel does one thing after the other, and all pages that show its notebook ask it: so of any
 * number of tabs, browsers and people that would do something at the same moment, one is told yes.
 * A kernel that cannot tell says yes, too.
 */
export async function isFirst(kernel: Kernel.IKernelConnection, turn: string): Promise<boolean> {
  const taken = `vars(__import__('kitaru_nb.notebook.extension', fromlist=['_'])).setdefault('_turns', {})`;
  const [key, token] = [literal(turn), literal(UUID.uuid4())];
  return (await valueOf(kernel, `${taken}.setdefault(${key}, ${token}) == ${token}`)) !== 'False';
}

/** The repr of an expression in the kernel, which nothing shows or counts; null where it has none. */
async function valueOf(kernel: Kernel.IKernelConnection, expression: string): Promise<string | null> {
  for (;;) {
    const future = kernel.requestExecute({
      code: '',
      silent: true,
      store_history: false,
      user_expressions: { kitaru: expression }
    });
    const content = (await future.done).content as { status: string; user_expressions?: Record<string, any> };
    // A request that is queued behind a cell that fails is thrown away with the cells behind it.
    if (content.status !== 'aborted') {
      return content.user_expressions?.kitaru?.data?.['text/plain'] ?? null;
    }
  }
}

/** A line magic of ours that takes one name. */
export type Magic = 'why' | 'rewind' | 'resume';

/** Run a line magic of ours on a name, with the extension loaded first. */
export async function magic(
  context: ISessionContext,
  trans: TranslationBundle,
  name: Magic,
  argument: string
): Promise<ISaid> {
  const kernel = context.session?.kernel;
  if (!kernel) {
    return { ok: false, text: trans.__('This notebook has no kernel. Start one, then try again.') };
  }
  if (argument.startsWith('-')) {
    return { ok: false, text: trans.__('“%1” would be read as an option. Give its checkpoint another name, then try again.', argument) };
  }
  await kernel.requestExecute({ code: '%load_ext kitaru_nb', silent: true, store_history: false }).done;
  return run(kernel, codeOf(name, argument));
}

// Nothing in it means anything to IPython or to a shell's words, and it is all of one line.
const PLAIN = /^[\p{L}\p{N}_][\p{L}\p{N}_ .,:/#@+=-]*$/u;

/**
 * The code that gives a line magic exactly this argument. Pure.
 *
 * A name comes from a record, and a record may come from anybody. IPython runs what stands in braces
 * or behind a `$` in a line magic, and ends the line where Unicode has a line break: so a name with
 * more than plain characters in it goes to the magic's function, past IPython, as a literal. The
 * others stay a magic, since a kernel knows its own magics by their line.
 */
export function codeOf(name: Magic, argument: string): string {
  if (PLAIN.test(argument)) {
    return `%${name} ${argument.includes(' ') ? `'${argument}'` : argument}`;
  }
  const word = `'${argument.replace(/'/g, `'"'"'`)}'`; // one word, also once it is split as a shell would
  return `get_ipython().find_line_magic('${name}')(${literal(word)})`;
}

/** A Python string of ASCII letters and digits, whatever the text is made of. */
function literal(text: string): string {
  const escaped = (character: string) => `\\U${character.codePointAt(0)!.toString(16).padStart(8, '0')}`;
  return `'${text.replace(/[^A-Za-z0-9]/gu, escaped)}'`;
}

/** The text that Python has quoted as for a URL, so that its repr has nothing to undo; null where it is none. */
function stringOf(shown: string): string | null {
  try {
    return decodeURIComponent(shown.replace(/^'|'$/g, ''));
  } catch {
    return null; // not ours
  }
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
