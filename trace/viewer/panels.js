// Everything around the canvas: summary, legend, tooltip, pinned details.

const byId = (id) => document.getElementById(id);
// An element with text or children; text never becomes markup.
function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function plural(count, noun) {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}

function fillSummary() {
  byId('title').append(about.program || 'trace', ' ',
      element('small', '', about.measured ? 'measured' : 'predicted'));
  const add = (name, value) => {
    if (value === '') return;
    byId('summary').append(element('div', '', element('dt', '', name),
                                   element('dd', '', value)));
  };
  if (about.token_ns > 0) {
    add('token', `${us(about.token_ns, 1)} us (mean of ` +
        `${about.typical_passes.length})`);
    add('rate', `${(1e9 / about.token_ns).toFixed(0)} tokens/s`);
  }
  let bytes = 0;
  for (let e = 0; e < numEvents; ++e) bytes += events.bytes[e];
  if (bytes > 0) {
    add('read', `${(bytes / (span.end - span.begin)).toFixed(0)} GB/s` +
        (about.stream_gb_per_s > 0 ?
             ` of ${about.stream_gb_per_s.toFixed(0)}` : ''));
  }
  add('positions', about.num_passes === 0 ? 'none' :
      `${about.first_position + about.first_pass} to ` +
      `${about.first_position + about.first_pass + about.num_passes - 1}`);
  add('machine', about.machine);
  add('model', about.model);
  add('instructions', numEvents.toLocaleString('en'));
  if (about.skew_ns > 0 || about.resolution_ns > 0) {
    add('clock', `steps of ${about.resolution_ns.toPrecision(3)} ns, workers ` +
        `${about.skew_ns.toPrecision(3)} ns apart at most`);
  }
  add('command', about.command);
  const warning = byId('warning');
  if (numEvents === 0) {
    warning.textContent = 'The trace holds no events.';
  } else if (about.dropped > 0) {
    warning.textContent = `${plural(about.dropped, 'event')} did not fit the ` +
        'recorder\'s buffer and are missing: record fewer passes.';
  }
  warning.hidden = warning.textContent === '';
}

function fillPasses() {
  const select = byId('pass');
  select.append(new Option(`all (${passes.length})`, '-1'));
  for (const pass of passes) {
    const {begin, end} = passSpans.get(pass);
    select.append(new Option(`pass ${pass}, position ` +
        `${about.first_position + pass}, ${us(end - begin, 1)} us`, pass));
  }
}

// Nanoseconds of all workers per category of the mode, in the time of the pass
// shown: some of it belongs to instructions of the passes beside it.
function timesOf(mode) {
  const {begin, end} = passSpans.get(view.pass) || span;
  const within = (t0, t1) =>
      Math.max(0, Math.min(t1, end) - Math.max(t0, begin));
  const times = new Float64Array(modes[mode].names.length);
  let visits = 0;
  for (let e = 0; e < numEvents; ++e) {
    const time = within(events.begin[e], endOf(e));
    if (time === 0) continue;
    visits += time;
    if (mode !== 'state') {
      times[categoryOf(mode, events.instruction[e])] += time;
      continue;
    }
    for (let k = 0; k < NUM_PARTS; ++k) {
      times[stateOfPart[k]] += within(partBegin(e, k), partEnd(e, k));
    }
  }
  return {times, visits, all: (end - begin) * Math.max(1, numWorkers)};
}
function percent(part, whole) {
  return whole > 0 ? `${(100 * part / whole).toFixed(1)} %` : '';
}

function fillLegend() {
  const legend = byId('legend');
  const mode = modes[view.mode];
  const {times, visits, all} = timesOf(view.mode);
  legend.replaceChildren();
  mode.names.forEach((name, category) => {
    const swatch = element('i');
    swatch.style.background = colorOf(view.mode, category);
    const button = element('button', '', swatch, name, ' ',
        element('em', '', percent(times[category], all)));
    button.dataset.name = name;
    button.title = `Show or hide ${name}; double-click: only ${name}`;
    button.setAttribute('aria-pressed', String(!mode.hidden.has(category)));
    button.addEventListener('click', () => {
      setHidden(view.mode, category, !mode.hidden.has(category));
    });
    button.addEventListener('dblclick', () => {
      mode.names.forEach((_, other) => {
        setHidden(view.mode, other, other !== category);
      });
    });
    legend.append(button);
  });
  const gap = element('i');
  gap.style.background = 'var(--row)';
  legend.append(element('span', '', gap, 'between instructions',
                        element('em', '', percent(all - visits, all))));
}
// Without rebuilding: a button that was clicked keeps the focus.
function setHidden(modeName, category, hidden) {
  const mode = modes[modeName];
  if (hidden) mode.hidden.add(category);
  else mode.hidden.delete(category);
  if (modeName === view.mode) {
    byId('legend').children[category].setAttribute('aria-pressed',
                                                   String(!hidden));
  }
  redraw();
}

function row(...cells) {
  return element('tr', '', ...cells.map((cell) =>
      cell instanceof Node ? element('td', '', cell) :
      typeof cell === 'number' ? element('td', 'number', `${us(cell)} us`) :
      element('td', '', cell)));
}
function partsTable(e) {
  const table = element('table');
  for (let k = 0; k < NUM_PARTS; ++k) {
    const time = partEnd(e, k) - partBegin(e, k);
    if (time === 0) continue;
    const swatch = element('i');
    swatch.style.background = STATE_COLORS[stateOfPart[k]];
    table.append(row(element('span', '', swatch, raw.part_order[k]), time));
  }
  table.append(row('in all', endOf(e) - events.begin[e]));
  return table;
}
// The instruction's own time began when its worker came to it.
function relativeTime(nanos) {
  return nanos < 0 ? `${us(-nanos)} us before the visit` :
      `${us(nanos)} us into the visit`;
}

// `nameOf` makes a producer's name, e.g. as a link.
function waitsTable(e, nameOf) {
  const table = element('table');
  const i = events.instruction[e];
  const count = instructions.waitBegin[i + 1] - instructions.waitBegin[i];
  for (let k = 0; k < count; ++k) {
    const wait = instructions.waitBegin[i] + k;
    const edge = events.edgeBegin[e] + k;
    const flags = instructions.waitFlags[wait];
    const kind = [flags & 1 ? 'tagged' : 'counter'];
    if (flags & 2) kind.push('of the pass before');
    if (events.lastWait[e] === k) kind.push('seen last');
    const producer = events.producer[edge];
    table.append(row(`waits for ${raw.counters[instructions.waitCounter[wait]]}`,
        element('span', 'soft', kind.join(', ')),
        producer === NO_EVENT ? element('span', 'soft', 'not recorded') :
        element('span', '', 'last ', nameOf(producer),
                ` on worker ${events.worker[producer]}, published ` +
                relativeTime(events.publish[edge]))));
  }
  if (events.lastBuffer[e] !== NO_EVENT) {
    table.append(row('polled last', raw.buffers[events.lastBuffer[e]]));
  }
  return table;
}
function streamTable(e) {
  const table = element('table');
  const add = (name, time) => {
    if (time !== about.never) {
      table.append(row(name, relativeTime(time)));
    }
  };
  add('fetched', events.fetched[e]);
  add('first weight copy issued', events.loadBegin[e]);
  add('last weight copy issued', events.loadEnd[e]);
  if (events.bytes[e] > 0) {
    table.append(row('reads', `${events.bytes[e].toLocaleString('en')} bytes`));
  }
  return table;
}
function heading(e) {
  return element('div', '', element('span', 'name', labelOf(e)), ' ',
      element('span', 'soft', `${opcodeOf(e)}, worker ${events.worker[e]}, ` +
          `pc ${events.pc[e]}, pass ${events.pass[e]}, from ` +
          `${us(events.begin[e])} us` +
          (onPath[e] ? ', on the critical path' : '')));
}
function describe(e, nameOf) {
  return [heading(e), element('code', '', textOf(e)),
          element('div', 'columns', partsTable(e),
                  element('div', '', waitsTable(e, nameOf), streamTable(e)))];
}

function showTip(e, x, y) {
  const tip = byId('tip');
  tip.hidden = e < 0;
  if (e < 0) return;
  tip.replaceChildren(...describe(e, (producer) =>
      element('span', 'name', labelOf(producer))));
  const box = tip.getBoundingClientRect();
  const left = x + 16 + box.width > layout.width ? x - 16 - box.width : x + 16;
  const top = y + 16 + box.height > layout.height ? y - 12 - box.height : y + 16;
  tip.style.left = `${Math.max(2, left)}px`;
  tip.style.top = `${Math.max(2, top)}px`;
}

function showPinned() {
  byId('hint').hidden = view.pinned >= 0 || view.path;
  if (view.pinned < 0) {
    byId('pinned').replaceChildren();
    return;
  }
  byId('pinned').replaceChildren(...describe(view.pinned, (producer) => {
    const link = element('button', 'link', labelOf(producer));
    link.addEventListener('click', () => pin(producer, true));
    return link;
  }));
}
// The path's parts of the token shown, or of all tokens together.
function pathText() {
  const shown = tokens.filter((t) => view.pass < 0 || t.pass === view.pass);
  const total = shown.reduce((sum, t) => sum + t.end - t.begin, 0);
  if (total === 0) return 'no path';
  const parts = pathPartNames.map((name, k) => {
    const time = shown.reduce((sum, t) => sum + t.parts[k], 0);
    return time > 0 ? `${name} ${percent(time, total)}` : '';
  });
  const hops = shown.reduce((sum, t) => sum + t.hops, 0) / shown.length;
  return `Critical path: ${hops.toFixed(0)} hops a token; ` +
      parts.filter((text) => text !== '').join(', ');
}
