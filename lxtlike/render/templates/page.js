(script => {
const host = script.parentNode;
let root = document;
if (host.className === "lxtlike") {
  // In a notebook the page is a string in the script before this one.
  root = host.attachShadow({mode: "open"});
  root.innerHTML = JSON.parse(script.previousElementSibling.textContent);
}
const $ = id => root.getElementById(id), math = Math, page = $("page"), text = $("text"), form = $("controls"), canvas = $("heat");
const {groups, matrix: packed, total, own, ...result} = JSON.parse($("data").textContent), points = [...result.text], outputs = result.outputs || [];
const make = (name, options, ...content) => {
  const element = Object.assign(document.createElement(name), options);
  element.append(...content);
  return element;
};
const styled = (element, style) => (element.setAttribute("style", style), element);
// What commands instead of being read is named, and so are spaces alone, as Python does it.
const visible = label => /^ *$/.test(label) ? "␠".repeat(label.length) || "∅" : label.replace(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, c => ({"\n": "↵", "\t": "⇥"})[c] || `⟨U+${c.charCodeAt().toString(16).toUpperCase().padStart(4, 0)}⟩`);
const quoted = label => make("bdi", {className: "q"}, visible(label));
// Digits down to the step where numbers come in steps; what is `exact` never does.
const number = (x, exact) => (x > 0 ? "+" : "") + (!exact && (packed || preview?.layer != null) ? x.toFixed(clamp(math.ceil(2 - math.log10(limit)), 0, 20)) : x.toPrecision(math.abs(x) < 1 ? 3 : 4));
const percent = x => ` ${(100 * x).toFixed(1)}%`;
const clamp = (x, low, high) => math.max(low, math.min(high, x));
const add = (places, values) => places.reduce((sum, i) => sum + values[i], 0);

// Columns back to rows: offsets come as steps, and count code points; what follows from place and offsets was left out.
const rows = columns => {
  if (Array.isArray(columns)) return columns;
  for (const key of ["start", "end"]) {
    let sum = 0;
    columns[key] = columns[key].steps.map(step => sum += step);
  }
  return columns.start.map((start, i) => {
    const row = {}, slice = points.slice(start, columns.end[i]).join("");
    for (const key in columns) {
      const column = columns[key], value = column?.[i];
      row[key] = !column ? key === "index" ? i : slice : column.true ? column.true.includes(i) : key === "token" && value === +value ? [slice, " " + slice][value] : value;
    }
    return row;
  });
};
// Rows of bytes times a scale; of sparse ones pairs of bytes, how many places to skip and the number there.
const unpacked = matrix => {
  if (!matrix) return;
  const raw = Int8Array.from(atob(matrix.bytes), sign => sign.charCodeAt());
  let at = 0;
  return matrix.scales.map(scale => {
    const row = new Float32Array(matrix.width);
    for (let i = 0; i < row.length; i++) {
      if (matrix.sparse) i += raw[at++] & 255;
      row[i] = raw[at++] * scale;
    }
    return row;
  });
};
const tokens = result.tokens = rows(result.tokens), matrix = unpacked(packed), at = outputs.map(output => output.position);
const layers = result.layers = unpacked(result.layers), heads = result.heads = unpacked(result.heads), whole = total || tokens.map(token => token.relevance);
matrix?.forEach((row, o) => outputs[o].relevance = row);
if (result.units) result.units = rows(result.units);
const words = places => points.slice(tokens[places[0]].start, tokens[places.at(-1)].end).join("") || places.map(i => tokens[i].token).join("");

// Units of the chosen granularity, and the elements that show them.
let last = -1, units, spans, everywhere, buttons = [];
const pieces = [...text.childNodes].map(node => {
  if (!node.matches?.("a")) return {node};
  const places = node.dataset.i ? node.dataset.i.split(" ").map(Number) : [last + 1];
  last = places.at(-1);
  for (const i of places) if (at.includes(i)) buttons[at.indexOf(i)] = node;
  return {node, places};
});
const regroup = () => {
  const name = form.by.value, flat = name === "token", owner = [], nodes = [];
  let next = 0, span, between = [];
  units = (flat ? tokens.map(() => 1) : groups[name] || result.units).map((unit, i) => {
    const places = unit.tokens || Array.from(unit > 0 ? {length: unit} : unit, () => next++);
    for (const place of places) owner[place] = i;
    return {places, label: unit.label || unit.text || words(places), special: places.every(i => tokens[i].special)};
  });
  spans = [];
  everywhere = 0;
  text.dir = ""; // or the browser looks for the direction again at every node that moves
  for (const {node, places} of pieces) {
    if (!places) {
      between.push(node);
      continue;
    }
    const i = owner[places[0]];
    if (!flat) node.removeAttribute("style");
    if (!flat && span?.units[0] === i) span.node.append(...between, node);
    else {
      span = {node, units: places, places, special: units[i].special, output: at.includes(places[0])};
      if (!flat) Object.assign(span, {node: make("a"), units: [i], places: units[i].places}).node.append(node);
      span.node.span = span;
      span.style = span.node.getAttribute("style") || "";
      nodes.push(...between, span.node);
      spans.push(span);
    }
    between = [];
  }
  if (spans[0]?.node.parentNode !== text) text.replaceChildren(...nodes, ...between);
  text.dir = "auto";
  $("what").textContent = name === "units" ? name : name + "s";
};

// What is shown: the sum of the outputs from..to, what the tokens `input` did for each output, or one layer.
let picked = {}, preview, anchor = 0, values, limit;
const relevance = ({from, to, input, layer}) => {
  if (layer != null) return layers[layer];
  if (!input && from == null) return whole;
  const sums = new Float64Array(tokens.length);
  if (input) at.forEach((place, o) => sums[place] = add(input, matrix[o]));
  else for (const row of matrix.slice(from, to + 1)) row.forEach((x, i) => sums[i] += x);
  return sums;
};
// The scale of Python: the 99th percentile of the magnitudes, or the largest where that is zero.
const quantile = numbers => {
  const sizes = Float64Array.from(numbers).map(math.abs).sort(), place = .99 * (sizes.length - 1), low = math.floor(place);
  return sizes.length && (sizes[low] + (place - low) * (sizes.at(low + 1 - sizes.length) - sizes[low]) || sizes.at(-1));
};
const legend = x => {
  $("low").textContent = number(-x);
  $("high").textContent = number(x);
};
const global = () => form.scale?.value === "global";
// Which span is the first that begins below a height of the window.
const below = height => {
  let low = 0, high = spans.length;
  while (low < high) {
    const middle = low + high >> 1;
    if (spans[middle].node.getBoundingClientRect().top < height) low = middle + 1;
    else high = middle;
  }
  return low;
};
const tint = (sum, special) => special || !limit ? "" : "--r:" + `${+clamp(sum / limit, -1, 1).toFixed(2)}`.replace("0.", ".");
let marked, later;
const colour = (from, to) => {
  for (const span of spans.slice(from, to)) {
    const style = tint(add(span.places, values), span.special);
    if (span.style !== style) styled(span.node, span.style = style);
  }
};
const paint = near => {
  const now = preview || picked, {from, to, input, layer} = now, content = spans.filter(span => !span.special);
  values = relevance(now);
  limit = quantile(content.filter(span => !input || span.output).map(span => add(span.places, values)));
  if (global()) {
    everywhere ||= quantile((matrix || layers).flatMap((row, o) => content.filter(span => !(span.places[0] >= at[o])).map(span => add(span.places, row))));
    limit = math.max(everywhere, from === to ? 0 : limit);
  }
  // All at once or, where the text stands already, what is near the window, and all else when there is time.
  clearTimeout(later);
  if (near) {
    colour(below(-innerHeight), below(2 * innerHeight));
    later = setTimeout(colour, 150);
  } else colour();
  marked?.classList.remove("on");
  marked = input && spans.find(span => span.places.includes(input[0]))?.node;
  marked?.classList.add("on");
  legend(limit);
  $("everywhere").hidden = !global();
  rank();
  if (!matrix) return;
  const shown = outputs.slice(from ?? 0, (to ?? outputs.length) + 1), [{id, prediction, prob = prediction?.find(choice => choice.id === id)?.prob}] = shown;
  if (!input) account(shown.map(output => output.ledger));
  if (input) say("What ", quoted(words(input)), " did for each output");
  else if (from == null) hint("hint");
  else say(from === to ? `Output ${from} ` : `Outputs ${from} to ${to} `, quoted(words(at.slice(from, to + 1))), ` ${result.objective} ${number(add(shown.map((_, i) => i), shown.map(output => output.value)), true)}`, ...from === to && prob != null ? [", probability", percent(prob)] : []);
};
const say = (...line) => $("now").replaceChildren(...line);
const hint = name => say($(name).content.cloneNode(true));

// The drawer.
const entry = (amount, mark, label, note) => make("li", {}, make("b", {}, amount), mark, make("span", {}, label, make("small", {}, note)));
const rank = () => {
  const sums = units.map(unit => add(unit.places, values));
  const order = units.map((_, i) => i).filter(i => !units[i].special && sums[i]).sort((i, j) => math.abs(sums[j]) - math.abs(sums[i]));
  for (const [id, sign] of [["for", 1], ["against", -1]]) {
    const lines = order.filter(i => sums[i] * sign > 0).slice(0, 10).map(i => {
      let label = quoted(units[i].label);
      if (matrix) label = make("button", {type: "button", onclick: () => pick({input: units[i].places})}, label);
      return entry(number(sums[i]), styled(make("i"), `--r:${sign};--w:${math.abs(sums[i] / sums[order[0]])}`), label, ` #${i}`);
    });
    $(id).replaceChildren(...lines.length ? lines : [make("li", {}, "none")]);
  }
};
const account = ledgers => {
  if (!$("ledger") || ledgers.includes(null)) return;
  const amount = name => ledgers.reduce((sum, ledger) => sum + (ledger[name] || 0), 0);
  const names = ["tokens", "positions", "biases", "softmax", "epsilon", "router", "rest"].filter(name => amount(name) || name === "tokens");
  const size = names.reduce((sum, name) => sum + math.abs(amount(name)), 0) || 1, share = name => math.abs(amount(name)) / size;
  const bars = () => names.map(name => styled(make("i", {className: amount(name) < 0 ? "neg" : ""}), `--k:var(--${name});--w:${share(name)}`)), keys = bars();
  $("explained").textContent = number(amount("explained"), true);
  $("stack").replaceChildren(...bars());
  $("accounts").replaceChildren(...names.map((name, i) => entry(number(amount(name), true), keys[i], name, percent(share(name)) + (!i && amount("special") ? `, of it ${number(amount("special"), true)} on special tokens` : ""))));
};

// Picking: hover previews, click keeps, shift extends.
let frame;
const peek = next => {
  if (next?.from >= picked.from && next.to <= picked.to) next = null;
  if (JSON.stringify([preview]) === JSON.stringify([next])) return;
  preview = next;
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => paint(true));
};
const pick = next => {
  picked = next;
  preview = null;
  buttons.forEach((button, o) => button.ariaPressed = o >= next.from && o <= next.to);
  $("all").ariaPressed = !next.input && next.from == null;
  paint(true);
  tabulate();
};
const range = span => span?.output && {from: at.indexOf(span.places[0]), to: at.indexOf(span.places.at(-1))};
const found = event => event.target.closest("#text>*")?.span;
const choose = ({from, to}, extend) => {
  if (extend) getSelection().empty();
  else anchor = from;
  buttons.forEach((button, o) => button.tabIndex = o === from ? 0 : -1);
  pick(extend ? {from: math.min(anchor, from), to: math.max(anchor, to)} : {from, to});
};
const press = event => {
  const span = found(event), outputs = range(span);
  if (outputs) picked.from === outputs.from && picked.to === outputs.to ? pick({}) : choose(outputs, event.shiftKey);
  else if (span && getSelection().type !== "Range") pick(picked.input?.[0] === span.places[0] ? {} : {input: span.places});
};
if (matrix) {
  buttons[0].tabIndex = 0;
  text.onclick = press;
  text.onkeydown = event => {
    const now = buttons.indexOf(event.target), ltr = getComputedStyle(text).direction === "ltr" ? 1 : -1, end = outputs.length - 1;
    const next = {ArrowRight: now + ltr, ArrowLeft: now - ltr, ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: end, Enter: now, " ": now}[event.key];
    if (event.key === "Escape") pick({});
    if (next == null || now < 0) return;
    event.preventDefault();
    if (/Enter| /.test(event.key)) return press(event);
    choose(range(spans.find(span => span.places.includes(at[clamp(next, 0, end)]))), event.shiftKey);
    buttons[clamp(next, 0, end)].focus();
  };
  $("all").onclick = () => pick({});
}
text.onpointerover = event => {
  const span = found(event);
  if (span) span.node.title = span.units.map(i => `${visible(units[i].label)}  ${number(add(units[i].places, values))}  (${form.by.value} ${i})`).join("\n");
  if (matrix) peek(range(span) || null);
};
text.onpointerleave = canvas.onpointerleave = () => peek(null);

// Heat maps: a row for each output or layer and a column for each token, or layers and heads.
let cell = [0, 0];
const map = () => ({matrix, layers, heads})[form.view.value];
const draw = () => {
  const lines = map(), name = form.view.value;
  $("map").hidden = !lines;
  if (!lines) return;
  const wide = canvas.width = lines[0].length, high = canvas.height = lines.length, context = canvas.getContext("2d"), image = context.createImageData(wide, high);
  const colours = [0, 20].map(i => getComputedStyle($("cells").children[i]).outlineColor.match(/\d+/g)).map(([red, green, blue]) => red | green << 8 | blue << 16), cells = new Uint32Array(image.data.buffer), gain = 2 ** form.gain.value;
  // Special tokens are off the scale here too.
  const off = tokens.map(token => lines !== heads && token.special), ends = lines.map(line => quantile(line.filter((_, i) => !off[i])));
  if (global() || lines === heads) ends.fill(math.max(...ends));
  if (lines === heads) legend(ends[0]);
  let at = 0;
  lines.forEach((line, y) => line.forEach((x, i) => {
    cells[at++] = x && !off[i] ? colours[+(x > 0)] | 255 * math.min(1, math.abs(x) * gain / ends[y]) ** .8 << 24 : 0;
  }));
  context.putImageData(image, 0, 0);
  const height = clamp(320 / high, 3, 24);
  styled($("map"), `grid-template:${high * height}px auto/auto minmax(${2 * wide}px,${24 * wide}px)`);
  const named = (id, count, size, name) => $(id).replaceChildren(...Array.from(size > 11 && {length: count}, (_, i) => make("span", {}, name(i))));
  named("rows", high, height, y => lines === matrix ? visible(outputs[y].token) : `layer ${y + (lines === heads)}`);
  named("columns", wide, canvas.clientWidth / wide, i => lines === heads ? `head ${i + 1}` : visible(words([i])));
  if (!matrix) hint(name);
};
const visit = (y, x, keep) => {
  const lines = map(), o = clamp(y, 0, lines.length - 1), i = clamp(x, 0, lines[0].length - 1);
  cell = [o, i];
  if (lines === layers) peek({layer: o});
  if (lines === matrix) keep ? choose({from: o, to: o}) : peek({from: o, to: o});
  else say(`layer ${o + (lines === heads)}, `, lines === heads ? `head ${i + 1}` : quoted(words([i])), ` ${number(lines[o][i])}`);
};
canvas.onpointermove = canvas.onclick = event => visit(event.offsetY / canvas.clientHeight * canvas.height | 0, event.offsetX / canvas.clientWidth * canvas.width | 0, event.type === "click");
canvas.onkeydown = event => {
  const [y, x] = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0], Enter: [0, 0]}[event.key] || [];
  if (x == null) return;
  event.preventDefault();
  visit(cell[0] + y, cell[1] + x, event.key === "Enter");
};

// The table: the units as they are coloured now.
const tabulate = () => {
  text.hidden = form.view.value === "table";
  $("table").hidden = !text.hidden;
  $("lines").replaceChildren(...units.slice(text.hidden ? 0 : units.length).map(({places, label, special}, i) => {
    const sum = add(places, values), cells = [i, quoted(label), places.map(i => tokens[i].token).join(" "), number(sum)].map(content => make("td", {}, content));
    styled(cells[3], tint(sum, special));
    return make("tr", {}, ...cells);
  }));
};

const show = () => {
  for (const name of ["theme", "palette"]) page.dataset[name] = form[name].value;
  page.style.setProperty("--gain", 2 ** form.gain.value);
  paint();
  tabulate();
  draw();
};
form.onchange = event => {
  if (event.target.name === "by") regroup();
  show();
};
$("copy").hidden = !navigator.clipboard;
$("copy").onclick = () => {
  const content = JSON.stringify({...result, ...own}, (_, value) => value?.buffer ? [...value] : value);
  navigator.clipboard.writeText(content).then(() => "Copied", () => "Refused").then(said => $("copy").textContent = said);
};
form.hidden = false;
regroup();
show();
})(document.currentScript);
