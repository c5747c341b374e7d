/** What is told of times is drawn again while it is looked at: nothing is asked of the server for it. */
import * as React from 'react';

const EVERY = 10_000; // milliseconds

export function useTicking(): void {
  const [, drawAgain] = React.useReducer((count: number) => count + 1, 0);
  React.useEffect(() => {
    const timer = window.setInterval(() => document.hidden || drawAgain(), EVERY);
    return () => window.clearInterval(timer);
  }, []);
}
