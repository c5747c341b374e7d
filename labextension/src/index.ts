/** The plugins, and nothing else. */
import { ILabShell, ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Api } from './api';
import { Notebooks } from './cells/notebooks';
import { News } from './news';
import { Settings } from './settings';
import { INotebooks, IKitaru } from './tokens';
import { GoOn } from './waits/goon';
import { WaitsModel } from './waits/model';
import { Queue } from './waits/queue';
import { MIME, WaitRenderer } from './waits/renderer';
import { activateViews } from './workspace';

const NAME = 'kitaru-nb-labextension';
const RANK = -20; // before that of widgets, which is -10: the kernel's own form is for where ours cannot be

const kitaru: JupyterFrontEndPlugin<IKitaru> = {
  id: `${NAME}:kitaru`,
  description: 'The records of kitaru_nb on this server.',
  autoStart: true,
  provides: IKitaru,
  optional: [ISettingRegistry, ITranslator],
  activate: (app: JupyterFrontEnd, registry: ISettingRegistry | null, translator: ITranslator | null): IKitaru => {
    const api = new Api(app.serviceManager.serverSettings);
    const news = new News(app.serviceManager.events.stream);
    const trans = (translator ?? nullTranslator).load('kitaru_nb');
    const settings = new Settings();
    if (registry) {
      settings.load(registry, kitaru.id).catch(error => console.warn('kitaru-nb: no settings, defaults hold', error));
    }
    return { api, news, waits: new WaitsModel(api, news), settings, trans };
  }
};

const waits: JupyterFrontEndPlugin<void> = {
  id: `${NAME}:waits`,
  description: 'Shows waits in cell outputs, and runs the cells again when they are answered.',
  autoStart: true,
  requires: [IKitaru, IRenderMimeRegistry],
  optional: [INotebookTracker],
  activate: (
    _: JupyterFrontEnd,
    kitaru: IKitaru,
    rendermime: IRenderMimeRegistry,
    tracker: INotebookTracker | null
  ): void => {
    const goOn = tracker && new GoOn(kitaru, tracker, new Queue(window.sessionStorage));
    // A notebook has one of its own, which knows its kernel's widgets.
    const rendermimeOf = (node: Node) =>
      tracker?.find(panel => panel.content.node.contains(node))?.content.rendermime ?? rendermime;
    const createRenderer = () => new WaitRenderer(kitaru, address => goOn?.offer(address), rendermimeOf);
    rendermime.addFactory({ safe: true, mimeTypes: [MIME], createRenderer }, RANK);
  }
};

const cells: JupyterFrontEndPlugin<Notebooks> = {
  id: `${NAME}:cells`,
  description: 'Shows below each checkpoint cell how it stands, and offers to resume after a kernel death.',
  autoStart: true,
  provides: INotebooks,
  requires: [IKitaru, INotebookTracker],
  activate: (_: JupyterFrontEnd, kitaru: IKitaru, tracker: INotebookTracker): Notebooks => new Notebooks(kitaru, tracker)
};

const views: JupyterFrontEndPlugin<void> = {
  id: `${NAME}:views`,
  description: 'The side panel of waits and executions, replays, comparisons, and all commands.',
  autoStart: true,
  requires: [IKitaru],
  optional: [INotebooks, INotebookTracker, ILabShell, ILayoutRestorer, ICommandPalette, IDocumentManager],
  activate: activateViews
};

export default [kitaru, waits, cells, views];
