/*
 * The replay control. It draws `state` and sends what was chosen; the kernel decides.
 *
 * Names and messages are put in as text, never as markup. The comparison is a page of its own in a
 * frame that may run nothing.
 */

const PAUSE = 1500; // milliseconds between two looks at a replay that runs

function element(tag, name, text) {
  const found = document.createElement(tag);
  found.className = name ? `kitaru-${name}` : '';
  if (text) {
    found.textContent = text;
  }
  return found;
}

function field(text, input, id) {
  const root = element('div', 'field');
  const label = element('label', 'label', text);
  input.id = id;
  label.htmlFor = id;
  root.append(label, input);
  return root;
}

function render({ model, el }) {
  const state = () => model.get('state');
  const prefix = `kitaru-replay-${Math.random().toString(36).slice(2)}`;
  const root = element('section', 'wait kitaru-mod-plain');
  const form = element('form');
  const from = element('select');
  const changes = element('textarea');
  const reads = element('div', 'dim');
  const buttons = element('div', 'buttons');
  const run = element('button', 'button kitaru-mod-accept', 'Run');
  const compare = element('button', 'button', 'Compare');
  const told = element('div', 'ended');
  const problem = element('div', 'error');
  const frame = element('iframe', 'difference');
  root.setAttribute('aria-label', 'Replay');
  root.append(element('div', 'question', `Replay ${state().execution}`), form, told, problem);
  told.setAttribute('role', 'status');
  problem.setAttribute('role', 'alert');
  run.type = 'submit';
  compare.type = 'button';
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
    model.send({ kind: 'run', from: from.value, changes: changes.value });
  });
  compare.addEventListener('click', () => model.send({ kind: 'compare' }));

  let timer = 0;
  const update = () => {
    const { replay, status, running, difference } = state();
    clearTimeout(timer);
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
      timer = setTimeout(() => model.send({ kind: 'look' }), PAUSE);
    }
  };
  root.addEventListener('keydown', event => event.stopPropagation());
  model.on('change:state', update);
  el.append(root);
  hint();
  update();
  return () => {
    clearTimeout(timer);
    model.off('change:state', update);
  };
}

export default { render };
