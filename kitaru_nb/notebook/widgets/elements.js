/*
 * What the controls are built of. It is put in front of each one's own script: a widget is one module.
 *
 * Texts are put in as text (`textContent`), never as markup: what they hold is anybody's. The kernel
 * decides; a control draws its `state` and sends what was typed.
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

function button(text, kind, type = 'button') {
  const found = element('button', `button kitaru-mod-${kind}`, text);
  found.type = type;
  return found;
}

/** The label of an input, and the link between the two. */
function labelOf(input, id, text) {
  const found = element('label', 'label', text);
  input.id = id;
  found.htmlFor = id;
  return found;
}

/** What ids begin with. They are of one page, and each widget has a copy of this module of its own: a count would repeat. */
function newPrefix() {
  return `kitaru-${Math.random().toString(36).slice(2)}`;
}

/** Sends to the kernel; `late` is called where it does not reply, as one that is busy or gone does not. */
function lineTo(model, late) {
  let timer = 0;
  const hang = () => clearTimeout(timer);
  const send = content => {
    hang();
    timer = setTimeout(late, PATIENCE);
    model.send(content);
  };
  return { send, hang };
}

/** Put a control on the page and draw it, now and at each change; what comes back takes it away again. */
function mount({ model, el }, root, draw, leave) {
  // Keys belong to the control: a notebook's shortcuts would run or delete cells.
  root.addEventListener('keydown', event => event.stopPropagation());
  model.on('change:state', draw);
  el.append(root);
  draw();
  return () => {
    leave();
    model.off('change:state', draw);
  };
}
