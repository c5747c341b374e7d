/** What a browser has and jsdom has not. */
import { afterEach, vi } from 'vitest';
import { cleanup } from '@testing-library/react';

const missing: Record<string, unknown> = {
  DragEvent: class extends MouseEvent {},
  ResizeObserver: class {
    observe(): void {}
    unobserve(): void {}
    disconnect(): void {}
  },
  requestIdleCallback: (callback: () => void) => window.setTimeout(callback, 0),
  matchMedia: () => ({
    matches: false,
    addListener: () => undefined,
    removeListener: () => undefined,
    addEventListener: () => undefined,
    removeEventListener: () => undefined
  })
};
for (const [name, value] of Object.entries(missing)) {
  for (const place of new Set<object>([globalThis, window])) {
    if (typeof (place as any)[name] !== 'function') {
      Object.defineProperty(place, name, { value, configurable: true, writable: true });
    }
  }
}

afterEach(() => {
  cleanup();
  vi.useRealTimers();
});
