/** Every command, with a JSON schema of its arguments. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import { type CodeCell, isCodeCellModel } from '@jupyterlab/cells';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import type { JSONObject, JSONValue, ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { IWait, asApiError } from './api';
import { markFor, markOf, toggled } from './cells/source';
import type { Notebooks } from './cells/notebooks';
import type { Shown } from './cells/shown';
import { checkpointIcon, diffIcon, kitaruIcon, replayIcon, rewindIcon } from './icons';
import { magic } from './kernel';
import { wordsOf } from './problem';
import type { IKitaru } from './tokens';

export namespace CommandIDs {
  export const openPanel = 'kitaru-nb:open-panel';
  export const search = 'kitaru-nb:search';
  export const nextWait = 'kitaru-nb:next-wait';
  export const answer = 'kitaru-nb:answer';
  export const openExecution = 'kitaru-nb:open-execution';
  export const toggleCheckpoint = 'kitaru-nb:toggle-checkpoint';
  export const runFromHere = 'kitaru-nb:run-from-here';
  export const replay = 'kitaru-nb:replay';
  export const rewind = 'kitaru-nb:rewind';
  export const why = 'kitaru-nb:why';
  export const showShown = 'kitaru-nb:show-shown';
  export const resume = 'kitaru-nb:resume';
  export const compare = 'kitaru-nb:compare';
}

/** What the commands need of the rest. */
export interface ICommandParts {
  kitaru: IKitaru;
  tracker: INotebookTracker | null;
  notebooks: Notebooks | null;
  openPanel: () => void;
  search: () => void;
  openExecution: (id: string) => void;
  replay: (execution: string, from: string | null) => void;
  compare: (a: string, b: string) => void;
  reveal: (wait: IWait) => (() => void) | undefined;
}

export function addCommands(app: JupyterFrontEnd, parts: ICommandParts): void {
  const { commands } = app;
  const { kitaru, tracker, notebooks } = parts;
  const { trans } = kitaru;
  /** The cell that is meant: the one under the context menu where it comes from there, else the active one. */
  const cellOf = (args: ReadonlyPartialJSONObject) => {
    const panel = tracker?.currentWidget;
    const node = args.here === true ? app.contextMenuHitTest(each => each.classList.contains('jp-Cell')) : undefined;
    const found = node ? panel?.content.widgets.find(each => each.node === node) : tracker?.activeCell;
    return found && isCodeCellModel(found.model) ? (found as CodeCell) : null;
  };
  const hasCell = (args: ReadonlyPartialJSONObject) => cellOf(args) !== null;
  /** What is known of that cell, and of its notebook. */
  const known = (args: ReadonlyPartialJSONObject) => {
    const panel = tracker?.currentWidget;
    const model = panel && notebooks?.of(panel)?.model;
    const cell = cellOf(args);
    const step = cell ? model?.of(cell.model.id) : undefined;
    return { panel, cell, execution: model?.execution ?? null, step, problem: model?.problem };
  };

  /** The lines that were taken away: put back with all that was typed in them. */
  const marks = new WeakMap<object, string>();

  commands.addCommand(CommandIDs.openPanel, {
    label: trans.__('Show waits and executions'),
    icon: kitaruIcon,
    describedBy: { args: NONE },
    execute: parts.openPanel
  });
  commands.addCommand(CommandIDs.search, {
    label: trans.__('Search executions'),
    icon: kitaruIcon,
    describedBy: { args: NONE },
    execute: parts.search
  });
  commands.addCommand(CommandIDs.nextWait, {
    label: trans.__('Go to the next question that waits'),
    icon: kitaruIcon,
    describedBy: { args: NONE },
    execute: async () => {
      await kitaru.waits.refresh();
      const wait = kitaru.waits.inbox?.[0];
      if (!wait) {
        Notification.info(trans.__('Nothing waits for you.'), { autoClose: 3000 });
        return;
      }
      (parts.reveal(wait) ?? parts.openPanel)();
    }
  });
  commands.addCommand(CommandIDs.answer, {
    label: trans.__('Answer a wait'),
    describedBy: {
      args: {
        type: 'object',
        required: ['address', 'answer'],
        properties: {
          address: { type: 'string', description: trans.__('Which wait: EXECUTION/NAME, #n from the second of a name on') },
          answer: { description: trans.__('The answer, as JSON that fits the schema of the wait') },
          reason: { type: 'string', description: trans.__('Goes on record with the answer') }
        }
      }
    },
    execute: async args => {
      const wait = await kitaru.api.wait(String(args.address));
      return (await kitaru.waits.answer(wait, args.answer as JSONValue, args.reason as string | undefined)) as unknown;
    }
  });
  commands.addCommand(CommandIDs.openExecution, {
    label: trans.__('Show an execution'),
    describedBy: {
      args: {
        type: 'object',
        properties: { execution: { type: 'string', description: trans.__('Its id; the notebook’s own without it') } }
      }
    },
    isEnabled: args => typeof args.execution === 'string' || known(args).execution !== null,
    execute: args => {
      const id = (args.execution as string | undefined) ?? known(args).execution;
      if (id) {
        parts.openExecution(id);
      }
    }
  });
  commands.addCommand(CommandIDs.toggleCheckpoint, {
    label: trans.__('Make this a checkpoint'),
    caption: trans.__('Record what this cell does, so that it is never run twice'),
    icon: checkpointIcon,
    describedBy: {
      args: {
        type: 'object',
        properties: { name: { type: 'string', description: trans.__('What the checkpoint is called; made up without it') } }
      }
    },
    isEnabled: hasCell,
    isToggled: args => markOf(cellOf(args)?.model.sharedModel.getSource() ?? '') !== null,
    execute: args => {
      const model = cellOf(args)?.model;
      if (model) {
        const source = model.sharedModel.getSource();
        const name = args.name as string | undefined;
        const mark = name === undefined ? marks.get(model) : markFor(name);
        marks.set(model, markOf(source) ?? markFor());
        model.sharedModel.setSource(toggled(source, mark));
      }
    }
  });
  commands.addCommand(CommandIDs.runFromHere, {
    label: trans.__('Run from here'),
    caption: trans.__('Run this cell and all below; checkpoints that still hold are restored'),
    describedBy: { args: NONE },
    isEnabled: hasCell,
    execute: async args => {
      const { panel, cell } = known(args);
      if (panel && cell) {
        const cells = panel.content.widgets.slice(panel.content.widgets.indexOf(cell));
        await NotebookActions.runCells(panel.content, cells, panel.sessionContext);
      }
    }
  });
  commands.addCommand(CommandIDs.replay, {
    label: trans.__('Replay from here…'),
    caption: trans.__('Run again from this checkpoint on with other values, as a new execution'),
    icon: replayIcon,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          execution: { type: 'string', description: trans.__('Which execution; the notebook’s own without it') },
          from: { type: 'string', description: trans.__('Which checkpoint; that of the active cell without it') }
        }
      }
    },
    isEnabled: args => typeof args.execution === 'string' || known(args).execution !== null,
    execute: args => {
      const { execution, step } = known(args);
      const id = (args.execution as string | undefined) ?? execution;
      if (id) {
        parts.replay(id, (args.from as string | undefined) ?? step?.checkpoint ?? null);
      }
    }
  });
  commands.addCommand(CommandIDs.rewind, {
    label: trans.__('Rewind to here…'),
    caption: trans.__('Put the kernel’s names back to how they were when this checkpoint was committed'),
    icon: rewindIcon,
    describedBy: {
      args: {
        type: 'object',
        properties: { checkpoint: { type: 'string', description: trans.__('Which one; that of the active cell without it') } }
      }
    },
    isEnabled: args => typeof args.checkpoint === 'string' || !!known(args).step?.started_at,
    execute: async args => {
      const { panel, step } = known(args);
      const name = (args.checkpoint as string | undefined) ?? step?.checkpoint;
      if (panel && name) {
        await rewind(panel, name, kitaru);
      }
    }
  });
  commands.addCommand(CommandIDs.why, {
    label: trans.__('Why did this run, or why not?'),
    describedBy: { args: NONE },
    isEnabled: args => known(args).step !== undefined || !!known(args).problem,
    execute: async args => {
      const { panel, step, problem } = known(args);
      if (problem) {
        Notification.error(wordsOf(problem, trans), { autoClose: 8000 });
      }
      if (!panel || !step) {
        return;
      }
      const said = step.checkpoint && panel.sessionContext.session ? await magic(panel.sessionContext, trans, 'why', step.checkpoint) : null;
      await showDialog({
        title: step.checkpoint ?? trans.__('This cell'),
        body: (said?.ok && said.text) || step.why || trans.__('It has not run yet.'),
        buttons: [Dialog.okButton({ label: trans.__('Close') })]
      });
    }
  });
  commands.addCommand(CommandIDs.showShown, {
    label: trans.__('Show what this cell has shown'),
    caption: trans.__('Put what this checkpoint has shown, or shows while it runs, back into its cell'),
    describedBy: {
      args: {
        type: 'object',
        properties: {
          execution: { type: 'string', description: trans.__('Which execution; the notebook’s own without it') },
          checkpoint: { type: 'string', description: trans.__('Which one; that of the active cell without it') }
        }
      }
    },
    isEnabled: args => hasCell(args) && (typeof args.checkpoint === 'string' || !!known(args).step?.checkpoint),
    execute: async args => {
      const { panel, cell, execution, step } = known(args);
      const shown = panel && notebooks?.of(panel)?.shown;
      const id = (args.execution as string | undefined) ?? execution;
      const name = (args.checkpoint as string | undefined) ?? step?.checkpoint;
      if (shown && cell && id && name) {
        await showAgain(shown, cell, id, name, kitaru);
      }
    }
  });
  commands.addCommand(CommandIDs.resume, {
    label: trans.__('Resume the last execution'),
    describedBy: { args: NONE },
    isEnabled: () => {
      const panel = tracker?.currentWidget;
      return !!panel && !!notebooks?.of(panel)?.model.dead;
    },
    execute: async () => {
      const panel = tracker?.currentWidget;
      await (panel && notebooks?.of(panel)?.bar.resume());
    }
  });
  commands.addCommand(CommandIDs.compare, {
    label: trans.__('Compare two executions'),
    icon: diffIcon,
    describedBy: {
      args: {
        type: 'object',
        required: ['a', 'b'],
        properties: {
          a: { type: 'string', description: trans.__('The id of one') },
          b: { type: 'string', description: trans.__('The id of the other') }
        }
      }
    },
    isVisible: args => typeof args.a === 'string',
    execute: args => parts.compare(String(args.a), String(args.b))
  });
}

/** The commands that make sense without arguments: for the palette. */
export const PALETTE = [
  CommandIDs.openPanel,
  CommandIDs.search,
  CommandIDs.nextWait,
  CommandIDs.openExecution,
  CommandIDs.toggleCheckpoint,
  CommandIDs.runFromHere,
  CommandIDs.replay,
  CommandIDs.rewind,
  CommandIDs.why,
  CommandIDs.showShown,
  CommandIDs.resume
];

/** Those that can be used or not by the active cell, or show how it is. */
export const OF_ACTIVE_CELL = [
  CommandIDs.toggleCheckpoint,
  CommandIDs.runFromHere,
  CommandIDs.replay,
  CommandIDs.rewind,
  CommandIDs.why,
  CommandIDs.showShown
];

const NONE: JSONObject = { type: 'object', properties: {} };

async function showAgain(shown: Shown, cell: CodeCell, execution: string, name: string, { trans }: IKitaru): Promise<void> {
  const words = {
    shown: '',
    nothing: trans.__('Nothing is on record of what “%1” has shown: it has not run, or not for long enough.', name),
    'runs here': trans.__('The cell runs on this page: what it shows appears by itself.')
  };
  try {
    const said = words[await shown.show(cell, execution, name)];
    if (said) {
      Notification.info(said, { autoClose: 5000 });
    }
  } catch (error) {
    Notification.error(wordsOf(asApiError(error), trans), { autoClose: 8000 });
  }
}

async function rewind(panel: NotebookPanel, name: string, { trans }: IKitaru): Promise<void> {
  const asked = await showDialog({
    title: trans.__('Rewind to “%1”?', name),
    body: trans.__(
      'The kernel’s names get the values that they had when it was committed. What has changed since and is in no checkpoint is lost.'
    ),
    buttons: [Dialog.cancelButton({ label: trans.__('Leave as it is') }), Dialog.okButton({ label: trans.__('Rewind') })]
  });
  if (!asked.button.accept) {
    return;
  }
  const said = await magic(panel.sessionContext, trans, 'rewind', name);
  const text = said.text.replace(/^kitaru: /, '');
  if (said.ok) {
    Notification.success(text, { autoClose: 8000 });
  } else {
    Notification.error(text, { autoClose: false });
  }
}
