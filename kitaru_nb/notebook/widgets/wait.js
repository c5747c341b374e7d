/* The form of a wait, built of `elements.js`. */

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
  const label = labelOf(input, id, field.label);
  const hint = element('div', 'dim', field.hint);
  const wrong = element('div', 'error');
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
  const prefix = newPrefix();
  const root = element('section', 'card');
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

  const busy = is => {
    for (const each of body.querySelectorAll('button, input, select, textarea')) {
      each.disabled = is;
    }
  };
  let pressed = null; // what had the keyboard: being disabled takes it away
  const giveBack = target => {
    if (pressed) {
      (target ?? pressed).focus();
    }
    pressed = null;
  };
  const line = lineTo(model, () => {
    busy(false);
    giveBack();
    problem.textContent = 'The kernel has not replied yet: it may be busy, or gone. The command below answers as well.';
  });
  const send = typed => {
    pressed = document.activeElement;
    busy(true);
    problem.textContent = '';
    line.send({ kind: 'answer', typed, reason: reason.read() });
  };

  if (state().choice) {
    const yes = button('Approve', 'accept');
    const no = button('Reject', 'warn');
    yes.addEventListener('click', () => send(true));
    no.addEventListener('click', () => send(false));
    body.addEventListener('submit', event => event.preventDefault());
    buttons.append(yes, no);
  } else {
    const done = button('Send answer', 'accept', 'submit');
    body.addEventListener('submit', event => {
      event.preventDefault();
      send(Object.fromEntries([...rows].map(([pointer, each]) => [pointer, each.read()])));
    });
    buttons.append(done);
  }
  body.noValidate = true;
  body.append(...[...rows.values()].map(each => each.root), reason.root, problem, buttons);

  const update = () => {
    const { errors, ended, note } = state();
    line.hang();
    busy(false);
    foot.textContent = note;
    root.dataset.status = ended ? ended.status : 'pending';
    if (ended) {
      const how = element('div', 'ended');
      how.setAttribute('role', 'status');
      how.tabIndex = -1;
      how.append(element('strong', '', ended.head), element('span', 'dim', ended.rest));
      pressed ??= body.contains(document.activeElement) ? document.activeElement : null;
      foot.remove();
      root.lastElementChild.replaceWith(how);
      giveBack(how);
      return;
    }
    let first = null;
    for (const [pointer, each] of rows) {
      each.say(errors[pointer]);
      first ??= errors[pointer] ? each.input : null;
    }
    const others = Object.keys(errors).filter(pointer => !rows.has(pointer));
    problem.textContent = [state().problem, ...others.map(pointer => errors[pointer])].filter(Boolean).join('; ');
    if (first || problem.textContent) {
      giveBack(first); // else it is the reply to a look
    }
  };

  const leave = mount({ model, el }, root, update, line.hang);
  model.send({ kind: 'look' }); // somebody may have answered elsewhere meanwhile
  return leave;
}

export default { render };
