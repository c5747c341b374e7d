/** Whether JupyterLab's theme is a light one; for what cannot take its colours by itself. */
import * as React from 'react';

const SAID = 'data-jp-theme-light'; // by JupyterLab, on the body

export function isLight(): boolean {
  return document.body.getAttribute(SAID) !== 'false';
}

/** The same in a component, which is drawn again when the theme changes. */
export function useIsLight(): boolean {
  const [light, setLight] = React.useState(isLight);
  React.useEffect(() => {
    const observer = new MutationObserver(() => setLight(isLight()));
    observer.observe(document.body, { attributes: true, attributeFilter: [SAID] });
    return () => observer.disconnect();
  }, []);
  return light;
}
