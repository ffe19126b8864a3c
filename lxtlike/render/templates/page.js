"use strict";
const $ = id => document.getElementById(id), data = JSON.parse($("data").textContent), points = Array.from(data.text);
// Columns back to rows: offsets come as steps, and count code points; what follows from place and offsets was left out.
const rows = columns => {
  if (Array.isArray(columns)) return columns;
  for (const key of ["start", "end"]) {
    let sum = 0;
    columns[key] = columns[key].steps.map(step => sum += step);
  }
  return columns.relevance.map((_, i) => {
    const slice = points.slice(columns.start[i], columns.end[i]).join(""), row = {};
    for (const [key, column] of Object.entries(columns))
      row[key] = column === null ? (key === "index" ? i : slice) : column.true ? column.true.includes(i) : column[i];
    return row;
  });
};
const result = {...data};
for (const key of ["tokens", "units"]) if (data[key]) result[key] = rows(data[key]);
const shown = result.units || result.tokens, text = document.querySelector(".text"), limit = +text.dataset.limit;
const label = row => row.text || row.token || row.tokens.map(i => result.tokens[i].token).join("");
const special = row => row.special ?? row.tokens.every(i => result.tokens[i].special);
const number = x => x === null ? "not a number" : (x > 0 ? "+" : "") + +x.toPrecision(4);

// Spans follow the order of the rows; data-i names the rows where a span stands for others than the next one.
let last = -1;
for (const span of text.querySelectorAll(":scope > span:not(.n)")) {
  const at = span.dataset.i ? span.dataset.i.split(" ").map(Number) : [last + 1];
  last = at.at(-1);
  span.title = at.map(i => `${label(shown[i])}  ${number(shown[i].relevance)}  (${result.units ? "unit" : "token"} ${i})`).join("\n");
}

const make = (name, content, options = {}) => Object.assign(document.createElement(name), {textContent: content, ...options});
let table;
$("table").onclick = () => {
  if (!table) {
    table = document.createElement("table");
    const head = table.createTHead().insertRow(), body = table.createTBody();
    for (const [name, className] of [["#", "num"], ["text", ""], [result.units ? "tokens" : "token", ""], ["relevance", "num"]])
      head.append(make("th", name, {scope: "col", className}));
    shown.forEach((row, i) => {
      const line = body.insertRow(), cell = line.insertCell();
      line.append(make("td", i, {className: "num"}));
      if (row.text) cell.append(make("bdi", row.text, {className: "q"}));
      line.append(cell, make("td", row.token ?? row.tokens.join(" ")));
      const value = make("td", number(row.relevance), {className: "num"});
      if (!special(row) && limit) value.setAttribute("style", `--r:${Math.max(-1, Math.min(1, row.relevance / limit)).toFixed(2)}`);
      line.append(value);
    });
    $("view").append(table);
  }
  const on = $("table").ariaPressed !== "true";
  $("table").ariaPressed = on;
  text.hidden = on;
  table.hidden = !on;
};

$("copy").onclick = async () => {
  const json = JSON.stringify(result);
  try {
    await navigator.clipboard.writeText(json);
  } catch {
    const area = make("textarea", json);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  $("copy").textContent = "Copied";
  setTimeout(() => $("copy").textContent = "Copy JSON", 1500);
};
for (const id of ["table", "copy"]) $(id).hidden = false;
