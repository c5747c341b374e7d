/*
 * The replay control, built of `elements.js`. The comparison is a page of its own in a frame that may
 * run nothing.
 */

const PAUSE = 1500; // milliseconds between two looks at a replay that runs

function field(text, input, id) {
  const root = element('div', 'field');
  root.append(labelOf(input, id, text), input);
  return root;
}

function render({ model, el }) {
  const state = () => model.get('state');
  const prefix = newPrefix();
  const root = element('section', 'card kitaru-mod-plain');
  const form = element('form');
  const from = element('select');
  const changes = element('textarea');
  const reads = element('div', 'dim');
  const buttons = element('div', 'buttons');
  const run = button('Run', 'accept', 'submit');
  const compare = button('Compare', 'plain');
  const told = element('div', 'ended');
  const problem = element('div', 'error');
  const frame = element('iframe', 'difference');
  root.setAttribute('aria-label', 'Replay');
  root.append(element('div', 'question', `Replay ${state().execution}`), form, told, problem);
  told.setAttribute('role', 'status');
  problem.setAttribute('role', 'alert');
  frame.setAttribute('sandbox', ''); // no scripts, no origin, no forms
  frame.title = 'The two executions side by side';
  changes.rows = 3;
  changes.placeholder = 'name = value';
  for (const step of state().steps) {
    const option = element('option', '', step.name);
    option.value = step.name;
    from.append(option);
  }
  from.value = state().steps.at(-1)?.name ?? '';
  buttons.append(run, compare);
  form.append(
    field('Begin at', from, `${prefix}-from`),
    field('Changes, one a line; a value is JSON, else text', changes, `${prefix}-changes`),
    reads,
    buttons
  );

  const hint = () => {
    const names = state().steps.find(step => step.name === from.value)?.reads ?? [];
    reads.textContent = names.length ? `It reads ${names.join(', ')}` : '';
  };
  from.addEventListener('change', hint);
  form.addEventListener('submit', event => {
    event.preventDefault();
    run.disabled = true;
    line.send({ kind: 'run', from: from.value, changes: changes.value });
  });
  compare.addEventListener('click', () => line.send({ kind: 'compare' }));

  const line = lineTo(model, () => {
    run.disabled = state().running;
    const typed = `kitaru-nb replay ${state().execution} --from ${from.value}`;
    problem.textContent = `The kernel has not replied yet: it may be busy, or gone. In a terminal ${typed} does the same.`;
  });
  let next = 0;
  const stop = () => {
    clearTimeout(next);
    line.hang();
  };
  const update = () => {
    const { replay, status, running, difference } = state();
    stop();
    run.disabled = running;
    compare.disabled = !replay || running;
    root.dataset.status = status || 'idle';
    told.replaceChildren();
    if (status) {
      told.append(element('strong', '', status), element('span', 'dim', replay));
    }
    problem.textContent = state().problem;
    if (difference && frame.srcdoc !== difference) {
      frame.srcdoc = difference;
      root.append(frame);
    } else if (!difference) {
      frame.remove();
    }
    if (running) {
      next = setTimeout(() => line.send({ kind: 'look' }), PAUSE);
    }
  };
  hint();
  return mount({ model, el }, root, update, stop);
}

export default { render };
