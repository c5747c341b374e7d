/** What the user has chosen, with what holds where nothing is chosen or there are no settings at all. */
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ISignal, Signal } from '@lumino/signaling';

export class Settings {
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** A cell that waited runs again by itself when somebody has answered. */
  get runOnAnswer(): boolean {
    return this._values.runOnAnswer ?? true;
  }

  get showBadges(): boolean {
    return this._values.showBadges ?? true;
  }

  /** A bar offers to resume what a dead kernel has left. */
  get offerResume(): boolean {
    return this._values.offerResume ?? true;
  }

  /** A word about a question that comes while its notebook is out of sight. */
  get notices(): boolean {
    return this._values.notices ?? true;
  }

  async load(registry: ISettingRegistry, plugin: string): Promise<void> {
    const settings = await registry.load(plugin);
    const read = () => {
      this._values = settings.composite;
      this._changed.emit();
    };
    settings.changed.connect(read);
    read();
  }

  private _values: { runOnAnswer?: boolean; showBadges?: boolean; offerResume?: boolean; notices?: boolean } = {};
  private readonly _changed = new Signal<this, void>(this);
}
