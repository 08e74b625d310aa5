// The rail of garments: buttons with pictures; arrows move between them.

import { say } from "./words.js";

const ORDER = ["lower", "upper", "dress"]; // in which they are put on: a top over trousers

export class Rail {
  #box;
  #garments = [];
  #files = new Map(); // what was brought from this page: id -> [file, category]
  worn = []; // garments of the list in the order in which they are put on; none: the visitor's own
  last = null; // the one of them that was chosen last: words and category are about it

  /** on.choose(garment or null), on.bring(): a tile was pressed. */
  constructor(box, on) {
    this.#box = box;
    this.on = on;
    box.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Fetches the list; throws where the server is away. */
  async load() {
    const answer = await fetch("/garments");
    if (!answer.ok) throw new Error(String(answer.status));
    const garments = await answer.json();
    if (JSON.stringify(garments) === JSON.stringify(this.#garments)) return; // the pictures stay
    this.#garments = garments;
    this.draw();
  }

  /** Hangs up a picture file; answers the garment, or throws the server's {code, text}. */
  async bring(file, category) {
    const told = await this.#post(file, category);
    this.#files.set(told.id, [file, category]);
    await this.load();
    return this.#garments.find((garment) => garment.id === told.id) ?? told;
  }

  /** Brings what is worn and came from this page once more; whether there was any. */
  async bringAgain() {
    const files = this.worn.flatMap(({ id }) => (this.#files.has(id) ? [this.#files.get(id)] : []));
    await Promise.all(files.map((brought) => this.#post(...brought)));
    return files.length > 0;
  }

  async #post(file, category) {
    const name = file.name?.replace(/\.[^.]*$/, "") ?? "";
    const query = new URLSearchParams({ name, category });
    const answer = await fetch(`/garments?${query}`, { method: "POST", body: file });
    const told = await answer.json();
    if (!answer.ok) throw told.error;
    return told;
  }

  /**
   * Puts a garment on, or takes it off where it is worn; null takes all off. One of a kind is worn
   * at a time, and a dress in place of both others.
   */
  choose(garment, category = garment?.category) {
    const was = this.worn.some(({ id }) => id === garment?.id);
    const others = garment === null ? [] : this.worn.filter(({ id, category: other }) => id !== garment.id
      && (was || (other !== category && other !== "dress" && category !== "dress")));
    const next = garment && !was ? { ...garment, category } : null;
    this.worn = [...others, ...(next ? [next] : [])].sort((a, b) => ORDER.indexOf(a.category) - ORDER.indexOf(b.category));
    this.last = next ?? this.worn.at(-1) ?? null;
    this.#mark();
    if (next) this.#tileOf(next.id)?.scrollIntoView({ block: "nearest", inline: "center" });
  }

  /** Wears the last one as another kind. */
  change(category) {
    const { last } = this;
    if (!last || last.category === category) return;
    this.choose(last);
    this.choose(last, category);
  }

  /**
   * Puts on the next garment of the list (`step` 1) or the one before (-1); those that are worn beside the last
   * one are passed over. `own`: the visitor's own is among them, after the last.
   */
  turn(step, own = true) {
    const id = (garment) => garment?.id ?? null;
    const beside = this.worn.filter((garment) => id(garment) !== id(this.last)).map(id);
    const ring = [...(own ? [null] : []), ...this.#garments.filter((garment) => !beside.includes(id(garment)))];
    const at = ring.findIndex((garment) => id(garment) === id(this.last));
    const next = at < 0 ? (step > 0 ? 0 : ring.length - 1) : (at + step + ring.length) % ring.length;
    if (ring.length && id(ring[next]) !== id(this.last)) this.on.choose(ring[next]);
  }

  /** Files that were brought are not kept any longer. */
  forget() {
    this.#files.clear();
  }

  draw() {
    const focused = this.#box.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    this.#box.replaceChildren(
      this.#tile("", say("nothing"), icon("M12 3a2 2 0 0 1 1 3.7L12 8l8 6a1 1 0 0 1-.6 1.8H4.6A1 1 0 0 1 4 14l8-6"), () => this.on.choose(null)),
      ...this.#garments.map((garment) => this.#tile(garment.id, garment.name, picture(garment), () => this.on.choose(garment))),
      this.#tile("+", say("bring"), icon("M12 5v14M5 12h14"), () => this.on.bring()),
    );
    this.#box.lastChild.removeAttribute("aria-pressed");
    this.#box.lastChild.classList.add("add");
    this.#mark();
    if (focused !== null) this.#tileOf(focused)?.focus();
  }

  #tile(id, name, inside, press) {
    const tile = document.createElement("button");
    const label = document.createElement("span");
    label.textContent = name;
    Object.assign(tile, { type: "button", className: "tile", title: name, onclick: press });
    tile.dataset.id = id;
    tile.setAttribute("aria-pressed", "false");
    tile.append(inside, label);
    return tile;
  }

  #tileOf(id) {
    return [...this.#box.children].find((tile) => tile.dataset.id === id);
  }

  #mark() {
    const ids = this.worn.length ? this.worn.map(({ id }) => id) : [""];
    for (const tile of this.#box.children) {
      if (tile.hasAttribute("aria-pressed")) tile.setAttribute("aria-pressed", String(ids.includes(tile.dataset.id)));
      tile.tabIndex = tile.dataset.id === (this.last?.id ?? "") ? 0 : -1; // one stop for the Tab key, arrows from there
    }
    if (![...this.#box.children].some((tile) => tile.tabIndex === 0)) this.#box.firstChild.tabIndex = 0;
  }

  #key(event) {
    const tiles = [...this.#box.children];
    const at = tiles.indexOf(event.target.closest(".tile"));
    const columns = getComputedStyle(this.#box).getPropertyValue("--columns") | 0 || 1;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns,
      Home: 0, End: tiles.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    tiles[Math.min(tiles.length - 1, Math.max(0, to))].focus();
  }
}

function picture(garment) {
  const image = document.createElement("img");
  Object.assign(image, { src: `/garments/${garment.id}/thumbnail`, alt: "", draggable: false,
    decoding: "async", loading: "lazy" });
  return image;
}

function icon(path) {
  const box = document.createElement("span");
  box.className = "icon";
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(svg.namespaceURI, "path");
  line.setAttribute("d", path);
  svg.append(line);
  box.append(svg);
  return box;
}
