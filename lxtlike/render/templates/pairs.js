(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const now = document.getElementById("now"), hint = now.textContent;
const pieces = ["first", "second"].map(id => [...document.querySelectorAll(`#${id} a`)]);
const places = pieces.map(side => side.map(a => a.dataset.i.split(" ").map(Number)));
const rest = pieces.map(side => side.map(a => a.getAttribute("style")));
const cells = [...document.querySelectorAll("#matrix td")];
let kept = null;
const value = (i, j) => i.reduce((sum, a) => sum + j.reduce((s, b) => s + data.matrix[a][b], 0), 0);
const ratio = x => data.limit ? Math.max(-1, Math.min(1, x / data.limit)).toFixed(2) : "0";
const label = (side, place) => place.map(i => data.labels[side][i]).join("");
const short = x => (x > 0 ? "+" : "") + Number(x.toPrecision(3));

function show(side, number) {
  const other = 1 - side, mine = places[side][number];
  const values = places[other].map(theirs => side ? value(theirs, mine) : value(mine, theirs));
  pieces[side].forEach((a, k) => { a.setAttribute("style", "--r:0"); a.classList.toggle("on", k === number); });
  pieces[other].forEach((a, k) => { a.classList.remove("on"); a.setAttribute("style", a.classList.contains("s") ? "" : "--r:" + ratio(values[k])); });
  const best = values.map((v, k) => [v, k]).filter(([, k]) => !pieces[other][k].classList.contains("s"))
    .sort((a, b) => Math.abs(b[0]) - Math.abs(a[0])).slice(0, 3);
  now.textContent = `“${label(side, mine)}” meets ` + best.map(([v, k]) => `“${label(other, places[other][k])}” ${short(v)}`).join(", ");
}
function reset() {
  if (kept) return show(...kept);
  pieces.forEach((side, s) => side.forEach((a, k) => { a.classList.remove("on"); rest[s][k] === null ? a.removeAttribute("style") : a.setAttribute("style", rest[s][k]); }));
  now.textContent = hint;
}
pieces.forEach((side, s) => side.forEach((a, k) => {
  a.tabIndex = 0;
  a.setAttribute("role", "button");
  a.setAttribute("aria-pressed", "false");
  const toggle = () => {
    if (kept) pieces[kept[0]][kept[1]].setAttribute("aria-pressed", "false");
    kept = kept && kept[0] === s && kept[1] === k ? null : [s, k];
    a.setAttribute("aria-pressed", String(kept !== null));
    reset();
  };
  a.addEventListener("mouseenter", () => show(s, k));
  a.addEventListener("mouseleave", reset);
  a.addEventListener("focus", () => show(s, k));
  a.addEventListener("blur", reset);
  a.addEventListener("click", toggle);
  a.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(); } });
}));
cells.forEach(cell => cell.addEventListener("mouseenter", () => { now.textContent = cell.title; }));
cells.forEach(cell => cell.addEventListener("mouseleave", reset));
const page = document.getElementById("page");
document.querySelector("[name=palette]").addEventListener("change", event => { page.dataset.palette = event.target.value; });
document.querySelector("[name=theme]").addEventListener("change", event => { page.dataset.theme = event.target.value; });
document.getElementById("controls").hidden = false;
})();
