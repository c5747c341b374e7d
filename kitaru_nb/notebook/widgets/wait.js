/*
 * The form of a wait. It draws `state` and sends what was typed; the kernel decides.
 *
 * Questions, names and messages are put in as text (`textContent`), never as markup: what they hold
 * is anybody's.
 */

const PATIENCE = 5000; // milliseconds; a busy kernel answers no sooner than its cell has ended

function element(tag, name, text) {
  const found = document.createElement(tag);
  found.className = name ? `kitaru-${name}` : '';
  if (text) {
    found.textContent = text;
  }
  return found;
}

function button(text, kind) {
  const found = element('button', `button kitaru-mod-${kind}`, text);
  found.type = 'button';
  return found;
}

/** The control of a field, and how to read it. */
function control(field) {
  let found;
  if (field.kind === 'choice') {
    found = element('select');
    const none = element('option', '', field.required ? 'choose…' : '');
    none.value = '';
    found.append(none);
    field.options.forEach((text, number) => {
      const option = element('option', '', text);
      option.value = String(number);
      found.append(option);
    });
    found.value = field.typed;
  } else if (field.kind === 'area' || field.kind === 'json') {
    found = element('textarea');
    found.rows = field.kind === 'json' ? 2 : 4;
    found.spellcheck = field.kind !== 'json';
    found.placeholder = field.kind === 'json' ? 'JSON' : '';
    found.value = field.typed;
  } else {
    found = element('input');
    found.type = field.kind === 'box' ? 'checkbox' : 'text';
    if (field.kind === 'number') {
      found.inputMode = 'decimal';
    }
    if (field.kind === 'box') {
      found.checked = field.typed === true;
    } else {
      found.value = field.typed;
    }
  }
  return [found, () => (field.kind === 'box' ? found.checked : found.value)];
}

/** One field with its label, what its schema says and what is wrong with it. */
function row(field, id) {
  const [input, read] = control(field);
  const root = element('div', 'field');
  const label = element('label', 'label', field.label);
  const hint = element('div', 'dim', field.hint);
  const wrong = element('div', 'error');
  input.id = id;
  label.htmlFor = id;
  hint.id = `${id}-hint`;
  wrong.id = `${id}-error`;
  wrong.setAttribute('role', 'alert');
  input.setAttribute('aria-describedby', `${hint.id} ${wrong.id}`);
  if (field.kind === 'box') {
    const line = element('div', 'box');
    line.append(input, label);
    root.append(line);
  } else {
    const note = field.note ?? (field.required ? '' : 'optional');
    if (note) {
      label.append(element('span', 'dim', ` (${note})`));
    }
    root.append(label, input);
  }
  root.append(hint, wrong);
  const say = text => {
    wrong.textContent = text ?? '';
    input.setAttribute('aria-invalid', String(Boolean(text)));
  };
  return { root, input, read, say };
}

function render({ model, el }) {
  const state = () => model.get('state');
  // Ids are of one page, and each widget has a copy of this module of its own: a count would repeat.
  const prefix = `kitaru-form-${Math.random().toString(36).slice(2)}`;
  const root = element('section', 'wait');
  const body = element('form', 'body');
  const foot = element('div', 'foot');
  root.setAttribute('aria-label', state().question);
  root.append(element('div', 'question', state().question), body, foot);

  const rows = new Map(state().fields.map((field, number) => [field.pointer, row(field, `${prefix}-${number}`)]));
  const reason = row(
    { kind: 'text', label: 'Reason', note: 'goes on record with the answer', hint: '', typed: '' },
    `${prefix}-reason`
  );
  const problem = element('div', 'error');
  const buttons = element('div', 'buttons');
  problem.setAttribute('role', 'alert');
  let timer = 0;

  const busy = is => {
    for (const each of body.querySelectorAll('button, input, select, textarea')) {
      each.disabled = is;
    }
  };
  const send = typed => {
    busy(true);
    problem.textContent = '';
    model.send({ kind: 'answer', typed, reason: reason.read() });
    clearTimeout(timer);
    timer = setTimeout(() => {
      busy(false);
      problem.textContent = 'The kernel has not replied yet: it may be busy, or gone. The command below answers as well.';
    }, PATIENCE);
  };

  if (state().choice) {
    const yes = button('Approve', 'accept');
    const no = button('Reject', 'warn');
    yes.addEventListener('click', () => send(true));
    no.addEventListener('click', () => send(false));
    body.addEventListener('submit', event => event.preventDefault());
    buttons.append(yes, no);
  } else {
    const done = button('Send answer', 'accept');
    done.type = 'submit';
    body.addEventListener('submit', event => {
      event.preventDefault();
      send(Object.fromEntries([...rows].map(([pointer, each]) => [pointer, each.read()])));
    });
    buttons.append(done);
  }
  body.noValidate = true;
  body.append(...[...rows.values()].map(each => each.root), reason.root, problem, buttons);

  const update = () => {
    const { errors, ended, note, turn } = state();
    clearTimeout(timer);
    busy(false);
    foot.textContent = note;
    root.dataset.status = ended ? ended.status : 'pending';
    if (ended) {
      const line = element('div', 'ended');
      line.setAttribute('role', 'status');
      line.append(element('strong', '', ended.head), element('span', 'dim', ended.rest));
      foot.remove();
      root.lastElementChild.replaceWith(line);
      return;
    }
    let first = null;
    for (const [pointer, each] of rows) {
      each.say(errors[pointer]);
      first ??= errors[pointer] ? each.input : null;
    }
    const others = Object.keys(errors).filter(pointer => !rows.has(pointer));
    problem.textContent = [state().problem, ...others.map(pointer => errors[pointer])].filter(Boolean).join('; ');
    if (turn > 0) {
      first?.focus();
    }
  };

  // Keys belong to the form: a notebook's shortcuts would run or delete cells.
  root.addEventListener('keydown', event => event.stopPropagation());
  model.on('change:state', update);
  el.append(root);
  update();
  model.send({ kind: 'look' }); // somebody may have answered elsewhere meanwhile
  return () => {
    clearTimeout(timer);
    model.off('change:state', update);
  };
}

export default { render };
