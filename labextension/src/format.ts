/** Numbers and names as people read them, the same words as the command line's. No DOM; s, min and h are symbols. */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IExecution } from './api';

type Words = Pick<TranslationBundle, '__' | '_n'>;

/** What a failure of any kind says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What an execution is called where there is little room. */
export function titleOf(execution: IExecution): string {
  return visible(execution.notebook?.split('/').pop() ?? execution.flow?.split(':').pop() ?? execution.id);
}

/**
 * What turns the direction of writing, and what has no width or form: control characters, tags, fillers.
 *
 * Joiners and marks that scripts and emoji are written with are not among them; of tags, those of a
 * flag are not.
 */
const UNSEEN =
  /\u{1f3f4}[\u{e0020}-\u{e007e}]+\u{e007f}|[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u034f\u115f\u1160\u180e\u200b\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** `text` with what nobody sees in it written out, such as `‹U+202E›`: with it words read as other words. */
export function visible(text: string): string {
  return text.replace(UNSEEN, found =>
    found.length > 2 ? found : `‹U+${found.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}›`
  );
}

const ESCAPES = /\u001b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\))/g;

/** What a terminal shows of `text`, without its colours and links. */
export function uncoloured(text: string): string {
  return visible(text.replace(ESCAPES, ''));
}

/** ``0.8 s``, ``12 s``, ``3 min 12 s``, ``2 h 05 min``; empty where it is not known. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) {
    return '';
  }
  if (seconds < 9.95) {
    return seconds >= 0.05 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds * 1000)} ms`;
  }
  const all = Math.round(seconds);
  const [minutes, rest] = [Math.floor(all / 60), all % 60];
  if (minutes === 0) {
    return `${rest} s`;
  }
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours} h ${two(minutes % 60)} min` : `${minutes} min ${two(rest)} s`;
}

/** How long something stays so: in days where that is long. */
export function span(seconds: number, trans: Words): string {
  const days = Math.floor(seconds / 86400);
  return days >= 2 ? trans._n('%1 day', '%1 days', days) : duration(seconds);
}

/** What a restored step has saved: time and money, where it is worth a word. */
export function saving(seconds: number | null | undefined, dollars: number | null | undefined): string {
  return joined(seconds && seconds >= 0.5 ? duration(seconds) : '', cost(dollars));
}

/** ``$0.0041``, ``$1.20``; empty where it is not known or nothing. */
export function cost(dollars: number | null | undefined): string {
  if (dollars === null || dollars === undefined || !Number.isFinite(dollars) || dollars === 0) {
    return '';
  }
  return dollars < 0.01 ? `$${Number(dollars.toPrecision(2))}` : `$${dollars.toFixed(2)}`;
}

/** Bytes in the largest unit that keeps the number readable. */
export function size(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined) {
    return '';
  }
  let count = bytes;
  for (const unit of ['B', 'kB', 'MB', 'GB']) {
    if (count < 1000) {
      return unit === 'B' ? `${count} B` : `${count.toFixed(1)} ${unit}`;
    }
    count /= 1000;
  }
  return `${count.toFixed(1)} TB`;
}

/** How long before `now` that was, in one unit: ``3 min``, ``2 days``; empty where it is not known. */
export function age(then: string | null | undefined, trans: Words, now: number = Date.now()): string {
  const at = then ? Date.parse(then) : NaN;
  if (Number.isNaN(at)) {
    return '';
  }
  const seconds = Math.max(0, (now - at) / 1000);
  if (seconds >= 86400) {
    return trans._n('%1 day', '%1 days', Math.floor(seconds / 86400));
  }
  for (const [unit, length] of [
    ['h', 3600],
    ['min', 60]
  ] as const) {
    if (seconds >= length) {
      return `${Math.floor(seconds / length)} ${unit}`;
    }
  }
  return `${Math.floor(seconds)} s`;
}

/** How long ago that was, as a phrase; empty where it is not known. */
export function ago(then: string | null | undefined, trans: Words, now: number = Date.now()): string {
  const words = age(then, trans, now);
  return !words ? '' : /^[0-4] s$/.test(words) ? trans.__('just now') : trans.__('%1 ago', words);
}

/** The moment where it stays on the page: the time of today, the day of any other. */
export function clock(then: string | null | undefined, now: Date = new Date()): string {
  const at = then ? new Date(then) : null;
  if (!at || Number.isNaN(at.getTime())) {
    return '';
  }
  return at.toDateString() === now.toDateString()
    ? at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
    : at.toLocaleDateString();
}

/** The moment as the name of what began then: the time, and the day where it is not today. */
export function day(then: string | null | undefined, now: Date = new Date()): string {
  const at = then ? new Date(then) : null;
  if (!at || Number.isNaN(at.getTime())) {
    return '';
  }
  const time = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' });
  return at.toDateString() === now.toDateString()
    ? time
    : `${at.toLocaleDateString([], { day: 'numeric', month: 'short', year: yearOf(at, now) })}, ${time}`;
}

function yearOf(at: Date, now: Date): 'numeric' | undefined {
  return at.getFullYear() === now.getFullYear() ? undefined : 'numeric';
}

/** The moment in the reader's own time zone, for a tooltip. */
export function moment(then: string | null | undefined): string {
  const at = then ? new Date(then) : null;
  return at && !Number.isNaN(at.getTime()) ? at.toLocaleString() : '';
}

/** The parts that say something, with a dot between them. */
export function joined(...parts: (string | null | undefined | false)[]): string {
  return parts.filter(part => part).join(' · ');
}

function two(count: number): string {
  return String(count).padStart(2, '0');
}
