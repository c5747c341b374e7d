/** Our icons, drawn in the theme's own colours. */
import { LabIcon } from '@jupyterlab/ui-components';

const FRAME = '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">';

function icon(name: string, shape: string): LabIcon {
  return new LabIcon({ name: `kitaru-nb:${name}`, svgstr: `${FRAME}${shape}</svg>` });
}

/** Steps that stay: three of them, the last one open. */
export const kitaruIcon = icon(
  'kitaru',
  '<g class="jp-icon3" fill="#616161">' +
    '<path d="M4 3h7a2 2 0 0 1 2 2v3H4a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2z"/>' +
    '<path d="M7 9.5h8a2 2 0 0 1 2 2v3H7a2 2 0 0 1-2-2v-1a2 2 0 0 1 2-2z"/>' +
    '<path d="M10 16h10a2 2 0 0 1 2 2v1a2 2 0 0 1-2 2H10a2 2 0 0 1-2-2v-1a2 2 0 0 1 2-2zm0 1.5a.5.5 0 0 0-.5.5v1c0 .28.22.5.5.5h10a.5.5 0 0 0 .5-.5v-1a.5.5 0 0 0-.5-.5z"/>' +
    '</g>'
);

export const checkpointIcon = icon(
  'checkpoint',
  '<path class="jp-icon3" fill="#616161" d="M6 2h12a1 1 0 0 1 1 1v19l-7-4-7 4V3a1 1 0 0 1 1-1zm1 2v14.5l5-2.86 5 2.86V4z"/>'
);

export const replayIcon = icon(
  'replay',
  '<path class="jp-icon3" fill="#616161" d="M12 5V1L7 6l5 5V7a6 6 0 1 1-6 6H4a8 8 0 1 0 8-8zm-2 5v6l5-3z"/>'
);

export const rewindIcon = icon('rewind', '<path class="jp-icon3" fill="#616161" d="M11 6v12l-8.5-6zm10 0v12l-8.5-6z"/>');

export const diffIcon = icon(
  'diff',
  '<path class="jp-icon3" fill="#616161" d="M10 3H5a2 2 0 0 0-2 2v14a2 2 0 0 0 2 2h5v2h2V1h-2zm0 14H5l5-6zm9-14h-5v2h5v12l-5-6v10h5a2 2 0 0 0 2-2V5a2 2 0 0 0-2-2z"/>'
);
