"use strict";(self.rspackChunkkitaru_nb_labextension=self.rspackChunkkitaru_nb_labextension||[]).push([[700],{475(r,a,e){var t=e(601),i=e.n(t),o=e(314),p=(e.n(o))()(i());p.push([r.id,`/* What every view of ours shares. Colours are the theme's, always. */

.jp-kitaru-Panel,
.jp-kitaru-Resume,
.jp-kitaru-View,
.jp-kitaru-Wait {
  color: var(--jp-ui-font-color1);
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size1);
  line-height: 1.4;
}

/* Buttons that look like rows or words. */
.jp-kitaru-Artifact-head,
.jp-kitaru-back,
.jp-kitaru-Row,
.jp-kitaru-Step-head {
  background: none;
  border: none;
  color: inherit;
  cursor: pointer;
  font: inherit;
  text-align: left;
}

/* A box of its own height for what was stored, shown or logged. */
.jp-kitaru-Log,
.jp-kitaru-Show {
  background: var(--jp-layout-color0);
  border-radius: var(--jp-border-radius);
  border: var(--jp-border-width) solid var(--jp-border-color3);
  font-size: var(--jp-code-font-size);
  overflow: auto;
}

/* One line, cut where there is no room. */
.jp-kitaru-Badge-why,
.jp-kitaru-Row-more,
.jp-kitaru-Row-title,
.jp-kitaru-Step-name {
  overflow: hidden;
  text-overflow: ellipsis;
  white-space: nowrap;
}

/* Where something is typed or chosen. */
.jp-kitaru-Filter input,
.jp-kitaru-Filter select,
.jp-kitaru-Field input:not([type='checkbox'], [type='radio']),
.jp-kitaru-Field select,
.jp-kitaru-Field textarea {
  background: var(--jp-input-background, var(--jp-layout-color1));
  border-radius: var(--jp-border-radius);
  border: var(--jp-border-width) solid var(--jp-border-color1);
  box-sizing: border-box;
  color: var(--jp-ui-font-color0);
  font-size: var(--jp-ui-font-size1);
}

.jp-kitaru-Filter input:focus-visible,
.jp-kitaru-Filter select:focus-visible,
.jp-kitaru-Field input:focus-visible,
.jp-kitaru-Field select:focus-visible,
.jp-kitaru-Field textarea:focus-visible {
  border-color: var(--jp-brand-color1);
  outline: 1px solid var(--jp-brand-color1);
}

.jp-kitaru-dim {
  color: var(--jp-ui-font-color2);
  font-size: var(--jp-ui-font-size1);
}

.jp-kitaru-error,
.jp-kitaru-Field-error {
  color: color-mix(in srgb, var(--jp-error-color1) 80%, var(--jp-ui-font-color0)); /* the theme's own is faint in the dark */
}

.jp-kitaru-buttons {
  align-items: center;
  display: flex;
  flex-wrap: wrap;
  gap: 4px 8px;
  margin-top: 10px;
}

.jp-kitaru-link,
.jp-kitaru-link:hover,
.jp-kitaru-link:active {
  background: none;
  border: none;
  color: var(--jp-content-link-color);
  cursor: pointer;
  font: inherit;
  font-size: var(--jp-ui-font-size1);
  margin-left: -4px; /* its words stand where other words do */
  padding: 0 4px;
  text-align: left;
}

.jp-kitaru-start {
  align-self: flex-start;
}

.jp-kitaru-link:hover:not(:disabled) {
  text-decoration: underline;
}

.jp-kitaru-link:disabled {
  color: var(--jp-ui-font-color3);
  cursor: default;
}

.jp-kitaru-link:focus-visible,
.jp-kitaru-Renderer button:focus-visible,
.jp-kitaru-Panel button:focus-visible {
  outline: 2px solid var(--jp-brand-color1);
  outline-offset: 1px;
}

.jp-kitaru-command {
  background: var(--jp-layout-color2);
  border-radius: var(--jp-border-radius);
  display: inline-block;
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
  overflow-wrap: anywhere;
  padding: 2px 6px;
  user-select: all;
}

.jp-kitaru-Problem {
  color: var(--jp-ui-font-color1);
  display: flex;
  flex-direction: column;
  gap: 6px;
  border-left: 3px solid var(--jp-error-color1);
  margin: 4px 12px 12px;
  overflow-wrap: anywhere;
  padding: 2px 0 2px 10px;
}

.jp-kitaru-Replay .jp-kitaru-Problem,
.jp-kitaru-Renderer .jp-kitaru-Problem,
.jp-kitaru-Preview .jp-kitaru-Problem {
  margin-left: 0;
}

.jp-kitaru-Problem .jp-mod-styled {
  align-self: flex-start;
}
`,""]),e.d(a,{},{A:p})},33(r,a,e){var t=e(601),i=e.n(t),o=e(314),p=(e.n(o))()(i());p.push([r.id,`/* The line below a checkpoint cell's source. */

.jp-kitaru-Badge {
  box-sizing: border-box;
  flex: 0 0 auto;
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size0);
  line-height: 1.5;
  padding: 2px 4px 2px calc(var(--jp-cell-prompt-width) + 12px);
}

.jp-kitaru-Badge-line {
  align-items: center;
  color: var(--jp-ui-font-color2);
  display: flex;
  gap: 8px;
  min-width: 0;
}

.jp-kitaru-Badge-status {
  color: var(--jp-ui-font-color1);
}

.jp-kitaru-Badge-figures {
  flex: 0 0 auto;
  font-variant-numeric: tabular-nums;
}

/* What happened to the last execution, above the notebook. */

.jp-kitaru-Resume {
  align-items: center;
  background: var(--jp-layout-color2);
  border-bottom: var(--jp-border-width) solid var(--jp-border-color2);
  border-left: 3px solid var(--jp-warn-color1);
  box-sizing: border-box;
  display: flex;
  flex-wrap: wrap;
  gap: 6px 12px;
  min-height: 0;
  padding: 8px 12px;
}

.jp-kitaru-Resume-text {
  flex: 1 1 320px;
}

.jp-kitaru-Resume-report {
  flex: 1 1 100%;
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
  margin: 0;
  max-height: 160px;
  overflow: auto;
  white-space: pre-wrap;
}

.jp-kitaru-Resume-buttons {
  display: flex;
  flex: 0 0 auto;
  gap: 8px;
}

.jp-kitaru-Resume .jp-mod-styled {
  margin: 0;
}
`,""]),e.d(a,{},{A:p})},505(r,a,e){var t=e(601),i=e.n(t),o=e(314),p=(e.n(o))()(i());p.push([r.id,`/* The side panel: waits on top, executions below. */

.jp-kitaru-Panel {
  background: var(--jp-layout-color1);
  display: flex;
  flex-direction: column;
  height: 100%;
  min-width: 180px;
  overflow: hidden;
}

.jp-kitaru-Panel-head {
  align-items: center;
  box-sizing: border-box;
  display: flex;
  flex: 0 0 auto;
  font-size: var(--jp-ui-font-size1);
  flex-wrap: wrap;
  font-weight: 600;
  gap: 4px 8px;
  justify-content: space-between;
  margin: 0;
  min-height: 36px;
  padding: 6px 12px;
}

.jp-kitaru-Count {
  background: color-mix(in srgb, var(--jp-warn-color1) 35%, var(--jp-layout-color1)); /* to be read in both themes */
  border-radius: 9px;
  color: var(--jp-ui-font-color0);
  font-size: var(--jp-ui-font-size0);
  font-weight: 600;
  min-width: 10px;
  padding: 0 6px;
  text-align: center;
}

.jp-kitaru-None {
  color: var(--jp-ui-font-color2);
  font-weight: 400;
}

.jp-kitaru-empty {
  color: var(--jp-ui-font-color2);
  padding: 0 12px 12px;
}

.jp-kitaru-Inbox {
  border-bottom: var(--jp-border-width) solid var(--jp-border-color2);
  display: flex;
  flex: 0 1 auto;
  flex-direction: column;
  max-height: 60%;
  min-height: 0;
}

.jp-kitaru-Inbox-cards {
  display: flex;
  flex-direction: column;
  gap: 8px;
  overflow: auto;
  padding: 0 12px 12px;
}

.jp-kitaru-Inbox-cards .jp-kitaru-Wait {
  flex: 0 0 auto;
  padding: 10px 12px;
}

.jp-kitaru-Inbox-cards .jp-kitaru-Wait-question {
  font-size: var(--jp-ui-font-size1);
}

.jp-kitaru-Inbox-cards .jp-kitaru-Show {
  max-height: 180px;
}

.jp-kitaru-Executions {
  display: flex;
  flex: 1 1 0;
  flex-direction: column;
  min-height: 120px;
}

.jp-kitaru-scroll {
  flex: 1 1 0;
  min-height: 0;
  overflow: auto;
}

.jp-kitaru-Scope {
  background: var(--jp-layout-color2);
  border-radius: var(--jp-border-radius);
  display: inline-flex;
  font-weight: 400;
  padding: 2px;
  white-space: nowrap;
}

.jp-kitaru-Scope input {
  height: 1px;
  margin: 0;
  opacity: 0;
  position: absolute;
  width: 1px;
}

.jp-kitaru-Scope span {
  border-radius: var(--jp-border-radius);
  color: var(--jp-ui-font-color2);
  cursor: pointer;
  display: block;
  padding: 1px 8px;
}

.jp-kitaru-Scope input:checked + span {
  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color0);
  font-weight: 600;
}

.jp-kitaru-Scope input:focus-visible + span {
  outline: 2px solid var(--jp-brand-color1);
}

.jp-kitaru-Filter {
  display: flex;
  gap: 6px;
  padding: 0 12px 8px;
}

.jp-kitaru-Filter input,
.jp-kitaru-Filter select {
  height: 28px;
  margin: 0;
  min-width: 0;
  padding: 0 8px;
}

.jp-kitaru-Filter input {
  flex: 1 1 110px;
}

.jp-kitaru-Filter select {
  flex: 0 0 auto;
  padding-right: 2px;
}

.jp-kitaru-List {
  contain: strict;
  flex: 1 1 0;
  min-height: 0;
  overflow: auto;
}

.jp-kitaru-List-item {
  box-sizing: border-box;
  left: 0;
  position: absolute;
  right: 0;
  top: 0;
}

.jp-kitaru-Row {
  align-content: center;
  border-bottom: var(--jp-border-width) solid var(--jp-border-color3);
  box-sizing: border-box;
  column-gap: 8px;
  display: grid;
  grid-template-columns: 12px 1fr auto;
  height: 100%;
  padding: 0 12px;
  width: 100%;
}

.jp-kitaru-Row:hover,
.jp-kitaru-Step-head:hover,
.jp-kitaru-Artifact-head:hover:not(:disabled) {
  background: var(--jp-layout-color2);
}

.jp-kitaru-Row:focus-visible,
.jp-kitaru-Step-head:focus-visible,
.jp-kitaru-Artifact-head:focus-visible {
  outline: 2px solid var(--jp-brand-color1);
  outline-offset: -2px;
}

.jp-kitaru-Row .jp-kitaru-Mark {
  align-self: center;
}

.jp-kitaru-Row-age,
.jp-kitaru-Row-more,
.jp-kitaru-Row-cost,
.jp-kitaru-Row-title {
  font-variant-numeric: tabular-nums;
}

.jp-kitaru-Row-more {
  color: var(--jp-ui-font-color2);
  font-size: var(--jp-ui-font-size0);
  grid-column: 2;
}

/* Beside the button, which a screen reader takes for one thing: over its lower edge. */

.jp-kitaru-List-item > .jp-kitaru-Progress {
  bottom: 3px;
  left: 32px;
  pointer-events: none;
  position: absolute;
  right: 12px;
}

.jp-kitaru-Progress {
  background: var(--jp-layout-color3);
  border-radius: 2px;
  height: 3px;
  overflow: hidden;
}

.jp-kitaru-Progress > span {
  background: var(--jp-brand-color1);
  display: block;
  height: 100%;
}

.jp-kitaru-Detail-progress {
  align-items: center;
  display: flex;
  font-variant-numeric: tabular-nums;
  gap: 10px;
}

.jp-kitaru-Detail-progress > .jp-kitaru-Progress {
  flex: 1 1 auto;
}

.jp-kitaru-Row-age {
  color: var(--jp-ui-font-color2);
  font-size: var(--jp-ui-font-size0);
  text-align: right;
}

/* A status: the shape and the word say it, the colour helps. */

.jp-kitaru-Mark {
  background: var(--jp-border-color1);
  border-radius: 50%;
  box-sizing: border-box;
  display: inline-block;
  flex: 0 0 auto;
  height: 8px;
  width: 8px;
}

.jp-kitaru-Mark[data-status='completed'],
.jp-kitaru-Mark[data-status='fresh'] {
  background: var(--jp-success-color1);
}

.jp-kitaru-Mark[data-status='restored'] {
  background: none;
  border: 2px solid var(--jp-success-color1);
}

.jp-kitaru-Mark[data-status='running'] {
  animation: jp-kitaru-pulse 1.4s ease-in-out infinite;
  background: var(--jp-brand-color1);
}

.jp-kitaru-Mark[data-status='queued'] {
  background: none;
  border: 2px solid var(--jp-border-color1);
}

.jp-kitaru-Mark[data-status='waiting'] {
  background: var(--jp-warn-color1);
  border-radius: 1px;
}

.jp-kitaru-Mark[data-status='failed'] {
  background: var(--jp-error-color1);
  border-radius: 1px;
  transform: rotate(45deg);
}

.jp-kitaru-Mark[data-status='interrupted'],
.jp-kitaru-Mark[data-status='stale'] {
  background: none;
  border: 2px solid var(--jp-warn-color1);
}

@keyframes jp-kitaru-pulse {
  50% {
    opacity: 0.35;
  }
}

@media (prefers-reduced-motion: reduce) {
  .jp-kitaru-Mark[data-status='running'] {
    animation: none;
  }
}

.jp-kitaru-Status {
  align-items: center;
  display: inline-flex;
  gap: 6px;
}

/* One execution */

.jp-kitaru-back {
  align-items: center;
  color: var(--jp-ui-font-color1);
  display: inline-flex;
  gap: 4px;
  margin: 0 -4px;
  padding: 2px 4px;
}

.jp-kitaru-back > span {
  display: inline-flex; /* an icon stands on the line of the words */
}

.jp-kitaru-back:hover {
  background: var(--jp-layout-color2);
}

.jp-kitaru-Detail {
  display: flex;
  flex-direction: column;
  gap: 8px;
  padding: 0 12px 16px;
}

.jp-kitaru-Detail-title {
  font-size: var(--jp-ui-font-size2);
  font-weight: 600;
  margin: 0;
  overflow-wrap: anywhere;
}

.jp-kitaru-Detail-facts {
  display: flex;
  flex-wrap: wrap;
  gap: 2px 14px;
}

.jp-kitaru-Detail-facts > :empty {
  display: none;
}

.jp-kitaru-Detail-id {
  display: flex;
  flex-wrap: wrap;
  gap: 4px 10px;
}

.jp-kitaru-Detail-id code {
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-ui-font-size0);
  user-select: all;
}

.jp-kitaru-Detail .jp-kitaru-buttons {
  margin: 0 0 4px;
}

.jp-kitaru-Timeline {
  list-style: none;
  margin: 0 -12px;
  padding: 0;
}

.jp-kitaru-Step {
  border-top: var(--jp-border-width) solid var(--jp-border-color3);
}

.jp-kitaru-Step-head {
  align-items: center;
  column-gap: 8px;
  display: grid;
  grid-template-columns: 12px minmax(0, 1fr) auto;
  padding: 6px 12px;
  row-gap: 4px;
  width: 100%;
}

.jp-kitaru-Step-name {
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
}

.jp-kitaru-Step-figures {
  color: var(--jp-ui-font-color2);
  font-size: var(--jp-ui-font-size0);
  font-variant-numeric: tabular-nums;
}

.jp-kitaru-Step-bar {
  background: var(--jp-layout-color2);
  border-radius: 2px;
  grid-column: 2 / -1;
  height: 4px;
  overflow: hidden;
}

.jp-kitaru-Step-bar > span {
  background: var(--jp-brand-color1);
  display: block;
  height: 100%;
}

.jp-kitaru-Step[data-status='restored'] .jp-kitaru-Step-bar > span {
  background: var(--jp-success-color1);
}

.jp-kitaru-Step[data-status='failed'] .jp-kitaru-Step-bar > span {
  background: var(--jp-error-color1);
}

.jp-kitaru-Step-body {
  padding: 0 12px 10px 32px;
}

.jp-kitaru-Step-error {
  border-left: 3px solid var(--jp-error-color1);
  margin: 4px 0;
  padding-left: 8px;
  overflow-wrap: anywhere;
  white-space: pre-wrap;
}

.jp-kitaru-Artifact-head {
  align-items: baseline;
  display: flex;
  gap: 12px;
  justify-content: space-between;
  margin-left: -6px;
  padding: 3px 6px;
  width: calc(100% + 6px);
}

.jp-kitaru-Artifact-name {
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
  overflow-wrap: anywhere;
}

.jp-kitaru-Preview {
  margin: 4px 0 10px;
}

.jp-kitaru-Preview .jp-kitaru-Show {
  margin: 4px 0;
}

.jp-kitaru-Picture {
  background: var(--jp-layout-color2);
  border: var(--jp-border-width) solid var(--jp-border-color3);
  display: block;
  image-rendering: pixelated;
  margin: 4px 0;
  max-height: 240px;
  max-width: 100%;
  min-width: 96px;
}

.jp-kitaru-Plot {
  background: var(--jp-layout-color0);
  border: var(--jp-border-width) solid var(--jp-border-color3);
  display: block;
  height: 60px;
  margin: 4px 0;
  width: 100%;
}

.jp-kitaru-Plot path {
  fill: none;
  stroke: var(--jp-brand-color1);
  stroke-width: 1.5;
  vector-effect: non-scaling-stroke;
}

.jp-kitaru-Plot rect {
  fill: var(--jp-brand-color1);
}

.jp-kitaru-Plot.jp-mod-bars {
  height: 40px;
}

/* What was asked in an execution */

.jp-kitaru-Asked {
  display: flex;
  flex-direction: column;
  gap: 4px;
  list-style: none;
  margin: 0;
  padding: 0;
}

.jp-kitaru-Asked > li {
  align-items: baseline;
  column-gap: 8px;
  display: grid;
  grid-template-columns: 12px minmax(0, 1fr);
  overflow-wrap: anywhere;
}

.jp-kitaru-Asked > li > :last-child {
  grid-column: 2;
}

/* What happened, and what cells showed */

.jp-kitaru-Log {
  font-family: var(--jp-code-font-family);
  line-height: var(--jp-code-line-height);
  max-height: 280px;
  padding: 6px 8px;
}

.jp-kitaru-Log > div {
  overflow-wrap: anywhere;
  white-space: pre-wrap;
}

.jp-kitaru-Log [data-stream='event'] {
  color: var(--jp-ui-font-color2);
}

.jp-kitaru-Log [data-stream='stderr'] {
  color: var(--jp-error-color1);
}
`,""]),e.d(a,{},{A:p})},646(r,a,e){var t=e(601),i=e.n(t),o=e(314),p=e.n(o),n=e(475),l=e(192),d=e(505),u=e(33),s=e(40),c=p()(i());c.i(n.A),c.i(l.A),c.i(d.A),c.i(u.A),c.i(s.A),c.push([r.id,`
`,""]),e.d(a,{},{A:c})},40(r,a,e){var t=e(601),i=e.n(t),o=e(314),p=(e.n(o))()(i());p.push([r.id,`/* What opens in the main area: the replay form and the comparison. */

.jp-kitaru-View {
  background: var(--jp-layout-color1);
  overflow: auto;
}

.jp-kitaru-View.jp-mod-frame {
  display: flex;
  overflow: hidden;
}

.jp-kitaru-Frame {
  background: var(--jp-layout-color0);
  border: none;
  flex: 1 1 auto;
}

.jp-kitaru-Replay {
  margin: 0 auto;
  max-width: 640px;
  padding: 24px;
}

.jp-kitaru-Replay h2 {
  font-size: var(--jp-ui-font-size3);
  font-weight: 600;
  margin: 0;
  overflow-wrap: anywhere;
}

.jp-kitaru-Replay p {
  margin: 4px 0 12px;
}

.jp-kitaru-Changes > legend {
  padding: 0;
}

.jp-kitaru-Changes {
  border: none;
  margin: 16px 0 0;
  padding: 0;
}

.jp-kitaru-Changes-row {
  align-items: center;
  display: grid;
  gap: 6px;
  grid-template-columns: minmax(120px, 1fr) auto 2fr;
  max-width: none;
}

.jp-kitaru-Changes-row code {
  overflow-wrap: anywhere;
}

.jp-kitaru-Changes-row code,
.jp-kitaru-Changes-row input {
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
}

.jp-kitaru-Changes-row .jp-kitaru-Field-error {
  grid-column: 3;
}

.jp-kitaru-Begun {
  border-top: var(--jp-border-width) solid var(--jp-border-color2);
  margin-top: 20px;
  padding-top: 16px;
}

.jp-kitaru-Begun code {
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-ui-font-size0);
}
`,""]),e.d(a,{},{A:p})},192(r,a,e){var t=e(601),i=e.n(t),o=e(314),p=(e.n(o))()(i());p.push([r.id,`/* A wait: in a cell's output and in the panel's inbox. */

.jp-kitaru-Renderer {
  padding: 4px 0;
}

.jp-kitaru-Wait {
  background: var(--jp-layout-color1);
  border: var(--jp-border-width) solid var(--jp-border-color2);
  border-left: 3px solid var(--jp-warn-color1);
  border-radius: var(--jp-border-radius);
  box-sizing: border-box;
  max-width: 720px;
  padding: 12px 16px;
}

.jp-kitaru-Wait[data-status='answered'] {
  border-left-color: var(--jp-success-color1);
}

.jp-kitaru-Wait[data-status='expired'] {
  border-left-color: var(--jp-border-color1);
}

.jp-kitaru-Wait-question {
  font-size: var(--jp-ui-font-size2);
  font-weight: 600;
  overflow-wrap: anywhere;
  white-space: pre-wrap;
}

/* What people write goes in the direction of its script, whatever that of the page is. */
.jp-kitaru-Wait-question,
.jp-kitaru-Wait-ended,
pre.jp-kitaru-Show,
.jp-kitaru-Show th,
.jp-kitaru-Show td,
.jp-kitaru-Pairs dt,
.jp-kitaru-Pairs dd,
.jp-kitaru-Asked span,
.jp-kitaru-Step-error,
.jp-kitaru-Field input:not([type='number']),
.jp-kitaru-Field textarea {
  unicode-bidi: plaintext;
}

.jp-kitaru-Wait-ended {
  align-items: baseline;
  display: flex;
  flex-wrap: wrap;
  gap: 8px;
  margin-top: 6px;
}

.jp-kitaru-Wait-foot {
  align-items: baseline;
  display: flex;
  flex-wrap: wrap;
  gap: 4px 12px;
  justify-content: space-between;
  margin-top: 10px;
}

.jp-kitaru-Wait .jp-kitaru-error {
  margin-top: 8px;
}

/* One answer stands out: the other is as near, and never hit in passing. The kernel's form is the same. */
.jp-kitaru-Wait .jp-mod-styled.jp-mod-warn {
  background: none;
  box-shadow: inset 0 0 0 1px var(--jp-error-color1);
  color: color-mix(in srgb, var(--jp-error-color1) 80%, var(--jp-ui-font-color0));
}

.jp-kitaru-Wait .jp-mod-styled.jp-mod-warn:hover,
.jp-kitaru-Wait .jp-mod-styled.jp-mod-warn:active {
  background: color-mix(in srgb, var(--jp-error-color1) 12%, transparent);
}

.jp-kitaru-Renderer-note {
  margin-top: 4px;
}

/* What is to be approved */

.jp-kitaru-Show {
  margin: 8px 0;
  max-height: 320px;
}

/* The notebook's own rules for outputs would take the frame away. */
.jp-kitaru-Renderer pre.jp-kitaru-Show {
  border: var(--jp-border-width) solid var(--jp-border-color3);
  margin: 8px 0;
}

.jp-kitaru-Renderer pre.jp-kitaru-Show,
pre.jp-kitaru-Show {
  color: var(--jp-ui-font-color1);
  font-family: var(--jp-code-font-family);
  line-height: var(--jp-code-line-height);
  overflow-wrap: anywhere;
  padding: 8px 12px;
  white-space: pre-wrap;
}

.jp-kitaru-Renderer pre.jp-kitaru-Show.jp-mod-aligned,
pre.jp-kitaru-Show.jp-mod-aligned {
  overflow-wrap: normal;
  white-space: pre; /* it scrolls sideways sooner than that a row is broken */
}

.jp-kitaru-Renderer pre.jp-kitaru-Diff,
pre.jp-kitaru-Diff {
  padding: 6px 0; /* a line's colour reaches from edge to edge */
}

.jp-kitaru-Diff-line {
  display: block;
  padding: 0 12px;
}

.jp-kitaru-Diff-line.jp-mod-added {
  background: color-mix(in srgb, var(--jp-success-color1) 18%, transparent);
}

.jp-kitaru-Diff-line.jp-mod-removed {
  background: color-mix(in srgb, var(--jp-error-color1) 18%, transparent);
}

.jp-kitaru-Diff-line.jp-mod-head {
  color: var(--jp-ui-font-color2);
}

.jp-kitaru-Show.jp-mod-picture {
  max-height: 480px;
  max-width: 100%;
  width: fit-content;
}

.jp-kitaru-Show.jp-mod-picture img {
  display: block;
  max-width: 100%;
}

.jp-kitaru-Show.jp-mod-table {
  max-width: 100%;
  width: fit-content;
}

.jp-kitaru-Show table {
  border-collapse: collapse;
  font-size: var(--jp-ui-font-size1);
  width: max-content; /* one scrolls sideways sooner than that numbers are cut in two */
}

.jp-kitaru-Show th {
  background: var(--jp-layout-color2);
  font-weight: 600;
  position: sticky;
  text-align: left;
  top: 0;
}

.jp-kitaru-Show th,
.jp-kitaru-Show td {
  border-bottom: var(--jp-border-width) solid var(--jp-border-color3);
  max-width: 360px;
  overflow-wrap: break-word;
  padding: 4px 10px;
  vertical-align: top;
  white-space: pre-wrap;
}

.jp-kitaru-Show .jp-mod-number {
  font-variant-numeric: tabular-nums;
  text-align: right;
}

.jp-kitaru-Renderer .jp-kitaru-Pairs,
.jp-kitaru-Pairs {
  box-sizing: border-box;
  display: grid;
  font-size: var(--jp-ui-font-size1);
  gap: 4px 16px;
  grid-template-columns: fit-content(50%) 1fr;
  margin: 8px 0;
  padding: 8px 12px;
}

.jp-kitaru-Renderer .jp-kitaru-Pairs dt,
.jp-kitaru-Pairs dt {
  color: var(--jp-ui-font-color2);
  float: none;
  font-weight: 400;
  overflow-wrap: anywhere;
  width: auto;
}

.jp-kitaru-Renderer .jp-kitaru-Pairs dd,
.jp-kitaru-Pairs dd {
  margin: 0;
  min-width: 0;
  overflow-wrap: anywhere;
  white-space: pre-wrap;
  width: auto;
}

/* The form */

.jp-kitaru-Form,
.jp-kitaru-Group {
  display: flex;
  flex-direction: column;
  gap: 10px;
}

.jp-kitaru-Form {
  gap: 0;
  margin-top: 8px;
}

.jp-kitaru-Field {
  display: flex;
  flex-direction: column;
  gap: 3px;
  margin-top: 6px;
  max-width: 480px;
}

.jp-kitaru-Group > .jp-kitaru-Field {
  margin-top: 0;
}

.jp-kitaru-Field-label {
  font-weight: 500;
  overflow-wrap: anywhere;
}

/* What stands inside another: under its name, and a little to the right. */
.jp-kitaru-Field-label.jp-mod-group {
  font-weight: 600;
}

.jp-kitaru-Group .jp-kitaru-Group {
  border-left: 2px solid var(--jp-border-color2);
  gap: 8px;
  padding-left: 10px;
}

/* For a screen reader alone: beside it stands the name as it is typed. */
.jp-kitaru-Field-label.jp-mod-unseen {
  clip-path: inset(50%);
  height: 1px;
  overflow: hidden;
  position: absolute;
  white-space: nowrap;
  width: 1px;
}

/* Entries of a list, and names of one's own: each with what takes it away. */
.jp-kitaru-Item,
.jp-kitaru-Named {
  align-items: end;
  display: flex;
  gap: 8px;
}

.jp-kitaru-Item:has(.jp-kitaru-Group) {
  align-items: start; /* what takes all of it away stands beside its name */
}

.jp-kitaru-Item > :first-child,
.jp-kitaru-Named > input {
  flex: 1 1 auto;
  min-width: 0;
}

.jp-kitaru-Field input:not([type='checkbox'], [type='radio']),
.jp-kitaru-Field select,
.jp-kitaru-Field textarea {
  font-family: var(--jp-ui-font-family);
  line-height: 1.4;
  padding: 5px 8px;
  width: 100%;
}

.jp-kitaru-Field.jp-mod-wrong > input,
.jp-kitaru-Field.jp-mod-wrong > select,
.jp-kitaru-Field.jp-mod-wrong > textarea {
  border-color: var(--jp-error-color1);
}

.jp-kitaru-Field textarea {
  resize: vertical;
}

.jp-kitaru-Field textarea.jp-kitaru-Json {
  font-family: var(--jp-code-font-family);
}

.jp-kitaru-Field .checkbox label {
  align-items: center;
  cursor: pointer;
  display: flex;
  gap: 6px;
}
`,""]),e.d(a,{},{A:p})},314(r){r.exports=function(r){var a=[];return a.toString=function(){return this.map(function(a){var e="",t=void 0!==a[5];return a[4]&&(e+="@supports (".concat(a[4],") {")),a[2]&&(e+="@media ".concat(a[2]," {")),t&&(e+="@layer".concat(a[5].length>0?" ".concat(a[5]):""," {")),e+=r(a),t&&(e+="}"),a[2]&&(e+="}"),a[4]&&(e+="}"),e}).join("")},a.i=function(r,e,t,i,o){"string"==typeof r&&(r=[[null,r,void 0]]);var p={};if(t)for(var n=0;n<this.length;n++){var l=this[n][0];null!=l&&(p[l]=!0)}for(var d=0;d<r.length;d++){var u=[].concat(r[d]);t&&p[u[0]]||(void 0!==o&&(void 0===u[5]||(u[1]="@layer".concat(u[5].length>0?" ".concat(u[5]):""," {").concat(u[1],"}")),u[5]=o),e&&(u[2]&&(u[1]="@media ".concat(u[2]," {").concat(u[1],"}")),u[2]=e),i&&(u[4]?(u[1]="@supports (".concat(u[4],") {").concat(u[1],"}"),u[4]=i):u[4]="".concat(i)),a.push(u))}},a}},601(r){r.exports=function(r){return r[1]}},72(r){var a=[];function e(r){for(var e=-1,t=0;t<a.length;t++)if(a[t].identifier===r){e=t;break}return e}function t(r,t){for(var i={},o=[],p=0;p<r.length;p++){var n=r[p],l=t.base?n[0]+t.base:n[0],d=i[l]||0,u="".concat(l," ").concat(d);i[l]=d+1;var s=e(u),c={css:n[1],media:n[2],sourceMap:n[3],supports:n[4],layer:n[5]};if(-1!==s)a[s].references++,a[s].updater(c);else{var j=function(r,a){var e=a.domAPI(a);return e.update(r),function(a){a?(a.css!==r.css||a.media!==r.media||a.sourceMap!==r.sourceMap||a.supports!==r.supports||a.layer!==r.layer)&&e.update(r=a):e.remove()}}(c,t);t.byIndex=p,a.splice(p,0,{identifier:u,updater:j,references:1})}o.push(u)}return o}r.exports=function(r,i){var o=t(r=r||[],i=i||{});return function(r){r=r||[];for(var p=0;p<o.length;p++){var n=e(o[p]);a[n].references--}for(var l=t(r,i),d=0;d<o.length;d++){var u=e(o[d]);0===a[u].references&&(a[u].updater(),a.splice(u,1))}o=l}}},659(r){var a={};r.exports=function(r,e){var t=function(r){if(void 0===a[r]){var e=document.querySelector(r);if(window.HTMLIFrameElement&&e instanceof window.HTMLIFrameElement)try{e=e.contentDocument.head}catch(r){e=null}a[r]=e}return a[r]}(r);if(!t)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");t.appendChild(e)}},540(r){r.exports=function(r){var a=document.createElement("style");return r.setAttributes(a,r.attributes),r.insert(a,r.options),a}},56(r,a,e){r.exports=function(r){var a=e.nc;a&&r.setAttribute("nonce",a)}},825(r){r.exports=function(r){if("u"<typeof document)return{update:function(){},remove:function(){}};var a=r.insertStyleElement(r);return{update:function(e){var t,i,o;t="",e.supports&&(t+="@supports (".concat(e.supports,") {")),e.media&&(t+="@media ".concat(e.media," {")),(i=void 0!==e.layer)&&(t+="@layer".concat(e.layer.length>0?" ".concat(e.layer):""," {")),t+=e.css,i&&(t+="}"),e.media&&(t+="}"),e.supports&&(t+="}"),(o=e.sourceMap)&&"u">typeof btoa&&(t+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(o))))," */")),r.styleTagTransform(t,a,r.options)},remove:function(){var r;null===(r=a).parentNode||r.parentNode.removeChild(r)}}}},113(r){r.exports=function(r,a){if(a.styleSheet)a.styleSheet.cssText=r;else{for(;a.firstChild;)a.removeChild(a.firstChild);a.appendChild(document.createTextNode(r))}}},959(r,a,e){var t=e(72),i=e.n(t),o=e(825),p=e.n(o),n=e(659),l=e.n(n),d=e(56),u=e.n(d),s=e(540),c=e.n(s),j=e(113),f=e.n(j),k=e(646),h={};h.styleTagTransform=f(),h.setAttributes=u(),h.insert=l().bind(null,"head"),h.domAPI=p(),h.insertStyleElement=c(),i()(k.A,h),k.A&&k.A.locals&&k.A.locals}}]);