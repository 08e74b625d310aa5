// The WebSocket to the mirror's server: frames out, pictures in; it comes back by itself.

const UNDER_WAY = 2; // frames sent and not yet answered, at most
const PATIENCE = 6000; // ms after which a frame without an answer is given up
const CLOCK = 8; // bytes

export const UNDRESSED = 0, DRESSED = 1, PASSED = 2;

export class Link {
  #socket = null;
  #sent = new Map(); // clock -> what the page keeps of the frame
  #wish = null;
  #wait = 500;
  #before = 0; // frames that never were shown, of connections that have ended
  state = null; // the last {"type": "state"}
  since = performance.now(); // when the connection came or went

  /** on.answer(flag, frame, jpeg), on.state(), on.rtc(message), on.hand(side), on.error(error), on.change(): all are called. */
  constructor(on) {
    this.on = on;
    this.#open();
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Frames dropped, late or lost, over all connections. */
  get unshown() {
    const { dropped = 0, late = 0, lost = 0 } = this.state ?? {};
    return this.#before + dropped + late + lost;
  }

  /** Frames that went another way and were under way when that ended. */
  lose(frames) {
    this.#before += frames;
  }

  /** Whether another frame may be sent. */
  get free() {
    for (const [clock, frame] of this.#sent) {
      if (performance.now() - clock > PATIENCE) this.#forget(clock, frame);
    }
    return this.open && this.#sent.size < UNDER_WAY;
  }

  /** Sends a frame: its `clock` in ms, and whatever else the page wants back with the answer. */
  send(jpeg, frame) {
    if (!this.open) return frame.before?.close();
    const message = new Uint8Array(CLOCK + jpeg.byteLength);
    new DataView(message.buffer).setFloat64(0, frame.clock, true);
    message.set(new Uint8Array(jpeg), CLOCK);
    this.#sent.set(frame.clock, frame);
    this.#socket.send(message);
  }

  /** What to wear from now on; said again after a reconnection. */
  wear(wish) {
    this.#wish = wish;
    if (this.open) this.#socket.send(JSON.stringify({ wear: wish }));
  }

  /** An offer of WebRTC and its number, or null to take it back; on.rtc is told the answer. */
  offer(sdp, offer) {
    if (this.open) this.#socket.send(JSON.stringify({ rtc: sdp, offer }));
  }

  #open() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#wait = 500;
      this.since = performance.now();
      if (this.#wish) this.wear(this.#wish);
      this.on.change();
    };
    socket.onclose = ({ code }) => {
      if (this.#wait === 500) this.since = performance.now();
      this.#before = this.unshown + this.#sent.size; // those under way are lost
      for (const [clock, frame] of this.#sent) this.#forget(clock, frame);
      this.state = null;
      this.on.change();
      // 1013: too many visitors are before the mirror; 1008: it answers its own page alone.
      setTimeout(() => this.#open(), code === 1013 || code === 1008 ? 10000 : this.#wait);
      this.#wait = Math.min(this.#wait * 2, 1000);
    };
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.#told(JSON.parse(data)) : this.#answered(data));
    this.#socket = socket;
  }

  #told(message) {
    if (message.type === "state") {
      this.state = message;
      this.on.state();
    } else if (message.type === "rtc") {
      this.on.rtc(message);
    } else if (message.type === "hand") {
      this.on.hand(message.side);
    } else if (message.type === "error") {
      this.on.error(message);
    }
  }

  #answered(data) {
    const view = new DataView(data);
    const clock = view.getFloat64(0, true);
    const frame = this.#sent.get(clock);
    if (!frame) return;
    this.#sent.delete(clock);
    this.on.answer(view.getUint8(CLOCK), frame, data.slice(CLOCK + 1));
  }

  #forget(clock, frame) {
    this.#sent.delete(clock);
    frame.before?.close();
  }
}
