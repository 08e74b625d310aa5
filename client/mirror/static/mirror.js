// The page: a camera or a photo, a rail of garments, and the mirror between them.

import { kiosk, KIOSK } from "./kiosk.js";
import { DRESSED, Link, UNDRESSED } from "./link.js";
import { Rail } from "./rail.js";
import { Rtc } from "./rtc.js";
import { CAN_LISTEN, Speech } from "./speech.js";
import { View } from "./view.js";
import { say, sayError, switchLanguage, translate } from "./words.js";

const CAMERA = { width: 512, height: 384 };
const PHOTO = 768; // a photo's longer side as it is sent
const QUALITY = 0.8;
const HOLD = 700; // ms that a dressed picture stays while frames go undressed
const HOLD_LOST = 2500; // ... and while none is answered
const GONE_AGAIN = 5000; // ms within which what was brought again and is gone again is taken off
const PHOTO_AGAIN = 1000; // ms until a photo whose answer was lost is sent again

const $ = (id) => document.getElementById(id);
const view = new View($("view"), $("picture"), $("split"));
const canvas = document.createElement("canvas"); // what is sent
const context = canvas.getContext("2d", { willReadFrequently: true });

let source = null; // {kind: "camera", video, stream} or {kind: "photo", bitmap}
let starting = 0; // counts what was asked for, so that a slow camera can't replace a later photo
let wishAt = 0; // when the last wish was said
let capturing = false;
let shownAt = 0; // when the last dressed picture was shown
let shownClock = 0;
let drawn = []; // when pictures were shown, the last two seconds
let photoNeeds = false, photoSent = 0;
let photoAge = 0;
let goneAt = -Infinity; // when a garment was last found gone

// ---- wishes ----

const rail = new Rail($("rail"), {
  choose(garment) {
    rail.choose(garment);
    if (rail.last) category(rail.last.category);
    wear();
  },
  bring: () => $("garment-file").click(),
});

function category(value) {
  const inputs = $("category").elements.category;
  if (value) inputs.value = value;
  return inputs.value;
}

const wearing = () => rail.worn.length > 0 || $("sentence").value.trim() !== "";

/** The layers that are worn; the sentence is about the garment that was chosen last, or is one. */
function wish() {
  const prompt = $("sentence").value.trim();
  if (!rail.worn.length) return [{ garment: null, prompt, category: category() }];
  return rail.worn.map(({ id, category: kind }) => ({ garment: id, prompt: id === rail.last.id ? prompt : "", category: kind }));
}

function wear() {
  wishAt = performance.now();
  photoNeeds = true;
  photoSent = 0;
  if (!wearing()) view.undress();
  link.wear(wish());
  update();
  if (source?.kind === "photo") view.paint();
}

// ---- the link ----

const link = new Link({
  answer: (flag, frame, jpeg) => answered(flag, frame, () => createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }))),
  state() {
    rtc.look(link.state);
    update();
  },
  rtc: (message) => rtc.answered(message),
  hand(side) {
    if (source?.kind !== "camera") return; // in a photo it stays up
    awaken();
    rail.turn(side === "left" ? -1 : 1, false);
  },
  change() {
    photoNeeds = true;
    photoSent = 0;
    if (link.open) loadRail();
    connect();
    update();
  },
  error(error) {
    if (error.code === "GARMENT_GONE") gone(error);
    else toast(sayError(error));
  },
});

// Frames go by WebRTC while it stands, and by the WebSocket until then and where it can't pass.
const rtc = new Rtc((sdp, offer) => link.offer(sdp, offer), {
  answer: (frame, picture) => answered(DRESSED, frame, picture),
  forget: (frame) => frame.before?.close(),
  lost: (frames) => link.lose(frames),
  change: update,
});

// On the machine itself the WebSocket is the faster way; `?webrtc` in the address takes the other one
// all the same.
const LOCAL = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
const BY_RTC = !LOCAL || new URLSearchParams(location.search).has("webrtc");

function connect() {
  if (BY_RTC && link.open && source?.kind === "camera") rtc.start();
  else rtc.stop();
}

async function answered(flag, frame, picture) {
  const mine = frame.source === source;
  if (flag === DRESSED && mine && wearing()) {
    const after = await picture();
    // Decoding may end in another order, and the visitor may have changed their mind meanwhile.
    if (frame.source === source && wearing() && frame.clock > shownClock) {
      const now = performance.now();
      [shownAt, shownClock] = [now, frame.clock];
      drawn = [...drawn.filter((at) => now - at < 2000), now];
      if (frame.clock >= wishAt) photoNeeds = false;
      photoAge = Math.round(now - frame.clock);
      view.show(frame.before, after);
      update();
      return;
    }
    after.close();
  } else if (flag === UNDRESSED && mine) {
    if (frame.clock >= wishAt) photoNeeds = false;
    const hold = source?.kind === "camera" ? HOLD : 0;
    if (performance.now() - shownAt > hold) undress();
  }
  frame.before?.close();
}

function undress() {
  view.undress();
  view.paint();
  update();
}

// ---- frames ----

function loop() {
  const now = performance.now();
  if (source?.kind === "camera") {
    const { video } = source;
    Object.assign(view.source, { width: video.videoWidth, height: video.videoHeight });
    // By WebRTC no word comes of a frame that stays undressed: the state's says why.
    if (view.dressed && now - shownAt > (rtc.up && link.state?.problem ? HOLD : HOLD_LOST)) undress();
    if (!wearing() || link.state?.problem) rtc.excuse();
    if (!view.dressed) view.paint();
    if (video.readyState >= 2 && source.fresh) capture();
  } else if (source && photoNeeds && now - photoSent > PHOTO_AGAIN) {
    capture();
  }
  requestAnimationFrame(loop);
}

async function capture() {
  if (capturing || !wearing() || !view.source.width) return;
  if (source.kind === "camera" && rtc.up) return captureTrack();
  if (!link.free) return;
  capturing = true;
  try {
    const { drawable } = view.source;
    const [w, h] = sentSize();
    if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
    const frame = { clock: performance.now(), source, before: null };
    source.fresh = false;
    photoSent = frame.clock;
    context.drawImage(drawable, 0, 0, w, h);
    const [before, blob] = await Promise.all([
      createImageBitmap(canvas),
      new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY)),
    ]);
    frame.before = before;
    link.send(await blob.arrayBuffer(), frame);
  } finally {
    capturing = false;
  }
}

/** A camera's frame, into the track; what was before is kept where the slider shows it. */
async function captureTrack() {
  const { drawable } = view.source;
  const frame = { clock: performance.now(), source, before: null };
  source.fresh = false;
  const [w, h] = sentSize();
  if (view.split !== null) {
    capturing = true;
    try {
      frame.before = await createImageBitmap(drawable, { resizeWidth: w, resizeHeight: h });
    } finally {
      capturing = false;
    }
    if (source !== frame.source || !rtc.up) return frame.before.close();
  }
  rtc.send(w, h, (context, width, height) => context.drawImage(drawable, 0, 0, width, height), frame);
}

/** Width and height at which the source is sent. */
function sentSize() {
  const { width, height } = view.source;
  const scale = Math.min(1, (source.kind === "photo" ? PHOTO : CAMERA.width) / Math.max(width, height));
  return [Math.round(width * scale), Math.round(height * scale)];
}

// ---- camera and photo ----

async function useCamera() {
  const turn = ++starting;
  if (!navigator.mediaDevices?.getUserMedia) return explain("camera_insecure");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { width: { ideal: CAMERA.width }, height: { ideal: CAMERA.height }, facingMode: "user" },
    });
  } catch (error) {
    if (turn !== starting) return;
    const known = { NotAllowedError: "camera_refused", SecurityError: "camera_refused",
      NotReadableError: "camera_busy", AbortError: "camera_busy" };
    return explain(known[error.name] ?? "camera_none");
  }
  if (turn !== starting) return stop(stream);
  const video = document.createElement("video");
  Object.assign(video, { srcObject: stream, muted: true, playsInline: true });
  const mine = { kind: "camera", video, stream, fresh: false };
  stream.getVideoTracks()[0].addEventListener("ended", () => source === mine && explain("camera_ended"));
  const came = () => {
    mine.fresh = true;
    if (source === mine) video.requestVideoFrameCallback(came);
  };
  use(mine, { drawable: video, width: 0, height: 0, flipped: true });
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(came);
  else video.addEventListener("timeupdate", () => (mine.fresh = true));
  await video.play().catch(() => {}); // it was replaced before it began
}

async function usePhoto(file) {
  const turn = ++starting;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return toast(say("unreadable"));
  }
  if (turn !== starting) return bitmap.close();
  // Nothing that is shown needs more, and a large photo's pixels are tens of megabytes.
  const scale = Math.min(1, PHOTO / Math.max(bitmap.width, bitmap.height));
  const size = { resizeWidth: Math.round(bitmap.width * scale), resizeHeight: Math.round(bitmap.height * scale), resizeQuality: "high" };
  const small = await createImageBitmap(bitmap, size);
  bitmap.close();
  use({ kind: "photo", bitmap: small }, { drawable: small, width: small.width, height: small.height, flipped: false });
}

function use(next, drawing) {
  leave();
  source = next;
  view.source = drawing;
  photoNeeds = true;
  photoSent = 0;
  const focused = $("start").contains(document.activeElement);
  $("start").hidden = true;
  if (focused) $("rail").querySelector('[tabindex="0"]')?.focus({ preventScroll: true });
  $("picture").hidden = $("tools").hidden = false;
  connect();
  view.paint();
  update();
}

function leave() {
  view.undress();
  rtc.stop();
  if (source?.stream) stop(source.stream);
  source?.bitmap?.close();
  source = view.source = null;
  drawn = [];
}

const stop = (stream) => stream.getTracks().forEach((track) => track.stop());

/** Back to the first card, with what went wrong and what to do; a photo that is shown stays. */
function explain(key) {
  if (source?.kind === "photo") return toast(say(key));
  leave();
  $("start").hidden = false;
  $("picture").hidden = $("tools").hidden = true;
  $("why").hidden = false;
  $("why").dataset.say = key;
  translate();
  update();
}

// ---- words on the picture ----

function update() {
  const now = performance.now();
  const problem = wearing() ? link.state?.problem : null;
  const away = !link.open && now - link.since > 1500;
  const words = away ? say("gone")
    : problem ? sayError(problem)
    : source && wearing() && !view.dressed ? say("dressing") : "";
  if ($("notice").textContent !== words) $("notice").textContent = words;
  $("notice").hidden = !words || !(source || away);
  $("notice").classList.toggle("bad", away || Boolean(problem));
  const slider = view.split !== null && view.dressed;
  $("split").hidden = $("before").hidden = $("after").hidden = !slider;
  for (const kind of ["camera", "photo"]) $(`use-${kind}`).classList.toggle("on", source?.kind === kind);

  drawn = drawn.filter((at) => now - at < 2000);
  const fps = (drawn.length / 2).toFixed(drawn.length < 20 ? 1 : 0);
  const age = Math.round(now - shownClock);
  $("stats").hidden = !source || (source.kind === "photo" && !view.dressed);
  $("stats").textContent = !view.dressed ? (wearing() ? "" : say("stats_idle"))
    : source?.kind === "photo" ? say("stats_photo", { age: photoAge })
    : say("stats", { fps, age, dropped: link.unshown,
      way: rtc.up ? "WebRTC" : "WebSocket" });
}

let toastEnd;
function toast(words, seconds = 9) {
  $("toast").textContent = words;
  $("toast").hidden = !words;
  clearTimeout(toastEnd);
  toastEnd = setTimeout(() => ($("toast").hidden = true), seconds * 1000);
}

// ---- the rail's pictures ----

async function loadRail() {
  try {
    await rail.load();
  } catch {
    toast(say("rail_gone"));
  }
}

async function bringGarment(file) {
  toast(say("bringing"), 60);
  try {
    const garment = await rail.bring(file, category());
    toast("");
    if (!rail.worn.some(({ id }) => id === garment.id)) rail.choose(garment, category());
    wear();
  } catch (error) {
    toast(error.text ? say("refused", sayError(error).replace(/^garment: /, "")) : say("rail_gone"));
  }
}

/** A garment hangs there no longer: a server that was restarted has forgotten what was brought. */
async function gone(error) {
  const again = performance.now() - goneAt > GONE_AGAIN && (await rail.bringAgain().catch(() => false));
  goneAt = performance.now();
  if (!again) {
    rail.choose(null);
    toast(sayError(error));
  }
  wear();
  loadRail();
}

// ---- buttons, keys, drops ----

for (const id of ["start-camera", "use-camera"]) $(id).addEventListener("click", useCamera);
for (const id of ["start-photo", "use-photo"]) $(id).addEventListener("click", () => $("photo-file").click());
for (const [id, take] of [["photo-file", usePhoto], ["garment-file", bringGarment]]) {
  $(id).addEventListener("change", () => {
    const file = $(id).files[0];
    $(id).value = ""; // so that the same file can be chosen again
    if (file) take(file);
  });
}

$("toast").addEventListener("click", () => toast(""));

$("compare").addEventListener("click", () => {
  view.setSplit(view.split === null ? 0.5 : null);
  $("compare").setAttribute("aria-pressed", String(view.split !== null));
  update();
});

$("snapshot").addEventListener("click", async () => {
  const blob = await view.snapshot();
  const link = document.createElement("a");
  const now = new Date();
  const local = new Date(now - now.getTimezoneOffset() * 60_000);
  const stamp = local.toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
  Object.assign(link, { href: URL.createObjectURL(blob), download: `${say("snapshot_name")}-${stamp}.jpg` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});

const awaken = kiosk($("full"), {
  /** A visitor has gone: the next one begins anew, and nothing of the last is kept. */
  idle() {
    $("sentence").value = "";
    rail.forget();
    if (source?.kind === "photo") {
      leave();
      useCamera();
    }
    rail.choose(null);
    view.setSplit(null);
    $("compare").setAttribute("aria-pressed", "false");
    wear();
  },
});

const speech = new Speech({
  heard(words) {
    awaken();
    $("sentence").value = words;
    wear();
  },
  error: (code) => toast(say(code === "not-allowed" || code === "service-not-allowed" ? "speech_refused"
    : code === "no-speech" ? "speech_silent" : "speech_failed")),
  change() {
    $("speak").setAttribute("aria-pressed", String(speech.listening));
    if (speech.listening) toast(say("listening"));
    else if ($("toast").textContent === say("listening")) toast("");
  },
});
$("speak").hidden = !CAN_LISTEN;
$("speak").addEventListener("click", () => speech.toggle());

let typing;
$("sentence").addEventListener("input", (event) => {
  clearTimeout(typing);
  if (!event.isComposing) typing = setTimeout(wear, 700);
});
$("sentence").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing) return;
  clearTimeout(typing);
  wear();
});
$("sentence").addEventListener("compositionend", () => (typing = setTimeout(wear, 700)));
$("category").addEventListener("change", () => {
  rail.change(category());
  if (wearing()) wear();
});

for (const [area, take] of [[$("stage"), usePhoto], [$("side"), bringGarment]]) {
  area.addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    area.classList.add("over");
  });
  area.addEventListener("dragleave", (event) => area.contains(event.relatedTarget) || area.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("over");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}
// A picture dropped beside an area must not replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());

function relabel() {
  translate();
  $("language").textContent = say("other");
  if ($("rail").children.length) rail.draw();
  update();
}
$("language").addEventListener("click", () => {
  switchLanguage();
  relabel();
});

// Page Up and Page Down turn the rail from anywhere, as presenters' remote controls do.
addEventListener("keydown", (event) => {
  const step = { PageDown: 1, PageUp: -1 }[event.key];
  if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  rail.turn(step);
});

relabel();
if (KIOSK) useCamera();
setInterval(update, 250);
requestAnimationFrame(loop);
