/** Where things open: the side panel, the main area, and a cell that is to be shown. */
import type { ILabShell, ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget, Notification } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import type { IDocumentManager } from '@jupyterlab/docmanager';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { Widget } from '@lumino/widgets';
import type { IExecutionDetail, IWait } from './api';
import type { Notebooks } from './cells/notebooks';
import { OF_ACTIVE_CELL, PALETTE, addCommands } from './commands';
import { CompareView } from './compare';
import { ExecutionsModel } from './executions/model';
import { IFound, cellOfWait, isInSight } from './notebooks';
import { KitaruPanel, PANEL_ID } from './panel';
import { servedPath, servedPaths } from './paths';
import { ReplayView } from './replay/view';
import type { IKitaru } from './tokens';
import { Notices } from './waits/notices';

export function activateViews(
  app: JupyterFrontEnd,
  kitaru: IKitaru,
  notebooks: Notebooks | null,
  tracker: INotebookTracker | null,
  labShell: ILabShell | null,
  restorer: ILayoutRestorer | null,
  palette: ICommandPalette | null,
  documents: IDocumentManager | null
): void {
  const { trans } = kitaru;
  const executions = new ExecutionsModel(kitaru.api, kitaru.news);

  const openPanel = () => {
    if (labShell) {
      app.shell.activateById(PANEL_ID);
    } else {
      const args = { side: 'right', title: panel.title.caption, id: PANEL_ID };
      void app.commands.execute('application:toggle-panel', args);
    }
  };
  const openExecution = (id: string) => {
    void executions.select(id);
    if (!panel.isVisible) {
      openPanel();
    }
  };
  const inMain = (content: Widget, id: string) => {
    const widget = new MainAreaWidget({ content });
    widget.id = id;
    widget.title.icon = content.title.icon;
    widget.toolbar.hide();
    app.shell.add(widget, 'main');
    app.shell.activateById(id);
  };
  let count = 0;
  const compare = (a: string, b: string) => inMain(new CompareView(kitaru, a, b), `kitaru-nb-diff-${++count}`);
  const replay = (execution: string, from: string | null) =>
    inMain(new ReplayView(kitaru, execution, from, { open: openExecution, compare }), `kitaru-nb-replay-${++count}`);
  const show = ({ panel: at, cell }: IFound) => {
    app.shell.activateById(at.id);
    at.content.activeCellIndex = at.content.widgets.indexOf(cell);
    void at.content.scrollToItem(at.content.activeCellIndex, 'smart');
  };
  const reveal = (wait: IWait) => {
    const found = tracker && cellOfWait(tracker, wait.address);
    return found ? () => show(found) : undefined;
  };

  const executionOf = (each: NotebookPanel) => notebooks?.of(each)?.model.execution;
  const isSeen = (wait: IWait) => tracker !== null && isInSight(tracker, wait, executionOf);
  new Notices(kitaru, { isSeen, show: wait => (reveal(wait) ?? openPanel)() });

  const panel = new KitaruPanel(kitaru, executions, {
    reveal,
    openNotebook: execution => {
      const at = tracker?.find(each => notebooks?.of(each)?.model.knownAs === execution.notebook);
      return at && execution.notebook ? () => app.shell.activateById(at.id) : openerOf(kitaru, execution, documents);
    },
    resumeHere: execution => {
      const at = tracker?.find(each => notebooks?.of(each)?.model.dead?.execution === execution.id);
      return at && (() => (app.shell.activateById(at.id), void notebooks?.of(at)?.bar.resume()));
    },
    replay: (execution, checkpoint) => replay(execution.id, checkpoint),
    compare
  });
  app.shell.add(panel, labShell ? 'left' : 'right', { rank: 600 });
  restorer?.add(panel, PANEL_ID);

  const follow = () => {
    const current = tracker?.currentWidget;
    const model = current && notebooks?.of(current)?.model;
    executions.setNotebook(current?.context.localPath ?? null, model?.knownAs ?? null);
  };
  tracker?.currentChanged.connect(follow);
  notebooks?.changed.connect(follow);
  follow();

  const search = () => {
    if (!panel.isVisible) {
      openPanel();
    }
    void executions.select(null).then(() => window.requestAnimationFrame(() => panel.search()));
  };
  addCommands(app, { kitaru, tracker, notebooks, openPanel, search, openExecution, replay, compare, reveal });
  PALETTE.forEach(command => palette?.addItem({ command, category: trans.__('Kitaru') }));
  tracker?.activeCellChanged.connect(() => {
    OF_ACTIVE_CELL.forEach(id => app.commands.notifyCommandChanged(id));
  });
}

/** Opens the notebook of an execution, where the file browser may have it. */
function openerOf(
  { api, trans }: IKitaru,
  execution: IExecutionDetail,
  documents: IDocumentManager | null
): (() => void) | undefined {
  const root = PageConfig.getOption('serverRoot');
  if (!documents || servedPaths(execution.notebook, root).length === 0) {
    return undefined;
  }
  const open = async () => {
    const path = await servedPath(api, execution, root);
    if (path !== null) {
      documents.openOrReveal(path);
    } else {
      Notification.warning(
        trans.__(
          '%1 is not below %2, which is what this server shows. Start a server in its folder to open it.',
          execution.notebook,
          root
        ),
        { autoClose: 8000 }
      );
    }
  };
  return () => void open();
}
