"use strict";(self.rspackChunkkitaru_nb_labextension=self.rspackChunkkitaru_nb_labextension||[]).push([[700],{475(r,o,a){var e=a(982),i=a.n(e),t=a(314),p=(a.n(t))()(i());p.push([r.id,`/* What every view of ours shares. Colours are the theme's, always. */

.jp-kitaru-dim {
  color: var(--jp-ui-font-color2);
  font-size: var(--jp-ui-font-size1);
}

.jp-kitaru-error,
.jp-kitaru-Field-error {
  color: var(--jp-error-color1);
}

.jp-kitaru-buttons {
  align-items: center;
  display: flex;
  flex-wrap: wrap;
  gap: 8px;
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
  padding: 0 4px;
}

.jp-kitaru-start {
  align-self: flex-start;
}

.jp-kitaru-link:hover {
  text-decoration: underline;
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
  padding: 2px 6px;
  user-select: all;
}

.jp-kitaru-Problem {
  color: var(--jp-ui-font-color1);
  display: flex;
  flex-direction: column;
  gap: 6px;
  padding: 12px;
}

.jp-kitaru-Problem .jp-mod-styled {
  align-self: flex-start;
}
`,""]),a.d(o,{},{A:p})},33(r,o,a){var e=a(982),i=a.n(e),t=a(314),p=(a.n(t))()(i());p.push([r.id,`/* The line below a checkpoint cell's source. */

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

.jp-kitaru-Badge-why {
  overflow: hidden;
  text-overflow: ellipsis;
  white-space: nowrap;
}

/* What happened to the last execution, above the notebook. */

.jp-kitaru-Resume {
  align-items: center;
  background: var(--jp-layout-color2);
  border-bottom: var(--jp-border-width) solid var(--jp-border-color2);
  border-left: 3px solid var(--jp-warn-color1);
  box-sizing: border-box;
  color: var(--jp-ui-font-color1);
  display: flex;
  flex-wrap: wrap;
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size1);
  gap: 6px 12px;
  line-height: 1.4;
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

.jp-kitaru-Resume .jp-mod-styled {
  margin: 0;
}
`,""]),a.d(o,{},{A:p})},505(r,o,a){var e=a(982),i=a.n(e),t=a(314),p=(a.n(t))()(i());p.push([r.id,`/* The side panel: waits on top, executions below. */

.jp-kitaru-Panel {
  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color1);
  display: flex;
  flex-direction: column;
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size1);
  height: 100%;
  line-height: 1.4;
  min-width: 260px;
  overflow: hidden;
}

.jp-kitaru-Panel-head {
  align-items: center;
  box-sizing: border-box;
  display: flex;
  flex: 0 0 auto;
  font-size: var(--jp-ui-font-size1);
  font-weight: 600;
  gap: 8px;
  justify-content: space-between;
  margin: 0;
  min-height: 36px;
  padding: 6px 12px;
}

.jp-kitaru-Count {
  background: var(--jp-warn-color1);
  border-radius: 9px;
  color: var(--jp-ui-inverse-font-color0);
  font-size: var(--jp-ui-font-size0);
  font-weight: 600;
  min-width: 10px;
  padding: 0 6px;
  text-align: center;
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
  max-height: 55%;
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
  background: var(--jp-input-background, var(--jp-layout-color1));
  border: var(--jp-border-width) solid var(--jp-border-color1);
  border-radius: var(--jp-border-radius);
  box-sizing: border-box;
  color: var(--jp-ui-font-color0);
  font-size: var(--jp-ui-font-size1);
  height: 28px;
  margin: 0;
  min-width: 0;
  padding: 0 8px;
}

.jp-kitaru-Filter input {
  flex: 1 1 110px;
}

.jp-kitaru-Filter select {
  flex: 0 1 96px;
}

.jp-kitaru-Filter input:focus-visible,
.jp-kitaru-Filter select:focus-visible {
  border-color: var(--jp-brand-color1);
  outline: 1px solid var(--jp-brand-color1);
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
  background: none;
  border: none;
  border-bottom: var(--jp-border-width) solid var(--jp-border-color3);
  box-sizing: border-box;
  color: inherit;
  column-gap: 8px;
  cursor: pointer;
  display: grid;
  font: inherit;
  grid-template-columns: 12px 1fr auto;
  height: 100%;
  padding: 0 12px;
  text-align: left;
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

.jp-kitaru-Row-title,
.jp-kitaru-Row-more {
  overflow: hidden;
  text-overflow: ellipsis;
  white-space: nowrap;
}

.jp-kitaru-Row-cost {
  font-variant-numeric: tabular-nums;
}

.jp-kitaru-Row-more {
  color: var(--jp-ui-font-color2);
  font-size: var(--jp-ui-font-size0);
  grid-column: 2;
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
  background: none;
  border: none;
  color: var(--jp-ui-font-color1);
  cursor: pointer;
  display: inline-flex;
  font: inherit;
  gap: 4px;
  padding: 2px 4px;
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
  background: none;
  border: none;
  color: inherit;
  column-gap: 8px;
  cursor: pointer;
  display: grid;
  font: inherit;
  grid-template-columns: 12px minmax(0, 1fr) auto;
  padding: 6px 12px;
  row-gap: 4px;
  text-align: left;
  width: 100%;
}

.jp-kitaru-Step-name {
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
  overflow: hidden;
  text-overflow: ellipsis;
  white-space: nowrap;
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

.jp-kitaru-Artifact-head {
  align-items: baseline;
  background: none;
  border: none;
  color: inherit;
  cursor: pointer;
  display: flex;
  font: inherit;
  gap: 12px;
  justify-content: space-between;
  margin-left: -6px;
  padding: 3px 6px;
  text-align: left;
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
  background: var(--jp-layout-color0);
  border: var(--jp-border-width) solid var(--jp-border-color3);
  border-radius: var(--jp-border-radius);
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
  line-height: var(--jp-code-line-height);
  max-height: 280px;
  overflow: auto;
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
`,""]),a.d(o,{},{A:p})},646(r,o,a){var e=a(982),i=a.n(e),t=a(314),p=a.n(t),n=a(475),l=a(192),d=a(505),u=a(33),s=a(40),c=p()(i());c.i(n.A),c.i(l.A),c.i(d.A),c.i(u.A),c.i(s.A),c.push([r.id,`
`,""]),a.d(o,{},{A:c})},40(r,o,a){var e=a(982),i=a.n(e),t=a(314),p=(a.n(t))()(i());p.push([r.id,`/* What opens in the main area: the replay form and the comparison. */

.jp-kitaru-View {
  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color1);
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size1);
  line-height: 1.4;
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

[data-jp-theme-light='false'] .jp-kitaru-Frame {
  color-scheme: dark;
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
`,""]),a.d(o,{},{A:p})},192(r,o,a){var e=a(982),i=a.n(e),t=a(314),p=(a.n(t))()(i());p.push([r.id,`/* A wait: in a cell's output and in the panel's inbox. */

.jp-kitaru-Renderer {
  padding: 4px 0;
}

.jp-kitaru-Wait {
  background: var(--jp-layout-color1);
  border: var(--jp-border-width) solid var(--jp-border-color2);
  border-left: 3px solid var(--jp-warn-color1);
  border-radius: var(--jp-border-radius);
  box-sizing: border-box;
  color: var(--jp-ui-font-color1);
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size1);
  line-height: 1.4;
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

/* What is to be approved */

.jp-kitaru-Show {
  background: var(--jp-layout-color0);
  border: var(--jp-border-width) solid var(--jp-border-color3);
  border-radius: var(--jp-border-radius);
  font-size: var(--jp-code-font-size);
  margin: 8px 0;
  max-height: 320px;
  overflow: auto;
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

.jp-kitaru-Diff-line {
  display: block;
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

.jp-kitaru-Show.jp-mod-table {
  max-width: 100%;
  width: fit-content;
}

.jp-kitaru-Show table {
  border-collapse: collapse;
  font-size: var(--jp-ui-font-size1);
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
  padding: 4px 10px;
  vertical-align: top;
}

.jp-kitaru-Show .jp-mod-number {
  font-variant-numeric: tabular-nums;
  text-align: right;
}

.jp-kitaru-Pairs {
  display: grid;
  font-size: var(--jp-ui-font-size1);
  gap: 4px 16px;
  grid-template-columns: max-content 1fr;
  padding: 8px 12px;
}

.jp-kitaru-Pairs dt {
  color: var(--jp-ui-font-color2);
}

.jp-kitaru-Pairs dd {
  margin: 0;
  overflow-wrap: anywhere;
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
}

.jp-kitaru-Field input:not([type='checkbox'], [type='radio']),
.jp-kitaru-Field select,
.jp-kitaru-Field textarea {
  background: var(--jp-input-background, var(--jp-layout-color1));
  border: var(--jp-border-width) solid var(--jp-border-color1);
  border-radius: var(--jp-border-radius);
  box-sizing: border-box;
  color: var(--jp-ui-font-color0);
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size1);
  line-height: 1.4;
  padding: 5px 8px;
  width: 100%;
}

.jp-kitaru-Field input:focus-visible,
.jp-kitaru-Field select:focus-visible,
.jp-kitaru-Field textarea:focus-visible {
  border-color: var(--jp-brand-color1);
  outline: 1px solid var(--jp-brand-color1);
}

.jp-kitaru-Field.jp-mod-wrong > input,
.jp-kitaru-Field.jp-mod-wrong > select,
.jp-kitaru-Field.jp-mod-wrong > textarea {
  border-color: var(--jp-error-color1);
}

.jp-kitaru-Field .checkbox label {
  align-items: center;
  cursor: pointer;
  display: flex;
  gap: 6px;
}
`,""]),a.d(o,{},{A:p})},314(r){r.exports=function(r){var o=[];return o.toString=function(){return this.map(function(o){var a="",e=void 0!==o[5];return o[4]&&(a+="@supports (".concat(o[4],") {")),o[2]&&(a+="@media ".concat(o[2]," {")),e&&(a+="@layer".concat(o[5].length>0?" ".concat(o[5]):""," {")),a+=r(o),e&&(a+="}"),o[2]&&(a+="}"),o[4]&&(a+="}"),a}).join("")},o.i=function(r,a,e,i,t){"string"==typeof r&&(r=[[null,r,void 0]]);var p={};if(e)for(var n=0;n<this.length;n++){var l=this[n][0];null!=l&&(p[l]=!0)}for(var d=0;d<r.length;d++){var u=[].concat(r[d]);e&&p[u[0]]||(void 0!==t&&(void 0===u[5]||(u[1]="@layer".concat(u[5].length>0?" ".concat(u[5]):""," {").concat(u[1],"}")),u[5]=t),a&&(u[2]&&(u[1]="@media ".concat(u[2]," {").concat(u[1],"}")),u[2]=a),i&&(u[4]?(u[1]="@supports (".concat(u[4],") {").concat(u[1],"}"),u[4]=i):u[4]="".concat(i)),o.push(u))}},o}},982(r){r.exports=function(r){return r[1]}},72(r){var o=[];function a(r){for(var a=-1,e=0;e<o.length;e++)if(o[e].identifier===r){a=e;break}return a}function e(r,e){for(var i={},t=[],p=0;p<r.length;p++){var n=r[p],l=e.base?n[0]+e.base:n[0],d=i[l]||0,u="".concat(l," ").concat(d);i[l]=d+1;var s=a(u),c={css:n[1],media:n[2],sourceMap:n[3],supports:n[4],layer:n[5]};if(-1!==s)o[s].references++,o[s].updater(c);else{var f=function(r,o){var a=o.domAPI(o);return a.update(r),function(o){o?(o.css!==r.css||o.media!==r.media||o.sourceMap!==r.sourceMap||o.supports!==r.supports||o.layer!==r.layer)&&a.update(r=o):a.remove()}}(c,e);e.byIndex=p,o.splice(p,0,{identifier:u,updater:f,references:1})}t.push(u)}return t}r.exports=function(r,i){var t=e(r=r||[],i=i||{});return function(r){r=r||[];for(var p=0;p<t.length;p++){var n=a(t[p]);o[n].references--}for(var l=e(r,i),d=0;d<t.length;d++){var u=a(t[d]);0===o[u].references&&(o[u].updater(),o.splice(u,1))}t=l}}},659(r){var o={};r.exports=function(r,a){var e=function(r){if(void 0===o[r]){var a=document.querySelector(r);if(window.HTMLIFrameElement&&a instanceof window.HTMLIFrameElement)try{a=a.contentDocument.head}catch(r){a=null}o[r]=a}return o[r]}(r);if(!e)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");e.appendChild(a)}},540(r){r.exports=function(r){var o=document.createElement("style");return r.setAttributes(o,r.attributes),r.insert(o,r.options),o}},56(r,o,a){r.exports=function(r){var o=a.nc;o&&r.setAttribute("nonce",o)}},825(r){r.exports=function(r){if("u"<typeof document)return{update:function(){},remove:function(){}};var o=r.insertStyleElement(r);return{update:function(a){var e,i,t;e="",a.supports&&(e+="@supports (".concat(a.supports,") {")),a.media&&(e+="@media ".concat(a.media," {")),(i=void 0!==a.layer)&&(e+="@layer".concat(a.layer.length>0?" ".concat(a.layer):""," {")),e+=a.css,i&&(e+="}"),a.media&&(e+="}"),a.supports&&(e+="}"),(t=a.sourceMap)&&"u">typeof btoa&&(e+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(t))))," */")),r.styleTagTransform(e,o,r.options)},remove:function(){var r;null===(r=o).parentNode||r.parentNode.removeChild(r)}}}},113(r){r.exports=function(r,o){if(o.styleSheet)o.styleSheet.cssText=r;else{for(;o.firstChild;)o.removeChild(o.firstChild);o.appendChild(document.createTextNode(r))}}},959(r,o,a){var e=a(72),i=a.n(e),t=a(825),p=a.n(t),n=a(659),l=a.n(n),d=a(56),u=a.n(d),s=a(540),c=a.n(s),f=a(113),j=a.n(f),x=a(646),k={};k.styleTagTransform=j(),k.setAttributes=u(),k.insert=l().bind(null,"head"),k.domAPI=p(),k.insertStyleElement=c(),i()(x.A,k),x.A&&x.A.locals&&x.A.locals}}]);