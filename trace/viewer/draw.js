// What lies over the rows: rate, axis, numbers, labels, path, pins.

const FONT = '12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", ' +
    'sans-serif';

// A round step of time so that labels are at least `pixels` apart, ns.
function tickStep(pixels) {
  const least = (view.end - view.begin) / plotWidth() * pixels;
  let step = Math.pow(10, Math.floor(Math.log10(least)));
  for (const factor of [1, 2, 5, 10]) {
    if (step * factor >= least) return step * factor;
  }
  return step * 10;
}
function clipToPlot(context, top, height) {
  context.save();
  context.beginPath();
  context.rect(layout.left, top, plotWidth(), height);
  context.clip();
}

function drawAxis(context) {
  const {top, height} = layout.axis;
  const step = tickStep(90);
  const digits = Math.max(0, 3 - Math.floor(Math.log10(step)));
  context.strokeStyle = themeColors.edge;
  context.fillStyle = themeColors.soft;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.beginPath();
  for (let t = Math.ceil(view.begin / step) * step; t <= view.end; t += step) {
    const x = Math.round(xOf(t)) + 0.5;
    context.moveTo(x, top + height - 5);
    context.lineTo(x, top + height);
    if (x > layout.left + 20 && x < layout.width - 40) {
      context.fillText((t / 1000).toFixed(digits), x, top + 9);
    }
  }
  context.stroke();
  context.textAlign = 'left';
  context.fillText('us', 34, top + 9);
}

// Mean GB/s over [t0, t1).
function meanRate(t0, t1) {
  const sumUntil = (t) => {
    const bin = Math.min(rate.values.length, Math.max(0, t / rate.bin));
    const whole = Math.floor(bin);
    return rate.sums[whole] + (bin - whole) * (rate.values[whole] || 0);
  };
  return (sumUntil(t1) - sumUntil(t0)) * rate.bin / (t1 - t0);
}
function drawRate(context) {
  const {top, height} = layout.rate;
  const width = plotWidth();
  const perPixel = (view.end - view.begin) / width;
  const means = [];
  let most = about.stream_gb_per_s * 1.1;
  for (let x = 0; x < width; ++x) {
    means.push(meanRate(view.begin + x * perPixel,
                        view.begin + (x + 1) * perPixel));
    most = Math.max(most, means[x]);
  }
  context.fillStyle = themeColors.panel;
  context.fillRect(layout.left, top, width, height);
  const yOfRate = (v) => top + height - (most > 0 ? v / most : 0) * height;
  context.fillStyle = themeColors.rate;
  context.beginPath();
  context.moveTo(layout.left, top + height);
  means.forEach((v, x) => {
    context.lineTo(layout.left + x, yOfRate(v));
    context.lineTo(layout.left + x + 1, yOfRate(v));
  });
  context.lineTo(layout.left + width, top + height);
  context.fill();
  context.fillStyle = themeColors.soft;
  context.textAlign = 'right';
  context.textBaseline = 'top';
  context.fillText(most.toFixed(0), layout.left - 6, top);
  context.textBaseline = 'middle';
  context.fillText('GB/s', layout.left - 6, top + height / 2);
  context.textBaseline = 'bottom';
  context.fillText('0', layout.left - 6, top + height);
  if (about.stream_gb_per_s > 0) {
    const y = Math.round(yOfRate(about.stream_gb_per_s)) + 0.5;
    context.strokeStyle = themeColors.pick;
    context.setLineDash([5, 4]);
    context.beginPath();
    context.moveTo(layout.left, y);
    context.lineTo(layout.left + width, y);
    context.stroke();
    context.setLineDash([]);
  }
}

// Of the rows, without the empty rest below few of them.
function usedHeight() {
  return Math.min(rowsHeight(), numWorkers * rowHeight());
}
function drawWorkers(context) {
  const height = rowHeight();
  const every = height >= 13 ? 1 : Math.ceil(26 / height / 8) * 8;
  context.fillStyle = themeColors.soft;
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  context.save();
  context.beginPath();
  context.rect(0, layout.top - 6, layout.left, rowsHeight() + 12);
  context.clip();
  for (let w = 0; w < numWorkers; w += every) {
    const y = yOf(w) + height / 2;
    if (y < layout.top - 4 || y > layout.height) continue;
    context.fillText(String(w), layout.left - 6, y);
  }
  context.restore();
  context.save();
  if (usedHeight() < 50) {
    context.restore();
    return;
  }
  context.translate(13, layout.top + usedHeight() / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = 'center';
  context.fillText('worker', 0, 0);
  context.restore();
}

// The dotted ends of passes, with their numbers.
function drawPasses(context) {
  if (tokens.length > 400) return;
  context.strokeStyle = themeColors.soft;
  context.fillStyle = themeColors.soft;
  context.setLineDash([2, 3]);
  context.beginPath();
  for (const pass of passes) {
    const x = Math.round(xOf(passSpans.get(pass).end)) + 0.5;
    if (x < layout.left || x > layout.left + plotWidth()) continue;
    context.moveTo(x, layout.axis.top + layout.axis.height);
    context.lineTo(x, layout.top + usedHeight());
  }
  context.stroke();
  context.setLineDash([]);
}

// Names inside of what is wide and high enough.
function drawLabels(context) {
  const height = rowHeight();
  if (height < 11) return;
  context.textAlign = 'left';
  context.textBaseline = 'middle';
  context.font = FONT;
  let left = 1500;  // at most so many a frame
  const last = Math.min(numWorkers - 1, workerAt(layout.height - 1));
  for (let w = Math.max(0, workerAt(layout.top)); w <= last; ++w) {
    const rowEnd = events.rowBegin[w + 1];
    const shortest = (view.end - view.begin) / plotWidth() * 44;
    if ((view.end - view.begin) / shortest > 2000) return;
    for (let e = firstEndingAfter(w, view.begin);
         e < rowEnd && events.begin[e] < view.end && left > 0; ++e) {
      if (endOf(e) - events.begin[e] < shortest || isHidden(e)) continue;
      const x0 = Math.max(layout.left, xOf(events.begin[e])) + 3;
      const x1 = Math.min(layout.left + plotWidth(), xOf(endOf(e))) - 2;
      if (x1 - x0 < 38) continue;
      --left;
      context.save();
      context.beginPath();
      context.rect(x0, yOf(w), x1 - x0, height);
      context.clip();
      const y = yOf(w) + height / 2;
      context.lineWidth = 3;
      context.strokeStyle = themeColors.page;
      context.strokeText(labelOf(e), x0, y);
      context.fillStyle = themeColors.text;
      context.fillText(labelOf(e), x0, y);
      context.restore();
    }
  }
}

// The path of every token in sight: along a row while a worker has it, across
// where it hops. Returns the number of steps drawn.
function drawPath(context) {
  if (!view.path) return 0;
  const middle = rowHeight() / 2;
  let steps = 0;
  context.lineJoin = 'round';
  context.beginPath();
  for (const token of tokens) {
    if (token.end < view.begin || token.begin > view.end) continue;
    let y = null;
    for (let i = 0; i < token.events.length; ++i) {
      const e = token.events[i];
      const begin = token.stepBegin[i];
      const end = token.stepEnd[i];
      const row = yOf(events.worker[e]) + middle;
      const arrives =
          token.isHop[i] ? Math.min(end, Math.max(begin, partEnd(e, 0))) : begin;
      if (end >= view.begin && begin <= view.end) {
        context.moveTo(xOf(begin), y === null ? row : y);
        context.lineTo(xOf(arrives), row);
        context.lineTo(xOf(end), row);
        ++steps;
      }
      y = row;
    }
  }
  // Many tokens' steps side by side would hide everything else.
  const dense = steps > plotWidth() / 3;
  if (!dense) {
    context.lineWidth = 4;
    context.strokeStyle = themeColors.page;
    context.stroke();
  }
  context.lineWidth = dense ? 0.4 : 1.8;
  context.strokeStyle = themeColors.path;
  context.stroke();
  context.lineWidth = 1;
  return steps;
}

function drawFrame(context, e, color) {
  const x0 = xOf(events.begin[e]);
  const x1 = Math.max(x0 + 2, xOf(endOf(e)));
  context.strokeStyle = color;
  context.lineWidth = 2;
  context.strokeRect(x0 - 1, yOf(events.worker[e]) - 1, x1 - x0 + 2,
                     rowHeight() + 1);
  context.lineWidth = 1;
}
// The pinned instruction, and lines to those it waited for.
function drawPin(context) {
  const e = view.pinned;
  if (e < 0) return;
  const middle = rowHeight() / 2;
  context.strokeStyle = themeColors.pick;
  for (let k = events.edgeBegin[e]; k < events.edgeBegin[e + 1]; ++k) {
    const producer = events.producer[k];
    if (producer === NO_EVENT) continue;
    context.beginPath();
    context.moveTo(xOf(events.begin[e] + events.publish[k]),
                   yOf(events.worker[producer]) + middle);
    context.lineTo(xOf(partEnd(e, 0)), yOf(events.worker[e]) + middle);
    context.stroke();
    drawFrame(context, producer, themeColors.pick);
  }
  drawFrame(context, e, themeColors.pick);
}

function drawScrollbar(context) {
  const whole = numWorkers * rowHeight();
  const shown = rowsHeight();
  if (whole <= shown + 1) return;
  context.fillStyle = themeColors.edge;
  context.fillRect(layout.width - 6, layout.top + view.top / whole * shown, 5,
                   Math.max(10, shown / whole * shown));
}

function drawOverlay(context) {
  const ratio = layout.ratio;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, layout.width, layout.height);
  context.font = FONT;
  context.lineWidth = 1;
  drawRate(context);
  drawAxis(context);
  drawWorkers(context);
  clipToPlot(context, layout.axis.top, layout.height - layout.axis.top);
  drawPasses(context);
  context.restore();
  clipToPlot(context, layout.top, rowsHeight());
  drawLabels(context);
  stats.pathSteps = drawPath(context);
  drawPin(context);
  if (view.hover >= 0) drawFrame(context, view.hover, themeColors.text);
  context.restore();
  drawScrollbar(context);
}
