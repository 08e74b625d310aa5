// What the mirror shows: the camera or photo as it is, or the newest dressed picture, with the same
// frame before it under the slider.

export class View {
  #canvas;
  #context;
  #box;
  #handle;
  #worn = null; // {before, after}: bitmaps of the same frame; before may be null without the slider
  source = null; // {drawable, width, height, flipped}
  split = null; // share of the width that shows "before"; null: no slider

  constructor(canvas, box, handle) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#box = box;
    this.#handle = handle;
    handle.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("pointerdown", (event) => this.#grab(event));
  }

  get dressed() {
    return this.#worn !== null;
  }

  /** Shows a picture and keeps the frame that it was made of; both are closed when replaced. */
  show(before, after) {
    this.undress();
    this.#worn = { before, after };
    this.paint();
  }

  /** Back to the source as it is. */
  undress() {
    this.#worn?.before?.close();
    this.#worn?.after.close();
    this.#worn = null;
  }

  paint() {
    if (!this.source) return;
    const shown = this.#worn
      ? { drawable: this.#worn.after, width: this.#worn.after.width, height: this.#worn.after.height }
      : this.source;
    if (!shown.width) return;
    this.#size(shown.width, shown.height);
    this.#draw(this.#context, shown.drawable, 0, 1);
    if (this.split !== null && this.#worn?.before) this.#draw(this.#context, this.#worn.before, 0, this.split);
  }

  /** A JPEG of what is shown, without the slider. */
  snapshot() {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [this.#canvas.width, this.#canvas.height];
    this.#draw(canvas.getContext("2d"), this.#worn?.after ?? this.source.drawable, 0, 1);
    return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
  }

  setSplit(share) {
    this.split = share === null ? null : Math.min(1, Math.max(0, share));
    this.#handle.hidden = this.split === null;
    if (this.split !== null) {
      this.#box.style.setProperty("--split", `${this.split * 100}%`);
      this.#handle.setAttribute("aria-valuenow", Math.round(this.split * 100));
    }
    this.paint();
  }

  #size(width, height) {
    if (this.#canvas.width === width && this.#canvas.height === height) return;
    [this.#canvas.width, this.#canvas.height] = [width, height];
    this.#box.style.setProperty("--ratio", width / height);
  }

  /** Draws a part of the picture's width, flipped as a mirror does where the source is a camera. */
  #draw(context, drawable, from, to) {
    const { width, height } = context.canvas;
    context.save();
    context.beginPath();
    context.rect(from * width, 0, (to - from) * width, height);
    context.clip();
    if (this.source.flipped) context.setTransform(-1, 0, 0, 1, width, 0);
    context.drawImage(drawable, 0, 0, width, height);
    context.restore();
  }

  #grab(event) {
    if (this.split === null || event.button !== 0) return;
    event.preventDefault();
    this.#handle.focus({ focusVisible: false });
    const move = (at) => {
      const box = this.#box.getBoundingClientRect();
      this.setSplit((at.clientX - box.left) / box.width);
    };
    move(event);
    this.#box.setPointerCapture(event.pointerId);
    this.#box.addEventListener("pointermove", move);
    const end = () => this.#box.removeEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) this.#box.addEventListener(name, end, { once: true });
  }

  #key(event) {
    const step = event.shiftKey ? 0.1 : 0.02;
    const to = { ArrowLeft: this.split - step, ArrowDown: this.split - step,
      ArrowRight: this.split + step, ArrowUp: this.split + step, Home: 0, End: 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.setSplit(to);
  }
}
