"use strict";
(script => {
const host = script.parentNode;
let root = document;
if (host.className === "lxtlike") {
  // In a notebook the page is a string in the script before this one.
  root = host.attachShadow({mode: "open"});
  root.innerHTML = JSON.parse(script.previousElementSibling.textContent);
}
const $ = id => root.getElementById(id), page = $("page"), text = $("text"), form = $("controls"), canvas = $("heat");
const {groups, matrix: packed, ...result} = JSON.parse($("data").textContent), points = [...result.text], outputs = result.outputs || [];
const make = (name, content = "", options = {}) => Object.assign(document.createElement(name), {textContent: content, ...options});
const styled = (element, style) => (element.setAttribute("style", style), element);
// What commands instead of being read is named, as Python does it.
const visible = label => label.replace(/[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g, c => c === "\n" ? "↵" : `⟨U+${c.charCodeAt().toString(16).toUpperCase().padStart(4, 0)}⟩`);
const quoted = label => make("bdi", visible(label), {className: "q"});
// Digits down to the step where numbers come in steps.
const number = x => (x > 0 ? "+" : "") + (packed || preview?.layer != null ? x.toFixed(clamp(Math.ceil(2 - Math.log10(limit)), 0, 20)) : x.toPrecision(Math.abs(x) < 1 ? 3 : 4));
const percent = x => ` ${(100 * x).toFixed(1)}%`;
const clamp = (x, low, high) => Math.max(low, Math.min(high, x));
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
  const raw = atob(matrix.bytes);
  let at = 0;
  return matrix.scales.map(scale => {
    const row = new Float32Array(matrix.width);
    for (let i = 0; i < row.length; i++) {
      if (matrix.sparse) i += raw.charCodeAt(at++);
      row[i] = (raw.charCodeAt(at++) << 24 >> 24) * scale;
    }
    return row;
  });
};
const tokens = result.tokens = rows(result.tokens), matrix = unpacked(packed), at = outputs.map(output => output.position);
const layers = result.layers = unpacked(result.layers), heads = result.heads = unpacked(result.heads), total = tokens.map(token => token.relevance);
if (result.units) result.units = rows(result.units);
const words = places => points.slice(tokens[places[0]].start, tokens[places.at(-1)].end).join("") || places.map(i => tokens[i].token).join("");

// Units of the chosen granularity, and the elements that show them.
let last = -1, units, spans, everywhere, buttons = [];
const pieces = [...text.childNodes].map(node => {
  if (!node.matches?.("a,button")) return {node};
  const places = node.dataset.i ? node.dataset.i.split(" ").map(Number) : [last + 1];
  last = places.at(-1);
  for (const i of places) if (at.includes(i)) buttons[at.indexOf(i)] = node;
  return {node, places};
});
const regroup = () => {
  const name = form.by.value, owner = [], nodes = [];
  let next = 0, span, between = [];
  units = (name === "token" ? tokens.map(() => 1) : groups[name] || result.units).map((unit, i) => {
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
    node.removeAttribute("style");
    if (name !== "token" && span?.units[0] === i) span.node.append(...between, node);
    else {
      span = {node, units: places, places, special: units[i].special, output: at.includes(places[0])};
      if (name !== "token") Object.assign(span, {node: make("a"), units: [i], places: units[i].places}).node.append(node);
      span.node.span = span;
      nodes.push(...between, span.node);
      spans.push(span);
    }
    between = [];
  }
  text.replaceChildren(...nodes, ...between);
  text.dir = "auto";
  $("what").textContent = name === "units" ? name : name + "s";
};

// What is shown: the sum of the outputs from..to, what the tokens `input` did for each output, or one layer.
let picked = {}, preview, anchor = 0, values, limit;
const relevance = ({from, to, input, layer}) => {
  if (layer != null) return layers[layer];
  if (!input && from == null) return total;
  if (from === to && !input) return matrix[from];
  const sums = new Float64Array(tokens.length);
  if (input) at.forEach((place, o) => sums[place] = add(input, matrix[o]));
  else for (let o = from; o <= to; o++) matrix[o].forEach((x, i) => sums[i] += x);
  return sums;
};
// The scale of Python: the 99th percentile of the magnitudes, or the largest where that is zero.
const quantile = numbers => {
  const sizes = Float64Array.from(numbers).map(Math.abs).filter(Number.isFinite).sort(), place = .99 * (sizes.length - 1), low = Math.floor(place);
  return sizes.length && (sizes[low] + (place - low) * (sizes.at(low + 1 - sizes.length) - sizes[low]) || sizes.at(-1));
};
const global = () => form.scale?.value === "global";
const paint = () => {
  const now = preview || picked, {from, to, input, layer} = now, content = spans.filter(span => !span.special);
  values = relevance(now);
  limit = quantile(content.filter(span => !input || span.output).map(span => add(span.places, values)));
  if (global()) {
    everywhere ||= quantile((matrix || layers).flatMap((row, o) => content.filter(span => !(span.places[0] >= at[o])).map(span => add(span.places, row))));
    limit = Math.max(everywhere, from === to ? 0 : limit);
  }
  for (const span of spans) {
    const ratio = limit && clamp(add(span.places, values) / limit, -1, 1), style = span.special || Number.isNaN(ratio) ? "" : "--r:" + +ratio.toFixed(2);
    if (span.style !== style) styled(span.node, span.style = style);
    span.node.classList.toggle("on", !!input && input.includes(span.places[0]));
  }
  $("low").textContent = number(-limit);
  $("high").textContent = number(limit);
  $("everywhere").hidden = !global();
  rank();
  buttons.forEach((button, o) => {
    const on = String(!picked.input && o >= picked.from && o <= picked.to);
    if (button.ariaPressed !== on) button.ariaPressed = on;
  });
  if (!matrix) return;
  $("all").ariaPressed = !picked.input && picked.from == null;
  const shown = outputs.slice(from ?? 0, (to ?? outputs.length) + 1), [{id, prediction, prob = prediction?.find(choice => choice.id === id)?.prob}] = shown;
  if (!input) account(shown.map(output => output.ledger));
  if (input) say("What ", quoted(words(input)), " did for each output");
  else if (from == null) say($("hint").content.textContent);
  else say(from === to ? `Output ${from} ` : `Outputs ${from} to ${to} `, quoted(words(at.slice(from, to + 1))), ` ${result.objective} ${number(add(shown.map((_, i) => i), shown.map(output => output.value)))}`, ...from === to && prob != null ? [", probability", percent(prob)] : []);
};
const say = (...line) => $("now").replaceChildren(...line);

// The drawer.
const entry = (amount, mark, label, note) => {
  const line = make("li"), inner = make("span");
  inner.append(label, make("small", note));
  line.append(make("b", number(amount)), mark, inner);
  return line;
};
const rank = () => {
  const sums = units.map(unit => add(unit.places, values));
  const order = units.map((_, i) => i).filter(i => !units[i].special && sums[i]).sort((i, j) => Math.abs(sums[j]) - Math.abs(sums[i]));
  for (const [id, sign] of [["for", 1], ["against", -1]]) {
    const lines = order.filter(i => sums[i] * sign > 0).slice(0, 10).map(i => {
      let label = quoted(units[i].label);
      if (matrix) {
        const word = label;
        label = make("button", "", {type: "button", onclick: () => pick({input: units[i].places})});
        label.append(word);
      }
      return entry(sums[i], styled(make("i"), `--r:${sign};--w:${Math.abs(sums[i] / sums[order[0]])}`), label, ` #${i}`);
    });
    $(id).replaceChildren(...lines.length ? lines : [make("li", "none")]);
  }
};
const account = ledgers => {
  if (!$("ledger") || ledgers.includes(null)) return;
  const amount = name => ledgers.reduce((sum, ledger) => sum + (ledger[name] || 0), 0);
  const names = ["tokens", "positions", "biases", "softmax", "epsilon", "router", "rest"], size = names.reduce((sum, name) => sum + Math.abs(amount(name)), 0) || 1;
  const marked = (name, className) => styled(make("i", "", {className: className + (amount(name) < 0 ? " neg" : "")}), `--k:var(--${name});--w:${Math.abs(amount(name)) / size}`);
  const kept = names.filter(name => amount(name) || name === "tokens");
  $("explained").textContent = number(amount("explained"));
  $("stack").replaceChildren(...kept.map(name => marked(name, "")));
  $("accounts").replaceChildren(...kept.map(name => entry(amount(name), marked(name, "key"), name, percent(Math.abs(amount(name)) / size) + (name === "tokens" && amount("special") ? `, of it ${number(amount("special"))} on special tokens` : ""))));
};

// Picking: hover previews, click keeps, shift extends.
let frame;
const peek = next => {
  if (next?.from >= picked.from && next.to <= picked.to) next = null;
  if (preview?.from === next?.from && preview?.to === next?.to && preview?.layer === next?.layer) return;
  preview = next;
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(paint);
};
const pick = next => {
  picked = next;
  preview = null;
  paint();
  tabulate();
};
const range = span => span?.output && {from: at.indexOf(span.places[0]), to: at.indexOf(span.places.at(-1))};
const found = event => event.target.closest?.("#text>*")?.span;
const choose = ({from, to}, extend) => {
  if (!extend) anchor = from;
  buttons.forEach((button, o) => button.tabIndex = o === from ? 0 : -1);
  pick(extend ? {from: Math.min(anchor, from), to: Math.max(anchor, to)} : {from, to});
};
if (matrix) {
  buttons[0].tabIndex = 0;
  text.onclick = event => {
    const span = found(event), outputs = range(span);
    if (outputs) picked.from === outputs.from && picked.to === outputs.to ? pick({}) : choose(outputs, event.shiftKey);
    else if (span && getSelection().type !== "Range") pick(picked.input?.[0] === span.places[0] ? {} : {input: span.places});
  };
  text.onkeydown = event => {
    const now = buttons.indexOf(event.target), ltr = getComputedStyle(text).direction === "ltr" ? 1 : -1, end = outputs.length - 1;
    const next = {ArrowRight: now + ltr, ArrowLeft: now - ltr, ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: end}[event.key];
    if (event.key === "Escape") pick({});
    if (next == null || now < 0) return;
    event.preventDefault();
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
  if (global() || lines === heads) ends.fill(Math.max(...ends));
  let at = 0;
  lines.forEach((line, y) => line.forEach((x, i) => {
    cells[at++] = x && !off[i] ? colours[+(x > 0)] | 255 * Math.min(1, Math.abs(x) * gain / ends[y]) ** .8 << 24 : 0;
  }));
  context.putImageData(image, 0, 0);
  styled(canvas, `width:min(100%,${24 * wide}px);min-width:${2 * wide}px;height:${high * clamp(320 / high, 3, 24)}px`);
  if (!matrix) say($(name).content.textContent);
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
  const on = form.view.value === "table", table = make("table");
  $("table").hidden = !on;
  text.hidden = on;
  if (!on) return;
  const line = (name, cells) => {
    const line = make("tr");
    line.append(...cells.map((content, i) => {
      const cell = make(name, "", {className: i % 3 ? "" : "num"});
      cell.append(content);
      return cell;
    }));
    table.append(line);
    return line.lastChild;
  };
  for (const cell of line("th", ["#", "text", "tokens", "relevance"]).parentNode.children) cell.scope = "col";
  units.forEach(({places, label, special}, i) => {
    const sum = add(places, values), cell = line("td", [i, quoted(label), places.map(i => tokens[i].token).join(" "), number(sum)]);
    if (!special && limit) styled(cell, "--r:" + clamp(sum / limit, -1, 1));
  });
  $("table").replaceChildren(table);
};

const show = () => {
  page.dataset.theme = form.theme.value;
  page.dataset.palette = form.palette.value;
  page.style.setProperty("--gain", 2 ** form.gain.value);
  paint();
  tabulate();
  draw();
};
form.onchange = event => {
  if (event.target.name === "by") regroup();
  show();
};
$("copy").onclick = async () => {
  const whole = {...result};
  if (matrix) {
    whole.outputs = outputs.map((output, o) => ({...output, relevance: [...matrix[o]]}));
    whole.tokens = tokens.map(({relevance, ...token}) => token);
    for (const key of ["target", "prediction", "ledger"]) delete whole[key];
  }
  await navigator.clipboard.writeText(JSON.stringify(whole, (_, value) => value instanceof Float32Array ? [...value] : value));
  $("copy").textContent = "Copied";
};
form.hidden = false;
regroup();
show();
})(document.currentScript);
