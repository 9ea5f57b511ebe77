// The page of the demo: drawings go to the server over one WebSocket, answers come back and are
// shown. Nothing is computed here but what is to be drawn.

const SIDE = 28;
const N_PIXELS = SIDE * SIDE;
const PEN = 0.06; // width of a line on the board, as a share of it; the machine's is its own
const WIPER = 2; // pixels around the middle that one touch erases
const STEP = 1 / 28; // of the pen, for one press of an arrow
const LONGEST_WAIT = 8000; // milliseconds between two attempts to connect

const at = (id) => document.getElementById(id);
const percent = (share) => `${Math.round(100 * share)} %`;
const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const textOf = (bytes) => btoa(String.fromCharCode(...bytes));

const state = {
  strokes: [], // lists of [x, y], each in [0, 1]
  example: null, // bytes of a held-out digit that stands in the drawing's place
  picture: null, // bytes of what the machine sees
  erased: new Set(), // numbers of its pixels
  seen: null, // the last answer about it
  sweep: 0,
  dream: null, // {digit} while one goes on
};

// ------------------------------------------------------------------------------------- colours

const dark = matchMedia("(prefers-color-scheme: dark)");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["paper", "ink", "hole", "up", "down", "accent"]) {
    const hex = style.getPropertyValue(`--${name}`).trim();
    colours[name] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  }
}

function mixed(from, to, share) {
  return from.map((value, i) => value + (to[i] - value) * share);
}

// Draw numbers as pixels of a canvas of their size; colourOf tells the colour of each.
function paint(canvas, width, height, colourOf) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = colourOf(i);
    image.data.set([r, g, b, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

const grey = (values, offset = 0) => (i) =>
  mixed(colours.paper, colours.ink, (values[offset + i] ?? 0) / 255);

function paintPicture(canvas, values, offset = 0) {
  paint(canvas, SIDE, SIDE, grey(values, offset));
}

function tileOf(caption) {
  const figure = document.createElement("figure");
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", caption);
  const text = document.createElement("figcaption");
  text.textContent = caption;
  figure.append(canvas, text);
  return figure;
}

// ---------------------------------------------------------------------------------- connection

let socket = null;
let wait = 500;
let lastId = 0;
const asked = {}; // by kind: the id of the question under way, and whether another is due

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/talk`);
  socket.addEventListener("open", () => {
    wait = 500;
    tellConnection("here", "Connected");
    for (const kind of Object.keys(asked)) delete asked[kind];
    tellAsked();
    if (hasDrawing()) look();
    if (state.dream) state.dream.id = send("dream", { digit: state.dream.digit });
  });
  socket.addEventListener("message", (event) => heard(JSON.parse(event.data)));
  socket.addEventListener("close", (event) => {
    const why = event.code === 1013 ? `The server is busy (${event.reason})` : "Connection lost";
    tellConnection("lost", `${why}; trying again in ${Math.ceil(wait / 1000)} s. Is deepgen demo still running?`);
    setTimeout(connect, wait);
    wait = Math.min(2 * wait, LONGEST_WAIT);
  });
}

function tellConnection(name, text) {
  at("connection").dataset.state = name;
  at("connection").textContent = text;
}

function send(kind, content) {
  if (!socket || socket.readyState !== WebSocket.OPEN) return null;
  lastId += 1;
  socket.send(JSON.stringify({ kind, id: lastId, ...content }));
  return lastId;
}

// Ask, one question of a kind at a time: while an answer is on its way only the newest waits.
function ask(kind, contentOf) {
  if (asked[kind]) {
    asked[kind].next = contentOf;
    return;
  }
  const id = send(kind, contentOf());
  if (id !== null) asked[kind] = { id, next: null };
  tellAsked();
}

function answered(kind, id) {
  const question = asked[kind];
  if (!question || question.id !== id) return;
  delete asked[kind];
  tellAsked();
  if (question.next) ask(kind, question.next);
}

// What drives the page (a test) learns that what it sees is about to change.
function tellAsked() {
  document.body.dataset.asked = Object.keys(asked).join(" ");
}

function heard(answer) {
  if (answer.kind === "seen") {
    if (hasDrawing()) showSeen(answer);
    answered("look", answer.id);
  } else if (answer.kind === "completed") {
    if (state.erased.size) showCompletions(answer);
    answered("complete", answer.id);
  } else if (answer.kind === "example") {
    takeExample(answer);
    answered("example", answer.id);
  } else if (answer.kind === "dreaming") {
    if (state.dream && state.dream.id === answer.id) showDream(answer);
  } else if (answer.kind === "slept") {
    if (state.dream && state.dream.id === answer.id) wake();
  } else if (answer.kind === "refused") {
    at("verdict").textContent = answer.message;
    for (const kind of Object.keys(asked)) answered(kind, answer.id);
  }
}

// ------------------------------------------------------------------------------------- drawing

const board = at("drawing");
let pen = { x: 0.5, y: 0.25, down: false, byKeys: false };

const hasDrawing = () => state.example !== null || state.strokes.length > 0;
const about = () =>
  state.example ? { row: textOf(state.example) } : { strokes: state.strokes };

function look() {
  ask("look", about);
  if (state.erased.size) complete();
}

function drawBoard() {
  const context = board.getContext("2d");
  const size = board.width;
  context.clearRect(0, 0, size, size);
  context.strokeStyle = context.fillStyle = `rgb(${colours.ink})`;
  if (state.example) {
    for (let i = 0; i < N_PIXELS; i++) {
      context.globalAlpha = state.example[i] / 255;
      context.fillRect((i % SIDE) * 20, Math.floor(i / SIDE) * 20, 20, 20);
    }
    context.globalAlpha = 1;
  }
  context.lineWidth = PEN * size;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of state.strokes) {
    context.beginPath();
    context.moveTo(stroke[0][0] * size, stroke[0][1] * size);
    for (const [x, y] of stroke.length > 1 ? stroke.slice(1) : stroke)
      context.lineTo(x * size, y * size);
    context.stroke();
  }
  if (pen.byKeys && document.activeElement === board) drawCross(context, pen, size, pen.down);
}

function drawCross(context, place, size, down) {
  context.strokeStyle = `rgb(${colours.accent})`;
  context.lineWidth = size * 0.008;
  context.beginPath();
  context.arc(place.x * size, place.y * size, size * (down ? 0.03 : 0.045), 0, 7);
  context.stroke();
}

function placeOf(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const clip = (value) => Math.round(1e4 * Math.min(1, Math.max(0, value))) / 1e4;
  return [clip((event.clientX - box.left) / box.width), clip((event.clientY - box.top) / box.height)];
}

function beginStroke(point) {
  if (state.example) clearDrawing();
  state.strokes.push([point]);
  changed();
}

function changed() {
  drawBoard();
  look();
}

function clearDrawing() {
  state.strokes = [];
  state.example = state.picture = state.seen = null;
  state.erased.clear();
  pen.down = false;
  drawBoard();
  drawNothingSeen();
}

function undo() {
  pen.down = false;
  if (state.example || state.strokes.length < 2) return clearDrawing();
  state.strokes.pop();
  changed();
}

let drawingPointer = null;
board.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || drawingPointer !== null) return;
  drawingPointer = event.pointerId;
  board.setPointerCapture(event.pointerId);
  pen.byKeys = pen.down = false;
  beginStroke(placeOf(board, event));
});
board.addEventListener("pointermove", (event) => {
  if (event.pointerId !== drawingPointer) return;
  const stroke = state.strokes.at(-1);
  const events = event.getCoalescedEvents?.() ?? [];
  for (const each of events.length ? events : [event]) {
    const [x, y] = placeOf(board, each);
    const [lastX, lastY] = stroke.at(-1);
    if (Math.hypot(x - lastX, y - lastY) > 0.004) stroke.push([x, y]);
  }
  changed();
});
for (const name of ["pointerup", "pointercancel", "lostpointercapture"])
  board.addEventListener(name, (event) => {
    if (event.pointerId === drawingPointer) drawingPointer = null;
  });

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

board.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const way = ARROWS[event.key];
  if (way) {
    const step = STEP * (event.shiftKey ? 3 : 1);
    pen.x = Math.min(1, Math.max(0, pen.x + step * way[0]));
    pen.y = Math.min(1, Math.max(0, pen.y + step * way[1]));
    if (pen.down) state.strokes.at(-1).push([pen.x, pen.y]);
  } else if (event.key === " ") {
    if (pen.down) pen.down = false;
    else {
      beginStroke([pen.x, pen.y]);
      pen.down = true;
    }
  } else if (event.key === "Backspace") undo();
  else if (event.key === "Delete") clearDrawing();
  else return;
  event.preventDefault();
  pen.byKeys = true;
  if (way && pen.down) changed();
  else drawBoard();
});
board.addEventListener("blur", () => {
  pen.down = false;
  drawBoard();
});

at("undo").addEventListener("click", undo);
at("clear").addEventListener("click", clearDrawing);
at("example").addEventListener("click", () => ask("example", () => ({ digit: null })));

function takeExample(answer) {
  clearDrawing();
  state.example = bytesOf(answer.picture);
  changed();
}

// ------------------------------------------------------------------------------- what it sees

const view = at("seen");
let wiper = { x: 14, y: 20, down: false, byKeys: false };

function drawView() {
  const values = state.picture ?? new Uint8Array(N_PIXELS);
  const plain = grey(values);
  paint(view, SIDE, SIDE, (i) => {
    if (wiper.byKeys && document.activeElement === view && i === wiper.y * SIDE + wiper.x)
      return colours.accent;
    return state.erased.has(i) ? colours.hole : plain(i);
  });
}

function wipe(column, row) {
  for (let y = row - WIPER; y <= row + WIPER; y++)
    for (let x = column - WIPER; x <= column + WIPER; x++)
      if (x >= 0 && x < SIDE && y >= 0 && y < SIDE) state.erased.add(y * SIDE + x);
  erasedChanged();
}

function eraseWhere(isErased) {
  for (let i = 0; i < N_PIXELS; i++)
    if (isErased(i % SIDE, Math.floor(i / SIDE))) state.erased.add(i);
  erasedChanged();
}

function erasedChanged() {
  drawView();
  if (state.erased.size && hasDrawing()) complete();
  else drawNoCompletions();
}

const complete = () =>
  ask("complete", () => ({ ...about(), erased: [...state.erased] }));

let wiping = null;
function wipeAt(event) {
  const [x, y] = placeOf(view, event);
  wipe(Math.min(SIDE - 1, Math.floor(x * SIDE)), Math.min(SIDE - 1, Math.floor(y * SIDE)));
}
view.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || wiping !== null) return;
  wiping = event.pointerId;
  wiper.byKeys = false;
  view.setPointerCapture(event.pointerId);
  wipeAt(event);
});
view.addEventListener("pointermove", (event) => {
  if (event.pointerId === wiping) wipeAt(event);
});
for (const name of ["pointerup", "pointercancel", "lostpointercapture"])
  view.addEventListener(name, (event) => {
    if (event.pointerId === wiping) wiping = null;
  });
view.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const way = ARROWS[event.key];
  if (way) {
    wiper.x = Math.min(SIDE - 1, Math.max(0, wiper.x + way[0]));
    wiper.y = Math.min(SIDE - 1, Math.max(0, wiper.y + way[1]));
  } else if (event.key === " ") wiper.down = !wiper.down;
  else return;
  event.preventDefault();
  wiper.byKeys = true;
  if (wiper.down) wipe(wiper.x, wiper.y);
  else drawView();
});
view.addEventListener("blur", () => {
  wiper.down = false;
  drawView();
});

at("erase-lower").addEventListener("click", () => eraseWhere((x, y) => y >= SIDE / 2));
at("erase-right").addEventListener("click", () => eraseWhere((x) => x >= SIDE / 2));
at("restore").addEventListener("click", () => {
  state.erased.clear();
  erasedChanged();
});

// ------------------------------------------------------------------------------------- answers

const bars = [];
for (let digit = 0; digit < 10; digit++) {
  const item = document.createElement("li");
  const [name, track, share] = ["span", "div", "span"].map((tag) => document.createElement(tag));
  const fill = document.createElement("div");
  name.textContent = digit;
  track.className = "track";
  track.setAttribute("aria-hidden", "true");
  fill.className = "fill";
  share.className = "share";
  share.textContent = "–";
  track.append(fill);
  item.append(name, track, share);
  at("bars").append(item);
  bars.push({ item, fill, share });
}

const largest = (values) => values.indexOf(Math.max(...values));

function showClasses(classes) {
  const top = classes ? largest(classes) : -1;
  bars.forEach(({ item, fill, share }, digit) => {
    const value = classes ? classes[digit] : 0;
    fill.style.width = `${100 * value}%`;
    share.textContent = classes ? percent(value) : "–";
    item.classList.toggle("top", digit === top);
  });
  if (!classes) return;
  const sure = classes[top] > 0.9 ? "This is a" : classes[top] > 0.6 ? "Probably a" : "Perhaps a";
  const eight = top === 8 && sure.endsWith(" a") ? "n" : "";
  at("verdict").textContent = `${sure}${eight} ${top} (${percent(classes[top])})`;
}

function showSeen(answer) {
  state.picture = bytesOf(answer.picture);
  const first = bytesOf(answer.first);
  const second = bytesOf(answer.second);
  const n = answer.labels.length;
  state.seen = {
    n, first, second, pictures: bytesOf(answer.pictures), labels: answer.labels,
    milliseconds: answer.milliseconds, sizes: [first.length / n, second.length / n],
  };
  state.sweep = n - 1;
  at("sweep").max = n - 1;
  at("sweep").disabled = at("play").disabled = false;
  document.body.dataset.seen = Number(document.body.dataset.seen ?? 0) + 1;
  showClasses(answer.classes);
  drawView();
  drawSweep();
}

function drawNothingSeen() {
  stopPlaying();
  at("verdict").textContent = "Draw one, and see.";
  showClasses(null);
  drawView();
  at("sweep").max = at("sweep").value = 0;
  at("sweep").disabled = at("play").disabled = true;
  at("sweep-text").textContent = "no drawing yet";
  for (const id of ["layer1", "change", "layer2"]) paint(at(id), 20, 15, () => colours.paper);
  paint(at("meant"), SIDE, SIDE, () => colours.paper);
  drawNoCompletions();
}

// Columns and rows of a grid of units, a third wider than high.
function gridOf(n) {
  const columns = Math.max(1, Math.round(Math.sqrt((n * 4) / 3)));
  return [columns, Math.ceil(n / columns)];
}

function drawSweep() {
  const { n, first, second, pictures, labels, milliseconds, sizes } = state.seen;
  const s = state.sweep;
  const [columns, rows] = gridOf(sizes[0]);
  paint(at("layer1"), columns, rows, grey(first.subarray(s * sizes[0], (s + 1) * sizes[0])));
  paint(at("change"), columns, rows, (i) => {
    if (i >= sizes[0]) return colours.paper;
    const change = (first[s * sizes[0] + i] - first[i]) / 255;
    return mixed(colours.paper, change > 0 ? colours.up : colours.down, Math.abs(change));
  });
  const [wide, high] = gridOf(sizes[1]);
  paint(at("layer2"), wide, high, grey(second.subarray(s * sizes[1], (s + 1) * sizes[1])));
  paintPicture(at("meant"), pictures, s * N_PIXELS);
  const text = `sweep ${s} of ${n - 1}`;
  at("sweep").value = s;
  at("sweep").setAttribute("aria-valuetext", text);
  at("sweep-text").textContent = text;
  const guess = largest(labels[s]);
  at("labels").textContent =
    s === 0
      ? "Layer 1, from the picture alone; layer 2 has not spoken yet."
      : `The label units on top of layer 2 say ${guess} (${percent(labels[s][guess])}). Mean field of ` +
        `this drawing took ${milliseconds.toFixed(1)} ms.`;
}

at("sweep").addEventListener("input", () => {
  stopPlaying();
  state.sweep = Number(at("sweep").value);
  if (state.seen) drawSweep();
});

let playing = null;
function stopPlaying() {
  clearInterval(playing);
  playing = null;
  at("play").textContent = "▶";
  at("play").setAttribute("aria-label", "Play the sweeps");
}
at("play").addEventListener("click", () => {
  if (playing) return stopPlaying();
  if (!state.seen) return;
  state.sweep = 0;
  drawSweep();
  at("play").textContent = "⏸";
  at("play").setAttribute("aria-label", "Pause");
  playing = setInterval(() => {
    if (!state.seen || state.sweep >= state.seen.n - 1) return stopPlaying();
    state.sweep += 1;
    drawSweep();
  }, calm.matches ? 1200 : 350);
});

// --------------------------------------------------------------------------------- completions

const completionTiles = [
  "answer 1", "answer 2", "answer 3", "answer 4", "mean of 20", "what you drew",
].map(tileOf);
at("completions").append(...completionTiles);
let completions = null;

function showCompletions(answer) {
  completions = { single: bytesOf(answer.single), mean: bytesOf(answer.mean), drawn: state.picture ?? new Uint8Array(N_PIXELS) };
  drawCompletions();
  at("completed-text").textContent =
    "Each answer is a chain of its own, whole in itself; the mean is a blur where they differ.";
  at("again").disabled = false;
  at("completions").dataset.shown = "yes";
}

function drawCompletions() {
  completionTiles.forEach((tile, number) => {
    const canvas = tile.querySelector("canvas");
    if (!completions) paint(canvas, SIDE, SIDE, () => colours.paper);
    else if (number < 4) paintPicture(canvas, completions.single, number * N_PIXELS);
    else paintPicture(canvas, number === 4 ? completions.mean : completions.drawn);
  });
}

function drawNoCompletions() {
  completions = null;
  drawCompletions();
  at("again").disabled = true;
  delete at("completions").dataset.shown;
  at("completed-text").textContent =
    "Erase a part of the drawing: several answers appear here, and the mean of 20.";
}

at("again").addEventListener("click", complete);

// -------------------------------------------------------------------------------------- dreams

const dreamTiles = Array.from({ length: 6 }, (_, i) => tileOf(`chain ${i + 1}`));
at("dreams").append(...dreamTiles);
const wishes = [];
for (const digit of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, null]) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = digit === null ? "any" : digit;
  button.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-label", digit === null ? "Dream of any digit" : `Dream of a ${digit}`);
  button.addEventListener("click", () => {
    if (state.dream && state.dream.digit === digit) wake();
    else dream(digit);
  });
  at("wishes").append(button);
  wishes.push({ digit, button });
}
let dreamt = null;

function dream(digit) {
  const id = send("dream", { digit });
  if (id === null) return;
  state.dream = { digit, id };
  showWish();
  const what = digit === null ? "any digit" : `a ${digit}`;
  at("dream-text").textContent = `Chains on their way to ${what}; press again to wake.`;
}

function wake() {
  send("wake", {});
  state.dream = null;
  showWish();
  at("dream-text").textContent = "Awake; choose a digit to dream again.";
}

function showWish() {
  for (const { digit, button } of wishes) {
    const pressed = state.dream !== null && state.dream.digit === digit;
    button.setAttribute("aria-pressed", String(pressed));
  }
}

function showDream(answer) {
  dreamt = { pictures: bytesOf(answer.pictures), n_sweeps: answer.n_sweeps };
  drawDreams();
  at("dreams").dataset.sweeps = answer.n_sweeps;
  at("dream-sweeps").textContent = `${answer.n_sweeps.toLocaleString("en")} sweeps.`;
}

function drawDreams() {
  dreamTiles.forEach((tile, number) => {
    const canvas = tile.querySelector("canvas");
    if (dreamt) paintPicture(canvas, dreamt.pictures, number * N_PIXELS);
    else paint(canvas, SIDE, SIDE, () => colours.paper);
  });
}

document.addEventListener("visibilitychange", () => {
  if (!state.dream) return;
  if (document.hidden) send("wake", {});
  else state.dream.id = send("dream", { digit: state.dream.digit });
});

// --------------------------------------------------------------------------------------- facts

async function tellFacts() {
  const facts = await (await fetch("/facts.json")).json();
  const count = (n) => n.toLocaleString("en");
  const sizes = [784, ...facts.recipe.n_hidden, 10].join(" – ");
  at("facts").textContent =
    `A deep Boltzmann machine ${sizes}, trained on ${count(facts.n_train)} digits of MNIST, and a ` +
    `classifier that starts from it: ${facts.seconds.toFixed(0)} s on this machine. Of ` +
    `${count(facts.n_held_out)} held-out digits it reads ${count(facts.n_right)} right; the label units ` +
    `alone read ${count(facts.n_right_by_label_units)}.`;
}

function drawAll() {
  readColours();
  drawBoard();
  drawView();
  if (state.seen) drawSweep();
  drawCompletions();
  drawDreams();
}

readColours();
drawBoard();
drawNothingSeen();
drawDreams();
dark.addEventListener("change", drawAll);
tellFacts();
connect();
