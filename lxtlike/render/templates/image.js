(script => {
const host = script.parentNode, math = Math;
let root = document;
if (host.className === "lxtlike") {
  // In a notebook the page is a string in the script before this one.
  root = host.attachShadow({mode: "open"});
  root.innerHTML = JSON.parse(script.previousElementSibling.textContent);
}
const $ = id => root.getElementById(id), page = $("page"), form = $("controls"), canvas = $("map"), mark = $("mark");
const {height, width, grids, own, result} = JSON.parse($("data").textContent);
const number = x => (x > 0 ? "+" : "") + x.toPrecision(math.abs(x) < 1 ? 3 : 4);
const clamp = (x, low, high) => math.max(low, math.min(high, x));
// Rows of bytes times a scale, where there are too many numbers to write them out.
for (const grid of grids) if (grid.bytes) {
  const raw = Int8Array.from(atob(grid.bytes), sign => sign.charCodeAt());
  grid.rows = grid.scales.map((scale, y) => Array.from(raw.subarray(y * grid.width, (y + 1) * grid.width), step => step * scale));
}
let grid, cell = [0, 0];

// As the PNG that is shown without this script: opaque where relevance is strong, striped where it is against.
const draw = () => {
  const [high, wide] = grid.size, {rows, limit} = grid, gain = 2 ** form.gain.value;
  const times = math.max(1, math.ceil(448 / math.max(height, width)));
  canvas.width = width * times;
  canvas.height = height * times;
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height), pixels = new Uint32Array(image.data.buffer);
  const colours = [0, 20].map(i => getComputedStyle($("cells").children[i]).outlineColor.match(/\d+/g)).map(([red, green, blue]) => red | green << 8 | blue << 16);
  const faded = rows.map(row => row.map(x => limit ? math.min(1, math.abs(x) * gain / limit) : 0));
  let at = 0;
  for (let y = 0; y < canvas.height; y++) {
    const line = y / times / high | 0;
    for (let x = 0; x < canvas.width; x++) {
      const column = x / times / wide | 0, against = rows[line][column] < 0;
      const share = faded[line][column] * (against && (x + y) % 6 > 2 ? .35 : 1);
      pixels[at++] = colours[+!against] | math.round(255 * share ** .8) << 24;
    }
  }
  context.putImageData(image, 0, 0);
};
const visit = (y, x) => {
  const [high, wide] = grid.size, row = clamp(y, 0, grid.rows.length - 1), column = clamp(x, 0, grid.rows[0].length - 1);
  cell = [row, column];
  const top = row * high, left = column * wide, bottom = math.min(height, top + high), right = math.min(width, left + wide);
  const place = grid.name === "pixel" ? `pixel ${top}, ${left}` : `${grid.name} in row ${row + 1}, column ${column + 1} (pixels ${top} to ${bottom - 1}, ${left} to ${right - 1})`;
  $("now").textContent = `${place}  ${number(grid.rows[row][column])}`;
  mark.hidden = false;
  mark.setAttribute("style", `left:${100 * left / width}%;top:${100 * top / height}%;width:${100 * (right - left) / width}%;height:${100 * (bottom - top) / height}%`);
};
canvas.onpointermove = canvas.onclick = event => visit(event.offsetY / canvas.clientHeight * height / grid.size[0] | 0, event.offsetX / canvas.clientWidth * width / grid.size[1] | 0);
canvas.onpointerleave = canvas.onblur = () => {
  mark.hidden = true;
  $("now").textContent = "";
};
canvas.onfocus = () => visit(...cell);
canvas.onkeydown = event => {
  const [y, x] = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]}[event.key] || [];
  if (x == null) return;
  event.preventDefault();
  visit(cell[0] + y, cell[1] + x);
};
const show = () => {
  for (const name of ["theme", "palette", "view"]) page.dataset[name] = form[name].value;
  page.style.setProperty("--gain", 2 ** form.gain.value);
  grid = grids.find(({name}) => name === form.by.value);
  $("low").textContent = number(-grid.limit);
  $("high").textContent = number(grid.limit);
  draw();
};
form.onchange = form.oninput = show;
form.by.forEach?.(radio => radio.addEventListener("change", () => cell = [0, 0]));
$("copy").hidden = !navigator.clipboard;
$("copy").onclick = () => {
  const content = JSON.stringify({...result, relevance: grids.find(({name}) => name === own).rows});
  navigator.clipboard.writeText(content).then(() => "Copied", () => "Refused").then(said => $("copy").textContent = said);
};
form.hidden = canvas.hidden = false;
$("heat").hidden = true;
show();
})(document.currentScript);
