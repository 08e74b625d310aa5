// WebRTC to the mirror's server: the camera's frames go out as one video track, the dressed ones come
// as another. Where it can't pass, within seconds, the page goes on with its WebSocket.

import { draw, NUMBERS, read, ROWS } from "./tally.js";

const PATIENCE = 5000; // ms for the connection to stand, and for a picture to come over it
const AGAIN = 20_000; // ms until it is tried again; twice as long each time
const UNDER_WAY = 64; // frames that are remembered until their answer comes
const BITRATE = 2_500_000; // at most, in bits a second: 512x384 at a camera's 30 frames a second

export class Rtc {
  #offer;
  #on;
  #connection = null;
  #video = document.createElement("video");
  #canvas = document.createElement("canvas");
  #context = this.#canvas.getContext("2d", { willReadFrequently: true });
  #track = null;
  #number = 0;
  #offers = 0;
  #sent = new Map(); // number -> what the page keeps of the frame
  #patience;
  #waiting = null; // since when a picture is waited for
  #counts = null; // the server's counts then
  #again = null;
  #pause = AGAIN;

  /** offer(sdp or null, number) tells the server; on.answer(frame, picture), on.forget(frame), on.lost(frames) and on.change() are called. */
  constructor(offer, on) {
    this.#offer = offer;
    this.#on = on;
    Object.assign(this.#video, { muted: true, playsInline: true, autoplay: true });
  }

  /** Whether frames go this way. */
  get up() {
    return this.#connection?.connectionState === "connected";
  }

  /** Offers a connection; on.change() once it stands. */
  async start() {
    this.stop();
    if (!window.RTCPeerConnection || !window.CanvasCaptureMediaStreamTrack?.prototype.requestFrame
      || !this.#video.requestVideoFrameCallback) return;
    const connection = new RTCPeerConnection({ iceServers: [] });
    this.#connection = connection;
    this.#patience = setTimeout(() => this.#connection === connection && !this.up && this.fail(), PATIENCE);
    [this.#canvas.width, this.#canvas.height] = [this.#canvas.width || 512, this.#canvas.height || 400];
    const stream = this.#canvas.captureStream(0); // a frame goes when it is asked for
    this.#track = stream.getVideoTracks()[0];
    this.#track.contentHint = "motion";
    const sender = connection.addTrack(this.#track, stream);
    connection.ontrack = ({ track, receiver }) => {
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0; // the newest, at once
      this.#video.srcObject = new MediaStream([track]);
      this.#video.play().catch(() => {}); // it was stopped before it began
      this.#listen(connection);
    };
    connection.onconnectionstatechange = () => {
      if (connection !== this.#connection) return;
      if (connection.connectionState === "failed") this.fail();
      else this.#on.change();
    };
    try {
      await connection.setLocalDescription();
      await gathered(connection);
      const parameters = sender.getParameters();
      // The numbers on the frames stand at the camera's scale: fewer frames rather than smaller ones.
      parameters.degradationPreference = "maintain-resolution";
      for (const encoding of parameters.encodings) encoding.maxBitrate = BITRATE;
      await sender.setParameters(parameters).catch(() => {});
    } catch {
      return connection === this.#connection && this.fail();
    }
    if (connection === this.#connection) this.#offer(connection.localDescription.sdp, ++this.#offers);
  }

  /** The server's answer to the offer. */
  async answered({ sdp, offer }) {
    if (!this.#connection || offer !== this.#offers) return; // of an offer that was replaced
    if (!sdp) return this.stop(); // it can't, or would not
    try {
      await this.#connection.setRemoteDescription({ type: "answer", sdp });
    } catch {
      this.fail();
    }
  }

  /** Sends what `paint(context, width, height)` draws; `frame` comes back with its answer. */
  send(width, height, paint, frame) {
    [width, height] = [width & ~1, height & ~1]; // colours go at half the size
    if (this.#canvas.width !== width || this.#canvas.height !== height + ROWS) {
      [this.#canvas.width, this.#canvas.height] = [width, height + ROWS];
    }
    paint(this.#context, width, height);
    this.#number = (this.#number + 1) % NUMBERS;
    draw(this.#context, this.#number);
    this.#sent.set(this.#number, frame);
    if (this.#sent.size > UNDER_WAY) this.#forget(this.#sent.keys().next().value);
    this.#track.requestFrame();
    this.#waiting ??= performance.now();
  }

  /** Looks at the server's counts: gives up a connection that stands and carries nothing. */
  look(state) {
    if (this.#waiting === null || !this.up) {
      this.#counts = null;
    } else if (!this.#counts) {
      this.#counts = state;
    } else if (performance.now() - this.#waiting > PATIENCE) {
      const answers = state.shown > this.#counts.shown + 2; // made, and they do not arrive
      const frames = all(state) > all(this.#counts);
      if (answers || !frames) this.fail();
    }
  }

  /** No picture is waited for: there is nothing to wear, or the server has said why none comes. */
  excuse() {
    this.#waiting = this.#counts = null;
  }

  /** Gives it up and says so. */
  fail() {
    this.stop();
    this.#again = setTimeout(() => this.start(), this.#pause);
    this.#pause *= 2;
    this.#on.change();
  }

  stop() {
    if (this.#connection) this.#offer(null, ++this.#offers); // answers to earlier offers are of no use now
    this.#on.lost(this.#sent.size);
    clearTimeout(this.#patience);
    clearTimeout(this.#again);
    this.#connection?.close();
    this.#track?.stop();
    this.#video.srcObject = null;
    for (const number of [...this.#sent.keys()]) this.#forget(number);
    this.#connection = this.#track = this.#waiting = this.#counts = null;
  }

  #forget(number) {
    const frame = this.#sent.get(number);
    this.#sent.delete(number);
    if (frame) this.#on.forget(frame);
  }

  #listen(connection) {
    if (connection !== this.#connection) return;
    this.#video.requestVideoFrameCallback(() => {
      if (connection !== this.#connection) return;
      this.#came();
      this.#listen(connection);
    });
  }

  #came() {
    const [width, height] = [this.#video.videoWidth, this.#video.videoHeight];
    const number = read(this.#video, width, height);
    const frame = number === null ? undefined : this.#sent.get(number);
    if (!frame) return;
    for (const older of this.#sent.keys()) { // in the order in which they were sent
      if (older === number) break;
      this.#forget(older);
    }
    this.#sent.delete(number);
    this.#waiting = this.#counts = null;
    this.#pause = AGAIN;
    this.#on.answer(frame, () => createImageBitmap(this.#video, 0, 0, width, height - ROWS));
  }
}

const all = (state) => state.shown + state.dropped + state.late + state.lost;

/** Waits until a connection knows this machine's addresses; with no server to ask, that is soon. */
function gathered(connection) {
  if (connection.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((done) => {
    connection.addEventListener("icegatheringstatechange", () => connection.iceGatheringState === "complete" && done());
    setTimeout(done, 1500);
  });
}
