const $ = id => document.getElementById(id), form = $("ask"), frame = $("report");
const make = (name, content = "", options = {}) => Object.assign(document.createElement(name), {textContent: content, ...options});
// What commands instead of being read is named.
const visible = label => label.replace(/[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g, c => c === "\n" ? "↵" : `⟨U+${c.charCodeAt().toString(16).toUpperCase().padStart(4, 0)}⟩`);
const percent = x => x > 0 && x < .0005 ? "<0.1%" : `${(100 * x).toFixed(1)}%`;
const sleep = time => new Promise(done => setTimeout(done, time));

const api = async (path, body) => {
  const options = body && {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
  const answer = await fetch("/api/" + path, options).catch(() => { throw Error("the server does not answer: is it still running?"); });
  const content = await answer.json();
  if (!answer.ok) throw Error(content.error);
  return content;
};

// The model, and what can be chosen.
const model = await api("model");
$("about").textContent = `${model.name} · ${model.task}`;
$("kinds").hidden = !model.chat;
$("generating").hidden = !model.generates;
const question = model.task === "question-answering", pair = model.task === "sequence-classification";
$("second").hidden = !question && !pair;
$("context").required = question;
if (question) $("says").textContent = "Question";
if (pair) {
  $("reads").textContent = "Second text, of a pair";
  $("more").append($("second")); // few classifiers read two
}
$("count").max = model.max_new_tokens;
$("hint").textContent = model.mask ? `Put ${model.mask} where the model shall fill in.` : "";
$("objective").append(...model.objectives.map(name => make("option", name)));
$("composite").append(...model.composites.map(({name}) => make("option", name)));
if (!model.composites.some(({name}) => name === model.composite)) $("composite").prepend(make("option", model.composite, {value: ""}));
else $("composite").value = model.composite;
for (const list of ["labels", "contrasts"]) $(list).append(...model.labels.map(label => make("option", "", {value: label})));
const empty = () => $("examples").hidden = !model.examples.length || !!$("text").value;
empty();
$("examples").append(...model.examples.map(text => make("button", text, {type: "button", onclick: () => {
  $("text").value = text;
  empty();
  explain();
}})));

// One job at a time: a new one ends the one before.
let now, last, chosen = {};
const told = {generating: "Generating", explaining: "Explaining"};
const say = (line, bad = false) => {
  $("status").textContent = line;
  $("status").className = bad ? "bad" : "faint";
};
const end = job => api(`jobs/${job}/cancel`, {}).catch(() => {});
const follow = (job, all) => {
  const {state, ahead, progress} = job, bar = $("progress");
  bar.removeAttribute("value");
  if (progress && progress.all > 1) Object.assign(bar, {max: progress.all, value: progress.done});
  if (state === "queued") say(`Waiting: ${ahead} first`);
  else if (progress) say(progress.all > 1 ? `${told[progress.step]}: ${progress.done} of ${progress.step === "generating" ? "up to " : ""}${progress.all} tokens` : told[progress.step]);
};
const run = async (kind, body) => {
  if (now?.id) end(now.id);
  const mine = now = {}, began = performance.now();
  $("working").hidden = false;
  $("answer").ariaBusy = true;
  try {
    let job = await api(kind, body), pause = 30;
    mine.id = job.id;
    if (mine !== now) return end(job.id);
    while (job.state === "queued" || job.state === "running") {
      follow(job);
      await sleep(pause = Math.min(400, pause * 1.3));
      job = await api("jobs/" + job.id);
      if (mine !== now) return;
    }
    if (job.state === "cancelled") return say("Cancelled");
    if (job.state === "failed") return say(job.error, true);
    const result = await api(`jobs/${job.id}/result`);
    if (mine !== now) return;
    last = kind;
    show(job.id, result);
    say(`Done in ${((performance.now() - began) / 1000).toFixed(1)} s`);
  } catch (error) {
    if (mine === now) say(error.message, true);
  } finally {
    if (mine === now) {
      now = null;
      $("working").hidden = true;
      $("answer").ariaBusy = false;
    }
  }
};
$("cancel").onclick = () => now?.id && end(now.id);
addEventListener("pagehide", () => now?.id && navigator.sendBeacon(`/api/jobs/${now.id}/cancel`));

// What is asked.
const chat = () => form.kind.value === "chat";
const input = () => !chat() ? $("text").value : [
  ...$("system").value ? [{role: "system", content: $("system").value}] : [],
  {role: "user", content: $("text").value},
];
const asked = () => ({text: input(), objective: $("objective").value, composite: $("composite").value || null});
const explain = (target = $("target").value || null, contrast = $("contrast").value || null) => {
  if (!form.reportValidity()) return;
  chosen = {target, contrast};
  const position = $("position").value === "" ? null : +$("position").value;
  return run("explanations", {...asked(), target, contrast, position, context: $("context").value || null, layers: $("layers").checked, heads: $("heads").checked});
};
const again = () => last === "explanations" && explain($("target").value || chosen.target, $("contrast").value || chosen.contrast);
form.onsubmit = event => {
  event.preventDefault();
  explain();
};
form.onkeydown = event => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) explain();
};
$("generate").onclick = () => form.reportValidity() && run("generations", {...asked(), max_new_tokens: +$("count").value});
$("target").onchange = $("contrast").onchange = event => {
  chosen[event.target.id] = null;
  again();
};
for (const id of ["objective", "composite", "position", "layers", "heads"]) $(id).onchange = again;
const summed = () => $("summary").textContent = model.composites.find(({name}) => name === $("composite").value)?.summary || "";
$("composite").addEventListener("change", summed);
summed();
for (const kind of form.kind) kind.onchange = () => {
  $("turn").hidden = !chat();
  $("says").textContent = chat() ? "User" : "Text";
  $("predictions").classList.add("stale");
};
$("text").oninput = $("system").oninput = $("context").oninput = () => {
  $("predictions").classList.add("stale");
  empty();
};

// What comes back.
const show = (id, result) => {
  const {prediction, target} = result.outputs ? result.outputs[0] : result, one = target?.contrast;
  $("predictions").classList.remove("stale");
  $("predictions").hidden = false;
  $("choices").replaceChildren(...prediction.map(({id, token, prob}) => {
    const line = make("li"), choice = make("button", "", {type: "button", className: "choice", ariaPressed: target?.id === id}), name = visible(token);
    choice.append(make("bdi", name), make("span", percent(prob)));
    choice.style.setProperty("--share", prob);
    choice.onclick = () => {
      $("target").value = "";
      explain(id, chosen.contrast === id ? null : $("contrast").value || chosen.contrast);
    };
    const on = one?.id === id, against = make("button", "vs", {type: "button", className: "against", ariaPressed: on, ariaLabel: `contrast with ${name}`, disabled: target?.id === id});
    against.onclick = () => {
      $("contrast").value = "";
      explain(target?.id ?? null, on ? null : id);
    };
    line.append(choice, against);
    return line;
  }));
  const name = result.outputs ? "generation" : "explanation";
  for (const [link, path] of [["html", "page"], ["json", "result"], ["csv", "table"]]) Object.assign($(link), {href: `/api/jobs/${id}/${path}`, download: `${name}.${link}`});
  $("nothing").hidden = true;
  $("files").hidden = frame.hidden = false;
  frame.contentWindow.location.replace(`/api/jobs/${id}/page`); // not an entry of the history
};

// The report is as high as its content, and each one is shown as the one before was.
const kept = {}, sizes = new ResizeObserver(([entry]) => frame.style.height = `${Math.ceil(entry.target.getBoundingClientRect().height)}px`);
frame.onload = () => {
  const inner = frame.contentDocument, controls = inner?.getElementById("controls");
  if (!controls) return;
  sizes.disconnect();
  sizes.observe(inner.body);
  const theme = () => document.documentElement.dataset.theme = controls.theme.value;
  for (const control of controls.elements) {
    const wanted = kept[control.name];
    if (wanted == null || control.type === "radio" && control.value !== wanted || control.type === "button") continue;
    if (control.type === "radio") control.checked = true;
    else control.value = wanted;
    control.dispatchEvent(new Event("change", {bubbles: true}));
  }
  controls.addEventListener("change", event => {
    kept[event.target.name] = event.target.value;
    theme();
  });
};

// Nothing is shown before it works: what is typed or clicked earlier would be lost.
document.querySelector("main").hidden = false;
$("text").focus();
